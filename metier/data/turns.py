"""The turns of a conversation as data sets write them, read into messages and put in order.

A row that cannot be used raises `RowFault`; whoever reads rows turns it into a rejected row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from metier.data.paths import parsed
from metier.data.records import Message

CHAT_ROLES: Mapping[str, str] = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "bot": "assistant", "chatgpt": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool",
}  # fmt: skip
"""What data sets call a role -> one of `records.ROLES`."""
_KEPT = ("tool_call_id", "name", "reasoning_content")
_TEXT_PARTS = ("text", "input_text", "output_text")
Clean = Callable[[str], tuple[str, tuple[str, ...]]]


class RowFault(Exception):  # shown to nobody: it becomes a rejected row
    """Why a row cannot be used."""

    def __init__(self, reason: str, detail: str) -> None:
        """Say why.

        Args:
            reason: Short key, as in `Rejected`.
            detail: A sentence without text of the row.
        """
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """What a row says, before it is cleaned and put in order."""

    messages: tuple[Message, ...]
    tools: str | None = None
    """A JSON list, or None."""
    chosen: str | None = None
    """Of a preference: the better answer."""
    rejected: str | None = None


def read_chat(value: Any) -> tuple[Message, ...]:
    """Messages as OpenAI writes them: `role` and `content`, and what else a turn may hold.

    Raises:
        RowFault: It is no list of messages, or one of them cannot be read.
    """
    return tuple(_chat_turn(turn, number) for number, turn in _numbered(value, "role"))


def read_sharegpt(value: Any) -> tuple[Message, ...]:
    """Turns as ShareGPT writes them: `from` and `value`; a function call is a turn of the assistant.

    Raises:
        RowFault: It is no list of turns, or one of them cannot be read.
    """
    return tuple(_sharegpt_turn(turn, number) for number, turn in _numbered(value, "from"))


def read_tools(value: Any) -> str | None:
    """Tools as a JSON list: given as a list or as its text, bare functions wrapped as OpenAI has them.

    Raises:
        RowFault: They are no list of objects.
    """
    if isinstance(value, str):
        value = None if value.strip() in ("", "null", "None") else parsed(value) or value
    if not value or value == "[]":
        return None
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        raise RowFault("broken tools", "its tools are no JSON list of objects")
    wrapped = [tool if "function" in tool or "name" not in tool else _function(tool) for tool in value]
    return json.dumps(wrapped, ensure_ascii=False)


def in_order(messages: Sequence[Message], clean: Clean) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """Messages cleaned, the system prompt first, and nobody speaking twice in a row.

    Args:
        messages: As they were read.
        clean: Repairs a text and names the repairs.

    Returns:
        The messages and what was repaired.

    Raises:
        RowFault: A turn is empty, or the order cannot be taught.
    """
    repairs: dict[str, None] = {}
    turns: list[Message] = []
    for number, message in enumerate(messages, start=1):
        content, names = clean(message.content)
        repairs.update(dict.fromkeys(names))
        if not content and message.role == "system":
            continue
        _refuse_empty(content, message, number)
        message = replace(message, content=content)
        if turns and turns[-1].role == message.role != "tool":
            turns[-1] = _one_turn(turns[-1], message)
            repairs["turns of one speaker joined"] = None
        else:
            turns.append(message)
    _refuse_order(turns)
    return tuple(turns), tuple(repairs)


def up_to_answer(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The turns up to the last one of the assistant that may be learned.

    Raises:
        RowFault: The assistant never speaks, or none of its turns may be learned.
    """
    spoken = [place for place, message in enumerate(messages) if message.role == "assistant"]
    if not spoken:
        raise RowFault("no answer", "it has no turn of the assistant")
    learned = [place for place in spoken if messages[place].learned]
    if not learned:
        raise RowFault("no learned turn", "every turn of the assistant has weight 0")
    return messages[: learned[-1] + 1]


def without_answer(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The turns as they were read, without the assistant's at the end: a place kept for an answer may be empty."""
    others = [place for place, message in enumerate(messages) if message.role != "assistant"]
    return messages[: others[-1] + 1] if others else messages


def before_answer(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The turns that ask: without the assistant's, where it has the last word.

    Raises:
        RowFault: Nobody asks.
    """
    asked = messages[:-1] if messages and messages[-1].role == "assistant" else messages
    if not any(message.role == "user" for message in asked):
        raise RowFault("empty text", "it has no turn of the user")
    return asked


def _numbered(value: Any, who: str) -> list[tuple[int, Mapping[str, Any]]]:
    value = parsed(value) if isinstance(value, str) else value
    if not isinstance(value, list) or not value:
        raise RowFault("no messages", "it holds no list of messages")
    if not all(isinstance(turn, dict) and isinstance(turn.get(who), str) for turn in value):
        raise RowFault("no messages", f"one of its messages is no object with `{who}`")
    return list(enumerate(value, start=1))


def _chat_turn(turn: Mapping[str, Any], number: int) -> Message:
    role = _role(turn["role"], number)
    weight = turn.get("weight", turn.get("train"))
    if weight not in (None, 0, 1):
        raise RowFault("broken weight", f"turn {number} has a weight that is neither 0 nor 1")
    more = {key: turn[key] for key in _KEPT if turn.get(key)}
    calls = turn.get("tool_calls") or ([turn["function_call"]] if turn.get("function_call") else [])
    if calls:
        more["tool_calls"] = _calls(calls, number)
    return Message(
        role=role,
        content=_content(turn.get("content"), number),
        learned=weight is None or bool(weight),
        more=json.dumps(more, ensure_ascii=False) if more else "",
    )


def _sharegpt_turn(turn: Mapping[str, Any], number: int) -> Message:
    value = turn.get("value")
    if turn["from"] == "function_call":
        calls = parsed(value) if isinstance(value, str) else value
        calls = [calls] if isinstance(calls, dict) else calls
        more = {"tool_calls": _calls(calls, number)}
        return Message(role="assistant", content="", more=json.dumps(more, ensure_ascii=False))
    return _chat_turn({**turn, "role": turn["from"], "content": value}, number)


def _role(name: str, number: int) -> str:
    role = CHAT_ROLES.get(name.strip().lower())
    if role is None:
        wanted = "system, user, assistant or tool"
        raise RowFault("unknown role", f"turn {number} has a role that is none of {wanted}")
    return role


def _content(content: Any, number: int) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        raise RowFault("part that is no text", f"turn {number} has a content that is no text")
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) and part.get("type", "text") in _TEXT_PARTS else part
        if not isinstance(text, str):
            raise RowFault("part that is no text", f"turn {number} holds a part that is no text, such as an image")
        texts.append(text)
    return "\n".join(texts)


def _calls(calls: Any, number: int) -> list[dict[str, Any]]:
    if not isinstance(calls, list) or not calls:
        raise RowFault("broken tool call", f"turn {number} has a tool call that cannot be read")
    read = []
    for call in calls:
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise RowFault("broken tool call", f"turn {number} has a tool call without the name of a function")
        arguments = function.get("arguments", function.get("parameters", {}))
        # Templates write arguments as JSON: as text they would be quoted twice.
        inside = parsed(arguments) if isinstance(arguments, str) else None
        function = {"name": function["name"], "arguments": arguments if inside is None else inside}
        named = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
        read.append({**named, "type": "function", "function": function})
    return read


def _function(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": dict(tool)}


def _refuse_empty(content: str, message: Message, number: int) -> None:
    if content or message.role == "tool":
        return
    if message.role == "user":
        raise RowFault("empty text", f"turn {number}, of the user, is empty")
    if not message.more or not json.loads(message.more).get("tool_calls"):
        raise RowFault("empty answer", f"turn {number}, of the assistant, is empty")


def _one_turn(first: Message, second: Message) -> Message:
    content = "\n\n".join(text for text in (first.content, second.content) if text)
    more = {**_more(first), **_more(second)}
    calls = [*_more(first).get("tool_calls", ()), *_more(second).get("tool_calls", ())]
    if calls:
        more["tool_calls"] = calls
    return Message(
        role=first.role,
        content=content,
        learned=first.learned and second.learned,
        more=json.dumps(more, ensure_ascii=False) if more else "",
    )


def _more(message: Message) -> dict[str, Any]:
    return dict(json.loads(message.more)) if message.more else {}


def _refuse_order(turns: Sequence[Message]) -> None:
    roles = [message.role for message in turns]
    if "system" in roles[1:]:
        raise RowFault("system turn inside", f"turn {roles.index('system', 1) + 1} is a system prompt behind the start")
    first = next((role for role in roles if role != "system"), None)
    if first in ("assistant", "tool"):
        raise RowFault("nobody asks first", f"the first turn is of the {first}, and no turn of the user precedes it")
    for place, role in enumerate(roles):
        if role == "tool" and roles[place - 1] not in ("assistant", "tool"):
            raise RowFault("roles out of order", f"turn {place + 1} is of a tool that nobody called")
