"""What policies do about the doubts of the steps: one function a policy, in one table.

Only rows of train leave here. What two splits share is settled by `leaks.py`, which is told of it. A row leaves once,
for the first step that has it leave; one that a person looked at and kept stays, without flags.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metier.data.cleaning.look import Look
from metier.data.cleaning.rows import Doubt, Finding
from metier.data.duplicates import Leak
from metier.data.roster import Dropped
from metier.data.table import counted, rows_at
from metier.errors import DataError
from metier.recipe.sections import DataSection

Leaves = Callable[[Doubt, DataSection], bool]
ALL = ""
"""In the flags of a step: every other reason."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One row of `STEPS`."""

    name: str
    version: int
    says: str
    """What it does, as a sentence."""
    policy: str
    """Path of the field of the data section that says what happens, such as `language.policy`."""
    screen: Callable[[Look], Finding | None]
    """None: there is nothing for it to look at."""
    flags: Mapping[str, str] = field(default_factory=dict)
    """Reason of a doubt, or `ALL` -> the flag that a row gets which stays; empty: none."""
    measured: bool = True
    """Whether rows of validation and test get it too, which the score of the clean subset then leaves out."""
    leaves: Leaves = lambda doubt, section: True
    """Which doubts a policy that does something is about."""
    said: str = ""
    """What is wrong with such rows, for messages: `that look planted`."""
    act: Callable[[Deeds, Step, Finding], None] | None = None
    """What does the policy, where it is not the row of `POLICIES`."""
    tells: Callable[[Finding], Sequence[str]] = lambda finding: ()
    """What should be said at once, whatever the policy."""

    def policy_in(self, section: DataSection) -> str:
        """The policy that a recipe has for it."""
        value: object = section
        for name in self.policy.split("."):
            value = getattr(value, name)
        return str(value)


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """What the steps found, and what policy makes of it."""

    findings: tuple[Finding, ...]
    """In the order of the steps."""
    drops: Mapping[int, Dropped]
    """By key: rows that leave."""
    flags: Mapping[str, NDArray[np.int64]]
    """Flag -> keys of the rows that stay with it, ascending."""
    done: Mapping[str, Mapping[str, int]]
    """Step -> rows by what was done about its doubts."""
    notices: tuple[str, ...]
    near: tuple[NDArray[np.int64], NDArray[np.int32]] | None = None
    """Keys of all rows and the clusters of nearly equal texts that they are in, for folds; None where none are dealt,
    or most rows hang together as texts of one template do."""
    leaks: tuple[Leak, ...] = ()
    """Rows that say what rows of another split say: `leaks.apply_leaks` does about them what the recipe wants."""


@dataclass(kw_only=True)
class Deeds:
    """What was decided so far; everything by position."""

    look: Look
    drops: dict[int, Dropped] = field(default_factory=dict)
    flags: dict[str, set[int]] = field(default_factory=dict)
    done: dict[str, dict[str, int]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    leaks: list[Leak] = field(default_factory=list)
    settled: frozenset[int] = frozenset()

    @classmethod
    def begin(cls, look: Look) -> Deeds:
        """Nothing done yet."""
        settled = look.numbered.positions(sorted(look.aids.settled))
        return cls(look=look, settled=frozenset(settled.tolist()))

    def apply(self, step: Step, finding: Finding) -> None:
        """Do what the recipe says about a step's doubts.

        Raises:
            DataError: It says that the run ends.
        """
        act = step.act or POLICIES[step.policy_in(self.look.section)]
        act(self, step, finding)

    def about(self, step: Step, finding: Finding) -> list[Doubt]:
        """The doubts that a policy is about: of rows of train that nobody settled."""
        may, section = self.look.in_split("train"), self.look.section
        return [
            doubt
            for doubt in finding.doubts
            if may[doubt.key] and doubt.key not in self.settled and step.leaves(doubt, section)
        ]

    def note(self, step: Step, what: str, rows: int) -> None:
        """Count what was done."""
        if rows:
            self.done.setdefault(step.name, {})[what] = rows

    def result(self, findings: Sequence[Finding]) -> Cleaned:
        """All of it, under the keys that the rows had before."""
        keys = self.look.numbered.keys
        clusters = None if self.look.section.folds is None else self.look.clusters
        return Cleaned(
            findings=tuple(self.look.numbered.named(finding) for finding in findings),
            drops={int(keys[position]): drop for position, drop in sorted(self.drops.items())},
            flags={name: keys[self._staying(found)] for name, found in self.flags.items() if self._staying(found)},
            done=self.done,
            notices=tuple(self.notices),
            leaks=tuple(self.leaks),
            near=None if clusters is None else (keys, clusters),
        )

    def _staying(self, positions: Iterable[int]) -> list[int]:
        return sorted(position for position in positions if position not in self.drops)


def _flag(deeds: Deeds, step: Step, finding: Finding, gone: frozenset[int] = frozenset()) -> None:
    """Mark the rows that stay."""
    flagged: set[int] = set()
    apart = deeds.settled | gone
    train = deeds.look.in_split("train")
    for doubt in finding.doubts:
        flag = step.flags.get(doubt.reason, step.flags.get(ALL))
        if flag and doubt.key not in apart and (step.measured or train[doubt.key]):
            deeds.flags.setdefault(flag, set()).add(doubt.key)
            flagged.add(doubt.key)
    deeds.note(step, "flagged", len(flagged))


def _drop(deeds: Deeds, step: Step, finding: Finding) -> None:
    """Have the rows leave; the others are marked."""
    reasons: Counter[str] = Counter()
    keys = deeds.look.numbered.keys
    gone: set[int] = set()
    for doubt in deeds.about(step, finding):
        gone.add(doubt.key)
        if doubt.key not in deeds.drops:
            place = int(keys[doubt.key])
            deeds.drops[doubt.key] = Dropped(
                place=place, reason=doubt.reason, detail=doubt.detail, step=step.name, version=step.version
            )
            reasons[doubt.reason] += 1
    deeds.note(step, "dropped", reasons.total())
    if reasons:
        said = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
        policy = f"data.{step.policy}: {step.policy_in(deeds.look.section)}"
        deeds.notices.append(f"{counted(reasons.total(), 'row')} left train: {said} ({policy})")
    _flag(deeds, step, finding, frozenset(gone))


def _allow(deeds: Deeds, step: Step, finding: Finding) -> None:
    """Keep the rows, marked, and say so."""
    about = {doubt.key for doubt in deeds.about(step, finding)}
    if about:
        rows = counted(len(about), "row")
        deeds.notices.append(f"kept: {rows} of train {step.said} (data.{step.policy}: allow)")
        deeds.note(step, "allowed", len(about))
    _flag(deeds, step, finding)


def hand_over(deeds: Deeds, step: Step, finding: Finding) -> None:
    """Name the rows that two splits share; `leaks.apply_leaks` knows how rows move, and what moves with them."""
    keys = deeds.look.numbered.keys
    for doubt in finding.doubts:
        if doubt.key not in deeds.settled and step.leaves(doubt, deeds.look.section):
            others = tuple(keys[list(doubt.others)].tolist())
            deeds.leaks.append(
                Leak(place=int(keys[doubt.key]), reason=doubt.reason, detail=doubt.detail, others=others)
            )


def done_already(deeds: Deeds, step: Step, finding: Finding) -> None:
    """Nothing: the step has done what the recipe says, where it ran."""


def _refuse(deeds: Deeds, step: Step, finding: Finding) -> None:
    """End the run where there is something."""
    about = deeds.about(step, finding)
    if about:
        reasons = Counter(doubt.reason for doubt in about)
        said = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
        rows = {doubt.key for doubt in about}
        found = f"is refuse, and the data has {counted(len(rows), 'row')} {step.said}"
        raise DataError(
            f"data.{step.policy}",
            f"{found} ({said}; {named_rows(deeds.look, rows)})",
            "none",
            "Take them out of the source, or choose another policy.",
        )
    _flag(deeds, step, finding)


def _mask(deeds: Deeds, step: Step, finding: Finding) -> None:
    """Count the rows that a repair has masked already, test rows among them."""
    deeds.note(step, "masked", len({doubt.key for doubt in finding.doubts}))


def _shorten(deeds: Deeds, step: Step, finding: Finding) -> None:
    """Count the rows of train that are cut or made several when they are written; the others are marked."""
    keys = frozenset(doubt.key for doubt in deeds.about(step, finding) if doubt.reason == "too long")
    deeds.note(step, deeds.look.section.lengths.policy, len(keys))
    _flag(deeds, step, finding, keys)


def named_rows(look: Look, positions: Iterable[int]) -> str:
    """Where rows are, for a message: `a.csv row 3; b.csv rows 1, 2`."""
    wanted = set(positions)
    by_source: dict[str, list[int]] = {}
    for row in look.rows:
        if row.key in wanted:
            by_source.setdefault(row.source, []).append(row.row)
    return "; ".join(_sources(by_source))


def _sources(by_source: Mapping[str, Sequence[int]]) -> Iterator[str]:
    for source, rows in by_source.items():
        yield f"{source} {rows_at(rows)}"


POLICIES: Mapping[str, Callable[[Deeds, Step, Finding], None]] = {
    "flag": _flag,
    "warn": _flag,
    "keep": _flag,
    "merge": _flag,
    "reject": _flag,
    "drop": _drop,
    "allow": _allow,
    "move": _drop,
    "refuse": _refuse,
    "mask": _mask,
    "cut": _shorten,
    "split": _shorten,
}
"""Policy -> what it does. `merge` and `reject` (rare labels) were done before the splits were drawn; what an evaluation
file has cannot be moved into a split, so with `move` too the rows leave."""
ONLY_LOOK = ("flag", "warn", "keep")
"""Policies under which a package that is missing is said and the step is left out; all others need it."""
