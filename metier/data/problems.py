"""What is wrong in data, by row number: counted and said before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metier.data.duplicates import drop_contradictions, drop_duplicates, drop_shared
from metier.data.examples import Extraction
from metier.data.records import Rejected
from metier.data.roster import Dropped, Roster
from metier.data.table import counted, rows_at

_SAID = {
    "broken row": "broken, will be rejected",
    "empty text": "without text",
    "empty label": "without label",
    "empty answer": "without answer",
    "contradiction": "whose text also occurs with another label",
    "duplicate": "repeating an earlier text and {answer}",
    "also in test": "whose text is also in the test file",
    "single label": "with a label that no other row has",
}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something to look at, by row number."""

    kind: str
    """broken row, empty text, empty label, duplicate, contradiction, also in test, single label; of conversations
    also the reasons of `turns`."""
    count: int
    rows: Mapping[str, Sequence[int]]
    """File to row numbers."""
    sentence: str


def find_problems(
    roster: Roster, train: Extraction, unusable: Sequence[Rejected], test: Extraction | None, *, several: bool
) -> tuple[Problem, ...]:
    """Everything about the rows of train that a person should look at.

    Args:
        roster: All examples.
        train: Those of train.
        unusable: Rows of train that are no examples.
        test: Those of the test file, if there is one.
        several: Whether train is several files, which are then named.
    """
    labelled, places = roster.labelled, train.places
    consistent, torn = drop_contradictions(roster, places) if labelled else (places, [])
    dropped = [*torn, *drop_duplicates(roster, consistent)[1]]
    if test is not None:
        dropped.extend(drop_shared(roster, places, test.places, "test")[1])
    counts = roster.label_counts(places)
    dropped += [
        Dropped(place=place, reason="single label", detail="the only row of its label")
        for place in places.tolist()
        if counts.get(roster.strata[roster.stratum[place]]) == 1
    ]
    rows = [*unusable, *(_row(roster, each) for each in dropped)]
    return by_reason(rows, several=several, answer="label" if labelled else "answer")


def _row(roster: Roster, dropped: Dropped) -> Rejected:
    source, row = roster.position(dropped.place)
    return Rejected(source=source, row=row, reason=dropped.reason, detail=dropped.detail)


def by_reason(rejected: Sequence[Rejected], *, several: bool, answer: str = "label") -> tuple[Problem, ...]:
    """Rejected rows as problems, one for each reason.

    Args:
        rejected: The rows.
        several: Whether they come from several files, which are then named.
        answer: What the answers are called.
    """
    others = sorted({row.reason for row in rejected} - set(_SAID))
    said = {**_SAID, **{reason: f"rejected: {reason}" for reason in others}}
    problems = []
    for kind, sentence in said.items():
        by_source: dict[str, list[int]] = {}
        for row in rejected:
            if row.reason == kind:
                by_source.setdefault(row.source, []).append(row.row)
        places = [(f"{source} " if several else "") + rows_at(rows) for source, rows in by_source.items()]
        count = sum(map(len, by_source.values()))
        if count:
            full = f"{counted(count, 'row')} {sentence.format(answer=answer)} ({'; '.join(places)})"
            problems.append(Problem(kind=kind, count=count, rows=by_source, sentence=full))
    return tuple(problems)
