"""Where system prompt, instruction and examples go, and that the prompt is the same after saving."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from metier.model.chat_prompt import ChatPrompt, chat_prompt_from_plain, make_chat_prompt, split_system
from metier.recipe.sections import PromptSection
from metier.store.values import to_plain

Talk = Callable[..., Any]
FULL = ChatPrompt(instruction="Answer.", system="Be kind.", shots=(("one", "1"), ("two", "2")))


def spoken(prompt: ChatPrompt, conversation: Any) -> list[str]:
    return [f"{turn['role']}: {turn['content']}" for turn in prompt.messages(conversation.messages)]


@pytest.mark.parametrize(
    ("prompt", "turns", "wanted"),
    [
        (ChatPrompt(), ["user: a"], ["user: a"]),
        (ChatPrompt(instruction="Do."), ["user: a"], ["user: Do.\n\na"]),
        (ChatPrompt(system="S"), ["user: a"], ["system: S", "user: a"]),
        (ChatPrompt(system="S"), ["system: own", "user: a"], ["system: own", "user: a"]),
        (FULL, ["user: a"], ["system: Be kind.", "user: Answer.\n\none", "assistant: 1", "user: two", "assistant: 2",
                             "user: a"]),
        (FULL, ["system: own", "user: a", "assistant: b", "user: c"],
         ["system: own", "user: Answer.\n\none", "assistant: 1", "user: two", "assistant: 2", "user: a",
          "assistant: b", "user: c"]),
        (ChatPrompt(instruction="Do."), ["assistant: hello", "user: a"], ["assistant: hello", "user: Do.\n\na"]),
        (ChatPrompt(instruction="Do."), ["system: own"], ["system: own", "user: Do."]),
        (ChatPrompt(instruction="Do.", system="S"), [], ["system: S", "user: Do."]),
        (ChatPrompt(instruction="Do."), [], ["user: Do."]),
        (ChatPrompt(), [], []),
    ],
    ids=["bare", "instruction", "system", "own system wins", "all", "all, own system, turns", "greeting first",
         "only a system prompt", "no turns, system", "no turns", "nothing"],
)  # fmt: skip
def test_messages(talk: Talk, prompt: ChatPrompt, turns: list[str], wanted: list[str]) -> None:
    assert spoken(prompt, talk(*turns)) == wanted


def test_what_else_a_turn_holds_stays(talk: Talk) -> None:
    calls = [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]
    turns = talk("user: a", {"role": "assistant", "content": "", "tool_calls": calls}).messages
    assert ChatPrompt(instruction="Do.").messages(turns)[1] == {
        "role": "assistant", "content": "", "tool_calls": calls,
    }  # fmt: skip


def test_the_turns_given_are_not_changed(talk: Talk) -> None:
    turns = talk("user: a").messages
    assert ChatPrompt(instruction="Do.").messages(turns) == ChatPrompt(instruction="Do.").messages(turns)
    assert turns[0].content == "a"


def test_only_leading_system_turns_are_the_system_prompt(talk: Talk) -> None:
    head, rest = split_system(talk("system: a", "system: b", "user: c", "system: d").messages)
    assert [turn.content for turn in head] == ["a", "b"] and [turn.content for turn in rest] == ["c", "d"]


def test_the_hash_knows_every_field() -> None:
    others = [ChatPrompt(), ChatPrompt(instruction="x"), ChatPrompt(system="x"), ChatPrompt(shots=(("x", "y"),)), FULL]
    assert len({each.hash for each in others}) == len(others)
    assert all(len(each.hash) == 16 for each in others)
    assert FULL.hash == ChatPrompt(instruction="Answer.", system="Be kind.", shots=FULL.shots).hash


def test_shots_are_replaced() -> None:
    assert FULL.with_shots([("a", "b")]).shots == (("a", "b"),)
    assert FULL.with_shots(()).shots == () and FULL.with_shots(()).instruction == "Answer."


def test_it_is_made_from_the_recipe() -> None:
    assert make_chat_prompt(PromptSection()) == ChatPrompt()
    assert make_chat_prompt(PromptSection(instruction="", system="")) == ChatPrompt()
    assert make_chat_prompt(PromptSection(instruction="a", system="b")) == ChatPrompt(instruction="a", system="b")


@pytest.mark.parametrize("prompt", [ChatPrompt(), FULL], ids=["empty", "full"])
def test_it_is_the_same_after_plain_values(prompt: ChatPrompt) -> None:
    assert chat_prompt_from_plain(to_plain(prompt)) == prompt
