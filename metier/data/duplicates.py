"""Texts that occur more than once: dropped from train, only flagged where something is measured.

Two texts are the same when their normalised forms are (`input_rules.normalised`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from metier.data.examples import Example
from metier.data.records import Choice, Rejected
from metier.data.splits import answers_of
from metier.data.table import rows_at
from metier.data.written import exchanges

Kept = tuple[list[Example], list[Rejected]]


def by_key(examples: Sequence[Example]) -> dict[str, list[Example]]:
    """Examples by normalised text, in order."""
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.key, []).append(example)
    return groups


def drop_contradictions(examples: Sequence[Example]) -> Kept:
    """Reject every example whose text also has another answer; the detail names the other rows."""
    groups = by_key(examples)
    torn = {key for key, same in groups.items() if len({example.record.gold for example in same}) > 1}
    kept = [example for example in examples if example.key not in torn]
    rejected = [
        example.reject(
            "contradiction", f"same text as {_others(example, groups[example.key])}, with another {_answer(example)}"
        )
        for example in examples
        if example.key in torn
    ]
    return kept, rejected


def drop_duplicates(examples: Sequence[Example]) -> Kept:
    """Keep the first example of each text and answer; the detail of the others names it."""
    first: dict[tuple[str, ...], Example] = {}
    kept: list[Example] = []
    rejected: list[Rejected] = []
    for example in examples:
        earlier = first.setdefault((example.key, *answers_of(example.record)), example)
        if earlier is example:
            kept.append(example)
        else:
            rejected.append(
                example.reject("duplicate", f"same text and {_answer(example)} as {_place(example, earlier)}")
            )
    return kept, rejected


def drop_shared(examples: Sequence[Example], other: Sequence[Example], name: str) -> Kept:
    """Reject the examples whose text is also in the split `name`, so that nothing measured was learned.

    A conversation also goes where its earlier turns are what a conversation of that split asks and answers.

    Args:
        examples: Train, or validation.
        other: The split that stays as it is.
        name: Its name.
    """
    groups = by_key(other)
    answered: dict[str, list[Example]] = {}
    for example in other:
        for said in exchanges(example.record)[-1:]:
            answered.setdefault(said, []).append(example)
    kept: list[Example] = []
    rejected: list[Rejected] = []
    for example in examples:
        inside = next((said for said in exchanges(example.record)[:-1] if said in answered), None)
        if example.key in groups:
            detail = f"same text as {name} {_others(example, groups[example.key])}"
        elif inside is not None:
            detail = f"begins with all that {name} {_others(example, answered[inside])} asks and answers"
        else:
            kept.append(example)
            continue
        rejected.append(example.reject(f"also in {name}", detail))
    return kept, rejected


def flag_repeats(examples: Sequence[Example]) -> list[Example]:
    """Flag later copies as `duplicate`, and texts with several answers as `contradiction`."""
    torn = {key for key, same in by_key(examples).items() if len({e.record.gold for e in same}) > 1}
    seen: set[str] = set()
    flagged = []
    for example in examples:
        doubts = {"duplicate": example.key in seen, "contradiction": example.key in torn}
        seen.add(example.key)
        flagged.append(add_flags(example, doubts))
    return flagged


def add_flags(example: Example, doubts: Mapping[str, bool]) -> Example:
    """`example` with the flags of those doubts that hold."""
    new = tuple(flag for flag, holds in doubts.items() if holds and flag not in example.record.flags)
    if not new:
        return example
    return replace(example, record=replace(example.record, flags=(*example.record.flags, *new)))


def _others(example: Example, same: Sequence[Example]) -> str:
    """The rows of `same`, other than the example's own, for a message."""
    own = [other.record.row for other in same if other is not example and other.record.source == example.record.source]
    away = [other for other in same if other.record.source != example.record.source]
    parts = []
    if own:
        parts.append(rows_at(own))
    for source in sorted({other.record.source for other in away}):
        rows = [other.record.row for other in away if other.record.source == source]
        parts.append(f"{rows_at(rows)} of {source}")
    return " and ".join(parts)


def _place(example: Example, earlier: Example) -> str:
    return _others(example, (earlier,))


def _answer(example: Example) -> str:
    return "label" if isinstance(example.record, Choice) else "answer"
