"""Lines of one input are deleted; those of others are still found."""

from __future__ import annotations

from pathlib import Path

from metier.data.records import Input, Message
from metier.evaluation.answering.answer_store import AnswerStore, StoredAnswer
from metier.evaluation.answering.keyed_store import owner_of

SAID = StoredAnswer(text="the card of Ada", stop="end of turn", seconds=0.5)


def test_only_the_lines_of_the_input_go(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    mine, yours = owner_of(Input(id="1", text="mine")), owner_of(Input(id="2", text="yours"))
    store = AnswerStore(path, "model")
    for key, owner in (("a", mine), ("b", mine), ("c", yours)):
        store.keep(key, SAID, owner)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"key": "old", "text": "of an earlier version", "stop": "length", "seconds": 1}\n')
    assert AnswerStore.forget(path, {mine}) == 3, "a line that does not say whose it is goes too"
    left = AnswerStore(path, "model")
    assert left.find("c") == SAID
    assert [left.find(key) for key in ("a", "b", "old")] == [None, None, None]
    assert AnswerStore.forget(path, {mine}) == 0
    path.write_bytes(b"\x00\n{}\n")
    assert AnswerStore.forget(path, {mine}) == 0 and not path.exists()


def test_an_input_is_known_by_all_that_is_asked() -> None:
    turns = (Message(role="system", content="be short"), Message(role="user", content="hello"))
    plain = Input(id="1", text="hello")
    assert owner_of(plain) == owner_of(Input(id="2", text="hello", group="g"))
    assert (
        len(
            {owner_of(plain), owner_of(Input(id="1", text="hello", messages=turns)), owner_of(Input(id="1", text="hi"))}
        )
        == 3
    )
