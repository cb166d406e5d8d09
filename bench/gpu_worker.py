"""One row of metier on a GPU, in a process of its own: `python -m bench.gpu_worker '{"do": …}'`, JSON on the last line.

The networks have random weights (`gpu_models.py`); training is `train_model`, as a run calls it.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import gpu_models as models
from bench.gpu_models import ALPHA, RANK, Work
from bench.limit import forward_flops, training_flops
from metier.engine.forward import TreeRunner
from metier.engine.generate import Decoding, generate
from metier.engine.score import score_labels
from metier.engine.tree import TokenSequence
from metier.engine.trunk import TrunkCache, TrunkIdentity
from metier.engine.trunk_memory import release_trunk
from metier.events import Event, Notice, StepEnded
from metier.model.adapt import adapt_model
from metier.model.base import BaseModel
from metier.recipe.sections import AdaptationSection, TrainingSection
from metier.training.objective import LanguageObjective
from metier.training.train import train_model

WARM = 2
"""Steps that are not counted: kernels are chosen and compiled."""


def base_of(size: str, network: Any, folder: Path) -> BaseModel:
    """A base model around a network that was made here."""
    shape = models.SIZES[size][1]
    return BaseModel(
        name=size, kind="decoder", architecture=models.SIZES[size][0], source="folder", revision=None,
        licence="none", notes=(), weights_sha256=f"random {size}", network=network,
        dtype=str(network.dtype).removeprefix("torch."), tokenizer=models.make_tokenizer(), layers=shape.layers,
        hidden_size=shape.hidden, context=32_768, vocabulary=shape.vocabulary, pooling=None, folder=folder,
    )  # fmt: skip


def work_of(job: dict[str, Any]) -> Work:
    """The data that a job names."""
    make = {"plain": models.plain_work, "natural": models.natural_work, "shared": models.shared_work}[job["data"]]
    return make(job["size"], **job["work"])


def sequences_of(work: Work) -> list[TokenSequence]:
    """The data as the engine takes it."""
    return [TokenSequence.of(prompt, answer) for prompt, answer in work.examples]


def train(job: dict[str, Any]) -> dict[str, Any]:
    """Train adapters for some steps of the whole work each; with a trunk where `top` says so."""
    device, size, work = job["device"], job["size"], work_of(job)
    rate = models.matmul_rate(device, torch.bfloat16, job["side"])
    network = models.make_network(size, device)
    layers = models.SIZES[size][1].layers
    top = job.get("top", layers)
    seen: list[Event] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        released = 0
        if top < layers:
            models.weights_folder(network, folder / "weights")
        base = base_of(size, network, folder / "weights")
        chosen = {} if top == layers else {"layers": f"top {top}"}
        model = adapt_model(AdaptationSection(method="lora", r=RANK, lora_alpha=ALPHA, **chosen), base, seed=1)
        trunk, rows = None, sequences_of(work)
        if top < layers:
            depth = model.plan.trunk_layers
            identity = TrunkIdentity(weights_sha256=base.weights_sha256, depth=depth, dtype=base.precision)
            trunk = TrunkCache(folder / "trunk", identity)
            TreeRunner(network, observers=[seen.append]).probe(rows[:2])
            trunk.build(network, rows)
            released = release_trunk(base, depth)
            if device == "cuda":
                torch.cuda.empty_cache()
        runner = TreeRunner(network, trunk, observers=[seen.append], checked=trunk is not None)
        objective = LanguageObjective(runner, [(row,) for row in rows], [1.0] * len(rows))
        section = TrainingSection(
            max_steps=job["steps"] + WARM, per_device_train_batch_size=len(rows), max_length=32_768,
            tokens_per_microbatch=job["budget"], save_total_limit=1, learning_rate=1e-4,
            gradient_checkpointing=job.get("checkpointing", "auto"),
        )  # fmt: skip
        models.forget_peak(device)
        history = train_model(
            section, model, objective, seed=1, folder=folder / "checkpoints", observers=[seen.append]
        )  # fmt: skip
    steps = [event for event in seen if isinstance(event, StepEnded)]
    seconds = statistics.median(event.seconds for event in steps[WARM:])
    computed = history.tokens_computed / len(steps)
    flops = training_flops(
        models.SIZES[size][1], rank=RANK, tokens=int(computed), targets=work.targets, length=work.mean_length,
        learning=top,
    )  # fmt: skip
    if top < layers:  # what is stored is not computed
        flops -= forward_flops(
            models.SIZES[size][1], tokens=int(computed), targets=0, length=work.mean_length
        ) * (layers - top) / layers  # fmt: skip
    return {
        "tokens": work.tokens / seconds, "examples": len(rows) / seconds, "seconds": seconds, "computed": computed,
        "rate": rate, "share": flops / seconds / rate, "loss": steps[-1].loss, "plain": runner.plain,
        "checkpointing": history.gradient_checkpointing, "released": released, **models.peak(device),
        "notices": [event.message for event in seen if isinstance(event, Notice)],
    }  # fmt: skip


def score(job: dict[str, Any]) -> dict[str, Any]:
    """Label scores of prompts that share an instruction, beside one padded batch of rows a prompt in transformers."""
    device, size = job["device"], job["size"]
    network = models.make_network(size, device)
    rng = np.random.default_rng(4)
    vocabulary = models.SIZES[size][1].vocabulary
    labels = [rng.integers(2, vocabulary, length) for length in rng.integers(1, 6, job["labels"])]
    start = rng.integers(2, vocabulary, job["shared"])
    prompts = [np.concatenate([start, rng.integers(2, vocabulary, job["own"])]) for _ in range(job["prompts"])]
    runner = TreeRunner(network)
    score_labels(runner, prompts[:4], labels, budget=job["budget"])
    models.wait(device)
    models.forget_peak(device)
    started = time.perf_counter()
    mine, _ = score_labels(runner, prompts, labels, budget=job["budget"])
    models.wait(device)
    seconds, mine_peak = time.perf_counter() - started, models.peak(device)
    models.forget_peak(device)
    few = prompts[: job["reference"]]
    padded_scores(network, few[:1], labels)
    models.wait(device)
    started = time.perf_counter()
    theirs = padded_scores(network, few, labels)
    models.wait(device)
    other = time.perf_counter() - started
    same = float((mine[: len(few)].argmax(1) == theirs.argmax(1)).mean())
    return {
        "inputs": len(prompts) / seconds, "reference": len(few) / other, "same": same, **mine_peak,
        "reference_allocated": models.peak(device)["allocated"],
    }  # fmt: skip


def padded_scores(network: Any, prompts: Sequence[Any], labels: Sequence[Any]) -> Any:
    """Summed log-probabilities, one row a label, shape (prompts, labels)."""
    device, found = network.device, []
    width = max(len(label) for label in labels)
    for prompt in prompts:
        ids = torch.zeros(len(labels), len(prompt) + width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, label in enumerate(labels):
            whole = torch.from_numpy(np.concatenate([prompt, label]))
            ids[row, : len(whole)], mask[row, : len(whole)] = whole, 1
        with torch.no_grad():
            logits = network(
                input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False, logits_to_keep=width + 1
            ).logits.float()  # fmt: skip
        chances = torch.log_softmax(logits[:, :-1], dim=2)
        wanted = ids[:, -width:].to(device)
        kept = chances.gather(2, wanted[:, :, None])[:, :, 0] * mask[:, -width:].to(device)
        found.append(kept.sum(1).cpu().numpy())
    return np.stack(found)


def write(job: dict[str, Any]) -> dict[str, Any]:
    """Greedy answers to prompts that share an instruction, beside transformers' `generate` in one batch of its best."""
    device, size = job["device"], job["size"]
    network = models.make_network(size, device)
    rng = np.random.default_rng(5)
    vocabulary = models.SIZES[size][1].vocabulary
    start = rng.integers(2, vocabulary, job["shared"])
    prompts = [np.concatenate([start, rng.integers(2, vocabulary, job["own"])]) for _ in range(job["prompts"])]
    runner, new = TreeRunner(network), job["new"]
    decoding = Decoding(max_new_tokens=new, stop_ids=frozenset())
    generate(runner, prompts[:2], decoding, budget=job["budget"])
    models.wait(device)
    started = time.perf_counter()
    generate(runner, prompts, decoding, budget=job["budget"])
    models.wait(device)
    mine = time.perf_counter() - started
    best = 0.0
    for batch in job["batches"]:
        started = time.perf_counter()
        for place in range(0, len(prompts), batch):
            ids = torch.from_numpy(np.stack(prompts[place : place + batch])).to(device)
            network.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, min_new_tokens=new, do_sample=False,
                pad_token_id=0,
            )  # fmt: skip
        models.wait(device)
        best = max(best, len(prompts) * new / (time.perf_counter() - started))
    return {"tokens": len(prompts) * new / mine, "reference": best, "engine": bool(runner.writes)}


WORK = {"train": train, "score": score, "write": write}


def main() -> None:
    """Do one job and print what it found as the last line."""
    job = json.loads(sys.argv[1])
    try:
        found = WORK[job["do"]](job)
    except torch.OutOfMemoryError:
        found = {"fault": "out of memory"}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
