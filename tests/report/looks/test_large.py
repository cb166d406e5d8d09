"""A run with 5,000 test records: its page stays small, and nothing of torch is loaded for it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metier.data.records import Choice
from metier.data.splits import write_split
from metier.evaluation.files import read_comparison, read_evaluations, write_comparison, write_evaluation
from metier.evaluation.looks import write_look
from metier.evaluation.results import Item
from metier.store.run_folder import RunFolder

RECORDS, MOST_BYTES = 5_000, 2_000_000
CODE = """
import json, sys
from pathlib import Path
from metier.report.gather import gather_summary
from metier.report.write import write_report
from metier.store.run_folder import RunFolder

folder = RunFolder(Path(sys.argv[1]))
page = write_report(gather_summary(folder), folder.report)
heavy = [name for name in ("torch", "transformers", "scipy", "sklearn") if name in sys.modules]
print(json.dumps({"bytes": page.stat().st_size, "heavy": heavy}))
"""


def _item(number: int, labels: tuple[str, ...], right: int) -> Item:
    gold, far = labels[number % len(labels)], labels[(number + 1) % len(labels)]
    answer = gold if number % 100 < right else far
    sure = 0.5 + (number % 50) / 101
    rest = math.log((1 - sure) / (len(labels) - 1))
    return Item(
        id=f"{number:012x}-0", group=f"customer {number // 3}", gold=gold, answer=answer,
        label_logprobs={label: math.log(sure) if label == answer else rest for label in labels}, prompt_hash="ab" * 32,
        source="tickets.csv", row=number + 1,
    )  # fmt: skip


@pytest.fixture
def large_run(make_run: Callable[..., RunFolder], planted: Any) -> RunFolder:
    """Six systems that answered 5,000 records, with every closer look as large as it may be."""
    folder = make_run()
    place = folder.results("test").parent
    right = {"majority": 11, "tfidf": 90, "probe": 88, "zero_shot": 40, "few_shot": 55, "tuned": 95}
    systems = read_evaluations(place, items=False)
    (place / "results.json").unlink()
    for system in systems:
        items = tuple(_item(number, system.labels, right[system.system]) for number in range(RECORDS))
        write_evaluation(replace(system, n=RECORDS, items=items), place)
    write_comparison(replace(read_comparison(place), n=RECORDS), place)
    records = [Choice(id=f"{n:012x}-0", text=f"A question. {n} " * 60, label="invoice") for n in range(RECORDS)]
    write_split(records, folder.split("test"))
    steps = tuple((number + 1) / RECORDS for number in range(RECORDS))
    trust = planted.trust()
    curve = replace(trust.curve, coverage=steps, risk=tuple(part**3 / 20 for part in steps), threshold=steps, n=RECORDS)
    slices = planted.slices(3_000)
    kinds = {kind: tuple(f"{kind} {number % 40}" for number in range(RECORDS)) for kind in ("label", "source", "group")}
    looks = (
        replace(trust, curve=curve), replace(slices, kinds=kinds), planted.robustness(), planted.errors(250),
        planted.seeds(50),
    )  # fmt: skip
    for look in looks:
        write_look(look, place)
    return folder


def test_the_page_of_a_large_run_is_small_and_needs_no_torch(large_run: RunFolder, tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", CODE, str(large_run.path)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    told = json.loads(found.stdout)
    assert told["heavy"] == []
    assert 100_000 < told["bytes"] < MOST_BYTES
    page = large_run.report_page.read_text(encoding="utf-8")
    assert "5,000 test records" in page
    assert "in the file slices.json alone" in page
