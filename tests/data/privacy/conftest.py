"""Planted identifiers and sentences, and rows that carry them through every way that a row may take."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

FIRST = ("Aveline", "Bertram", "Corisande", "Dietlind", "Ekkehard", "Fiammetta", "Gottschalk", "Hildburg")
LAST = ("Quarrington", "Rutherglen", "Szczepanek", "Thistlewood", "Uzcátegui", "Vandersteen", "Wölfflin", "O'Xenhope")
PLACES = ("kitchen", "orchard", "ferry", "chapel", "quarry", "station", "harbour", "attic")
EVENTS = ("slipped on the stairs", "was stung by a hornet", "fainted after dinner", "burned the left hand")


@dataclass(frozen=True)
class Planted:
    """Rows of a clinic's data, and what must be in no file that a strict run leaves."""

    rows: tuple[tuple[str, str], ...]
    """Text and label. Some are empty of label, repeated, contradicted, or need repairs."""
    identifiers: tuple[str, ...]
    sentences: tuple[str, ...]

    @property
    def needles(self) -> tuple[str, ...]:
        """Identifiers and sentences: 200 in all."""
        return (*self.identifiers, *self.sentences)

    def write(self, path: Path) -> Path:
        """The rows as CSV."""
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *self.rows])
        return path


@pytest.fixture
def nothing_left(planted: Planted) -> Callable[..., None]:
    """A check that no planted text stands in any file of the folders that a strict run wrote to.

    To be called on the run folder, the cache, the state folder and the folder of temporary files; for a model that
    was run, with its tokenizer as `encode`.
    """
    from metier.data.privacy.search import find_texts

    def check(*folders: Path, encode: Callable[[str], list[int]] | None = None) -> None:
        # Of whole texts the plain hashes too: a list of likely texts would be enough to look them up.
        needles = [*planted.needles, *dict.fromkeys(text for text, _ in planted.rows)]
        for folder in folders:
            found = find_texts(folder, needles, encode=encode, hashes=True)
            assert found.files, f"{folder} is empty: nothing was checked"
            assert not found.unread, found.unread
            assert not found.found, found.found[:20]

    return check


@pytest.fixture(scope="session")
def planted() -> Planted:
    """The same 200 needles every time."""
    random = Random(5)
    identifiers, sentences, rows = [], [], []
    for number in range(100):
        # Every letter of the number in words: no two people share a name.
        name = f"{random.choice(FIRST)} {random.choice(LAST)}-{number:02d}{random.randrange(100):02d}"
        kinds = (name, f"MRN-{random.randrange(10**8):08d}", f"{name.split()[1].lower()}@clinic.example",
                 f"+49 30 {random.randrange(10**7):07d}")  # fmt: skip
        identifier = kinds[number % 4]
        sentence = (
            f"On day {number} she {random.choice(EVENTS)} near the {random.choice(PLACES)}; "
            f'her dose is {random.randrange(10**6)} units & she calls it "fine" – Übelkeit <2 h'
        )
        label = ("fall", "sting")[number % 2]
        text = f"{identifier}: {sentence}"
        identifiers.append(identifier)
        sentences.append(sentence)
        rows += {
            0: [(text, label)] * 2,  # a duplicate
            1: [(text, "")],  # rejected: no label
            2: [(text, "fall"), (text, "sting")],  # a contradiction
            3: [(f"  {text}\u200b \r\n", label)],  # repaired
        }.get(number % 10, [(text, label)])
    return Planted(tuple(rows), tuple(identifiers), tuple(sentences))
