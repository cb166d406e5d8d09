"""The GPU rows in one go: metier beside TRL with Liger, bfloat16, three sizes; ends in time and keeps what it has.

    bash bench/gpu.sh [--dry-run] [--seconds 520]        (see gpu.sh; offline, wheels of peers carried in bench/wheels)

Every row is a process of its own with a time limit, so that one that fails or takes long costs only itself. The most
telling rows come first. On a card the table goes to docs/results/gpu.md, and with --dry-run, which runs everything
small on the CPU and says nothing about speed, to the screen.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.peers.__main__ import environments_folder

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "results" / "gpu.md"
PACKAGES = ("torch", "transformers", "peft", "triton", "trl", "liger-kernel", "accelerate")
KEEP_BACK = 8.0
"""Seconds that are left for the page."""
LEAST = 10.0
"""Seconds without which no row begins."""
Found = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One process: what it does, for how long at most, and how it is shown."""

    title: str
    side: str
    """`metier` or `TRL`."""
    setting: str
    job: Found
    seconds: float
    """Time limit."""


@dataclass
class Bench:
    """What was found so far, until when it may go on, and what it is measured on."""

    device: str
    until: float
    python: str
    """The Python that has the peer."""
    found: list[tuple[Row, Found]] = field(default_factory=list)
    checks: str = ""

    def run(self, row: Row) -> None:
        """Run one row; what goes wrong is its result."""
        left = self.until - KEEP_BACK - time.monotonic()
        if left < LEAST:
            self.found.append((row, {"fault": "no time left"}))
            return
        module = {"metier": "bench.gpu_worker", "TRL": "bench.gpu_trl"}[row.side]
        python = sys.executable if row.side == "metier" else self.python
        self.found.append((row, asked([python, "-m", module, json.dumps(row.job)], min(left, row.seconds))))
        print(f"{row.title}, {row.side} ({row.setting}): {self.found[-1][1]}", file=sys.stderr, flush=True)


def asked(command: Sequence[str], seconds: float) -> Found:
    """The last line of a process as JSON, or why there is none."""
    try:
        done = subprocess.run(
            command, cwd=HERE.parent, check=False, capture_output=True, text=True, encoding="utf-8", timeout=seconds
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"fault": f"not done within {seconds:.0f} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines and lines[-1].startswith("{"):
        answer: Found = json.loads(lines[-1])
        return answer
    said = [line for line in done.stderr.strip().splitlines() if line.strip()] or ["it said nothing"]
    return {"fault": said[-1][:200]}


def rows(*, dry: bool) -> list[Row]:
    """All rows, the most telling first."""
    device = "cpu" if dry else "cuda"
    sizes = ("tiny",) if dry else ("8B", "0.5B", "1.5B")
    steps, side = (2, 256) if dry else (6, 8192)
    common = {"device": device, "steps": steps, "side": side}
    plain = {"count": 4, "length": 64} if dry else {"count": 8, "length": 2048}
    natural = {"count": 6, "longest": 96} if dry else {"count": 32, "longest": 2048}
    shared = (
        {"count": 8, "shared": 64, "own": 8, "answer": 2} if dry
        else {"count": 64, "shared": 512, "own": 40, "answer": 8}
    )  # fmt: skip
    budget, limit = (256, 60.0) if dry else (8192, 75.0)
    found = []

    def pair(title: str, size: str, data: str, work: Found, batch: int, *, ways: Sequence[bool] = (True,)) -> None:
        job = {**common, "do": "train", "size": size, "data": data, "work": work, "budget": budget}
        found.append(Row(title, "metier", f"{budget:,} tokens a pass", job, limit))
        for liger in (False,) if dry else ways:  # Liger's kernels run on a card only
            setting = {
                "batch": batch, "liger": liger, "checkpointing": False, "loss_type": "nll" if liger else "chunked_nll"
            }  # fmt: skip
            words = f"batch {batch}, {'Liger' if liger else 'chunked_nll'}"
            found.append(Row(title, "TRL", words, {**job, "setting": setting}, limit))

    small = sizes[-1]
    alike = f"{plain['count']} texts of {plain['length']} tokens"
    pair(f"LoRA, {sizes[0]}, {alike}", sizes[0], "plain", plain, 4, ways=(True, False))
    pair(f"LoRA, {small}, one instruction before every text", small, "shared", shared, 16)
    top = {"top": 1 if dry else 4}
    frozen = {**common, "do": "train", "size": sizes[0], "data": "plain", "work": plain, "budget": budget, **top}
    title = f"LoRA on the top {top['top']} blocks, {sizes[0]}, the rest stored"
    found.append(Row(title, "metier", "trunk out of memory", frozen, limit * 2))
    setting = {"batch": 4, "liger": not dry, "checkpointing": False, "loss_type": "nll"}
    found.append(Row(title, "TRL", "the same blocks, batch 4", {**frozen, "setting": setting}, limit))
    for size in sizes[1:]:
        pair(f"LoRA, {size}, {alike}", size, "plain", plain, 4)
    pair(f"LoRA, {small}, texts of natural lengths", small, "natural", natural, 8)
    counts = {"prompts": 4, "reference": 2} if dry else {"prompts": 200, "reference": 20}
    few = {"shared": 24, "own": 8, "labels": 5} if dry else {"shared": 512, "own": 40, "labels": 77}
    score = {"do": "score", "device": device, "size": small, "budget": budget, **few, **counts}
    found.append(Row(f"Scoring {few['labels']} labels, {small}", "metier", "beside transformers, padded", score, limit))
    written = {"prompts": 4, "new": 4, "batches": [4]} if dry else {"prompts": 256, "new": 64, "batches": [64, 256]}
    write = {"do": "write", "device": device, "size": small, "shared": few["shared"], "own": few["own"], **written}
    found.append(
        Row(f"Writing, {small}", "metier", "beside transformers `generate`", {**write, "budget": budget}, limit)
    )  # fmt: skip
    return found


def check(bench: Bench, *, dry: bool) -> None:
    """The correctness checks of `gpu_checks.py`, as Markdown."""
    command = [sys.executable, str(HERE / "gpu_checks.py"), "--device", bench.device]
    try:
        done = subprocess.run(
            [*command, *(["--quick"] if dry else [])], cwd=HERE.parent, check=False, capture_output=True, text=True,
            encoding="utf-8", timeout=90,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        bench.checks = "The checks were not done within 90 s."
        return
    verdict = {0: "All checks hold.", 1: "**A check does not hold.**"}.get(done.returncode, "**The checks broke off.**")
    said = done.stdout if done.stdout.strip() else done.stderr.strip()[-400:]
    table = "\n".join(line for line in said.splitlines() if not line.startswith("# "))
    bench.checks = f"{verdict}\n\n{table.strip()}"


def page(bench: Bench, *, dry: bool, seconds: float) -> str:
    """Everything as one page."""
    lines = [
        f"# {'Dry run of the GPU rows: small shapes on the CPU, no measurement' if dry else 'On one GPU'}",
        "",
        f"{datetime.now(tz=UTC):%Y-%m-%d}, {card(bench.device)}, {versions()}. "
        f"`bash bench/gpu.sh{' --dry-run' if dry else ''}`, {seconds:.0f} s in all.",
        "",
        "Random weights of true shapes; adapters of rank 16 on all linear layers; bfloat16; tokens are real ones, "
        "without padding, each text by itself. Median of the steps after two. Share: of the product of two 8,192 × "
        "8,192 bfloat16 matrices measured in the same process, by the operations that are needed "
        "(`bench/limit.py`). Memory: the most that torch had allocated. Not measured: Unsloth, which cannot be "
        "carried; `torch.compile`; anything that learns from real texts.",
        "",
        "| row | side | setting | tokens/s | examples/s | memory | share | |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]  # fmt: skip
    lines += [line_of(row, found) for row, found in bench.found]
    return "\n".join([*lines, "", "## Checks", "", bench.checks, ""])


def line_of(row: Row, found: Found) -> str:
    """One line of the table."""
    if "fault" in found:
        return f"| {row.title} | {row.side} | {row.setting} | | | | | {found['fault']} |"
    memory = f"{found['allocated'] / 1e9:.2f} GB" if "allocated" in found else ""
    if row.job["do"] != "train":
        unit = "inputs/s" if row.job["do"] == "score" else "tokens/s"
        mine = found["inputs"] if row.job["do"] == "score" else found["tokens"]
        said = f"{mine:,.1f} {unit}, transformers {found['reference']:,.1f}"
        said += f", same answer {found['same']:.0%}" if "same" in found else ""
        return f"| {row.title} | {row.side} | {row.setting} | | | {memory} | | {said} |"
    notes = ["plainly" if found.get("plain") else "", "checkpointing" if found.get("checkpointing") else ""]
    if found.get("released"):
        notes.append(f"{found['released'] / 1e9:.2f} GB of weights out of memory")
    words = "; ".join(note for note in notes if note)
    return (
        f"| {row.title} | {row.side} | {row.setting} | {found['tokens']:,.0f} | {found['examples']:,.1f} | {memory} | "
        f"{found['share']:.0%} | {words} |"
    )


def card(device: str) -> str:
    """What it ran on."""
    import torch

    return str(torch.cuda.get_device_name()) if device == "cuda" else "CPU"


def peer_python(*, dry: bool) -> str:
    """The Python that has TRL: on a card this one with the carried wheels, else the environment of `bench.peers`."""
    made = environments_folder() / "huggingface" / "bin" / "python"
    return str(made) if dry and made.exists() else sys.executable


def versions() -> str:
    """Versions of what was compared."""
    said = []
    for name in PACKAGES:
        try:
            said.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            said.append(f"no {name}")
    return ", ".join(said)


def main() -> int:
    """Run what time allows and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="everything small, on the CPU")
    parser.add_argument("--seconds", type=float, default=520.0, help="all of it ends within this time")
    parser.add_argument("--peer-python", default=None, help="a Python that has TRL")
    parser.add_argument("--out", type=Path, default=None, help=f"the page; {PAGE.name} in docs/results, on a card")
    options = parser.parse_args()
    started = time.monotonic()
    import torch

    if not options.dry_run and not torch.cuda.is_available():
        print("No CUDA card is here. `bash bench/gpu.sh --dry-run` runs everything small on the CPU.", file=sys.stderr)
        return 5
    peer = options.peer_python or peer_python(dry=options.dry_run)
    bench = Bench("cpu" if options.dry_run else "cuda", started + options.seconds, peer)
    out = options.out or (None if options.dry_run else PAGE)
    check(bench, dry=options.dry_run)
    for row in rows(dry=options.dry_run):
        bench.run(row)
        if out is not None:  # a machine that is taken away leaves what there is
            out.write_text(page(bench, dry=options.dry_run, seconds=time.monotonic() - started), encoding="utf-8")
    written = page(bench, dry=options.dry_run, seconds=time.monotonic() - started)
    print(written)
    mine = [found for row, found in bench.found if row.side == "metier"]
    return int("**" in bench.checks or any("fault" in found for found in mine))


if __name__ == "__main__":
    sys.exit(main())
