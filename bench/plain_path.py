"""What each part of the plain path on a CPU is worth: a training step with it and without it, and matrix products.

    python bench/plain_path.py [--repeats 5] [--threads 2] > docs/results/plain-path.md

Every variant is a process of its own that trains low-rank adapters (rank 16, all linear layers) of the packaged
language model on texts of random tokens without shared prefixes, 80 to 420 tokens of which the last third is
learned. Variants alternate; the time is the processor's (user and system), so that a busy machine matters less.
The last lines are rates of matrix products by torch's own choice and by oneDNN.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

VARIANTS = {
    "everything": "",
    "PEFT's and transformers' own modules": "lean",
    "all logits at once": "loss",
    "memory goes back to the system": "memory",
    "float32": "float32",
    "float32, MKL": "float32 lean",
}
"""What is told -> what is switched off."""
STEPS, TEXTS = 5, 8


def main() -> None:
    """Measure all variants, or, as a child process, one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--without")
    options = parser.parse_args()
    if options.without is not None:
        print(json.dumps(train(options.without.split(), options.threads)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
    for repeat in range(options.repeats):
        for name in VARIANTS if repeat % 2 == 0 else reversed(VARIANTS):
            command = [sys.executable, __file__, "--threads", str(options.threads), "--without", VARIANTS[name]]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    print(page(found, options.threads, products(options.threads)))


def train(without: list[str], threads: int) -> dict[str, float]:
    """Tokens of a second of processor time, share of system time and peak memory of some steps."""
    import numpy as np
    import torch

    from metier import device
    from metier.engine import attention
    from metier.engine.forward import TreeRunner
    from metier.engine.loss import OutputLayer
    from metier.engine.tree import TokenSequence
    from metier.model.adapt import adapt_model
    from metier.model.base import load_base_model
    from metier.recipe.sections import AdaptationSection, HardwareSection, ModelSection
    from metier.training.objective import LanguageObjective

    off: dict[str, Callable[[], None]] = {
        "lean": lambda: setattr(attention, "lean_modules", lambda _network: nullcontext()),
        "loss": lambda: setattr(OutputLayer, "of", staticmethod(lambda _network: None)),
        "memory": lambda: setattr(device, "_keep_freed_memory", bool),
        "float32": lambda: None,
    }
    for name in without:
        off[name]()
    dtype: Any = "float32" if "float32" in without else "auto"
    hardware = device.choose_hardware(HardwareSection(device="cpu", dtype=dtype, threads=threads))
    model = adapt_model(AdaptationSection(), load_base_model(ModelSection(), hardware), seed=1)
    rng = np.random.default_rng(0)
    texts = [rng.integers(100, 40_000, int(rng.integers(80, 420))) for _ in range(TEXTS * STEPS)]
    examples = [(TokenSequence.of(ids[: -len(ids) // 3].tolist(), ids[-len(ids) // 3 :].tolist()),) for ids in texts]
    objective = LanguageObjective(TreeRunner(model.network), examples, [1.0] * len(examples))
    optimizer = torch.optim.AdamW(list(model.trainable().values()), lr=1e-4)

    def step(number: int) -> int:
        numbers = range(number * TEXTS, (number + 1) * TEXTS)
        weight, tokens = objective.weight(numbers), 0
        optimizer.zero_grad(set_to_none=True)
        for part in objective.parts(numbers, 2048):
            (part.loss / weight).backward()  # type: ignore[no-untyped-call]
            tokens += part.logical
        optimizer.step()
        return tokens

    step(0)
    before, started, tokens = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter(), 0
    for number in range(1, STEPS):
        tokens += step(number)
    after, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - started
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return {
        "tokens_a_second": tokens / wall, "tokens_a_processor_second": tokens / (user + system),
        "system_share": system / user, "peak_gb": after.ru_maxrss / 2**20,
    }  # fmt: skip


def products(threads: int) -> list[tuple[str, int, float, float]]:
    """Shape, rows, and GFLOP/s in float32 by torch's choice and by oneDNN."""
    import torch
    from torch.nn.functional import linear

    torch.set_num_threads(threads)
    found = []
    for out, into in ((576, 576), (1536, 576), (576, 1536)):
        for rows in (128, 512, 2048):
            states, weight = torch.rand(rows, into), torch.rand(out, into)
            ways: list[Callable[[], Any]] = [
                lambda states=states, weight=weight: linear(states, weight),
                lambda states=states, weight=weight: torch.ops.mkldnn._linear_pointwise(
                    states, weight, None, "none", [], ""
                ),
            ]
            rates = [2 * rows * out * into / seconds(way) / 1e9 for way in ways]
            found.append((f"{into} to {out}", rows, *rates))
    return found


def seconds(work: Callable[[], Any]) -> float:
    """Median wall time."""
    times = []
    for _ in range(25):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times[5:])


def page(found: dict[str, list[dict[str, float]]], threads: int, rates: list[tuple[str, int, float, float]]) -> str:
    """The result as Markdown."""
    from metier.device import describe_machine

    machine = describe_machine()
    repeats = len(next(iter(found.values())))
    lines = [
        "# The plain path on a CPU", "",
        f"`python bench/plain_path.py --repeats {repeats} --threads {threads}`, {time.strftime('%Y-%m-%d')}, "
        f"{machine['cpu']}, {threads} threads. Each line leaves one thing out; medians of {repeats} processes, and "
        "the lowest and highest.", "",
        "| | tokens a second | tokens a second of processor time | system time / user time | peak memory, GB |",
        "| --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for name, rows in found.items():
        wall, rate, share, peak = ([row[key] for row in rows] for key in rows[0])
        lines.append(
            f"| {name} | {statistics.median(wall):.0f} ({min(wall):.0f} to {max(wall):.0f}) "
            f"| {statistics.median(rate):.0f} ({min(rate):.0f} to {max(rate):.0f}) "
            f"| {statistics.median(share):.1%} | {statistics.median(peak):.2f} |"
        )
    lines += ["", "Products in float32, GFLOP/s:", "", "| layer | rows | torch's choice | oneDNN |"]
    lines += ["| --- | --- | --- | --- |"]
    lines += [f"| {shape} | {rows} | {one:.0f} | {other:.0f} |" for shape, rows, one, other in rates]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
