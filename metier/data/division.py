"""Three splits in the making: who is in which, who left and why, and what should be said about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metier.data.roster import Dropped, Places, Roster

WEIGHT = ("test", "validation", "train")
"""The splits, the one that stays as it is first: where two share something, the later one gives way."""
NOWHERE = -1
"""Number of an example that is in no split."""


def _nobody() -> Places:
    return np.zeros(0, np.int64)


@dataclass(eq=False)
class Division:
    """Three splits in the making."""

    roster: Roster
    train: Places
    validation: Places = field(default_factory=_nobody)
    test: Places = field(default_factory=_nobody)
    official: frozenset[str] = frozenset()
    """Splits that the user gave as files of their own: nobody is moved into them."""
    dropped: list[Dropped] = field(default_factory=list)
    flags: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    """Doubt -> whether each example of the roster has it."""
    unreadable: Counter[str] = field(default_factory=Counter)
    """Rows that never became examples, by reason."""
    said: list[str] = field(default_factory=list)
    """What was done, in sentences, in its order."""
    closing: list[str] = field(default_factory=list)
    """What can only be said when nobody leaves or moves any more."""
    answer: str = "label"
    """What the records' answers are called."""
    read: int = 0
    """Examples that the files of train had."""

    @property
    def notices(self) -> list[str]:
        """All that should be said."""
        return [*self.said, *self.closing]

    @property
    def reasons(self) -> Counter[str]:
        """Rows rejected so far, by reason."""
        return self.unreadable + Counter(each.reason for each in self.dropped)

    def places(self, split: str) -> Places:
        """The examples of a split, in ascending order."""
        found: Places = getattr(self, split)
        return found

    def put(self, split: str, places: Places) -> None:
        """Settle who is in a split."""
        setattr(self, split, places)

    def numbers(self) -> NDArray[np.int8]:
        """Of each example of the roster the number of its split in `WEIGHT`, or `NOWHERE`."""
        found = np.full(len(self.roster), NOWHERE, np.int8)
        for number, split in enumerate(WEIGHT):
            found[self.places(split)] = number
        return found

    def keep(self, result: tuple[Places, list[Dropped]]) -> Places:
        """Note the dropped half of `result` and give the other."""
        kept, dropped = result
        self.dropped.extend(dropped)
        return kept

    def leave(self, dropped: Iterable[Dropped], *, only: str | None = None) -> int:
        """Take examples out of the splits that they are in; who is in none is left as it is.

        Args:
            dropped: Who, and why; of several reasons for one example the first counts.
            only: The split that they may leave; who is in another one stays. None: any.

        Returns:
            How many left.
        """
        first: dict[int, Dropped] = {}
        for each in dropped:
            first.setdefault(each.place, each)
        numbers = self.numbers()
        there = numbers != NOWHERE if only is None else numbers == WEIGHT.index(only)
        going = [each for place, each in sorted(first.items()) if there[place]]
        gone = np.array([each.place for each in going], np.int64)
        for split in WEIGHT:
            places = self.places(split)
            self.put(split, places[~np.isin(places, gone)])
        self.dropped.extend(going)
        return len(going)

    def move(self, places: Sequence[int] | Places, split: str) -> None:
        """Put examples into a split, whichever they are in."""
        moved = np.asarray(places, np.int64)
        for other in WEIGHT:
            mine = self.places(other)
            self.put(other, mine[~np.isin(mine, moved)])
        self.put(split, np.union1d(self.places(split), moved))

    def flag(self, name: str, places: Places, holds: NDArray[np.bool_]) -> None:
        """Note a doubt about those of `places` for which it holds."""
        self.flags.setdefault(name, np.zeros(len(self.roster), np.bool_))[places[holds]] = True
