"""Every text of a record comes out and goes in again; labels, roles and names of functions are no texts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.data.privacy.parts import parts_of, texts_asked, with_parts, with_texts_asked
from metier.data.records import Choice, Conversation, Input, Message, Passage, Preference, Record, as_input

CALL = {
    "tool_calls": [
        {"id": "call_1", "type": "function",
         "function": {"name": "look_up", "arguments": {"who": "W", "deep": [{"x": "X"}, 3]}}}
    ],
    "reasoning_content": "R",
}  # fmt: skip
TURNS = (
    Message(role="system", content="S"),
    Message(role="user", content="A", more=json.dumps({"name": "N"})),
    Message(role="assistant", content="", more=json.dumps(CALL)),
    Message(role="tool", content="T", more=json.dumps({"tool_call_id": "call_1", "name": "look_up"})),
    Message(role="assistant", content="B"),
)
RECORDS: dict[str, tuple[Record, tuple[str, ...], tuple[str, ...]]] = {
    "choice": (Choice(id="", text="A", label="L"), ("A",), ()),
    "passage": (Passage(id="", text="A"), ("A",), ()),
    "conversation": (
        Conversation(id="", text="", messages=TURNS, tools='[{"function": {"name": "look_up"}}]'),
        ("A", "N", "", "R", "W", "X", "T", "B", "S"), ("B",),
    ),
    "preference": (
        Preference(id="", text="", messages=TURNS[:2], chosen="C", rejected="D"), ("A", "N", "C", "D", "S"), ("C", "D"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", RECORDS)
def test_every_text_of_a_record_comes_out(kind: str) -> None:
    record, texts, answers = RECORDS[kind]
    parts = parts_of(record)
    assert sorted(parts.texts) == sorted(texts)
    assert parts.texts[0] == "A"  # known by what is asked, not by a system prompt that many share
    assert tuple(text for number, text in enumerate(parts.texts) if parts.is_answer(number)) == answers


@pytest.mark.parametrize("kind", RECORDS)
def test_the_same_texts_give_the_same_record(kind: str) -> None:
    record = RECORDS[kind][0]
    whole = with_parts(record, parts_of(record).texts)
    assert with_parts(whole, parts_of(whole).texts) == whole
    assert [each.more for each in getattr(whole, "messages", ())] == [
        each.more for each in getattr(record, "messages", ())
    ]


def test_other_texts_stand_where_the_old_ones_stood() -> None:
    record = RECORDS["conversation"][0]
    assert isinstance(record, Conversation)
    after = with_parts(record, [f"<{text}>" for text in parts_of(record).texts])
    assert isinstance(after, Conversation)
    assert [each.content for each in after.messages] == ["<S>", "<A>", "<>", "<T>", "<B>"]
    call = json.loads(after.messages[2].more)
    assert call["reasoning_content"] == "<R>"
    assert call["tool_calls"][0]["function"] == {
        "name": "look_up",
        "arguments": {"who": "<W>", "deep": [{"x": "<X>"}, 3]},
    }
    assert json.loads(after.messages[1].more) == {"name": "<N>"}
    assert json.loads(after.messages[3].more) == {"tool_call_id": "call_1", "name": "look_up"}
    assert after.text == "<A>\n\n<>\n\n<T>"
    assert after.tools == record.tools


def test_the_text_of_a_preference_follows_its_turns() -> None:
    record = RECORDS["preference"][0]
    after = with_parts(record, ["one", "two", "three", "four", "five"])
    assert isinstance(after, Preference)
    assert (after.text, after.chosen, after.rejected) == ("one", "three", "four")
    assert [each.content for each in after.messages] == ["five", "one"]


def test_a_label_is_no_text() -> None:
    after = with_parts(Choice(id="", text="A", label="Anna"), ["B"])
    assert isinstance(after, Choice)
    assert (after.text, after.label) == ("B", "Anna")


@pytest.mark.parametrize("kind", ["choice", "conversation"])
def test_an_input_has_the_texts_that_its_record_was_asked_with(kind: str) -> None:
    record = RECORDS[kind][0]
    given_input = as_input(record)
    asked = texts_asked(given_input)
    parts = parts_of(record)
    assert asked == tuple(text for number, text in enumerate(parts.texts) if not parts.is_answer(number))
    after = with_texts_asked(given_input, [f"<{text}>" for text in asked])
    hidden = with_parts(record, [text if parts.is_answer(n) else f"<{text}>" for n, text in enumerate(parts.texts)])
    assert after == as_input(hidden)


VALUES: Any = st.recursive(
    st.text(max_size=5) | st.integers() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.text(max_size=5), min_size=1, max_size=4), VALUES)
def test_any_arguments_survive(contents: list[str], arguments: Any) -> None:
    more = json.dumps({"tool_calls": [{"type": "function", "function": {"name": "f", "arguments": arguments}}]})
    messages = [Message(role="user", content=content) for content in contents]
    given_input = Input(
        id="", text="", messages=(*messages, Message(role="assistant", content="", more=more), messages[0])
    )
    texts = texts_asked(given_input)
    assert with_texts_asked(given_input, texts).messages == given_input.messages
    hidden = with_texts_asked(given_input, ["x" for _ in texts])
    assert set(texts_asked(hidden)) <= {"x"}
