"""All data sets of the data folder through the data room: what was read, rejected and found, and how long it took.

    METIER_DATA=FOLDER python -m bench.data_table [--only NAME] [--again]

Each set is prepared in a process of its own with a recipe of at most three lines (`data_sets.py`), as it was published,
every step with its default and personal data reported by patterns alone; the result is a JSON file a set in
`docs/results/data/`, so that what was measured stays when the next one fails. Sets that have a file are left out unless
`--again` is given. The page `docs/results/data.md` is written from those files: its tables between the two marks; what
stands around them is left as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.data_sets import SETS, DataSet

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results" / "data"
PAGE = ROOT / "docs" / "results" / "data.md"
BEGIN, END = "<!-- sets: written by python -m bench.data_table -->", "<!-- end of sets -->"
COLUMNS = (
    "set", "rows", "rejected", "duplicates", "contradictions", "leaks", "personal data", "doubted labels, answers",
    "s", "MiB",
)  # fmt: skip
LONGEST = 3600
"""Seconds that one set may take."""
PRIVACY = {"policy": "report", "detector": "patterns"}
LEAK = re.compile(r"\b(?:also )?in (?:test|validation)\b")
"""In the reason of a row that left because another split has it too."""


def measure(one: DataSet, data: Path) -> dict[str, Any]:
    """Prepare one set, and count.

    Args:
        one: The set.
        data: The data folder.
    """
    from metier.data.prepare import prepare_data
    from metier.recipe.sections import Recipe

    recipe = Recipe.model_validate({**one.values(data), "privacy": PRIVACY})
    with tempfile.TemporaryDirectory(prefix="metier-table-") as place:
        folder, started = Path(place) / "data", time.perf_counter()
        prepared = prepare_data(
            recipe.data, seed=recipe.seed, folder=folder, task=recipe.task, privacy=recipe.privacy
        )  # fmt: skip
        seconds = time.perf_counter() - started
        steps = json.loads((folder / "findings.json").read_text(encoding="utf-8"))["steps"]
        reasons = _doubts_by_reason(folder)
    card = prepared.card
    return {
        "set": one.title,
        "recipe": list(one.lines),
        "task": recipe.task,
        "files": len(card.sources),
        "rows": sum(source.rows for source in card.sources),
        "splits": {name: split.rows for name, split in card.splits.items()},
        "labels": len(card.labels),
        "rejected": dict(card.rejected),
        "changed": dict(card.changed),
        "doubts": reasons,
        "counts": {step["step"]: step["counts"] for step in steps},
        "notes": {step["step"]: step["notes"] for step in steps if step["notes"]},
        "looked_at": {step["step"]: step["looked_at"] for step in steps},
        "notices": list(card.notices),
        "seconds": round(seconds, 2),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _doubts_by_reason(folder: Path) -> dict[str, dict[str, int]]:
    """Different rows by step and reason."""
    rows: dict[str, dict[str, set[tuple[str, int]]]] = {}
    with (folder / "doubts.jsonl").open(encoding="utf-8") as file:
        for line in file:
            doubt = json.loads(line)
            place = (doubt["place"]["source"], doubt["place"]["row"])
            rows.setdefault(doubt["step"], {}).setdefault(doubt["reason"], set()).add(place)
    return {step: {reason: len(some) for reason, some in found.items()} for step, found in rows.items()}


def tables(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """The lines of both tables: what was found, and the recipes.

    Args:
        results: Of `measure`, or a set's error.
    """
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    recipes = ["| set | recipe | records |", "| --- | --- | --- |"]
    for one in results:
        shown = "<br>".join(f"`{line}`" for line in one["recipe"])
        if "error" in one:
            lines.append(f"| {one['set']} | **not read**: {_cell(one['error'])} | | | | | | | | |")
            recipes.append(f"| {one['set']} | {shown} | none |")
            continue
        lines.append(f"| {one['set']} | {' | '.join(_cells(one))} |")
        splits = ", ".join(f"{count:,} {name}" for name, count in one["splits"].items())
        recipes.append(f"| {one['set']} | {shown} | {splits} |")
    return [*lines, "", *recipes]


def _cells(one: Mapping[str, Any]) -> list[str]:
    rejected, doubts = one["rejected"], one["doubts"]
    leaks = sum(count for reason, count in rejected.items() if LEAK.search(reason))
    return [
        f"{one['rows']:,}",
        _counts({reason: n for reason, n in rejected.items() if reason not in _APART and not LEAK.search(reason)}),
        _counts({"left": rejected.get("duplicate", 0), "doubted": sum(doubts.get("duplicates", {}).values())}),
        _counts({"left": rejected.get("contradiction", 0), "doubted": sum(doubts.get("contradictions", {}).values())}),
        _counts({"left": leaks, "doubted": sum(doubts.get("leakage", {}).values())}),
        _counts(_kinds(one["counts"].get("personal data", {}))),
        _labels(one),
        f"{one['seconds']:.1f}",
        f"{one['peak_mib']:,}",
    ]


_APART = ("duplicate", "contradiction")


def _labels(one: Mapping[str, Any]) -> str:
    """Doubted labels or answers; of labels also for how many rows the label is the likeliest one."""
    doubts, judged = one["doubts"], one["looked_at"].get("wrong_labels", 0)
    told = sum(doubts.get("wrong_labels", {}).values()) + sum(doubts.get("wrong_answers", {}).values())
    if not judged:
        return f"{told:,}"
    likeliest = one["counts"]["wrong_labels"].get("own label most probable", 0) / judged
    return f"{told:,} of {judged:,} ({likeliest:.0%} likeliest)"


def _kinds(counts: Mapping[str, int]) -> dict[str, int]:
    """Kinds of personal data are written in capitals."""
    return {name: count for name, count in counts.items() if name.isupper()}


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {_cell(name)}" for name, count in counts.items() if count) or "0"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def write_page(page: Path, lines: Iterable[str]) -> None:
    """Put lines between the marks of the page; a page without marks gets them at its end.

    Args:
        page: The Markdown file.
        lines: Of `tables`.
    """
    text = page.read_text(encoding="utf-8") if page.exists() else "# Data: what the data room finds\n"
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    body = "\n".join(lines)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}", encoding="utf-8")


def _in_a_process(one: DataSet) -> dict[str, Any]:
    """The result of a set, or the last line that its process said."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.data_table", "--measure", one.title],
        cwd=ROOT, capture_output=True, text=True, timeout=LONGEST, check=False,
    )  # fmt: skip
    if done.returncode == 0:
        found: dict[str, Any] = json.loads(done.stdout)
        return found
    said = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
    return {"set": one.title, "recipe": list(one.lines), "error": said[0]}


def _results() -> list[dict[str, Any]]:
    files = [RESULTS / one.file for one in SETS]
    return [json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]


def main() -> None:
    """Measure what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", help="Sets whose name has this in it.", default="")
    parser.add_argument("--again", action="store_true", help="Also those that have a result.")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    data = Path(os.environ.get("METIER_DATA", ROOT.parent / "shared" / "data"))
    if asked.measure:
        (one,) = [each for each in SETS if each.title == asked.measure]
        print(json.dumps(measure(one, data)))
        return
    RESULTS.mkdir(parents=True, exist_ok=True)
    for one in SETS:
        file = RESULTS / one.file
        if asked.only not in one.title or (file.exists() and not asked.again):
            continue
        result = _in_a_process(one)
        print(f"{one.title:40} {result.get('error') or str(result['seconds']) + ' s'}", flush=True)
        if "error" not in result:
            file.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_page(PAGE, tables(_results()))


if __name__ == "__main__":
    main()
