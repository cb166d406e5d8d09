"""Real files as they were published: what is wrong in them is known (see their README) and has to be found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.data.describe import describe_data
from metier.data.draft import draft_recipe
from metier.data.prepare import prepare_data
from metier.data.prepared import PreparedData
from metier.data.sources import read_table
from metier.errors import DataError
from metier.recipe.load import load_recipe

RealData = Callable[[str], Path]
Prepare = Callable[..., PreparedData]


@pytest.mark.parametrize(
    ("path", "rows", "text", "label", "labels"),
    [
        ("customer_support/banking77/train.csv", 10_003, ("text",), "category", 77),
        ("customer_support/bitext_intents/train.csv", 6480, ("utterance",), "intent", 27),
        ("customer_support/bitext_intents/older_release_messy.csv", 8183, ("utterance",), "intent", 30),
        ("customer_support/multidogo_software/train.tsv", 13_137, ("utterance",), "intent", 17),
        ("finance/fomc_stance/manual-mm-split.xlsx", 1132, ("sentence",), "label", 3),
        ("finance/fomc_stance/*.xlsx", 2480, ("sentence",), "label", 3),
        ("finance/fomc_stance", 2480, ("sentence",), "label", 3),
        ("medical/medical_abstracts/train.csv", 1600, ("medical_abstract",), "condition_label", 5),
        ("legal/cuad_clauses/clauses_train.jsonl", 1258, ("clause",), "label", 26),
    ],
)
def test_a_drafted_recipe_prepares(
    real_data: RealData, tmp_path: Path, path: str, rows: int, text: tuple[str, ...], label: str, labels: int
) -> None:
    found = describe_data(real_data(".") / path)
    assert (found.rows, found.text, found.label) == (rows, text, label)
    recipe_file = tmp_path / "recipe.yaml"
    recipe_file.write_text(draft_recipe(found, recipe_folder=tmp_path), encoding="utf-8")
    prepared = prepare_data(load_recipe(recipe_file).data, seed=17, folder=tmp_path / "data")
    assert len(prepared.labels) == labels
    card = prepared.card
    official_rows = sum(source.rows for source in card.sources)
    assert sum(split.rows for split in card.splits.values()) + sum(card.rejected.values()) == official_rows


def test_rows_quoted_whole_are_repaired(real_data: RealData) -> None:
    table = read_table(real_data(".") / "customer_support/bitext_intents/older_release_messy.csv")
    assert len(table.repaired) == 87
    assert not table.broken


def test_a_leak_between_train_and_test_is_closed(real_data: RealData, prepare: Prepare) -> None:
    prepared = prepare(train=real_data(".") / "medical/medical_abstracts")
    assert prepared.card.rejected["also in test"] == 18
    assert len(prepared.test) == 500


def test_names_of_numbered_labels_are_found_beside_the_data(real_data: RealData) -> None:
    found = describe_data(real_data(".") / "medical/medical_abstracts/train.csv")
    assert (found.label_file, found.label_names["1"]) == ("labels.csv", "neoplasms")


def test_a_placeholder_label_is_offered_for_ignoring(real_data: RealData, prepare: Prepare) -> None:
    assert describe_data(real_data(".") / "finance/fomc_stance").ignore_labels == ("-",)
    prepared = prepare(train=real_data(".") / "finance/fomc_stance/*.xlsx", ignore_labels=["-"])
    assert prepared.card.rejected["ignored label"] == 199


def test_groups_are_guessed(real_data: RealData) -> None:
    assert describe_data(real_data(".") / "legal/cuad_clauses/clauses_train.jsonl").group == "contract"
    assert describe_data(real_data(".") / "customer_support/multidogo_software/train.tsv").group == "conversationId"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"train": "customer_support/bitext_intents/train.csv"}, "2 columns that could be it, wanted `intent`"),
        ({"train": "finance/fomc_stance"}, "has several files and none is called train"),
    ],
)
def test_what_is_ambiguous_is_asked(
    real_data: RealData, prepare: Prepare, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        prepare(train=real_data(".") / fields["train"])
