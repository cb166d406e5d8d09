"""`data.bias.augment`: counterfactual copies of train records, kept apart from the splits, to be trained on as well.

No copy says what a record of train, validation or test says already: a copy of a train row may well be a test row
word for word, and would give that away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from metier.data.bias.counterfactuals import Swapper
from metier.data.bias.record_copies import copies_of
from metier.data.bias.remedies import AugmentSettings, is_drawn, swaps_for
from metier.data.bias.settings import Told, flagged_dimensions
from metier.data.bias.tagger import tagger_where_installed
from metier.data.input_rules import normalised
from metier.data.records import Record
from metier.data.splits import Split, SplitWriter
from metier.recipe.sections import BiasSection
from metier.store.fingerprint import file_sha256, text_sha256
from metier.store.run_folder import DataFolder

NAME = "copies"
"""Of the file, which has the form of a split."""
FLAG = "counterfactual"
_SPLITS = ("train", "validation", "test")


def write_copies(
    folder: Path, kind: str, section: BiasSection, found: Iterable[Told], *, labels: Sequence[str], seed: int
) -> tuple[str, ...]:
    """Write `copies.parquet`, in the dimensions in which the screen flagged an association; no file where none is.

    Args:
        folder: Holds the splits as they were written last.
        kind: Kind of the records: a name in `splits.KINDS`.
        section: The recipe's `data.bias`; nothing is done unless it says `augment`.
        found: What the cleaning steps found.
        labels: Of train; empty where answers are written.
        seed: The recipe's seed: which rows are copied.

    Returns:
        What should be said about it.
    """
    if not section.augment:
        return ()
    dimensions = swaps_for(flagged_dimensions(found))
    if not dimensions:
        return ("data.bias.augment: no association that a swap could break is flagged, so there are no copies",)
    tagger, how = tagger_where_installed() if "gender" in dimensions else (None, "")
    swapper = Swapper(labels, dimensions=dimensions, tagger=tagger)
    notices = [
        f"data.bias.augment: no copies in {name}: the labels name it ({', '.join(words)})"
        for name, words in swapper.refused.items()
    ]
    settings = AugmentSettings(most_copies=section.most_copies, largest_share=section.largest_share, seed=seed)
    maker = _Maker(swapper, settings, _said(folder))
    path = DataFolder(folder).split(NAME)
    writer = SplitWriter(path, kind)
    for number, record in enumerate(_records(folder, "train")):
        for copy in maker.copies(number, record):
            writer.write(copy)
    writer.close()
    if not maker.made:
        path.unlink()
    where = ", ".join(f"{count:,} in {name}" for name, count in sorted(maker.made.items())) or "none could be made"
    left = f"; {maker.known:,} left out, as a split has such a text" if maker.known else ""
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(maker.left_out.items()))
    left += f"; named a group and could not be copied: {reasons}" if reasons else ""
    told = f"; {how}" if "gender" in maker.made else ""
    notices.append(
        f"data.bias.augment: counterfactual copies of train rows to be trained on as well: {where}{left}{told}"
    )
    return tuple(notices)


def read_copies(folder: Path) -> Split | None:
    """The copies of a run's data folder; None where there are none.

    Args:
        folder: Holds the splits.
    """
    path = DataFolder(folder).split(NAME)
    return Split(name=NAME, path=path, fingerprint=file_sha256(path)) if path.exists() else None


class _Maker:
    """Makes copies, and counts them."""

    def __init__(self, swapper: Swapper, settings: AugmentSettings, said: set[int]) -> None:
        self._swapper, self._settings, self._said = swapper, settings, said
        self.made: Counter[str] = Counter()
        """Copies by dimension."""
        self.known = 0
        """Copies that were left out."""
        self.left_out: Counter[str] = Counter()
        """Records that name a group of a dimension and have no copy in it, by reason."""

    def copies(self, number: int, record: Record) -> Iterator[Record]:
        """The copies of one train record.

        Args:
            number: Its place in train.
            record: The record.
        """
        if not is_drawn(number, self._settings):
            return
        found, made = copies_of(record, self._swapper, number), 0
        self.left_out.update(found.left_out.values())
        for dimension, copy in found.made:
            if made == self._settings.most_copies:
                return
            said = _text_key(copy)
            if said in self._said:
                self.known += 1
                continue
            self._said.add(said)
            self.made[dimension] += 1
            made += 1
            yield replace(copy, id=f"{record.id}~{made}", flags=(FLAG,))


def _said(folder: Path) -> set[int]:
    return {_text_key(record) for name in _SPLITS for record in _records(folder, name)}


def _records(folder: Path, name: str) -> Iterator[Record]:
    return Split(name=name, path=DataFolder(folder).split(name), fingerprint="").records()


def _text_key(record: Record) -> int:
    return int(text_sha256(normalised(record.text))[:16], 16)
