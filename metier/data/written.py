"""From rows to records of the tasks whose answers are written, or that only read on: one table by task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from metier.data.examples import Extraction, Part, cell_or_none, group_of
from metier.data.input_rules import InputRules
from metier.data.listed import LISTED
from metier.data.records import Conversation, Passage, Preference, Record, Rejected, spoken
from metier.data.table import RawRow, Table, raw_row
from metier.data.turns import RowFault, before_answer, in_order, up_to_answer
from metier.recipe.sections import DataSection

Common = dict[str, Any]
"""The fields that every record has, but for id and text."""
_CUT = "turns after the last answer removed"


def extract_written(
    tables: Iterable[tuple[Table, InputRules]], part: Part, *, section: DataSection, task: str
) -> Extraction:
    """Turn the rows of one split's files into examples.

    Args:
        tables: The split's files, in order, each with its rules.
        part: Takes them in.
        section: Group and id columns.
        task: A name in `RECORDS`, or in `listed.LISTED`.
    """
    for table, rules in tables:
        name = table.source.name
        for broken in table.broken:
            part.reject(broken)
        for row, number in zip(table.rows, table.row_numbers, strict=True):
            common: Common = {
                "group": group_of(row, number, table, section.group),
                "source": name,
                "row": number,
                "user_id": cell_or_none(row, section.id),
            }
            try:
                record, repairs = (
                    LISTED[task](row, rules, common, section) if task in LISTED else RECORDS[task](row, rules, common)
                )
            except RowFault as fault:
                content = raw_row(row)
                part.reject(
                    Rejected(source=name, row=number, reason=fault.reason, detail=fault.detail, content=content)
                )
                continue
            if number in table.repaired:
                repairs = (table.repaired[number], *repairs)
            part.accept(record, row, repairs, rules)
    return part.extraction()


TURNS = ("turns", "answers", "not learned", "with a system prompt", "with tools")
"""What is counted of conversations."""


def count_turns(records: Iterable[Record]) -> Counter[str]:
    """Turns, answers and what else conversations hold; empty where there are none."""
    counts: Counter[str] = Counter()
    for talk in records:
        if not isinstance(talk, Conversation):
            continue
        turns = [message for message in talk.messages if message.role != "system"]
        answers = [message for message in turns if message.role == "assistant"]
        counts["turns"] += len(turns)
        counts["answers"] += len(answers)
        counts["not learned"] += sum(not message.learned for message in answers)
        counts["with a system prompt"] += talk.messages[0].role == "system"
        counts["with tools"] += talk.tools is not None
    return counts


def _conversation(row: RawRow, rules: InputRules, common: Common) -> tuple[Record, tuple[str, ...]]:
    turns = rules.turns_of(row)
    messages, repairs = in_order(turns.messages, rules.repair)
    whole = up_to_answer(messages)
    if len(whole) < len(messages):
        repairs = (*repairs, _CUT)
    text = spoken(whole[:-1])
    return Conversation(id="", text=text, messages=whole, tools=turns.tools, **common), repairs


def _preference(row: RawRow, rules: InputRules, common: Common) -> tuple[Record, tuple[str, ...]]:
    turns = rules.turns_of(row)
    messages, repairs = in_order(turns.messages, rules.repair)
    asked = before_answer(messages)
    if asked != messages:
        raise RowFault("roles out of order", "what is asked ends with a turn of the assistant")
    chosen, more = rules.repair(turns.chosen or "")
    rejected, less = rules.repair(turns.rejected or "")
    if not chosen or not rejected:
        raise RowFault("empty answer", f"the {'rejected' if chosen else 'chosen'} answer is empty")
    if chosen == rejected:
        raise RowFault("equal answers", "the chosen answer is the rejected one")
    record = Preference(id="", text=spoken(asked), messages=asked, chosen=chosen, rejected=rejected, **common)
    return record, tuple(dict.fromkeys((*repairs, *more, *less)))


def _passage(row: RawRow, rules: InputRules, common: Common) -> tuple[Record, tuple[str, ...]]:
    text, repairs = rules.repair(rules.compose(row))
    if not text:
        raise RowFault("empty text", "it holds no text")
    return Passage(id="", text=text, **common), repairs


RECORDS: Mapping[str, Callable[[RawRow, InputRules, Common], tuple[Record, tuple[str, ...]]]] = {
    "generation": _conversation,
    "chat": _conversation,
    "text": _passage,
    "preference": _preference,
}
"""Task -> how a row becomes a record, and what was repaired in it."""
