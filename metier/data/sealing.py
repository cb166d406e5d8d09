"""What a test set is counted by: the same questions are the same test set, in whatever order and with whatever train.

Not by its answers: who corrects a label after a look has looked all the same. And not by the file that the rows came
from, nor by their places in it.
"""

from __future__ import annotations

from metier.data.card import DataCard
from metier.data.splits import Split
from metier.store.fingerprint import fingerprint


def sealed_fingerprint(card: DataCard, test: Split) -> str:
    """Hash of a test set: the task, the labels that occur in it, and its records by what they ask.

    The same for other orders of the rows, another train or validation beside them, corrected answers, and files of
    other names. Another one when a row is added, left out or reworded, and when the same texts get other labels or
    another task: that is another question. Under `privacy: strict` ids are made with the user's key, so that another
    key counts anew.

    Args:
        card: Of the data; its test split says which labels occur.
        test: Its records.
    """
    labels = sorted(card.splits[test.name].label_counts) if test.name in card.splits else []
    return fingerprint(["sealed", 1, card.task, labels, sorted(record.id for record in test.records())])
