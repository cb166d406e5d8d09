"""A person's decisions applied to the rows of a run, and the sentences that say which could not be.

A decision is looked up on the row as the cleaning steps see it: after the text repairs, before anything
is removed. An edited row keeps its record's id, so that a later run can decide about it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from metier.data.record.decisions import DECISIONS, ON_TEST_ROWS, Decision, Decisions, Key
from metier.data.record.findings import content_hash
from metier.data.records import Choice, Conversation, Preference, Record
from metier.data.table import counted

_MOST_NAMED = 10


@dataclass(frozen=True, kw_only=True)
class Settled:
    """A row after all decisions about it."""

    text: str
    answer: str
    decisions: tuple[Decision, ...] = ()
    """Those that were applied, in order."""

    @property
    def dropped(self) -> bool:
        """Whether a person decided that it leaves."""
        return bool(self.decisions) and self.decisions[-1].decision == "drop"

    @property
    def kept(self) -> bool:
        """Whether a person looked at it and let it stay: doubts about it are settled, policy drops it no more."""
        return bool(self.decisions) and not self.dropped


class Honoured:
    """Applies decisions row by row, and afterwards says which could not be applied."""

    def __init__(self, decisions: Decisions) -> None:
        """Begin.

        Args:
            decisions: All of them.
        """
        self._decisions = decisions
        self._used: set[Key] = set()
        self._refused: set[Key] = set()
        self._seen: set[tuple[str, str]] = set()
        self._ids = {(decision.source, decision.id) for decision in decisions.latest.values()}

    def settle(self, record: Record, *, test: bool = False) -> tuple[Record, Settled]:
        """A record after all decisions about it; what a later run decided about the changed record follows.

        Args:
            record: As the cleaning steps see it.
            test: Whether it is of a test set that the user gave, from which nothing is dropped or edited.

        Returns:
            The record with its new answer or text, and what was decided. Whoever calls drops it where
            `Settled.dropped` says so, and writes the decisions into the log of changes.
        """
        text, answer = record.text, record.gold
        if (record.source, record.id) not in self._ids:
            return record, Settled(text=text, answer=answer)
        self._seen.add((record.source, record.id))
        applied: list[Decision] = []
        met: set[str] = set()
        while (content := content_hash(text, answer)) not in met:
            met.add(content)  # two runs may have relabelled it there and back
            decision = self._decisions.of(record.source, record.id, content)
            if decision is None:
                break
            if test and decision.decision not in ON_TEST_ROWS:
                self._refused.add(decision.key)
                break
            self._used.add(decision.key)
            applied.append(decision)
            if decision.decision == "relabel":
                answer = decision.value or answer
            elif decision.decision == "edit":
                text = decision.value or text
            else:
                break
        settled = Settled(text=text, answer=answer, decisions=tuple(applied))
        return _changed(record, text, answer), settled

    def notices(self) -> list[str]:
        """What was applied, and what was not and why, once all rows were settled."""
        name, latest = self._decisions.name, self._decisions.latest
        said = []
        if self._used:
            kinds = Counter(latest[key].decision for key in self._used)
            words = ", ".join(f"{kinds[kind]:,} {kind}" for kind in DECISIONS if kinds[kind])
            said.append(f"{name}: {counted(len(self._used), 'decision')} applied ({words})")
        unused = [decision for key, decision in latest.items() if key not in self._used]
        refused = [one for one in unused if one.key in self._refused]
        rest = [one for one in unused if one.key not in self._refused]
        changed = [one for one in rest if (one.source, one.id) in self._seen]
        gone = [one for one in rest if (one.source, one.id) not in self._seen]
        for why, rows in (
            ("the row is of the test set now, which stays as it is", refused),
            ("the row has changed since it was decided", changed),
            ("no row with that text is there any more", gone),
        ):
            if rows:
                said.append(f"{name}: not applied, {why}: {_rows(rows)}")
        return said


def _changed(record: Record, text: str, answer: str) -> Record:
    """The record with another text or answer; itself where both are as they were."""
    if answer != record.gold:
        if isinstance(record, Choice):
            record = replace(record, label=answer)
        elif isinstance(record, Preference):
            record = replace(record, chosen=answer)
        elif isinstance(record, Conversation):
            last = replace(record.messages[-1], content=answer, more="")
            record = replace(record, messages=(*record.messages[:-1], last))
    return replace(record, text=text) if text != record.text else record


def _rows(decisions: Sequence[Decision]) -> str:
    named = [f"{one.source} row {one.row}" for one in sorted(decisions, key=lambda one: (one.source, one.row))]
    more = f" and {len(named) - _MOST_NAMED:,} more" if len(named) > _MOST_NAMED else ""
    return ", ".join(named[:_MOST_NAMED]) + more
