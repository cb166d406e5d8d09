"""The shapes in which data sets hold questions and answers: one table, recognised by what the cells hold.

To add one: a function that finds its fields in a table, one that reads a row, and a row in `SHAPES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metier.data.paths import cell_at, parsed, value_at
from metier.data.records import Message, answer_text
from metier.data.table import Table
from metier.data.turns import RowFault, Turns, read_chat, read_sharegpt, read_tools
from metier.recipe.tasks import ASKED_TO_WRITE, WRITES

Row = Mapping[str, object]
Fields = Mapping[str, str]
"""What a shape reads -> the column or path where it lies."""
_SAMPLE = 20


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One way to hold records in rows."""

    said: str
    """What messages call it."""
    wanted: str
    """What a file of this shape has."""
    tasks: tuple[str, ...]
    """The tasks that it can serve."""
    find: Callable[[Table], Fields | None]
    """The fields of a table of this shape; None: it has another."""
    read: Callable[[Row, Fields, str], Turns]
    """A row's turns; the text is what the text columns hold, where the shape has any."""
    asks: tuple[str, ...] = ()
    """The fields without which nothing can be asked."""


def recognise_shape(table: Table, task: str) -> tuple[str, Fields] | None:
    """The first shape of the table `SHAPES` that a file has and that serves the task, with its fields."""
    for name, shape in SHAPES.items():
        fields = shape.find(table) if task in shape.tasks else None
        if fields is not None:
            return name, fields
    return None


def implied_records(table: Table) -> str | None:
    """The list inside each row whose items are the records, where the shape says so (self-instruct's `instances`)."""
    column = _named(table, "instances")
    if column is None or _named(table, "instruction") is None:
        return None
    values = _values(table, column)
    fitting = [value for value in values if isinstance(value, list) and value and all(map(_is_instance, value))]
    return column if 2 * len(fitting) > len(values) else None


def holds_turns(table: Table, column: str, who: str) -> bool:
    """Whether the cells of a column hold lists of turns.

    Args:
        table: A file.
        column: One of its columns.
        who: What says the role: `role` of OpenAI messages, or `from` of ShareGPT.
    """
    is_turn = _SPEAKS[who]
    values = _values(table, column)
    turns = [value for value in values if isinstance(value, list) and value and all(map(is_turn, value))]
    return 2 * len(turns) > len(values)


def _is_message(turn: object) -> bool:
    said = ("content", "tool_calls", "function_call")
    return isinstance(turn, dict) and isinstance(turn.get("role"), str) and any(key in turn for key in said)


def _is_sharegpt(turn: object) -> bool:
    return isinstance(turn, dict) and isinstance(turn.get("from"), str) and "value" in turn


def _is_instance(item: object) -> bool:
    return isinstance(item, dict) and "output" in item


_SPEAKS = {"role": _is_message, "from": _is_sharegpt}


def _values(table: Table, column: str) -> list[Any]:
    """What the first filled cells of a column hold, opened; None for plain text."""
    cells = [cell for row in table.rows[: 10 * _SAMPLE] if (cell := row.get(column)) is not None and cell.strip()]
    return [parsed(cell) for cell in cells[:_SAMPLE]]


def _named(table: Table, *names: str) -> str | None:
    """The column with the first of these names, whatever its case."""
    lowered = {column.strip().lower(): column for column in table.columns}
    return next((lowered[name] for name in names if name in lowered), None)


def _with(table: Table, fields: dict[str, str], **optional: Sequence[str]) -> Fields:
    found = {field: _named(table, *names) for field, names in optional.items()}
    return {**fields, **{field: column for field, column in found.items() if column is not None}}


def _turn_column(table: Table, who: str, names: Sequence[str]) -> str | None:
    found = [column for column in table.columns if holds_turns(table, column, who)]
    usual = _named(table, *names)
    return usual if usual in found else next(iter(found), None)


def _find_messages(table: Table) -> Fields | None:
    column = _turn_column(table, "role", ("messages", "conversation", "conversations", "chat", "turns", "dialog"))
    if column is None:
        return None
    return _with(table, {"messages": column}, tools=("tools", "functions"), system=("system", "system_prompt"))


def _find_sharegpt(table: Table) -> Fields | None:
    column = _turn_column(table, "from", ("conversations", "conversation", "messages"))
    if column is None:
        return None
    return _with(table, {"messages": column}, tools=("tools",), system=("system",))


def _find_alpaca(table: Table) -> Fields | None:
    instruction, output = _named(table, "instruction"), _named(table, "output")
    if instruction is None or output is None:
        return None
    return _with(
        table, {"instruction": instruction, "answer": output}, input=("input",), system=("system",),
        history=("history",),
    )  # fmt: skip


def _find_prompt_completion(table: Table) -> Fields | None:
    prompt, completion = _named(table, "prompt"), _named(table, "completion")
    if prompt is None or completion is None:
        return None
    return _with(table, {"prompt": prompt, "answer": completion}, tools=("tools",), system=("system",))


def _find_preference(table: Table) -> Fields | None:
    for better, worse in (("chosen", "rejected"), ("preferred_output", "non_preferred_output")):
        chosen, rejected = _named(table, better), _named(table, worse)
        if chosen is None or rejected is None:
            continue
        prompts = ("prompt", "input", "conversations", "messages", "question", "instruction", "query")
        fields = {"chosen": chosen, "rejected": rejected}
        return _with(table, fields, prompt=prompts, tools=("tools",), system=("system",))
    return None


def _find_nothing(table: Table) -> Fields | None:
    return None


def _read_messages(row: Row, fields: Fields, text: str) -> Turns:
    return _whole(row, fields, read_chat(value_at(row, fields["messages"])))


def _read_sharegpt(row: Row, fields: Fields, text: str) -> Turns:
    return _whole(row, fields, read_sharegpt(value_at(row, fields["messages"])))


def _read_alpaca(row: Row, fields: Fields, text: str) -> Turns:
    asked = [cell for field in ("instruction", "input") if (cell := _cell(row, fields, field)).strip()]
    earlier = _history(value_at(row, fields["history"]) if "history" in fields else None)
    return _whole(row, fields, (*earlier, *_asked_and_answered(row, fields, "\n\n".join(asked))))


def _read_prompt_completion(row: Row, fields: Fields, text: str) -> Turns:
    prompt, answer = value_at(row, fields["prompt"]), value_at(row, fields["answer"])
    before = read_chat(prompt) if isinstance(prompt, list) else _said("user", _cell(row, fields, "prompt"))
    after = read_chat(answer) if isinstance(answer, list) else _said("assistant", _cell(row, fields, "answer"))
    return _whole(row, fields, (*before, *after))


def _read_columns(row: Row, fields: Fields, text: str) -> Turns:
    return _whole(row, fields, _asked_and_answered(row, fields, text))


def _read_document(row: Row, fields: Fields, text: str) -> Turns:
    return Turns(messages=_said("user", text))


def _read_preference(row: Row, fields: Fields, text: str) -> Turns:
    prompt = value_at(row, fields["prompt"]) if "prompt" in fields else None
    tools = read_tools(value_at(row, fields["tools"])) if "tools" in fields else None
    if isinstance(prompt, dict):  # OpenAI: {"messages": […], "tools": […]}
        tools = read_tools(prompt.get("tools"))
        prompt = prompt.get("messages")
    before = _any_turns(prompt, "user")
    chosen, rejected = (_any_turns(value_at(row, fields[field]), "assistant") for field in ("chosen", "rejected"))
    if not before:  # the prompt is what both begin with
        shared = _shared(chosen, rejected)
        before, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
    elif chosen[: len(before)] == before == rejected[: len(before)]:
        chosen, rejected = chosen[len(before) :], rejected[len(before) :]
    for answer in (chosen, rejected):
        if len(answer) != 1 or answer[0].role != "assistant":
            raise RowFault("no answer", "chosen and rejected do not end in one turn of the assistant each")
    system = _said("system", _cell(row, fields, "system"))
    return Turns(
        messages=(*system, *before), tools=tools, chosen=answer_text(chosen[0]), rejected=answer_text(rejected[0])
    )


def _shared(one: Sequence[Message], other: Sequence[Message]) -> int:
    """How many turns both begin with, the last of each left out."""
    pairs = list(zip(one[:-1], other[:-1], strict=False))
    return next((place for place, (first, second) in enumerate(pairs) if first != second), len(pairs))


def _any_turns(value: Any, role: str) -> tuple[Message, ...]:
    """Turns given as text, as one object, or as a list, of either kind."""
    if isinstance(value, dict):
        value = [value]
    if isinstance(value, list) and value:
        reader = read_sharegpt if isinstance(value[0], dict) and "from" in value[0] else read_chat
        return reader(value)
    return _said(role, value) if isinstance(value, str) else ()


def _whole(row: Row, fields: Fields, messages: tuple[Message, ...]) -> Turns:
    system = _said("system", _cell(row, fields, "system"))
    if system and messages and messages[0].role == "system":
        system = ()  # the conversation's own comes first
    tools = read_tools(value_at(row, fields["tools"])) if "tools" in fields else None
    return Turns(messages=(*system, *messages), tools=tools)


def _asked_and_answered(row: Row, fields: Fields, text: str) -> tuple[Message, ...]:
    if not text.strip():
        raise RowFault("empty text", "the text columns are empty")
    answer = Message(role="assistant", content=_cell(row, fields, "answer"))
    there = "answer" in fields and value_at(row, fields["answer"]) is not None
    return (Message(role="user", content=text), *((answer,) if there else ()))


def _history(value: Any) -> tuple[Message, ...]:
    if value is None or value == "" or value == []:
        return ()
    value = parsed(value) if isinstance(value, str) else value
    if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise RowFault("broken history", "its history is no list of pairs")
    said = [(role, text) for pair in value for role, text in zip(("user", "assistant"), pair, strict=True)]
    return tuple(Message(role=role, content=str(text or "")) for role, text in said)


def _said(role: str, text: str) -> tuple[Message, ...]:
    return (Message(role=role, content=text),) if text.strip() else ()


def _cell(row: Row, fields: Fields, field: str) -> str:
    return cell_at(row, fields[field]) if field in fields else ""


SHAPES: Mapping[str, Shape] = {
    "preference": Shape(
        said="preference pairs", wanted="columns `chosen` and `rejected`", tasks=("preference",),
        find=_find_preference, read=_read_preference, asks=("prompt",),
    ),
    "prompt_completion": Shape(
        said="prompts with completions", wanted="columns `prompt` and `completion`", tasks=WRITES,
        find=_find_prompt_completion, read=_read_prompt_completion, asks=("prompt",),
    ),
    "messages": Shape(
        said="OpenAI messages", wanted="a column of messages with `role` and `content`", tasks=WRITES,
        find=_find_messages, read=_read_messages, asks=("messages",),
    ),
    "sharegpt": Shape(
        said="ShareGPT conversations", wanted="a column of turns with `from` and `value`", tasks=WRITES,
        find=_find_sharegpt, read=_read_sharegpt, asks=("messages",),
    ),
    "alpaca": Shape(
        said="Alpaca instructions", wanted="columns `instruction` and `output`", tasks=WRITES,
        find=_find_alpaca, read=_read_alpaca, asks=("instruction",),
    ),
    "columns": Shape(
        said="a text and an answer in columns", wanted="a column of the text and one of the answer",
        tasks=ASKED_TO_WRITE,
        find=_find_nothing, read=_read_columns,
    ),
    "documents": Shape(
        said="documents", wanted="a column of text, or files of text", tasks=("text",),
        find=_find_nothing, read=_read_document,
    ),
}  # fmt: skip
"""Name in the recipe (`data.shape`) -> how it is found and read, in the order in which they are tried."""
