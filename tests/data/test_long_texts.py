"""Texts that are too long, cut or made several records; with others nothing happens."""

from __future__ import annotations

from typing import Any

import pytest

from metier.data.long_texts import shortener
from metier.data.records import Choice, Conversation, Message, Passage, Record
from metier.recipe.sections import DataSection

LONG = "One two three. Four five six. Seven eight."


def section(**lengths: Any) -> DataSection:
    return DataSection.model_validate({"train": "d.csv", "lengths": lengths})


def texts(records: tuple[Record, ...]) -> list[tuple[str, str]]:
    return [(record.id, record.text) for record in records]


@pytest.mark.parametrize(
    ("policy", "unit", "longest", "wanted"),
    [
        ("cut", "words", 4, [("x-0", "One two three.")]),
        ("split", "words", 4, [("x-0", "One two three."), ("x-0.1", "Four five six."), ("x-0.2", "Seven eight.")]),
        ("split", "characters", 30, [("x-0", "One two three. Four five six."), ("x-0.1", "Seven eight.")]),
        ("cut", "words", 8, [("x-0", LONG)]),
    ],
)
def test_texts_are_shortened(policy: str, unit: str, longest: int, wanted: list[tuple[str, str]]) -> None:
    shorten = shortener(section(policy=policy, unit=unit, longest=longest))
    assert shorten is not None
    for record in (Choice(id="x-0", text=LONG, label="a", row=7), Passage(id="x-0", text=LONG, row=7)):
        pieces = shorten(record)
        assert texts(pieces) == wanted
        assert {(type(piece), piece.gold, piece.row) for piece in pieces} == {(type(record), record.gold, 7)}


def test_conversations_stay_whole() -> None:
    shorten = shortener(section(policy="split", unit="words", longest=1))
    turns = (Message(role="user", content="a b c"), Message(role="assistant", content="d e"))
    talk = Conversation(id="x", text="a b c", messages=turns)
    assert shorten is not None and shorten(talk) == (talk,)


@pytest.mark.parametrize("lengths", [{}, {"longest": 3}, {"longest": 3, "policy": "drop"}, {"policy": "cut"}])
def test_where_nothing_is_shortened_there_is_no_function(lengths: dict[str, Any]) -> None:
    assert shortener(section(**lengths)) is None
