"""The table of data sets: every set of the README is in it, its recipe is short, and its page is made of its files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from bench.data_sets import MOST_LINES, SETS
from bench.data_table import BEGIN, END, tables, write_page
from metier.recipe.sections import Recipe

RESULT = {
    "set": "tickets", "recipe": ["train: tickets.csv", "label: intent"], "task": "classification", "files": 1,
    "rows": 1234, "splits": {"train": 1000, "validation": 100, "test": 100}, "labels": 2,
    "rejected": {"empty text": 4, "duplicate": 20, "also in test": 10, "near duplicate in validation": 2},
    "changed": {}, "looked_at": {"wrong_labels": 1000},
    "doubts": {"duplicates": {"near duplicate": 7}, "wrong_labels": {"wrong label": 12}, "leakage": {"near": 5}},
    "counts": {"personal data": {"EMAIL_ADDRESS": 3, "rows": 3}, "wrong_labels": {"own label most probable": 870}},
    "notes": {}, "notices": [], "seconds": 1.25, "peak_mib": 211,
}  # fmt: skip


def test_every_set_of_the_readme_is_there(real_data: Callable[[str], Path]) -> None:
    text = real_data("README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?!name)(\w+) \| \w+ \|", text, re.MULTILINE)
    assert len(rows) == 35
    assert list(dict.fromkeys(one.name for one in SETS)) == rows


def test_recipes_have_at_most_three_lines_and_are_recipes(tmp_path: Path) -> None:
    for one in SETS:
        assert len(one.lines) <= MOST_LINES, one.title
        recipe = Recipe.model_validate(one.values(tmp_path))
        assert recipe.data.train.startswith(str(tmp_path))
    assert len({one.file for one in SETS}) == len(SETS)


def test_a_line_says_what_was_counted() -> None:
    lines = tables([RESULT, {"set": "broken", "recipe": ["train: b"], "error": "error: b: cannot | be read"}])
    assert lines[2] == (
        "| tickets | 1,234 | 4 empty text | 20 left, 7 doubted | 0 | 12 left, 5 doubted | 3 EMAIL_ADDRESS | "
        "12 of 1,000 (87% likeliest) | 1.2 | 211 |"
    )
    assert lines[3].startswith("| broken | **not read**: error: b: cannot \\| be read |")
    assert "| tickets | `train: tickets.csv`<br>`label: intent` | 1,000 train, 100 validation, 100 test |" in lines


def test_what_stands_around_the_tables_stays(tmp_path: Path) -> None:
    page = tmp_path / "data.md"
    write_page(page, ["| one |"])
    page.write_text(page.read_text(encoding="utf-8") + "\nwritten by hand\n", encoding="utf-8")
    write_page(page, ["| two |"])
    text = page.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    assert "| two |" in text
    assert "| one |" not in text
    assert text.startswith("# Data") and text.endswith("\nwritten by hand\n")
