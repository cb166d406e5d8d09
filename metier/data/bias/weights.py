"""`data.bias.reweight`: what each record to learn from weighs, so that labels go with groups as with all records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from metier.data.bias.groups import load_group_words
from metier.data.bias.mentions import gather
from metier.data.bias.remedies import Weights, row_weights
from metier.data.bias.settings import Told, flagged_dimensions
from metier.data.cleaning.rows import Row
from metier.data.records import Choice, Record
from metier.recipe.sections import BiasSection


def record_weights(records: Sequence[Record], section: BiasSection, found: Iterable[Told]) -> Weights | None:
    """Weights against the associations of labels with groups that the screen flagged.

    Associations with columns of the user's, and with tones of written answers, are left as they are.

    Args:
        records: All that are learned from.
        section: The recipe's `data.bias`.
        found: What the cleaning steps found.

    Returns:
        One weight a record, 1 on average. None: nothing that words name is flagged, so all weigh the same.
    """
    if not all(isinstance(record, Choice) for record in records):
        return None
    words = load_group_words(more=section.words, without=section.without, names=section.names)
    wanted = [name for name in flagged_dimensions(found, kind="label") if name in words.dimensions]
    if not wanted:
        return None
    words = load_group_words(dimensions=wanted, more=section.words, without=section.without, names=section.names)
    gathered = gather(_Learned(records), words)
    columns = [gathered.asked.coded(name) for name in wanted]
    return row_weights(columns, gathered.labels.codes, np.ones(len(records), np.bool_))


class _Learned:
    """Records as rows, all of train; a row's key is its place."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Row]:
        for key, record in enumerate(self._records):
            yield Row(
                key=key, split="train", text=record.text, answer=record.gold, labelled=True, group=record.group,
                source=record.source, row=record.row,
            )  # fmt: skip
