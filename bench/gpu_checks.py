"""The checks that need an accelerator, in one script: token trees, written answers, and a training against the CPU's.

    python bench/gpu_checks.py [--device cuda] [--quick]

Prints Markdown; `bench/gpu.sh` puts it into its page. Ends with exit code 1 when a float32 check fails. Runs on the
CPU too (`--device cpu`), which checks the script and nothing else.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)  # fmt: skip

from metier.engine.forward import TreeRunner, plain_logits
from metier.engine.generate import Decoding, generate
from metier.engine.tree import TokenSequence, TokenTree

SHAPE = {
    "vocab_size": 512, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 1024,
}  # fmt: skip
TOLERANCE = 1e-5


def families() -> dict[str, PreTrainedModel]:
    """Small random models, the same on every machine."""
    torch.manual_seed(0)
    return {
        "llama": LlamaForCausalLM(LlamaConfig(**SHAPE)),
        "qwen2": Qwen2ForCausalLM(Qwen2Config(**SHAPE)),
        "mistral, window 16": MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=16)),
        "gpt2": GPT2LMHeadModel(GPT2Config(vocab_size=512, n_embd=128, n_layer=4, n_head=4)),
    }


def sequences() -> list[TokenSequence]:
    """A shared instruction, forty texts, three labels each."""
    rng = np.random.default_rng(0)
    start = rng.integers(0, 512, 60).tolist()
    texts = [[*start, *rng.integers(0, 512, rng.integers(5, 40)).tolist()] for _ in range(40)]
    return [TokenSequence.of(text, [label, 7, 9]) for text in texts for label in (1, 2, 3)]


def parity(network: PreTrainedModel, device: str, dtype: torch.dtype) -> tuple[float, float]:
    """Largest relative difference of tree logits, and of the plain forward, to a plain float32 forward."""
    rows = sequences()
    tree = TokenTree.build(rows)
    with torch.no_grad():
        exact = plain_logits(network.to(device, torch.float32).eval(), rows)
        network.to(device, dtype)
        mine, plain = TreeRunner(network).logits(tree, rows), plain_logits(network, rows)
    scale = float(exact.abs().max())
    return float((mine - exact).abs().max()) / scale, float((plain - exact).abs().max()) / scale


def losses(network: PreTrainedModel, device: str, steps: int = 10) -> tuple[list[float], float]:
    """Losses of some steps of plain gradient descent on trees in float32, and seconds a step."""
    network = network.to(device, torch.float32)
    network.requires_grad_(True)
    rows = sequences()
    tree = TokenTree.build(rows)
    runner = TreeRunner(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    wanted = torch.from_numpy(tree.target_ids).to(device)
    found, started = [], time.perf_counter()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(runner.logits(tree, rows), wanted)
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    return found, (time.perf_counter() - started) / steps


def written_alike(network: PreTrainedModel, device: str, tokens: int = 24) -> tuple[int, int, bool]:
    """Greedy answers equal to transformers' own in float32, of how many, and whether the engine itself wrote them."""
    network = network.to(device, torch.float32).eval()
    prompts = [row.ids[:-2] for row in sequences()[::3]]
    runner = TreeRunner(network)
    mine = generate(runner, prompts, Decoding(max_new_tokens=tokens, stop_ids=frozenset()))
    same = 0
    for prompt, answer in zip(prompts, mine, strict=True):
        given = torch.from_numpy(prompt)[None].to(device)
        with torch.no_grad():
            theirs = network.generate(
                given, attention_mask=torch.ones_like(given), do_sample=False, max_new_tokens=tokens,
                eos_token_id=None, pad_token_id=0,
            )  # fmt: skip
        same += theirs[0, len(prompt) :].tolist() == answer.ids.tolist()
    return same, len(prompts), bool(runner.writes)


def main() -> int:
    """Run every check and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="one family: checks the script")
    options = parser.parse_args()
    device = options.device
    name = torch.cuda.get_device_name() if device == "cuda" else device
    print(f"# Checks on {name}\n\ntorch {torch.__version__}; command: `python bench/gpu_checks.py --device {device}`\n")
    heads = ("tree, float32", "plain, float32", "tree, bfloat16", "plain, bfloat16", "loss curve against CPU")
    print(f"| family | {' | '.join(heads)} | greedy answers |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    failed = False
    for family, network in list(families().items())[: 1 if options.quick else None]:
        exact = parity(network, device, torch.float32)
        rough = parity(network, device, torch.bfloat16)
        here, _ = losses(families()[family], device)
        there, _ = losses(families()[family], "cpu")
        apart = max(abs(a - b) / abs(b) for a, b in zip(here, there, strict=True))
        same, count, engine = written_alike(network, device)
        failed |= exact[0] > TOLERANCE or apart > 10 * TOLERANCE or same < count or not engine
        cells = [f"{value:.1e}" for value in (*exact, *rough, apart)]
        print(f"| {family} | {' | '.join(cells)} | {same} of {count}{'' if engine else ', plainly'} |")
    print("\nRelative differences to transformers' plain float32 forward on the same device; loss: ten steps; greedy")
    print("answers: token for token as transformers' own generation in float32.")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
