"""Copies of train rows for training: only where an association is flagged, and never what a split says already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from metier.data.bias.copies import read_copies, write_copies
from metier.data.cleaning.rows import Finding
from metier.data.records import Choice
from metier.data.splits import choices, write_split
from metier.recipe.sections import BiasSection

LABELS = ("granted", "refused")
ALL = BiasSection(augment=True, largest_share=1.0)


def flagged(dimension: str = "gender") -> list[Finding]:
    rows = [{"dimension": dimension, "kind": "label", "flagged": True}]
    return [Finding(step="bias", version=1, looked_at=9, tables={"associations": rows})]


def records(*texts: str, start: int = 0) -> list[Choice]:
    return [
        Choice(id=f"{start + number}-0", text=text, label=LABELS[number % 2], source="a.csv", row=number + 1)
        for number, text in enumerate(texts)
    ]


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    """Train names a mother, a father and nobody; test has the copy of the mother, written a little otherwise."""
    train = records("my mother asks", "my father writes", "nobody asks", "my wife calls")
    write_split(train, tmp_path / "train.parquet")
    write_split(records("my husband  CALLS", start=50), tmp_path / "validation.parquet")
    write_split(records("My father asks", start=90), tmp_path / "test.parquet")
    return tmp_path


def write(folder: Path, section: BiasSection = ALL, found: Sequence[Finding] = ()) -> str:
    return " ".join(write_copies(folder, "choice", section, found or flagged(), labels=LABELS, seed=17))


def test_a_copy_never_says_what_a_split_says(splits: Path) -> None:
    said = write(splits)
    copies = read_copies(splits)
    assert copies is not None
    (copy,) = choices(copies.records())
    assert (copy.text, copy.label, copy.id, copy.flags) == ("my mother writes", "refused", "1-0~1", ("counterfactual",))
    assert "to be trained on as well: 1 in gender; 2 left out, as a split has such a text" in said


def test_without_a_flag_there_are_none(splits: Path) -> None:
    said = " ".join(write_copies(splits, "choice", ALL, [], labels=LABELS, seed=17))
    assert "no association that a swap could break is flagged" in said
    assert read_copies(splits) is None


def test_unless_the_recipe_asks_nothing_is_said(splits: Path) -> None:
    assert write_copies(splits, "choice", BiasSection(), flagged(), labels=LABELS, seed=17) == ()
    assert read_copies(splits) is None


def test_labels_that_name_the_group_forbid_the_swap(splits: Path) -> None:
    labels = ("womens clothing", "mens clothing")
    said = " ".join(write_copies(splits, "choice", ALL, flagged(), labels=labels, seed=17))
    assert "no copies in gender: the labels name it (" in said and "none could be made" in said
    assert read_copies(splits) is None


def test_why_rows_that_name_a_group_have_no_copy_is_said(tmp_path: Path) -> None:
    texts = ("my mother asks", "she is pregnant", "he needs a prostate exam", 'what does "her" mean?')
    write_split(records(*texts), tmp_path / "train.parquet")
    for name in ("validation", "test"):
        write_split(records("something else", start=50), tmp_path / f"{name}.parquet")
    wanted = "1 in gender; named a group and could not be copied: bound to its group 2, speaks about the word 1"
    assert wanted in write(tmp_path)


def test_the_share_is_kept(tmp_path: Path) -> None:
    write_split(records(*(f"my mother asks for {number}" for number in range(400))), tmp_path / "train.parquet")
    for name in ("validation", "test"):
        write_split(records("something else", start=1000), tmp_path / f"{name}.parquet")
    write(tmp_path, BiasSection(augment=True, largest_share=0.25))
    copies = read_copies(tmp_path)
    assert copies is not None and 60 <= len(copies) <= 140
