"""A row's text and answer as they stood in its file, before any repair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metier.data.cleaning.before import NOTHING, Before, seen_before
from metier.data.input_rules import SECRETS, InputRules
from metier.data.records import Choice, Conversation, Labelling, Marked, Preference, Record, spoken
from metier.data.turns import RowFault, Turns, without_answer


def text_before(record: Record, cells: Mapping[str, Any], rules: InputRules) -> str:
    """The text of a record before its repairs; the record's own where its row does not have it.

    Args:
        record: After the repairs.
        cells: Its row as it was read.
        rules: How a row becomes text.
    """
    return _parts(record, cells, rules)[0]


def noted_before(record: Record, cells: Mapping[str, Any], rules: InputRules, repairs: tuple[str, ...]) -> Before:
    """What the repairs took out of a row: hidden characters in text and answer, and secrets that were masked.

    Args:
        record: After the repairs, before personal data is hidden.
        cells: Its row as it was read.
        rules: How a row becomes text.
        repairs: What was changed in it, by name; where nothing was, nothing is noted.
    """
    if not repairs:
        return NOTHING
    text, answer = _parts(record, cells, rules)
    named = (
        [("text", text)] if isinstance(record, Choice | Labelling | Marked) else [("text", text), ("answer", answer)]
    )
    return seen_before(named, masked=SECRETS in repairs)


def _parts(record: Record, cells: Mapping[str, Any], rules: InputRules) -> tuple[str, str]:
    if any(name not in cells for name in rules.text_columns if "." not in name and "[" not in name):
        return record.text, record.gold
    try:
        if not rules.converses:
            return rules.compose(cells), record.gold
        turns = rules.turns_of(cells)
    except RowFault:
        return record.text, record.gold
    return spoken(without_answer(turns.messages)), _answer(record, turns)


def _answer(record: Record, turns: Turns) -> str:
    """The answer of turns as they were read; of a preference both, as either may be learned from."""
    if isinstance(record, Preference):
        return f"{turns.chosen or ''}\n{turns.rejected or ''}"
    last = next((turn.content for turn in reversed(turns.messages) if turn.role == "assistant"), None)
    return last if isinstance(record, Conversation) and last is not None else record.gold
