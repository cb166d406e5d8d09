"""Planted answers: what is planted is known, what is found is counted pair by pair, and the page is made of files."""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path

import pytest

from bench import data_answers
from bench.data_answers import BEGIN, END, WAYS, contradictions, tables, with_contradictions, with_swapped, write_page

PAIRS = [
    (f"where is order number {n} that was sent on day {n} of the month to the house of client {n * 7}", f"answer {n}")
    for n in range(60)
]  # fmt: skip


def test_questions_are_asked_again_in_three_ways_with_the_answer_of_another() -> None:
    rows, added = with_contradictions(PAIRS)
    assert rows[:60] == PAIRS and sorted(added) == [61, 62, 63, 64, 65, 66]
    assert [way for _, way in added.values()] == [*WAYS, *WAYS]
    for number, (asked, way) in added.items():
        question, answer = rows[number - 1]
        before, own = PAIRS[asked - 1]
        assert answer != own and answer in {answer for _, answer in PAIRS}
        assert (question == before) == (way == WAYS[0])
    assert with_contradictions(PAIRS) == (rows, added)


def test_a_tenth_of_the_answers_is_swapped() -> None:
    rows, swapped = with_swapped(PAIRS)
    assert len(swapped) == 6
    changed = {number for number, (row, was) in enumerate(zip(rows, PAIRS, strict=True), start=1) if row != was}
    assert changed == swapped and all(row[0] == was[0] for row, was in zip(rows, PAIRS, strict=True))


def test_auroc_against_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]

    rng = random.Random(3)
    planted, others = [rng.gauss(1, 1) for _ in range(9)], [rng.gauss(0, 1) for _ in range(40)]
    wanted = roc_auc_score([1] * 9 + [0] * 40, [*planted, *others])
    assert data_answers._auroc(planted, others) == pytest.approx(wanted, abs=1e-3)


def test_what_is_planted_word_for_word_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rng = random.Random(5)
    words = ["".join(letters) for letters in product("abcdefgh", repeat=3)]
    pairs = [(" ".join(rng.sample(words, 16)), f"answer {n}") for n in range(60)]
    monkeypatch.setattr(data_answers, "sample", lambda name, data, rows: pairs)
    found = contradictions("made", tmp_path, 60)
    assert (found["rows"], found["planted"], found["other rows doubted"]) == (66, 6, 0)
    assert found["found"][WAYS[0]] == [2, 2] and found["found"][WAYS[1]] == [2, 2]


def test_the_tables_stand_between_their_marks(tmp_path: Path) -> None:
    one = {"set": "s", "rows": 330, "planted": 30, "found": {WAYS[0]: [10, 10], WAYS[1]: [9, 10], WAYS[2]: [0, 0]},
           "other rows doubted": 4, "seconds": 5.7}  # fmt: skip
    other = {"set": "s", "rows": 250, "planted": 25, "doubted": 40, "found": 20, "first": 15, "auroc": 0.874,
             "seconds": 1234.5}  # fmt: skip
    lines = tables([one], [other, {**other, "doubted": 0, "found": 0, "first": 0}])
    assert lines[2] == "| s | 330 | 30 | 10 of 10 | 9 of 10 | none is long | 4 | 6 |"
    assert lines[-2] == "| s | 250 | 25 | 40 | 80% | 50% | 60% | 0.87 | 1,234 |"
    assert lines[-1] == "| s | 250 | 25 | 0 | 0% | none doubted | 0% | 0.87 | 1,234 |"
    page = tmp_path / "page.md"
    page.write_text(f"# A\n\n{BEGIN}\nold\n{END}\n\nmore\n", encoding="utf-8")
    write_page(page, lines)
    text = page.read_text(encoding="utf-8")
    assert "old" not in text and text.startswith("# A\n") and text.endswith(f"{END}\n\nmore\n")
