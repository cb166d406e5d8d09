"""The rows of a run dealt into folds, and the data of one fold: its own rows as test, the others as train.

Groups, copies and near copies of a text lie whole in one fold, and whole on one side of a fold's validation. Rows keep
what preparation did to them. The names of labels are those of all rows, so that prompts, and with them the stored
states below the layers that learn, are the same in every fold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from metier.data.card import SplitCard
from metier.data.cleaning.folds import joined, text_code
from metier.data.cleaning.rows import Row
from metier.data.cleaning.same_texts import SameSettings, find_same_texts
from metier.data.prepared import PreparedData
from metier.data.records import Record
from metier.data.splits import KINDS, Split, write_split
from metier.device import derive_seed
from metier.errors import DataError
from metier.evaluation.significance.out_of_fold import group_name, grouped_folds
from metier.store.fingerprint import fingerprint
from metier.store.run_folder import RunFolder

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Dealt:
    """All rows of a run, in the order train, validation, test."""

    records: tuple[Record, ...]
    cluster: tuple[str, ...]
    """Equal for rows that must stay together."""
    fold: tuple[int, ...]
    """From 0."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows of each fold."""
        return tuple(np.bincount(self.fold).tolist())


def refuse_own_test(data: PreparedData) -> None:
    """Folds make every row a test row; a test set of its own says that only its rows are.

    Args:
        data: Of the run.

    Raises:
        DataError: The test set came as a split of its own.
    """
    if data.card.splits["test"].official:
        found = "asks for folds, but the data has a test set of its own, which would then be trained on"
        fix = (
            "Remove evaluation.folds to keep that test set as it is, or put all rows into one file and give it as "
            "data.train, without data.test."
        )
        raise DataError("evaluation.folds", found, "data without a test set of its own", fix)


def deal_rows(data: PreparedData, count: int, *, threshold: float, seed: int) -> Dealt:
    """Deal all rows into folds.

    Args:
        data: Of the run.
        count: How many folds.
        threshold: From which likeness on two texts are near copies (`data.near_threshold`).
        seed: The recipe's seed.

    Raises:
        DataError: There are fewer groups of rows to keep together than folds.
    """
    records = [record for split in (data.train, data.validation, data.test) for record in split.records()]
    cluster = _clusters(records, threshold)
    if len(set(cluster)) < count:
        found = f"is {count}, but the data has {len(set(cluster))} groups of rows to keep together"
        raise DataError("evaluation.folds", found, f"at most {len(set(cluster))}", "Give more rows, or fewer folds.")
    fold = grouped_folds(_as_groups(records, cluster), derive_seed(seed, "folds"), count)
    return Dealt(tuple(records), tuple(cluster), tuple(fold))


def _clusters(records: Sequence[Record], threshold: float) -> list[str]:
    """The cluster of each row: rows that share a group, or a text, or nearly, hang together."""
    rows = [
        Row(
            key=key, split="unsplit", text=record.text, answer="", labelled=False, group=record.group,
            source=record.source, row=record.row,
        )
        for key, record in enumerate(records)
    ]  # fmt: skip
    same = find_same_texts(rows, SameSettings(threshold=threshold)).row_cluster
    alike = np.array([text_code(f"text {number}") for number in same.tolist()], dtype=np.uint64)
    grouped = np.array([text_code(group_name(record)) for record in records], dtype=np.uint64)
    return [str(number) for number in joined(len(records), [alike, grouped]).tolist()]


def _as_groups(records: Sequence[Record], cluster: Sequence[str]) -> list[Record]:
    return [replace(record, group=name) for record, name in zip(records, cluster, strict=True)]


def write_fold(data: PreparedData, dealt: Dealt, number: int, folder: RunFolder, *, share: float, seed: int) -> None:
    """Write the splits of one fold, unless they are there; to be called by one process.

    Args:
        data: Of the run.
        dealt: All rows.
        number: Of the fold, from 0.
        folder: Of the fold.
        share: Of the rows outside of the fold that become its validation (`data.validation_size`).
        seed: The recipe's seed.
    """
    inside = [place for place, fold in enumerate(dealt.fold) if fold != number]
    held = _validation(dealt, inside, share, derive_seed(seed, "validation of fold", number))
    parts = {
        "train": [place for place in inside if place not in held],
        "validation": [place for place in inside if place in held],
        "test": [place for place, fold in enumerate(dealt.fold) if fold == number],
    }
    for name, places in parts.items():
        _write([dealt.records[place] for place in places], folder.split(name))


def _validation(dealt: Dealt, inside: Sequence[int], share: float, seed: int) -> set[int]:
    """Places of the rows that choices are made on: whole clusters, labels spread evenly, none only there."""
    records = _as_groups([dealt.records[place] for place in inside], [dealt.cluster[place] for place in inside])
    clusters = len({dealt.cluster[place] for place in inside})
    pieces = grouped_folds(records, seed, min(clusters, max(2, round(1 / share))))
    held = {place for place, piece in zip(inside, pieces, strict=True) if piece == 0}
    known = {dealt.records[place].stratum for place in inside if place not in held}
    lacking = {dealt.cluster[place] for place in held if dealt.records[place].stratum not in known}
    return {place for place in held if dealt.cluster[place] not in lacking}


def write_all_rows(data: PreparedData, dealt: Dealt, folder: RunFolder) -> None:
    """Write all rows as train, beside the run's own validation, which is among them; to be called by one process.

    Args:
        data: Of the run.
        dealt: All rows.
        folder: Of the training on all rows.
    """
    _write(dealt.records, folder.split("train"))
    _write(list(data.validation.records()), folder.split("validation"))
    _write(list(data.test.records()), folder.split("test"))


def _write(records: Sequence[Record], path: Path) -> None:
    if not records:
        raise DataError("evaluation.folds", f"leaves no rows for {path.stem}", "at least one", "Use fewer folds.")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.part")
        kind = next(name for name, cls in KINDS.items() if type(records[0]) is cls)
        write_split(records, draft, kind=kind)
        draft.replace(path)


def read_fold(data: PreparedData, folder: RunFolder) -> PreparedData:
    """What `write_fold` or `write_all_rows` wrote, as the data of a run.

    Args:
        data: Of the run that it belongs to.
        folder: Of the fold.
    """
    splits, cards = {}, {}
    for name in SPLITS:
        unread = Split(name=name, path=folder.split(name), fingerprint="")
        records = list(unread.records())
        mark = fingerprint([[record.id, record.gold] for record in records])
        splits[name], cards[name] = replace(unread, fingerprint=mark), _card(name, records, mark)
    card = replace(
        data.card, labels=_labels(data), splits=cards, folds=(), ablation=None,
        fingerprint=fingerprint([cards[name].fingerprint for name in SPLITS]),
    )  # fmt: skip
    return replace(
        data, card=card, train=splits["train"], validation=splits["validation"], test=splits["test"], raw=None,
        copies=None,
    )  # fmt: skip


def _labels(data: PreparedData) -> tuple[str, ...]:
    """The labels of all rows; a label that a fold's train lacks is an answer all the same."""
    cards: Mapping[str, SplitCard] = data.card.splits
    return tuple(sorted({*data.labels, *(label for card in cards.values() for label in card.label_counts)}))


def _card(name: str, records: Sequence[Record], mark: str) -> SplitCard:
    labels = Counter(record.stratum for record in records)
    flags = Counter(flag for record in records for flag in record.flags)
    return SplitCard(
        name=name, rows=len(records), groups=len({group_name(record) for record in records}),
        label_counts={label: labels[label] for label in sorted(labels) if label}, fingerprint=mark, official=False,
        flags=dict(sorted(flags.items())),
    )  # fmt: skip
