from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metier.data.prepare import prepare_data
from metier.data.prepared import PreparedData
from metier.data.records import Conversation
from metier.data.shapes import SHAPES
from metier.data.splits import conversations, preferences
from metier.errors import DataError
from metier.recipe.sections import DataSection, Recipe

Write = Callable[..., Path]
Prepare = Callable[..., PreparedData]
N = 30


def every(prepared: PreparedData) -> list[Any]:
    return sorted(
        (record for split in (prepared.train, prepared.validation, prepared.test) for record in split.records()),
        key=lambda record: record.row,
    )


def jsonl(write: Write, rows: list[dict[str, Any]], name: str = "d.jsonl") -> Path:
    return write(name, "".join(json.dumps(row) + "\n" for row in rows))


def talk(i: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"question {i}"}, {"role": "assistant", "content": f"answer {i}"}]


def from_value(i: int) -> list[dict[str, str]]:
    return [{"from": "human", "value": f"question {i}"}, {"from": "gpt", "value": f"answer {i}"}]


WRITTEN_SHAPES: dict[str, tuple[str, Callable[[int], dict[str, Any]]]] = {
    "messages": ("messages", lambda i: {"messages": talk(i)}),
    "messages under another name": ("messages", lambda i: {"chat log": talk(i), "n": i}),
    "messages as text": ("messages", lambda i: {"messages": json.dumps(talk(i))}),
    "sharegpt": ("sharegpt", lambda i: {"conversations": from_value(i)}),
    "alpaca": ("alpaca", lambda i: {"instruction": "question", "input": str(i), "output": f"answer {i}"}),
    "alpaca without input": ("alpaca", lambda i: {"instruction": f"question {i}", "output": f"answer {i}"}),
    "self-instruct": (
        "alpaca", lambda i: {"instruction": f"question {i}", "instances": [{"input": "", "output": f"answer {i}"}]},
    ),
    "prompt and completion": ("prompt_completion", lambda i: {"prompt": f"question {i}", "completion": f"answer {i}"}),
    "prompt and completion as turns": (
        "prompt_completion", lambda i: {"prompt": talk(i)[:1], "completion": talk(i)[1:]},
    ),
    "question and answer": ("columns", lambda i: {"Question": f"question {i}", "Answer": f"answer {i}", "id": i}),
    "input_text and output_text": ("columns", lambda i: {"input_text": f"question {i}", "output_text": f"answer {i}"}),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN_SHAPES)
def test_a_shape_is_recognised_by_its_content(write: Write, prepare: Prepare, name: str) -> None:
    shape, row = WRITTEN_SHAPES[name]
    prepared = prepare(task="generation", train=jsonl(write, [row(i) for i in range(N)]))
    assert prepared.card.shape == shape
    assert prepared.card.task == "generation"
    assert prepared.card.counts == {"turns": 2 * N, "answers": N}
    records = conversations(every(prepared))
    assert [" ".join(record.text.split()) for record in records] == [f"question {i}" for i in range(N)]
    assert [record.gold for record in records] == [f"answer {i}" for i in range(N)]
    assert all([message.role for message in record.messages] == ["user", "assistant"] for record in records)
    assert any(SHAPES[shape].said in notice or "found by itself" in notice for notice in prepared.card.notices)


@pytest.mark.parametrize("name", WRITTEN_SHAPES)
def test_a_row_to_predict_is_read_by_the_same_rules(write: Write, prepare: Prepare, name: str) -> None:
    row = WRITTEN_SHAPES[name][1]
    prepared = prepare(task="generation", train=jsonl(write, [row(i) for i in range(N)]))
    given = row(99) if name != "self-instruct" else {"instruction": "question 99", "input": ""}
    asked = prepared.rules.input_of(given, "7")
    assert (asked.id, [m.role for m in asked.messages]) == ("7", ["user"])  # type: ignore[union-attr]
    assert " ".join(asked.text.split()) == "question 99"  # type: ignore[union-attr]


def test_tools_systems_and_weights_travel(write: Write, prepare: Prepare) -> None:
    rows = [
        {
            "messages": [
                {"role": "system", "content": "be kind"},
                {"role": "user", "content": f"one {i}"},
                {"role": "assistant", "content": "first", "weight": 0},
                {"role": "user", "content": "two"},
                {"role": "assistant", "content": "second"},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        }
        for i in range(N)
    ]
    prepared = prepare(task="chat", train=jsonl(write, rows))
    record = every(prepared)[0]
    assert record.text == "one 0\n\nfirst\n\ntwo"
    assert [message.learned for message in record.messages] == [True, True, False, True, True]
    assert json.loads(record.tools)[0]["function"]["name"] == "f"
    assert prepared.card.counts == {
        "turns": 4 * N, "answers": 2 * N, "not learned": N, "with a system prompt": N, "with tools": N,
    }  # fmt: skip
    assert prepared.card.notices[0] == "d.jsonl: read as OpenAI messages (`messages`, `tools`)"


@pytest.mark.parametrize(
    ("row", "system"),
    [
        pytest.param({"instruction": "q {i}", "output": "a", "system": "be kind"}, "be kind", id="alpaca"),
        pytest.param({"conversations": None, "system": "be kind"}, "be kind", id="sharegpt"),
        pytest.param({"question": "q {i}", "answer": "a", "tone": "be kind"}, "be kind", id="named"),
    ],
)
def test_system_prompts_of_records(write: Write, prepare: Prepare, row: dict[str, Any], system: str) -> None:
    rows = []
    for i in range(N):
        filled = {key: value.format(i=i) if isinstance(value, str) else value for key, value in row.items()}
        rows.append({**filled, **({"conversations": from_value(i)} if "conversations" in row else {})})
    fields = {"system": "tone"} if "tone" in row else {}
    prepared = prepare(task="generation", train=jsonl(write, rows), **fields)
    record = every(prepared)[0]
    assert (record.messages[0].role, record.messages[0].content) == ("system", system)
    assert system not in record.text
    assert prepared.rules.input_of(rows[0], "0").messages[0].content == system  # type: ignore[union-attr]


def test_the_system_prompt_is_part_of_what_is_asked(write: Write, prepare: Prepare) -> None:
    rows = [{"question": f"q {i}", "answer": "a", "tone": tone} for i in range(N) for tone in ("kind", "terse", "kind")]
    prepared = prepare(task="generation", train=jsonl(write, rows), system="tone")
    assert prepared.card.rejected["duplicate"] <= N
    assert len({record.id for record in every(prepared)}) == len(every(prepared))


def test_alpaca_history(write: Write, prepare: Prepare) -> None:
    rows = [{"instruction": f"now {i}", "output": "a", "history": [["before", "yes"], ["and", "no"]]} for i in range(N)]
    prepared = prepare(task="chat", train=jsonl(write, rows))
    assert every(prepared)[0].text == "before\n\nyes\n\nand\n\nno\n\nnow 0"


PREFERENCES: dict[str, Callable[[int], dict[str, Any]]] = {
    "with a prompt": lambda i: {"prompt": f"question {i}", "chosen": "good", "rejected": "bad"},
    "with turns": lambda i: {
        "prompt": talk(i)[:1],
        "chosen": [{"role": "assistant", "content": "good"}],
        "rejected": [{"role": "assistant", "content": "bad"}],
    },
    "prompt in both": lambda i: {
        "chosen": [*talk(i)[:1], {"role": "assistant", "content": "good"}],
        "rejected": [*talk(i)[:1], {"role": "assistant", "content": "bad"}],
    },
    "openai": lambda i: {
        "input": {"messages": talk(i)[:1]},
        "preferred_output": [{"role": "assistant", "content": "good"}],
        "non_preferred_output": [{"role": "assistant", "content": "bad"}],
    },
    "sharegpt": lambda i: {
        "conversations": from_value(i)[:1],
        "chosen": {"from": "gpt", "value": "good"},
        "rejected": {"from": "gpt", "value": "bad"},
    },
}


@pytest.mark.parametrize("name", PREFERENCES)
def test_preference_pairs(write: Write, prepare: Prepare, name: str) -> None:
    prepared = prepare(task="preference", train=jsonl(write, [PREFERENCES[name](i) for i in range(N)]))
    records = preferences(every(prepared))
    assert [record.text for record in records] == [f"question {i}" for i in range(N)]
    assert {(record.chosen, record.rejected) for record in records} == {("good", "bad")}
    assert prepared.card.shape == "preference"


def test_preference_pairs_that_cannot_be_used(write: Write, prepare: Prepare) -> None:
    odd = [
        {"prompt": "p", "chosen": "same", "rejected": "same"},
        {"prompt": "p", "chosen": "", "rejected": "bad"},
        {"prompt": "", "chosen": "good", "rejected": "bad"},
        {"prompt": talk(1), "chosen": "good", "rejected": "bad"},
        {"prompt": "p", "chosen": talk(1), "rejected": "bad"},
    ]
    rows = [PREFERENCES["with a prompt"](i) for i in range(N)]
    prepared = prepare(task="preference", train=jsonl(write, [*rows, *odd]))
    assert prepared.card.rejected == {
        "no answer": 2, "empty text": 1, "equal answers": 1, "roles out of order": 1,
    }  # fmt: skip


def test_several_rejected_answers_to_one_question_are_no_duplicates(write: Write, prepare: Prepare) -> None:
    rows = [{"prompt": f"q {i // 2}", "chosen": "good", "rejected": f"bad {i}"} for i in range(2 * N)]
    assert sum(prepare(task="preference", train=jsonl(write, rows)).card.rejected.values()) == 0


def test_explicit_names_win(write: Write, prepare: Prepare) -> None:
    rows = [{"messages": talk(i), "q": f"other {i}", "a": f"reply {i}", "log": from_value(i)} for i in range(N)]
    path = jsonl(write, rows)
    known = {"task": "generation", "train": path, "unknown_license": "allow"}
    columns = prepare(**known, text="q", answer="a", folder="columns")
    assert (columns.card.shape, every(columns)[0].text) == ("columns", "other 0")
    assert columns.card.notices == ()
    other = prepare(task="generation", train=path, text="log", folder="log")
    assert (other.card.shape, other.card.fields["messages"]) == ("sharegpt", "log")
    given = prepare(**known, shape="sharegpt", folder="given")
    assert (given.card.shape, given.card.notices) == ("sharegpt", ())


def test_a_shape_takes_the_columns_that_the_recipe_names(write: Write, prepare: Prepare) -> None:
    rows = [{"prompt": f"p {i}", "other": f"o {i}", "completion": "c", "better": f"b {i}"} for i in range(N)]
    path = jsonl(write, rows)
    found = prepare(task="generation", train=path, shape="prompt_completion", text="other", answer="better")
    assert (every(found)[0].text, every(found)[0].gold) == ("o 0", "b 0")
    pairs = jsonl(write, [{**PREFERENCES["with a prompt"](i), "asked": f"other {i}"} for i in range(N)], "p.jsonl")
    assert every(prepare(task="preference", train=pairs, text="asked", folder="p"))[0].text == "other 0"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text": ["a", "b"]}, "data.text: is several columns or a template, wanted one column with shape messages"),
        ({"answer": "b"}, "data.answer: is set, but shape messages says itself where the answers are. Remove it"),
        ({"text": "c"}, "data.text: there is no column `c`"),
    ],
)
def test_names_that_a_shape_does_not_take(write: Write, prepare: Prepare, fields: dict[str, Any], message: str) -> None:
    path = jsonl(write, [{"messages": talk(i), "a": "x", "b": "y"} for i in range(N)])
    with pytest.raises(DataError, match=message):
        prepare(task="chat", train=path, shape="messages", **fields)


@pytest.mark.parametrize(
    ("task", "fields", "message"),
    [
        pytest.param(
            "generation", {"shape": "messages"},
            r"data.shape: is messages, which d.jsonl is not \(it has `q`, `n`\), wanted a column of messages",
            id="another shape",
        ),
        pytest.param(
            "generation", {"shape": "preference"},
            "data.shape: is preference, which task generation does not read, wanted prompt_completion or messages",
            id="a shape of another task",
        ),
        pytest.param(
            "generation", {}, "data.answer: is not set, and no column of d.jsonl looks like the answer", id="no answer"
        ),
        pytest.param("generation", {"text": "q", "answer": "q"}, "data.answer: `q` is also the text", id="the same"),
        pytest.param("generation", {"text": "q", "answer": "m"}, "data.answer: there is no column `m`", id="unknown"),
        pytest.param(
            "preference", {}, r"holds no preference pairs, wanted columns `chosen` and `rejected`\. Single ratings",
            id="no pairs",
        ),
        pytest.param("chat", {"label": "n"}, "data.label: is set, but task chat has no labels. Name", id="a label"),
        pytest.param(
            "classification", {"shape": "messages", "label": "n"},
            r"data.shape: is messages, but task classification reads columns, wanted columns or paths, such as",
            id="a shape with labels",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_so(
    write: Write, prepare: Prepare, task: str, fields: dict[str, Any], message: str
) -> None:
    path = jsonl(write, [{"q": f"question number {i}", "n": i} for i in range(N)])
    with pytest.raises(DataError, match=message):
        prepare(task=task, train=path, **fields)


def test_the_recipe_and_the_table_name_the_same_shapes() -> None:
    field = DataSection.model_fields["shape"].annotation
    assert set(field.__args__) == {"auto", *SHAPES}  # type: ignore[union-attr]


def test_no_text_of_a_row_is_in_messages(write: Write, prepare: Prepare, tmp_path: Path) -> None:
    secret = "Geheim Meier"
    rows: list[dict[str, Any]] = [{"messages": talk(i)} for i in range(N)]
    rows += [
        {"messages": [{"role": secret, "content": secret}]},
        {"messages": [{"role": "user", "content": secret}]},
        {"messages": [{"role": "assistant", "content": secret}]},
    ]
    prepared = prepare(task="chat", train=jsonl(write, rows))
    lines = (tmp_path / "prepared" / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert [(row["row"], row["reason"]) for row in found] == [
        (31, "unknown role"), (32, "no answer"), (33, "nobody asks first"),
    ]  # fmt: skip
    assert all(secret in row["content"] and secret not in row["detail"] for row in found)
    assert secret not in str(prepared.card)


def test_a_conversation_is_read_back(write: Write, prepare: Prepare) -> None:
    prepared = prepare(task="chat", train=jsonl(write, [{"messages": talk(i)} for i in range(N)]))
    record = prepared.train.take([0])[0]
    assert isinstance(record, Conversation)
    assert record == next(prepared.train.records())


KEYS = st.sampled_from(
    ["role", "content", "from", "value", "weight", "tool_calls", "function", "name", "arguments", "text", "type", "x"]
)
ROLES = st.sampled_from(["user", "assistant", "tool", "system", "human", "gpt", "function_call", "[", '{"name": 1}'])
TALKS = st.lists(
    st.dictionaries(KEYS, ROLES | st.none() | st.integers(0, 2) | st.lists(st.dictionaries(KEYS, ROLES, max_size=3)))
    | st.fixed_dictionaries({"role": ROLES, "content": ROLES, "from": ROLES, "value": ROLES}),
    max_size=4,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | ROLES | TALKS,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(KEYS, part, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("task", "shape", "good"),
    [
        ("chat", "messages", {"messages": talk(0)}),
        ("chat", "sharegpt", {"conversations": from_value(0)}),
        ("generation", "alpaca", {"instruction": "q", "input": "", "output": "a", "history": []}),
        ("generation", "prompt_completion", {"prompt": "q", "completion": "a"}),
        ("preference", "preference", {"prompt": "q", "chosen": "a", "rejected": "b"}),
    ],
)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_rows_hold_every_one_is_used_or_rejected(
    tmp_path: Path, task: str, shape: str, good: dict[str, Any], data: st.DataObject
) -> None:
    odd = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(good, JSON)), max_size=6))
    section = Recipe.model_validate({"task": task, "data": {"train": str(tmp_path / "d.jsonl"), "shape": shape}}).data
    rows = [json.loads(json.dumps(good).replace('"q', f'"q {i} ').replace("question 0", f"q {i}")) for i in range(9)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, *odd]), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare_data(section, seed=1, folder=Path(folder) / "out", task=task)
        used = sum(split.rows for split in prepared.card.splits.values())
        assert used + sum(prepared.card.rejected.values()) == len(rows) + len(odd)
        assert sum(1 for split in (prepared.train, prepared.validation, prepared.test) for _ in split.records()) == used
        for row in odd:
            assert prepared.rules.input_of(row, "0") is not None
