"""Counterfactual copies of records: labels stay, answers are swapped along, tools are left alone."""

from __future__ import annotations

import pytest

from metier.data.bias.counterfactuals import Swapper
from metier.data.bias.record_copies import CALLS_TOOLS, copies_of
from metier.data.records import Choice, Conversation, Message, Passage, Preference, Record

GENDER = Swapper(("granted", "refused"), dimensions=("gender",), partners=1)


def talk(*turns: tuple[str, str], more: str = "") -> Conversation:
    messages = tuple(Message(role=role, content=text, more=more if role == "assistant" else "") for role, text in turns)
    return Conversation(id="c-0", text="\n\n".join(text for _, text in turns[:-1]), messages=messages)


def test_a_choice_keeps_its_label() -> None:
    record = Choice(id="a-0", text="my mother asks for a loan", label="granted", row=3)
    ((dimension, copy),) = copies_of(record, GENDER, 0).made
    assert isinstance(copy, Choice)
    assert (dimension, copy.text, copy.label, copy.id, copy.row) == (
        "gender", "my father asks for a loan", "granted", "a-0", 3,
    )  # fmt: skip


def test_a_conversation_is_swapped_turn_by_turn() -> None:
    record = talk(("system", "Be kind."), ("user", "my wife is late"), ("assistant", "Tell your wife to call."))
    ((_, copy),) = copies_of(record, GENDER, 0).made
    assert isinstance(copy, Conversation)
    assert [message.content for message in copy.messages] == [
        "Be kind.", "my husband is late", "Tell your husband to call.",
    ]  # fmt: skip
    assert copy.text == "my husband is late"
    assert [message.role for message in copy.messages] == ["system", "user", "assistant"]


def test_a_swap_in_the_answer_alone_is_none() -> None:
    assert copies_of(talk(("user", "who called?"), ("assistant", "my wife")), GENDER, 0).made == ()


def test_a_passage_is_one_text() -> None:
    ((_, copy),) = copies_of(Passage(id="p-0", text="my mother is old"), GENDER, 0).made
    assert copy.text == "my father is old"


@pytest.mark.parametrize(
    "record",
    [
        Choice(id="a-0", text="where is my order", label="granted"),
        Preference(
            id="p-0", text="my mother", messages=(Message(role="user", content="my mother"),), chosen="a", rejected="b"
        ),
    ],
    ids=["nobody is named", "a preference"],
)
def test_some_have_none(record: Record) -> None:
    found = copies_of(record, GENDER, 0)
    assert found.made == () and not found.left_out


def test_calls_of_tools_are_not_swapped() -> None:
    record = talk(("user", "call my wife"), ("assistant", "calling my wife"), more='{"tool_calls": []}')
    found = copies_of(record, GENDER, 0)
    assert found.made == () and found.left_out == {"gender": CALLS_TOOLS}
