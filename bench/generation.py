"""Speed of writing answers, beside transformers' `generate` at its best batch size.

    METIER_CACHE=... taskset -c 0,1 python bench/generation.py [--threads 2] [--dtype float32 bfloat16] [--system 0 600]

Messages of the example inbox, asked of a chat model without and with a long system prompt that all share. transformers
gets left-padded batches of similar length, sdpa attention and its key-value cache; metier its own batches. Both run in
turn in one process, in the same precision, and stop at the end of turn or at the same length. Prints Markdown. Ends
with exit code 1 when an answer in float32 differs by more than rounding can explain.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import GenerationConfig

import metier.data
from metier.device import choose_hardware
from metier.engine.forward import TreeRunner
from metier.engine.generate import Decoding, generate
from metier.engine.tree import Ints
from metier.model.base import BaseModel, load_base_model
from metier.recipe.sections import HardwareSection, ModelSection

EXAMPLE = Path(metier.data.__file__).parent / "example"
TIE = 1e-3
"""Two tokens whose float32 logits are nearer than this are a tie: rounding decides."""


def prompts_of(base: BaseModel, count: int, system_tokens: int) -> list[Ints]:
    """Chat prompts from the example inbox; with a system prompt cut to about so many tokens."""
    tokenizer = base.tokenizer
    policies = tokenizer((EXAMPLE / "policies.md").read_text(encoding="utf-8"))["input_ids"][:system_tokens]
    system = [{"role": "system", "content": tokenizer.decode(policies)}] if system_tokens else []
    with (EXAMPLE / "train.csv").open(encoding="utf-8-sig", newline="") as file:
        bodies = [row["body"] for row in csv.DictReader(file)][:count]
    chats = [[*system, {"role": "user", "content": f"Answer this customer in two sentences.\n\n{b}"}] for b in bodies]
    texts = [tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    return [np.array(tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int64) for text in texts]


def with_transformers(base: BaseModel, prompts: Sequence[Ints], new: int, stop: int, size: int) -> list[list[int]]:
    """Greedy answers by `generate`, longest prompts together so that little is padded."""
    options = GenerationConfig(max_new_tokens=new, do_sample=False, eos_token_id=stop, pad_token_id=0, use_cache=True)
    order = sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))
    answers: list[list[int]] = [[]] * len(prompts)
    for start in range(0, len(order), size):
        group = order[start : start + size]
        width = len(prompts[group[0]])
        ids = torch.zeros(len(group), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, number in enumerate(group):
            ids[row, width - len(prompts[number]) :] = torch.from_numpy(prompts[number])
            mask[row, width - len(prompts[number]) :] = 1
        device = base.network.device
        with torch.inference_mode():
            out = base.network.generate(
                input_ids=ids.to(device), attention_mask=mask.to(device), generation_config=options
            )
        for number, answer in zip(group, out[:, width:].tolist(), strict=True):
            answers[number] = answer[: answer.index(stop)] if stop in answer else answer
    return answers


def with_metier(base: BaseModel, prompts: Sequence[Ints], new: int, stop: int, size: int) -> list[list[int]]:
    """Greedy answers by the engine, everything included: the check of the family, packing, prompts."""
    decoding = Decoding(max_new_tokens=new, stop_ids=frozenset({stop}), batch_size=size)
    return [answer.ids.tolist() for answer in generate(TreeRunner(base.network), prompts, decoding)]


def unexplained(base: BaseModel, prompts: Sequence[Ints], left: list[list[int]], right: list[list[int]]) -> list[str]:
    """Answers that differ although the two tokens where they part are not a tie."""
    found = []
    for number, (one, two) in enumerate(zip(left, right, strict=True)):
        if one == two:
            continue
        where = next((k for k, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), None)
        if where is None:
            found.append(f"answer {number}: one goes on where the other ends")
            continue
        ids = torch.from_numpy(np.concatenate([prompts[number], np.array(one[:where], dtype=np.int64)]))[None]
        with torch.no_grad():
            logits = base.network(input_ids=ids.to(base.network.device), use_cache=False).logits[0, -1].float()
        gap = abs(float(logits[one[where]] - logits[two[where]]))
        if gap > TIE:
            found.append(f"answer {number}: parts at token {where}, logits {gap:.2g} apart")
    return found


def measure(base: BaseModel, prompts: Sequence[Ints], arguments: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Rows of the table for one precision and one kind of prompt, and what is wrong."""
    stop = int(base.tokenizer.eos_token_id)
    ways: dict[str, Callable[..., Any]] = {"transformers": with_transformers, "metier": with_metier}
    speeds: dict[tuple[str, int], list[float]] = {}
    answers: dict[str, list[list[int]]] = {}
    clock = time.process_time if arguments.clock == "cpu" else time.perf_counter
    for _ in range(arguments.rounds):
        for size in arguments.batch_sizes:
            for name, write in ways.items():
                started = clock()
                answers[name] = write(base, prompts, arguments.new_tokens, stop, size)
                seconds = clock() - started
                speeds.setdefault((name, size), []).append(sum(map(len, answers[name])) / seconds)
    best = max(statistics.median(runs) for (name, _), runs in speeds.items() if name == "transformers")
    same = sum(a == b for a, b in zip(answers["transformers"], answers["metier"], strict=True))
    rows = []
    for (name, size), runs in sorted(speeds.items(), reverse=True):
        middle = statistics.median(runs)
        spread = f"{min(runs):.0f} to {max(runs):.0f}"
        rows.append(f"{name} | {size} | {middle:.0f} | {spread} | {middle / best:.2f} | {same} of {len(prompts)}")
    wrong = []
    if base.network.dtype == torch.float32:
        wrong = unexplained(base, prompts, answers["transformers"], answers["metier"])
    return rows, wrong


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--system", nargs="+", type=int, default=[0, 600], help="tokens of a shared system prompt")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=48)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[8, 16, 32])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="cpu: seconds of all cores, where others compute too"
    )
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, `{' '.join(sys.argv)}`\n")
    print("| precision | shared | written by | batch | tokens/s | spread | against best | same answers |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    wrong = []
    for dtype in arguments.dtype:
        hardware = choose_hardware(HardwareSection(device=arguments.device, dtype=dtype, threads=arguments.threads))
        base = load_base_model(ModelSection(name=arguments.model), hardware)
        for tokens in arguments.system:
            rows, faults = measure(base, prompts_of(base, arguments.prompts, tokens), arguments)
            print("\n".join(f"| {dtype} | {tokens} | {row} |" for row in rows), flush=True)
            wrong += faults
    print(
        "\nTokens of finished answers per second, prompts included; medians. Against the median of transformers' best."
    )
    print("\n".join(wrong), file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
