from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.data.dataset_info import is_listed, listed_data
from metier.data.paths import parsed
from metier.data.sources import read_table
from metier.data.table import cell_text
from metier.errors import DataError

Write = Callable[..., Path]
RealData = Callable[[str], Path]


def usual(write: Write, entry: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    write("d.json", json.dumps([row]))
    info = write("dataset_info.json", json.dumps({"set": {"file_name": "d.json", **entry}}))
    listed = listed_data(info.parent, "set")
    return {name: parsed(cell) or cell for name, cell in listed.usual(read_table(listed.files[0]).rows[0]).items()}


def test_alpaca_with_other_names(write: Write) -> None:
    columns = {"prompt": "input", "response": "target", "system": "sys", "history": "before"}
    row = {"input": "q", "target": "a", "output": "not it", "sys": "s", "before": [["x", "y"]], "kind": "k"}
    assert usual(write, {"columns": columns}, row) == {
        "kind": "k", "instruction": "q", "output": "a", "history": [["x", "y"]], "system": "s",
    }  # fmt: skip
    assert usual(write, {}, {"instruction": "i", "input": "", "output": "o"})["instruction"] == "i"


def test_texts_to_read_on_have_no_answer(write: Write) -> None:
    assert usual(write, {"columns": {"prompt": "content"}}, {"content": "t", "url": "u"}) == {"text": "t", "url": "u"}


def test_turns_of_any_name_become_those_of_sharegpt(write: Write) -> None:
    tags = {"role_tag": "who", "content_tag": "said", "user_tag": "customer", "assistant_tag": "agent"}
    turns = [{"who": "system", "said": "s"}, {"who": "customer", "said": "q"}, {"who": "agent", "said": "a"}]
    entry = {"formatting": "sharegpt", "columns": {"messages": "talk"}, "tags": tags}
    assert usual(write, entry, {"talk": turns, "id": 7}) == {
        "id": "7",
        "conversations": [
            {"from": "system", "value": "s"}, {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"},
        ],
    }  # fmt: skip
    chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    found = usual(write, {"formatting": "openai", "columns": {"messages": "messages"}}, {"messages": chat})
    assert found == {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}


def test_preferences(write: Write) -> None:
    entry: dict[str, Any] = {
        "ranking": True,
        "columns": {"prompt": "q", "query": "i", "chosen": "good", "rejected": "bad", "history": "h"},
    }
    row = {"q": "ask", "i": "this", "good": "y", "bad": "n"}
    assert usual(write, entry, row) == {"prompt": "ask\nthis", "chosen": "y", "rejected": "n"}
    turns = usual(write, entry, {**row, "h": [["hi", "ho"]]})["prompt"]
    assert [(turn["from"], turn["value"]) for turn in turns] == [("human", "hi"), ("gpt", "ho"), ("human", "ask\nthis")]


def test_the_only_local_set_needs_no_name_and_the_rest_is_said(write: Write) -> None:
    write("data/a.jsonl", "{}")
    write("data/b.jsonl", "{}")
    info = {
        "far": {"hf_hub_url": "org/far"},
        "here": {
            "file_name": "data",
            "num_samples": 50,
            "split": "dev",
            "columns": {"prompt": "p", "kto_tag": "liked"},
        },
    }
    path = write("dataset_info.json", json.dumps(info))
    listed = listed_data(path)
    assert is_listed(path) and is_listed(path.parent) and not is_listed(path.parent / "data")
    assert ([file.name for file in listed.files], listed.num_samples) == (["a.jsonl", "b.jsonl"], 50)
    assert listed.notices == (
        "here: split `dev` means nothing for a local file; all of it is read",
        "here: `liked` says which answers are liked (kto_tag); it is kept, and not used",
    )


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        pytest.param(
            {"hf_hub_url": "org/name", "file_name": "d.json"},
            r"set: lies on the Hugging Face hub \(`org/name`\), and nothing is downloaded here, wanted a local",
            id="hub",
        ),
        pytest.param({"script_url": "x"}, "lies on a loading script", id="script"),
        pytest.param({"file_name": "none.json"}, r"file_name: `none.json` does not exist in", id="no file"),
        pytest.param({}, "names no file, wanted file_name", id="nothing"),
        pytest.param({"file_name": "d.json", "formatting": "chatml"}, "is `chatml`, wanted one of alpaca", id="form"),
        pytest.param({"file_name": "d.json", "columns": {"images": "i"}}, "has images, and only text", id="media"),
        pytest.param({"file_name": "d.json", "columns": {"query": "q"}}, "does not name prompt", id="no prompt"),
        pytest.param({"file_name": "d.json", "columns": ["a"]}, r"set\.columns: is no object of names", id="columns"),
        pytest.param({"file_name": "d.json", "num_samples": -1}, "is -1, wanted a number of rows", id="samples"),
    ],
)
def test_what_cannot_be_read_is_said(write: Write, entry: dict[str, Any], message: str) -> None:
    write("d.json", "[]")
    with pytest.raises(DataError, match=message):
        listed_data(write("dataset_info.json", json.dumps({"set": entry})), "set")


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        pytest.param(
            '{"a": {"file_name": "x"}, "b": {"file_name": "y"}}', None, "lists 2 data sets with files", id="two"
        ),
        pytest.param(
            '{"alpha": {"file_name": "x"}}', "alpa", r"is not in dataset_info.*Did you mean `alpha`", id="near"
        ),
        pytest.param("[]", None, "is no list of data sets", id="list"),
        pytest.param("{", None, "is not valid JSON", id="damaged"),
        pytest.param(b"\xff\xfe\xff", None, "is not valid JSON", id="binary"),
    ],
)
def test_a_list_that_does_not_help_is_an_error(write: Write, content: str, name: str | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        listed_data(write("dataset_info.json", content), name)


def test_real_sets_read_alike_with_and_without_the_list(real_data: RealData, write: Write) -> None:
    file = real_data("instruction/sharegpt_demo") / "glaive_toolcall_en_demo.json"
    entry = {"formatting": "sharegpt", "columns": {"messages": "conversations", "tools": "tools"}}
    listed = listed_data(write("dataset_info.json", json.dumps({"g": {"file_name": str(file), **entry}})))
    for row in read_table(file).rows:
        found = listed.usual(row)
        assert parsed(found["conversations"]) == parsed(row["conversations"])
        assert found["tools"] == cell_text(row["tools"])
