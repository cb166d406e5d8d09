"""Counterfactual copies of whole records: a text with its label, a conversation turn by turn, a passage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from metier.data.bias.counterfactuals import SwappedParts, Swapper
from metier.data.records import Conversation, Preference, Record, spoken

CALLS_TOOLS = "has calls of tools, which are not swapped"


@dataclass(frozen=True, kw_only=True)
class RecordCopies:
    """What became of one record."""

    made: tuple[tuple[str, Record], ...] = ()
    """Dimension and copy, one a swap; the copy has the id of its record."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Dimension -> why the record has no copy in it, though it names a group."""


def copies_of(record: Record, swapper: Swapper, turn: int) -> RecordCopies:
    """All copies of a record; a label stays what it was, a written answer is swapped along.

    Args:
        record: Any but a preference, which has none.
        swapper: Which swaps, and for which labels none.
        turn: Decides which partners are taken where a dimension has many groups.
    """
    if isinstance(record, Preference):
        return RecordCopies()
    parts = [message.content for message in record.messages] if isinstance(record, Conversation) else [record.text]
    made, left_out = swapper.swap_parts(parts, answers=int(isinstance(record, Conversation)), turn=turn)
    if isinstance(record, Conversation) and any(message.more for message in record.messages):
        return RecordCopies(left_out={**left_out, **dict.fromkeys((one.dimension for one in made), CALLS_TOOLS)})
    return RecordCopies(made=tuple((one.dimension, _rebuilt(record, one)) for one in made), left_out=left_out)


def _rebuilt(record: Record, swapped: SwappedParts) -> Record:
    if not isinstance(record, Conversation):
        return replace(record, text=swapped.parts[0])
    turns = zip(record.messages, swapped.parts, strict=True)
    messages = tuple(replace(message, content=content) for message, content in turns)
    return replace(record, text=spoken(messages[:-1]), messages=messages)
