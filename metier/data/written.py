"""From rows to records of the tasks whose answers are written, or that only read on: one table by task."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from metier.data.examples import Changed, Example, Extraction, cell_or_none, group_of
from metier.data.input_rules import InputRules, normalised
from metier.data.records import Conversation, Passage, Preference, Record, Rejected, answer_text, spoken
from metier.data.table import RawRow, Table, raw_row
from metier.data.turns import RowFault, before_answer, in_order, up_to_answer
from metier.recipe.sections import DataSection
from metier.store.fingerprint import text_sha256

Common = dict[str, Any]
"""The fields that every record has, but for id and text."""
_CUT = "turns after the last answer removed"


def extract_written(tables: Sequence[tuple[Table, InputRules]], *, section: DataSection, task: str) -> Extraction:
    """Turn the rows of one split's files into examples.

    Args:
        tables: The split's files, in order, each with its rules.
        section: Group and id columns.
        task: A name in `RECORDS`.
    """
    result = Extraction()
    occurrences: Counter[str] = Counter()
    for table, rules in tables:
        result.rejected.extend(table.broken)
        for row, number in zip(table.rows, table.row_numbers, strict=True):
            common: Common = {
                "group": group_of(row, number, table, section.group),
                "source": table.source.name,
                "row": number,
                "user_id": cell_or_none(row, section.id),
            }
            try:
                record, repairs = RECORDS[task](row, rules, common)
            except RowFault as fault:
                content = raw_row(row)
                result.rejected.append(
                    Rejected(
                        source=table.source.name, row=number, reason=fault.reason, detail=fault.detail, content=content
                    )
                )
                continue
            key = record_key(record)
            record = replace(record, id=f"{key}-{occurrences[key]}")
            occurrences[key] += 1
            result.examples.append(Example(record=record, key=key, content=row))
            if number in table.repaired:
                repairs = (table.repaired[number], *repairs)
            if repairs:
                result.changed.append(Changed(source=table.source.name, row=number, repairs=repairs))
    return result


def record_key(record: Record) -> str:
    """Hash of the normalised text and, where there is one, of the system prompt: what counts as the same question."""
    messages = record.messages if isinstance(record, Conversation | Preference) else ()
    system = "\0".join(message.content for message in messages if message.role == "system")
    same = normalised(record.text) + (f"\0{normalised(system)}" if system else "")
    return text_sha256(same)[:16]


def exchanges(record: Record) -> list[str]:
    """Hashes of a conversation from its start to each turn of the assistant, that turn included; none of others.

    Two conversations that share one were the same up to there.
    """
    if not isinstance(record, Conversation):
        return []
    so_far, found = hashlib.sha256(), []
    for message in record.messages:
        so_far.update(f"{message.role}\0{normalised(answer_text(message))}\0".encode("utf-8", "surrogatepass"))
        if message.role == "assistant":
            found.append(so_far.hexdigest()[:16])
    return found


def count_turns(records: Sequence[Record]) -> dict[str, int]:
    """Turns, answers and what else conversations hold; empty where there are none."""
    talks = [record for record in records if isinstance(record, Conversation)]
    turns = [message for talk in talks for message in talk.messages if message.role != "system"]
    answers = [message for message in turns if message.role == "assistant"]
    counts = {
        "turns": len(turns),
        "answers": len(answers),
        "not learned": sum(not message.learned for message in answers),
        "with a system prompt": sum(talk.messages[0].role == "system" for talk in talks),
        "with tools": sum(talk.tools is not None for talk in talks),
    }
    return {what: count for what, count in counts.items() if count}


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
