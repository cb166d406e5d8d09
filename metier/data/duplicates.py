"""Texts that occur more than once: dropped from train, only flagged where something is measured.

Two texts are the same when their normalised forms are (`input_rules.normalised`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metier.data.roster import ALONE, Dropped, Hashes, Places, Roster, pick
from metier.data.table import counted, rows_at

MANY = 500
"""A message names the rows of at most so many copies of a text."""
Kept = tuple[Places, list[Dropped]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Same:
    """Examples by equal hash: who has the same as somebody."""

    hashes: Hashes
    """Sorted."""
    places: Places
    """The example of each, in order within equal hashes."""

    @staticmethod
    def of(hashes: Hashes, places: Places) -> Same:
        """Group `places` by `hashes`, both of shape (n,)."""
        order = np.argsort(hashes, kind="stable")
        return Same(hashes[order], places[order])

    def with_hash(self, value: np.uint64) -> Places:
        """The examples with this hash, in order."""
        start, end = np.searchsorted(self.hashes, value, "left"), np.searchsorted(self.hashes, value, "right")
        return self.places[start:end]

    def has(self, values: Hashes) -> Mask:
        """Which of `values` occur."""
        return np.isin(values, self.hashes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """An example of which another split knows something."""

    place: int
    reason: str
    """Short key, as in `Rejected`: `also in test`, `group also in validation`, `near duplicate in test`."""
    detail: str
    """A sentence with row numbers; never the text."""
    others: tuple[int, ...]
    """Examples of the other split that it is like."""


def torn_keys(roster: Roster, places: Places) -> Hashes:
    """Keys of texts that occur with several answers among `places`."""
    pairs = np.unique(np.stack([roster.key[places], roster.gold[places]], axis=1), axis=0)
    keys, counts = np.unique(pairs[:, 0], return_counts=True)
    return keys[counts > 1]


def is_repeat(roster: Roster, places: Places) -> Mask:
    """Which of `places` have the text of an earlier one."""
    return roster.repeats(places) > 0


def drop_contradictions(roster: Roster, places: Places) -> Kept:
    """Reject every example whose text also has another answer; the detail names the other rows."""
    torn, kept = pick(places, np.isin(roster.key[places], torn_keys(roster, places)))
    same, what = Same.of(roster.key[torn], torn), answer_name(roster)
    return kept, [
        Dropped(
            place=place, reason="contradiction",
            detail=f"same text as {others(roster, place, same.with_hash(roster.key[place]))}, with another {what}",
        )
        for place in torn.tolist()
    ]  # fmt: skip


def drop_duplicates(roster: Roster, places: Places) -> Kept:
    """Keep the first example of each text and answer; the detail of the others names it."""
    both = np.stack([roster.key[places], roster.answers[places]], axis=1)
    _, first, back = np.unique(both, axis=0, return_index=True, return_inverse=True)
    earlier = places[first[back.reshape(-1)]]
    copies = earlier != places
    said = f"same text and {answer_name(roster)} as"
    dropped = [
        Dropped(place=place, reason="duplicate", detail=f"{said} {others(roster, place, np.array([before]))}")
        for place, before in zip(places[copies].tolist(), earlier[copies].tolist(), strict=True)
    ]
    return places[~copies], dropped


def drop_shared(roster: Roster, places: Places, other: Places, name: str) -> Kept:
    """Reject the examples whose text is also in the split `name`, so that nothing measured was learned.

    Args:
        roster: All examples.
        places: Train, or validation.
        other: The split that stays as it is.
        name: Its name.
    """
    leaks = shared_texts(roster, places, other, name)
    gone = np.isin(places, [leak.place for leak in leaks])
    return places[~gone], [Dropped(place=leak.place, reason=leak.reason, detail=leak.detail) for leak in leaks]


def shared_texts(roster: Roster, places: Places, other: Places, name: str) -> list[Leak]:
    """Examples whose text is also in the split `name`.

    A conversation counts too where its earlier turns are what a conversation of that split asks and answers.

    Args:
        roster: All examples.
        places: A split.
        other: Another one.
        name: Its name.
    """
    same, whole = Same.of(roster.key[other], other), _whole(roster, other)
    shared = same.has(roster.key[places])
    inside = _begins_with(roster, places, whole)
    found = []
    for place in places[shared | (inside >= 0)].tolist():
        like = same.with_hash(roster.key[place])
        if len(like):
            detail = f"same text as {name} {others(roster, place, like)}"
        else:
            like = whole.with_hash(roster.said[inside[np.searchsorted(places, place)]])
            detail = f"begins with all that {name} {others(roster, place, like)} asks and answers"
        found.append(Leak(place=place, reason=f"also in {name}", detail=detail, others=(int(like[0]),)))
    return found


def shared_groups(roster: Roster, places: Places, other: Places, name: str) -> list[Leak]:
    """Examples whose group is also in the split `name`.

    Args:
        roster: All examples.
        places: A split.
        other: Another one.
        name: Its name.
    """
    groups, grouped = roster.group[places], other[roster.group[other] != ALONE]
    there, first, counts = np.unique(roster.group[grouped], return_index=True, return_counts=True)
    found = []
    for place in places[np.isin(groups, there)].tolist():
        at = int(np.searchsorted(there, roster.group[place]))
        like = int(grouped[first[at]])
        detail = f"its group has {counted(int(counts[at]), 'row')} in {name}, first {_row(roster, like, place)}"
        found.append(Leak(place=place, reason=f"group also in {name}", detail=detail, others=(like,)))
    return found


def _whole(roster: Roster, places: Places) -> Same:
    """Conversations by the hash of all that they ask and answer."""
    starts = np.r_[0, roster.said_end[:-1]][places] if len(roster) else places
    talks = places[roster.said_end[places] > starts]
    return Same.of(roster.said[roster.said_end[talks] - 1], talks)


def _begins_with(roster: Roster, places: Places, whole: Same) -> NDArray[np.int64]:
    """Place in `said` of the first earlier turn that is all of a conversation in `whole`; -1 where there is none."""
    found = np.full(len(places), -1, np.int64)
    if not len(whole.hashes):
        return found
    hits = np.flatnonzero(whole.has(roster.said))
    ends = roster.said_end
    owners = np.searchsorted(ends, hits, "right")
    hits = hits[hits < ends[owners] - 1]  # the last turn would be the whole conversation: its text is the same
    owners = np.searchsorted(ends, hits, "right")
    for hit, owner in zip(hits[::-1].tolist(), owners[::-1].tolist(), strict=True):
        at = int(np.searchsorted(places, owner))
        if at < len(places) and places[at] == owner:
            found[at] = hit
    return found


def answer_name(roster: Roster) -> str:
    """What the answers are called in messages."""
    return "label" if roster.labelled else "answer"


def others(roster: Roster, place: int, same: Sequence[int] | Places) -> str:
    """The rows of `same`, other than the example's own, for a message."""
    if len(same) > MANY:  # naming them all for each of them would take for ever
        first = next(int(each) for each in same[:2] if each != place)
        return f"{counted(len(same) - 1, 'other row')}, the first of which is {_rows(roster, np.array([first]), place)}"
    rest = np.asarray(same, np.int64)
    return _rows(roster, rest[rest != place], place)


def _row(roster: Roster, other: int, place: int) -> str:
    """One row, for the message of another."""
    source, row = roster.position(other)
    return f"row {row}" if roster.source[other] == roster.source[place] else f"row {row} of {source}"


def _rows(roster: Roster, rest: Places, place: int) -> str:
    sources, own = roster.source[rest], int(roster.source[place])
    parts = []
    for source in sorted(set(sources.tolist()), key=lambda number: (number != own, roster.sources[number])):
        shown = rows_at(roster.row[rest[sources == source]].tolist())
        parts.append(shown if source == own else f"{shown} of {roster.sources[source]}")
    return " and ".join(parts)
