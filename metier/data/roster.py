"""All examples as columns of numbers: what is decided about them needs no texts.

Two million records take about 150 MB here, whatever their texts are; the texts lie on disk (`spool.py`).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metier.data.exchanges import exchanges
from metier.data.records import Choice, Record
from metier.data.splits import answers_of
from metier.store.fingerprint import text_sha256

Places = NDArray[np.int64]
"""Examples by their place in the roster, in ascending order."""
Hashes = NDArray[np.uint64]
ALONE = -1
"""The group of an example that belongs to none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Roster:
    """What is known of N examples beside their texts; every array has shape (N,)."""

    key: Hashes
    """First 64 bits of the hash of the normalised text (and system prompt): equal for texts that count as the same."""
    gold: Hashes
    """Hash of the right answer."""
    answers: Hashes
    """Hash of all that an example says beside its text: of a preference both answers."""
    stratum: NDArray[np.int32]
    """Place in `strata`."""
    group: NDArray[np.int32]
    """Place in `groups`, or `ALONE`."""
    source: NDArray[np.int32]
    """Place in `sources`."""
    row: NDArray[np.int64]
    """Data row in its file, 1-based."""
    when: NDArray[np.float64]
    """Seconds since 1970 by `data.time`; NaN where there is no date that can be read."""
    occurrence: NDArray[np.int64]
    """How many examples before it, among the files of the same split, have the same text."""
    read_key: Hashes
    """Key of the text as it was read, which its id begins with: another one where a person edited the text."""
    said: Hashes
    """Hashes of conversations up to each turn of the assistant, one example after the other, shape (M,)."""
    said_end: NDArray[np.int64]
    """Where each example's hashes end in `said`."""
    strata: tuple[str, ...]
    groups: tuple[str, ...]
    sources: tuple[str, ...]
    labelled: bool
    """Whether the answers are labels."""

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.key)

    def id_of(self, place: int) -> str:
        """The id of an example's record: the same text gets the same id for ever."""
        return f"{int(self.read_key[place]):016x}-{int(self.occurrence[place])}"

    def cluster(self, places: Places) -> NDArray[np.int64]:
        """What must not be torn apart, as a number each: a group, or all copies of one text.

        Args:
            places: The examples; numbers are only comparable within one answer.
        """
        _, copies = np.unique(self.key[places], return_inverse=True)
        group = self.group[places].astype(np.int64)
        return np.where(group == ALONE, copies.astype(np.int64), -1 - group)

    def cluster_name(self, place: int) -> str:
        """The name by which a cluster is drawn: it depends on nothing but the group, or the text."""
        group = int(self.group[place])
        return f"group {self.groups[group]}" if group != ALONE else f"text {int(self.key[place]):016x}"

    def said_of(self, place: int) -> Hashes:
        """Hashes of one conversation, from its first answer to all of it."""
        start = int(self.said_end[place - 1]) if place else 0
        return self.said[start : int(self.said_end[place])]

    def repeats(self, places: Places) -> NDArray[np.int64]:
        """How many of `places` before each have the same text."""
        return _ranks(self.key[places])

    def label_counts(self, places: Places) -> dict[str, int]:
        """Examples by label, sorted by label; empty where records have none."""
        counts = np.bincount(self.stratum[places], minlength=len(self.strata)).tolist()
        return {label: count for label, count in sorted(zip(self.strata, counts, strict=True)) if label and count}

    def position(self, place: int) -> tuple[str, int]:
        """File and row of an example."""
        return self.sources[int(self.source[place])], int(self.row[place])


@dataclass(eq=False)
class RosterBuilder:
    """A roster in the making, an example at a time."""

    _key: array[int] = field(default_factory=lambda: array("Q"))
    _gold: array[int] = field(default_factory=lambda: array("Q"))
    _answers: array[int] = field(default_factory=lambda: array("Q"))
    _stratum: array[int] = field(default_factory=lambda: array("i"))
    _group: array[int] = field(default_factory=lambda: array("i"))
    _source: array[int] = field(default_factory=lambda: array("i"))
    _row: array[int] = field(default_factory=lambda: array("q"))
    _when: array[float] = field(default_factory=lambda: array("d"))
    _part: array[int] = field(default_factory=lambda: array("b"))
    _said: array[int] = field(default_factory=lambda: array("Q"))
    _said_end: array[int] = field(default_factory=lambda: array("q"))
    _strata: dict[str, int] = field(default_factory=dict)
    _groups: dict[str, int] = field(default_factory=dict)
    _sources: dict[str, int] = field(default_factory=dict)
    _edited: dict[int, int] = field(default_factory=dict)
    """Place -> key of the text as it was read, where a person edited it."""
    _labelled: bool = False

    def __len__(self) -> int:
        """Examples so far."""
        return len(self._key)

    def add(self, record: Record, key: str, part: int, *, when: float | None = None) -> int:
        """Take a record in; its place.

        Args:
            record: The record; its id is not read.
            key: Hash of its normalised text, 16 hexadecimal digits.
            part: Number of the split whose files it comes from.
            when: Its date, in seconds since 1970, where it has one.
        """
        self._part.append(part)
        self._key.append(int(key, 16))
        self._gold.append(_short(record.gold))
        self._answers.append(_short("\0".join(answers_of(record))))
        self._stratum.append(_number(self._strata, record.stratum))
        self._group.append(ALONE if record.group is None else _number(self._groups, record.group))
        self._source.append(_number(self._sources, record.source))
        self._row.append(record.row)
        self._when.append(math.nan if when is None else when)
        self._said.extend(int(each, 16) for each in exchanges(record))
        self._said_end.append(len(self._said))
        self._labelled = self._labelled or isinstance(record, Choice)
        return len(self._key) - 1

    def edited(self, place: int, before: str) -> None:
        """Note that a person edited the text of an example: its id stays that of the text as it was read.

        Args:
            place: The example.
            before: Hash of the normalised text as it was read, 16 hexadecimal digits.
        """
        self._edited[place] = int(before, 16)

    def roster(self) -> Roster:
        """What was taken in; nothing can be added afterwards, as the numbers are not copied."""
        key, part = np.frombuffer(self._key, np.uint64), np.frombuffer(self._part, np.int8)
        read_key = key.copy() if self._edited else key
        for place, before in self._edited.items():
            read_key[place] = before
        occurrence = np.zeros(len(key), np.int64)
        for number in np.unique(part):
            occurrence[part == number] = _ranks(read_key[part == number])
        return Roster(
            key=key, read_key=read_key, occurrence=occurrence, gold=np.frombuffer(self._gold, np.uint64),
            answers=np.frombuffer(self._answers, np.uint64), stratum=np.frombuffer(self._stratum, np.int32),
            group=np.frombuffer(self._group, np.int32), source=np.frombuffer(self._source, np.int32),
            row=np.frombuffer(self._row, np.int64), when=np.frombuffer(self._when, np.float64),
            said=np.frombuffer(self._said, np.uint64), said_end=np.frombuffer(self._said_end, np.int64),
            strata=tuple(self._strata), groups=tuple(self._groups), sources=tuple(self._sources),
            labelled=self._labelled,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """An example that left its split."""

    place: int
    reason: str
    """Short key, as in `Rejected`."""
    detail: str
    """A sentence with row numbers; never the text."""
    step: str = ""
    """The cleaning step whose doubt it was; empty: as `reasons.REJECTIONS` has the reason."""
    version: int = 0
    """Of the step's rules."""


def _ranks(keys: Hashes) -> NDArray[np.int64]:
    """How many equal keys stand before each, shape (n,)."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    firsts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(keys) else np.zeros(0, np.int64)
    found = np.empty(len(keys), np.int64)
    found[order] = np.arange(len(keys)) - np.repeat(firsts, np.diff(np.r_[firsts, len(keys)]))
    return found


def every(places: Places, flags: Mapping[str, NDArray[np.bool_]]) -> list[tuple[str, ...]]:
    """The flags of each of `places`, in the order of `flags`.

    Args:
        places: Examples.
        flags: Name to one truth value an example of the roster.
    """
    columns = {name: holds[places].tolist() for name, holds in flags.items() if holds[places].any()}
    return [tuple(name for name, holds in columns.items() if holds[number]) for number in range(len(places))]


def pick(places: Places, chosen: Sequence[bool] | NDArray[np.bool_]) -> tuple[Places, Places]:
    """Those of `places` that are chosen, and the others; both in their old order."""
    mask = np.asarray(chosen, np.bool_)
    return places[mask], places[~mask]


def _short(text: str) -> int:
    return int(text_sha256(text)[:16], 16)


def _number(known: dict[str, int], name: str) -> int:
    return known.setdefault(name, len(known))
