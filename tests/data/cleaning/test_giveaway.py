"""Columns that give the label away: each way planted, and columns that do not."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.cleaning.giveaway import GiveawaySettings, LabelledCells, _determines, screen_giveaway

LABELS = ("refund", "lost card", "opening hours", "complaint")


def table(make: Callable[[int, str, random.Random], Mapping[str, str | None]], rows: int = 400) -> list[LabelledCells]:
    """Rows with texts that say nothing about their labels."""
    rng = random.Random(21)
    made = []
    for at in range(rows):
        label = LABELS[int(rng.random() ** 1.5 * 4)]
        text = " ".join(f"w{rng.randrange(3000)}" for _ in range(12))
        cells = make(at, label, rng)
        made.append(LabelledCells(text=cells.get("text") or text, label=label, cells={**cells, "label": label}))
    return made


def ways(rows: list[LabelledCells], **options: object) -> dict[str, str]:
    finding = screen_giveaway(rows, label="label", **options)  # type: ignore[arg-type]
    lines = finding.tables["columns that give the answer away"]
    assert len(finding.notes) == len(lines)
    return {str(line["column"]): str(line["way"]) for line in lines}


@pytest.mark.parametrize(
    ("cell", "way"),
    [
        (lambda at, label, rng: label.replace(" ", "_").upper(), "equals"),
        (lambda at, label, rng: f"{label}: ticket {at}", "begins with"),
        (lambda at, label, rng: f"queue {rng.randrange(9)} / {label}", "ends with"),
        (lambda at, label, rng: f"team for {label} no. {at}", "contains"),
        (lambda at, label, rng: f"q{LABELS.index(label)}{rng.randrange(5)}", "determines"),
        (lambda at, label, rng: str(LABELS.index(label) * 10_000 + at), "sorts"),
        (lambda at, label, rng: f"{'ACDX'[LABELS.index(label)]}-{rng.randrange(10**6)}", "sorts"),
    ],
)  # fmt: skip
def test_each_way_is_found(cell: Callable[[int, str, random.Random], str], way: str) -> None:
    assert ways(table(lambda at, label, rng: {"leak": cell(at, label, rng)})) == {"leak": way}


def test_honest_columns_are_left_alone() -> None:
    def honest(at: int, label: str, rng: random.Random) -> dict[str, str | None]:
        return {
            "id": str(at), "date": f"2024-{rng.randrange(12) + 1:02}-{rng.randrange(28) + 1:02}",
            "channel": rng.choice(["mail", "phone"]), "region": f"r{rng.randrange(40)}",
            "note": "mentions a refund and a complaint", "empty": None,
            "usual": label if rng.random() < 0.8 else rng.choice(LABELS), "amount": f"{rng.random():.3f}",
        }  # fmt: skip

    assert ways(table(honest)) == {}


def test_five_percent_of_slips_are_forgiven() -> None:
    assert ways(table(lambda at, label, rng: {"leak": label if at % 40 else "x"})) == {"leak": "equals"}


def test_the_text_itself_is_looked_at() -> None:
    def tagged(at: int, label: str, rng: random.Random) -> dict[str, str | None]:
        return {"text": f"{label} {' '.join(f'w{rng.randrange(3000)}' for _ in range(9))}"}

    found = ways(table(tagged))
    assert found["(text)"] == "begins with"

    def coded(at: int, label: str, rng: random.Random) -> dict[str, str | None]:
        return {"text": f"w{rng.randrange(3000)} w{rng.randrange(3000)} code{LABELS.index(label)}"}

    assert ways(table(coded))["(last word of the text)"] == "determines"


def test_cells_filled_for_one_label_only() -> None:
    rows = [
        LabelledCells(text=f"text {at}", label="yes" if at % 3 else "no", cells={"closed": str(at) if at % 3 else None})
        for at in range(300)
    ]
    assert ways(rows) == {"closed": "is empty by"}


def test_the_numbers_and_what_they_mean() -> None:
    rows = table(lambda at, label, rng: {"queue": f"q{LABELS.index(label)}"})
    finding = screen_giveaway(rows, label="label", used=["queue"])
    (line,) = finding.tables["columns that give the answer away"]
    most = max(sum(row.label == label for row in rows) for label in LABELS) / 400
    assert line == {
        "column": "queue", "way": "determines", "rows": 400, "share": 1.0, "by chance": round(most, 4),
        "part of the text": True,
    }  # fmt: skip
    assert finding.notes[0].startswith("column `queue` determines the label (rows with equal cells have equal labels)")
    assert "leave it out of data.text" in finding.notes[0]
    assert finding.counts == {"columns": 1, "determines": 1} and not finding.doubts


def test_of_many_rows_a_sample_is_looked_at() -> None:
    rows = table(lambda at, label, rng: {"leak": label}, rows=500)
    finding = screen_giveaway(rows, GiveawaySettings(most_rows=100), label="label")
    assert finding.looked_at == 100 and finding.counts["equals"] == 1
    assert finding.notes[-1] == "100 of 500 rows were looked at"
    assert finding.tables == screen_giveaway(rows, GiveawaySettings(most_rows=100), label="label").tables


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_few_rows_say_nothing(rows: int) -> None:
    assert ways(table(lambda at, label, rng: {"leak": label}, rows=rows)) == {}


def test_one_label_is_not_given_away() -> None:
    rows = [LabelledCells(text=f"t {at}", label="a", cells={"leak": "a"}) for at in range(50)]
    assert ways(rows) == {}


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2)), min_size=1, max_size=40))
@settings(max_examples=150)
def test_votes_leave_the_own_row_out(pairs: list[tuple[int, int]]) -> None:
    right = again = 0
    for at, (value, label) in enumerate(pairs):
        votes = [other for place, (same, other) in enumerate(pairs) if same == value and place != at]
        if votes:
            again += 1
            right += votes.count(label) > max((votes.count(o) for o in set(votes) - {label}), default=0)
    found = _determines(np.array([v for v, _ in pairs], np.uint64), np.array([o for _, o in pairs], np.int32))
    if 2 * again < len(pairs):
        assert found is None
    else:
        assert found is not None and found[1] == again and found[0] == pytest.approx(right / again)


def test_a_published_set_has_its_category_column(real_data: Callable[[str], Path]) -> None:
    """Bitext: eleven categories are a coarser label, the offsets belong to entities; nothing else gives it away."""
    with real_data("customer_support/bitext_intents/train.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = [
            LabelledCells(text=line["utterance"], label=line["category"], cells=line) for line in csv.DictReader(file)
        ]
    assert ways(rows)["intent"] == "determines"
