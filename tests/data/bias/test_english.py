"""Whether a text reads as English: on the example inbox, where nine test messages do not, and on English sets."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from metier.data.bias.english import reads_as_english
from metier.data.bias.matching import small


def test_the_example_inbox(repository: Path) -> None:
    with (repository / "metier/data/example/test.csv").open(encoding="utf-8-sig", newline="") as file:
        texts = [f"{row['subject']} {row['body']}" for row in csv.DictReader(file)]
    foreign = [text for text in texts if not reads_as_english(small(text))]
    assert len(foreign) == 9  # its README: German, French, Spanish, Portuguese, Dutch


@pytest.mark.parametrize(
    ("folder", "file", "column"),
    [
        ("customer_support/banking77", "train.csv", "text"),
        ("bias/crows_pairs", "crows_pairs_anonymized.csv", "sent_more"),
        ("bias/crows_pairs", "crows_pairs_anonymized.csv", "sent_less"),
    ],
)
def test_english_sets(folder: str, file: str, column: str, real_data: Callable[[str], Path]) -> None:
    with (real_data(folder) / file).open(encoding="utf-8", newline="") as lines:
        texts = [row[column] for row in csv.DictReader(lines)]
    assert sum(not reads_as_english(small(text)) for text in texts) <= len(texts) / 1000


@pytest.mark.parametrize("text", ["", "42", "Her!", "men and women"])
def test_short_texts_count_as_english(text: str) -> None:
    assert reads_as_english(text)
