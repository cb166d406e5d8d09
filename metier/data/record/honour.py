"""A person's decisions applied to the rows of a run, and the sentences that say which could not be.

A decision is looked up on the row as the cleaning steps see it: after the text repairs, before anything
is removed. An edited row keeps its record's id, so that a later run can decide about it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from metier.data.cleaning.rows import Finding
from metier.data.exchanges import Mark, plain_mark, record_key
from metier.data.reasons import DROPPED_BY_A_PERSON, EDITED, RELABELLED
from metier.data.record.decisions import DECISIONS, ON_TEST_ROWS, Decision, Decisions, Key
from metier.data.record.findings import content_hash
from metier.data.records import Choice, Conversation, Preference, Record
from metier.data.roster import Dropped
from metier.data.table import counted

_MOST_NAMED = 10
SETTLED = "settled by a person"


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


@dataclass(frozen=True, kw_only=True)
class Decided:
    """A record that is being read, after all decisions about it."""

    record: Record
    """Its id is not settled yet."""
    key: str
    """Hash of its normalised text as it is now."""
    settled: Settled
    was: str
    """Its answer as it was read."""

    @property
    def changes(self) -> tuple[str, ...]:
        """What a person changed in it, by name, for the log."""
        kinds = dict.fromkeys(decision.decision for decision in self.settled.decisions)
        return tuple(_CHANGES[kind] for kind in kinds if kind in _CHANGES)

    @property
    def detail(self) -> str:
        """Who decided, when and where; of a label also which one it was and became."""
        told = "; ".join(_said(decision) for decision in self.settled.decisions)
        relabelled = isinstance(self.record, Choice) and self.record.gold != self.was
        return f"`{self.was}` became `{self.record.gold}`: {told}" if relabelled else told

    def dropped(self, place: int) -> Dropped | None:
        """Why the record leaves, where a person decided that.

        Args:
            place: Its place in the roster.
        """
        if not self.settled.dropped:
            return None
        return Dropped(place=place, reason=DROPPED_BY_A_PERSON, detail=_said(self.settled.decisions[-1]))


class Honoured:
    """Applies decisions row by row, and afterwards says which could not be applied."""

    def __init__(self, decisions: Decisions) -> None:
        """Begin.

        Args:
            decisions: All of them.
        """
        self.decisions = decisions
        self._used: set[Key] = set()
        self._refused: set[Key] = set()
        self._seen: set[tuple[str, str]] = set()
        self._ids = {(decision.source, decision.id) for decision in decisions.latest.values()}
        self._keys = {record_id.rpartition("-")[0] for _, record_id in self._ids}
        self._met: Counter[tuple[int, str]] = Counter()

    @property
    def applied(self) -> int:
        """Decisions that were applied so far."""
        return len(self._used)

    def decide(self, record: Record, key: str, *, part: int, mark: Mark = plain_mark, test: bool = False) -> Decided:
        """A record that is being read, after all decisions about it; records come in the order of their files.

        Args:
            record: After the repairs and after personal data was hidden; its id is empty.
            key: What stands for its text (`record_key`), which its id will begin with.
            mark: Makes that of an edited text.
            part: Number of the split whose files it comes from: texts are counted by part, as ids are.
            test: As for `settle`.
        """
        if key not in self._keys:
            settled = Settled(text=record.text, answer=record.gold)
            return Decided(record=record, key=key, settled=settled, was=record.gold)
        occurrence = self._met[part, key]
        self._met[part, key] += 1
        now, settled = self.settle(replace(record, id=f"{key}-{occurrence}"), test=test, mark=mark)
        if settled.text != record.text:
            key = record_key(now, mark)
        return Decided(record=replace(now, id=""), key=key, settled=settled, was=record.gold)

    def settle(self, record: Record, *, test: bool = False, mark: Mark = plain_mark) -> tuple[Record, Settled]:
        """A record after all decisions about it; what a later run decided about the changed record follows.

        Args:
            record: As the cleaning steps see it.
            test: Whether it is of a test set that the user gave, from which nothing is dropped or edited.
            mark: As for `content_hash`.

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
        while (content := content_hash(text, answer, mark)) not in met:
            met.add(content)  # two runs may have relabelled it there and back
            decision = self.decisions.of(record.source, record.id, content)
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
        name, latest = self.decisions.name, self.decisions.latest
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


def without_settled(findings: Sequence[Finding], kept: Mapping[int, Settled]) -> tuple[Finding, ...]:
    """Findings without the doubts that a person looked at and settled; they are counted instead.

    Args:
        findings: Of the cleaning steps.
        kept: Place -> what was decided about the record, of those that a person let stay. A doubt of a kind that
            nobody had decided about yet stays.
    """
    settled = {place: _suspected(one) for place, one in kept.items()}
    return tuple(_without(finding, settled) for finding in findings)


def _without(finding: Finding, settled: Mapping[int, frozenset[str]]) -> Finding:
    left = tuple(doubt for doubt in finding.doubts if doubt.reason not in settled.get(doubt.key, ()))
    gone = len(finding.doubts) - len(left)
    return replace(finding, doubts=left, counts={**finding.counts, SETTLED: gone}) if gone else finding


def _suspected(settled: Settled) -> frozenset[str]:
    """What was suspected of the row when a person decided: reasons are written as `step, version 1: reason`."""
    return frozenset(reason.partition(": ")[2] for decision in settled.decisions for reason in decision.reasons)


_CHANGES: Mapping[str, str] = {"relabel": RELABELLED, "edit": EDITED}
"""Decision -> the name of the change that it makes."""


def _said(decision: Decision) -> str:
    return f"{decision.decision} by {decision.by} on {decision.at[:10]}, in {decision.sheet}"


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
