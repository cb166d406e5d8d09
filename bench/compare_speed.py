"""How long comparing two systems takes: 5,000 items each, 10,000 resamples, from their files to the verdict.

    python bench/compare_speed.py            measures and writes docs/results/compare-speed.md
    python bench/compare_speed.py --tiny     everything once with few items, to see that it works; writes nothing

Every repeat is a process of its own that imports what it needs, reads both systems' item rows and compares them, as
`metier compare` does. Answers are drawn from a seed: right with a chance of 0.90 and 0.85, else any label.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from metier.evaluation.evaluate import About, evaluate_items
from metier.evaluation.files import write_evaluation
from metier.evaluation.results import Item

PAGE = Path(__file__).resolve().parent.parent / "docs" / "results" / "compare-speed.md"
ITEMS, RESAMPLES, REPEATS = 5000, 10_000, 5
WANTED = 3.0
"""Seconds."""
SHAPES = {
    "3 labels, macro F1": (3, 0, "macro_f1"),
    "77 labels, macro F1": (77, 0, "macro_f1"),
    "150 labels, macro F1": (150, 0, "macro_f1"),
    "77 labels in 2,500 groups, macro F1": (77, 2500, "macro_f1"),
    "150 labels in 4,000 groups, macro F1": (150, 4000, "macro_f1"),
    "written answers, chrF": (0, 0, "chrf"),
}
"""What is compared -> labels (0: written), groups (0: none), primary metric."""
COMPARE = """
import sys, time
started = time.perf_counter()
from pathlib import Path
from metier.evaluation.compare import compare
from metier.evaluation.files import read_evaluations
from metier.recipe.sections import EvaluationSection
first, second = read_evaluations(Path(sys.argv[1]))
read = time.perf_counter() - started
section = EvaluationSection(primary_metric=sys.argv[2], resamples=int(sys.argv[3]))
compare(first, [second], section=section)
print(read, time.perf_counter() - started, time.process_time(), "torch" in sys.modules)
"""


def items_of(labels: int, groups: int, items: int, seed: int) -> tuple[list[Item], list[Item]]:
    """Item rows of two systems with planted answers.

    Args:
        labels: How many; 0 for written answers, whose counts are drawn.
        groups: How many; 0 for none.
        items: Rows.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    golds, member = rng.integers(0, max(labels, 1), items), rng.integers(0, max(groups, 1), items)
    sides: tuple[list[Item], list[Item]] = ([], [])
    for side, chance in zip(sides, (0.90, 0.85), strict=True):
        right, other = rng.random(items) < chance, rng.integers(0, max(labels, 1), items)
        for row in range(items):
            blank = Item(
                id=f"item {row}", group=f"group {member[row]}" if groups else None, gold=f"label {golds[row]}",
                answer=f"label {golds[row] if right[row] else other[row]}", label_logprobs=None, prompt_hash=None,
                source="test.csv", row=row + 1,
            )  # fmt: skip
            side.append(_written(blank, bool(right[row]), rng) if not labels else _sure(blank, labels, rng))
    return sides


def _sure(item: Item, labels: int, rng: np.random.Generator) -> Item:
    logs = np.log(rng.dirichlet(np.ones(labels)))
    return replace(item, label_logprobs={f"label {number}": float(log) for number, log in enumerate(logs)})


def _written(item: Item, right: bool, rng: np.random.Generator) -> Item:
    shared = rng.integers(1, 40, 6)
    chrf = [float(number) for each in shared for number in (each + 20, each + 25, each + 10 * right)]
    return replace(item, stop="end of turn", counts={"exact_match": (float(right), 1.0), "chrf": tuple(chrf)})


def measure(labels: int, groups: int, metric: str, *, items: int, resamples: int, repeats: int) -> list[list[float]]:
    """Seconds of each repeat: until both systems are read, in all, and of processors in all, Python's start included.

    Args:
        labels: As `SHAPES` has it.
        groups: The same.
        metric: The same.
        items: Rows of each system.
        resamples: Of the bootstrap.
        repeats: Processes.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="metier-compare-") as place:
        for name, rows in zip(("tuned", "tfidf"), items_of(labels, groups, items, seed=1), strict=True):
            about = About(system=name, task="classification" if labels else "generation")
            known = [f"label {number}" for number in range(labels)]
            evaluation = evaluate_items(rows, about=about, set_name="test", labels=known, resamples=200, seed=17)
            write_evaluation(evaluation, Path(place))
        for _ in range(repeats):
            command = [sys.executable, "-c", COMPARE, place, metric, str(resamples)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            if said[3] != "False":
                raise SystemExit("comparing loaded torch")
            found.append([float(each) for each in said[:3]])
    return found


def main() -> int:
    """Measure, print the table, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="few items and resamples, once")
    tiny = parser.parse_args().tiny
    items, resamples, repeats = (60, 300, 1) if tiny else (ITEMS, RESAMPLES, REPEATS)
    lines = ["| what | reading | in all, median | slowest | of processors, median |", f"|{' --- |' * 5}"]
    started, slowest, busiest = time.perf_counter(), 0.0, 0.0
    for what, (labels, groups, metric) in SHAPES.items():
        times = measure(labels, groups, metric, items=items, resamples=resamples, repeats=repeats)
        whole = [each[1] for each in times]
        reading, _, busy = (statistics.median(each[place] for each in times) for place in range(3))
        slowest, busiest = max(slowest, *whole), max(busiest, busy)
        lines.append(
            f"| {what} | {reading:.2f} s | {statistics.median(whole):.2f} s | {max(whole):.2f} s | {busy:.2f} s |"
        )
        print(lines[-1], flush=True)
    if not tiny:
        PAGE.write_text(page_of(lines, (slowest, busiest), time.perf_counter() - started), encoding="utf-8")
    return 0


def page_of(lines: list[str], worst: tuple[float, float], seconds: float) -> str:
    """The page of results.

    Args:
        lines: The table.
        worst: Seconds of the slowest repeat of all, and the largest median of processors' seconds.
        seconds: What measuring took.
    """
    load, (slowest, busiest) = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0, worst
    kept = "kept by every repeat" if slowest < WANTED else f"not kept by every repeat: the slowest took {slowest:.2f} s"
    if slowest >= WANTED and load > (os.cpu_count() or 1):
        kept += f", beside other work. The slowest kind took {busiest:.2f} s of processors (median)"
    return f"""# Comparing two systems

`python bench/compare_speed.py`, {datetime.date.today().isoformat()}: two systems of {ITEMS:,} items each,
{RESAMPLES:,} resamples, {REPEATS} repeats, each a process that imports, reads both files of item rows with their label
probabilities, and compares. No torch is loaded.

{chr(10).join(lines)}

Wanted: under {WANTED:g} s; {kept}. {platform.system()} on {platform.machine()}, {os.cpu_count()} cores, Python
{platform.python_version()}, numpy {np.__version__}; load average {load:.1f} at the end, {seconds:.0f} s in all.

What a comparison takes is drawing the resamples. Equal items are stored once with their count, all resamples are one
matrix product, and metrics of the same units share the resamples; pass or fail has a closed form and draws none.
"""


if __name__ == "__main__":
    sys.exit(main())
