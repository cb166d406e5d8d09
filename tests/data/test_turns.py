from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.data.input_rules import WRITTEN, InputRules
from metier.data.records import Message
from metier.data.turns import (
    CHAT_ROLES,
    RowFault,
    before_answer,
    in_order,
    read_chat,
    read_sharegpt,
    read_tools,
    up_to_answer,
)

CLEAN = InputRules(text_columns=(), repairs=WRITTEN).repair


def turn(role: str, content: Any = "hello", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def roles(messages: tuple[Message, ...]) -> list[str]:
    return [message.role for message in messages]


def test_openai_messages() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"city": "Ulm"}'}}
    messages = read_chat(
        [
            turn("developer", "be short"),
            turn("user", [{"type": "text", "text": "where"}, {"type": "text", "text": "am I"}], name="Eva"),
            turn("assistant", None, tool_calls=[call], weight=0),
            turn("tool", "Ulm", tool_call_id="c1"),
            turn("assistant", "In Ulm.", weight=1, reasoning_content="the tool says so"),
        ]
    )
    assert roles(messages) == ["system", "user", "assistant", "tool", "assistant"]
    assert messages[1].content == "where\nam I"
    assert json.loads(messages[1].more) == {"name": "Eva"}
    assert [message.learned for message in messages] == [True, True, False, True, True]
    # Arguments as an object: templates write JSON themselves.
    assert json.loads(messages[2].more)["tool_calls"][0]["function"] == {"name": "find", "arguments": {"city": "Ulm"}}
    assert json.loads(messages[3].more) == {"tool_call_id": "c1"}
    assert messages[4].as_chat()["reasoning_content"] == "the tool says so"


def test_sharegpt_turns() -> None:
    messages = read_sharegpt(
        [
            {"from": "human", "value": "weather?"},
            {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Ulm"}}'},
            {"from": "observation", "value": "rain"},
            {"from": "gpt", "value": "It rains."},
        ]
    )
    assert roles(messages) == ["user", "assistant", "tool", "assistant"]
    assert json.loads(messages[1].more)["tool_calls"] == [
        {"type": "function", "function": {"name": "weather", "arguments": {"city": "Ulm"}}}
    ]


@pytest.mark.parametrize(
    ("turns", "reason", "detail"),
    [
        pytest.param("no list", "no messages", "no list of messages", id="text"),
        pytest.param([], "no messages", "no list of messages", id="empty"),
        pytest.param([{"content": "x"}], "no messages", "no object with `role`", id="no role"),
        pytest.param([turn("narrator")], "unknown role", "turn 1 has a role that is none of system, user", id="role"),
        pytest.param(
            [turn("user", [{"type": "image_url", "image_url": {"url": "x"}}])],
            "part that is no text", "turn 1 holds a part that is no text, such as an image", id="image",
        ),
        pytest.param([turn("user", 7)], "part that is no text", "a content that is no text", id="number"),
        pytest.param([turn("assistant", weight=2)], "broken weight", "a weight that is neither", id="weight"),
        pytest.param(
            [turn("assistant", tool_calls=[{"function": {}}])], "broken tool call", "without the name", id="call"
        ),
        pytest.param([turn("assistant", tool_calls="x")], "broken tool call", "cannot be read", id="calls"),
    ],
)  # fmt: skip
def test_turns_that_cannot_be_read(turns: Any, reason: str, detail: str) -> None:
    with pytest.raises(RowFault) as fault:
        read_chat(turns)
    assert fault.value.reason == reason
    assert detail in fault.value.detail


def test_a_function_call_that_is_no_json() -> None:
    with pytest.raises(RowFault, match="broken tool call"):
        read_sharegpt([{"from": "function_call", "value": "call the weather"}])


@pytest.mark.parametrize(
    ("tools", "read"),
    [
        pytest.param(None, None, id="none"),
        pytest.param("", None, id="empty"),
        pytest.param("[]", None, id="an empty list"),
        pytest.param([{"name": "f"}], [{"type": "function", "function": {"name": "f"}}], id="bare functions"),
        pytest.param('[{"type": "function", "function": {"name": "f"}}]',
                     [{"type": "function", "function": {"name": "f"}}], id="as JSON"),
    ],
)  # fmt: skip
def test_tools(tools: Any, read: Any) -> None:
    found = read_tools(tools)
    assert (found and json.loads(found)) == read


@pytest.mark.parametrize("tools", ["{broken", '"x"', {"a": 1}, ["f"]])
def test_broken_tools(tools: Any) -> None:
    with pytest.raises(RowFault, match="broken tools"):
        read_tools(tools)


def settled(*turns: dict[str, Any]) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    return in_order(read_chat(list(turns)), CLEAN)


def test_turns_of_one_speaker_are_joined() -> None:
    messages, repairs = settled(turn("user", "one"), turn("user", "two"), turn("assistant", "a", weight=0),
                                turn("assistant", "b"))  # fmt: skip
    assert [message.content for message in messages] == ["one\n\ntwo", "a\n\nb"]
    assert repairs == ("turns of one speaker joined",)
    assert not messages[1].learned


def test_answers_of_tools_stay_apart_and_calls_are_joined() -> None:
    call = {"function": {"name": "f", "arguments": {}}}
    messages, _ = settled(
        turn("user"), turn("assistant", "I look."), turn("assistant", "", tool_calls=[call]), turn("tool", "1"),
        turn("tool", ""), turn("assistant", "done"),
    )  # fmt: skip
    assert roles(messages) == ["user", "assistant", "tool", "tool", "assistant"]
    assert messages[1].content == "I look."
    assert "tool_calls" in messages[1].more


def test_an_empty_system_prompt_is_none() -> None:
    assert roles(settled(turn("system", " "), turn("user"), turn("assistant"))[0]) == ["user", "assistant"]


def test_indentation_is_kept() -> None:
    code = "def f():\n    return  1"
    assert settled(turn("user"), turn("assistant", f"\n{code}\n\n"))[0][1].content == code


@pytest.mark.parametrize(
    ("turns", "reason", "detail"),
    [
        pytest.param([turn("user", " ")], "empty text", "turn 1, of the user, is empty", id="empty question"),
        pytest.param([turn("user"), turn("assistant", "")], "empty answer", "turn 2, of the assistant", id="answer"),
        pytest.param([turn("assistant"), turn("user")], "nobody asks first", "of the assistant, and no", id="order"),
        pytest.param([turn("system"), turn("tool")], "nobody asks first", "first turn is of the tool", id="tool first"),
        pytest.param(
            [turn("user"), turn("system"), turn("assistant")],
            "system turn inside", "turn 2 is a system prompt behind the start", id="system",
        ),
        pytest.param(
            [turn("user"), turn("tool"), turn("assistant")],
            "roles out of order", "turn 2 is of a tool that nobody called", id="tool",
        ),
    ],
)  # fmt: skip
def test_orders_that_cannot_be_taught(turns: list[dict[str, Any]], reason: str, detail: str) -> None:
    with pytest.raises(RowFault) as fault:
        settled(*turns)
    assert fault.value.reason == reason
    assert detail in fault.value.detail


def test_a_conversation_ends_with_its_last_learned_answer() -> None:
    messages, _ = settled(turn("user"), turn("assistant", "a"), turn("user"), turn("assistant", "b", weight=0),
                          turn("user"))  # fmt: skip
    assert [message.content for message in up_to_answer(messages)] == ["hello", "a"]
    assert roles(before_answer(messages))[-1] == "user"
    assert len(before_answer(messages[:2])) == 1


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([turn("user")], "no answer"),
        ([turn("user"), turn("assistant", weight=0)], "no learned turn"),
    ],
)
def test_conversations_without_an_answer(turns: list[dict[str, Any]], reason: str) -> None:
    with pytest.raises(RowFault, match=reason):
        up_to_answer(settled(*turns)[0])


TURNS = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(sorted(CHAT_ROLES)), "content": st.text(max_size=5)}), min_size=1
)


@given(TURNS)
def test_what_is_in_order_stays_so(turns: list[dict[str, Any]]) -> None:
    try:
        messages, _ = in_order(read_chat(turns), CLEAN)
    except RowFault:
        return
    assert in_order(messages, CLEAN) == (messages, ())
    said = [role for role in roles(messages) if role != "system"]
    assert not said or said[0] == "user"
    assert all(one != other or one == "tool" for one, other in pairwise(said))
