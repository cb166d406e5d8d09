"""The texts of a record one by one, in which personal data may stand, and the record with other ones in their place.

A label is the name of a class and no text. Descriptions of tools are the same for every row and are left alone; what a
tool is called with, and what it answers, is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from metier.data.records import Conversation, Input, Message, Preference, Record, spoken


@dataclass(frozen=True, slots=True)
class Parts:
    """The texts of a record."""

    texts: tuple[str, ...]
    """What is asked first: by its first text a record is known. A system prompt, which many share, comes last."""
    answers: int
    """How many of them are of the answer: they follow those that are asked, and the system prompt's follow them."""
    asked: int
    """How many of them are asked."""

    def is_answer(self, part: int) -> bool:
        """Whether a text is of the answer."""
        return self.asked <= part < self.asked + self.answers


def parts_of(record: Record) -> Parts:
    """The texts of a record, its label left out.

    Args:
        record: Of any kind.
    """
    if isinstance(record, Conversation):
        system, talk = _apart(record.messages)
        asked, answer = _all(talk[:-1]), _texts(talk[-1])
        return Parts((*asked, *answer, *_all(system)), len(answer), len(asked))
    if isinstance(record, Preference):
        system, talk = _apart(record.messages)
        asked = _all(talk)
        return Parts((*asked, record.chosen, record.rejected, *_all(system)), 2, len(asked))
    return Parts((record.text,), 0, 1)


def with_parts(record: Record, texts: Sequence[str]) -> Record:
    """The record with other texts.

    Args:
        record: Of any kind.
        texts: As many as `parts_of` gave, in that order.
    """
    rest = iter(texts)
    if isinstance(record, Conversation):
        messages = _rewritten(record.messages, rest)
        return replace(record, messages=messages, text=spoken(messages[:-1]))
    if isinstance(record, Preference):
        system, talk = _apart(record.messages)
        turns = [_with_texts(message, rest) for message in talk]
        chosen, rejected = next(rest), next(rest)
        messages = (*(_with_texts(message, rest) for message in system), *turns)
        return replace(record, messages=messages, text=spoken(messages), chosen=chosen, rejected=rejected)
    return replace(record, text=next(rest))


def texts_asked(given: Input) -> tuple[str, ...]:
    """The texts of an input, in the order of `parts_of`."""
    if not given.messages:
        return (given.text,)
    system, talk = _apart(given.messages)
    return (*_all(talk), *_all(system))


def with_texts_asked(given: Input, texts: Sequence[str]) -> Input:
    """The input with other texts, as many as `texts_asked` gave."""
    if not given.messages:
        return replace(given, text=texts[0])
    messages = _rewritten(given.messages, iter(texts))
    return replace(given, messages=messages, text=spoken(messages))


def _apart(messages: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """System prompts, and all other turns."""
    return [each for each in messages if each.role == "system"], [each for each in messages if each.role != "system"]


def _rewritten(messages: Sequence[Message], texts: Iterator[str]) -> tuple[Message, ...]:
    """Messages with other texts, those of system prompts last, in the order in which the messages stood."""
    system, talk = _apart(messages)
    others = iter([_with_texts(message, texts) for message in talk])
    systems = iter([_with_texts(message, texts) for message in system])
    return tuple(next(systems if message.role == "system" else others) for message in messages)


def _all(messages: Sequence[Message]) -> tuple[str, ...]:
    return tuple(text for message in messages for text in _texts(message))


def _texts(message: Message) -> list[str]:
    texts = [message.content]
    if message.more:

        def keep(text: str) -> str:
            texts.append(text)
            return text

        _told(json.loads(message.more), message.role, keep)
    return texts


def _with_texts(message: Message, texts: Iterator[str]) -> Message:
    content, more = next(texts), message.more
    if more:
        before = json.loads(more)
        after = _told(before, message.role, lambda _: next(texts))
        more = more if after == before else json.dumps(after, ensure_ascii=False)
    return replace(message, content=content, more=more)


def _told(more: Mapping[str, Any], role: str, change: Callable[[str], str]) -> dict[str, Any]:
    """What a turn holds besides its content, every text in it changed: thoughts, arguments of calls, a user's name."""
    told = dict(more)
    if "reasoning_content" in told:
        told["reasoning_content"] = _changed(told["reasoning_content"], change)
    if role == "user" and "name" in told:
        told["name"] = _changed(told["name"], change)
    if "tool_calls" in told:
        told["tool_calls"] = [_call(call, change) for call in told["tool_calls"]]
    return told


def _call(call: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    function = dict(call["function"])
    function["arguments"] = _changed(function.get("arguments"), change)
    return {**call, "function": function}


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with every text in it changed; names of fields and numbers stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_changed(item, change) for item in value]
    if isinstance(value, dict):
        return {name: _changed(item, change) for name, item in value.items()}
    return value
