from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.data.input_rules import InputRules, Unusable
from metier.data.layout import rules_for_file
from metier.data.prepare import load_prepared, prepare_data
from metier.data.prepared import PreparedData
from metier.data.records import Passage
from metier.data.sources import read_table
from metier.data.splits import choices, conversations, passages
from metier.errors import DataError, RunFolderError
from metier.events import Event, Table
from metier.recipe.sections import DataSection

Write = Callable[..., Path]
Prepare = Callable[..., PreparedData]


def pairs(count: int = 60, start: int = 0) -> str:
    return "question,answer\n" + "".join(f"what is {i},it is {i}\n" for i in range(start, start + count))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_questions_and_answers_become_three_splits(write: Write, prepare: Prepare, tmp_path: Path) -> None:
    heard: list[Event] = []
    prepared = prepare(task="generation", train=write("d.csv", pairs(100)), observers=[heard.append])
    sizes = [len(split) for split in (prepared.train, prepared.validation, prepared.test)]
    assert sum(sizes) == 100
    assert 8 < sizes[1] < 25
    assert load_prepared(tmp_path / "prepared") == prepared
    card = prepared.card
    assert (card.task, card.labels, card.label_column, card.answer_column) == ("generation", (), "", "answer")
    assert card.found_by_itself == ("text", "answer")
    assert card.splits["train"].label_counts == {}
    (table,) = [event for event in heard if isinstance(event, Table) and event.title == "Data"]
    assert table.columns == ("split", "rows", "from")
    assert len(conversations(prepared.train.records())) == sizes[0]
    with pytest.raises(RunFolderError, match=r"d.csv: holds a Conversation, wanted a Choice"):
        choices(prepared.train.records())


def test_the_same_input_gives_the_same_bytes(write: Write, prepare: Prepare, tmp_path: Path) -> None:
    path = write("d.csv", pairs())
    prepare(task="generation", train=path, folder="one")
    prepare(task="generation", train=path, folder="two")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_one_question_with_two_answers_is_kept_and_a_copy_is_not(
    write: Write, prepare: Prepare, tmp_path: Path
) -> None:
    more = "twice,one\ntwice,other\nTWICE,one\n"
    write("test.csv", pairs(5, start=100) + "what is 7,something else\n")
    prepared = prepare(task="generation", train=write("train.csv", pairs() + more), test=tmp_path / "test.csv")
    assert prepared.card.rejected == {"also in test": 1, "duplicate": 1}
    details = {row["row"]: row["detail"] for row in lines(tmp_path / "prepared" / "rejected.jsonl")}
    assert details == {8: "same text as test row 6 of test.csv", 63: "same text and answer as row 61"}
    everything = [*prepared.train.records(), *prepared.validation.records()]
    twice = [record for record in everything if record.text == "twice"]
    assert [record.id.rpartition("-")[2] for record in twice] == ["0", "1"]
    dropped = prepare(
        task="generation", train=tmp_path / "train.csv", test=tmp_path / "test.csv", contradictions="drop", folder="d"
    )
    assert dropped.card.rejected["contradiction"] == 3
    assert any("the same text has different answers" in notice for notice in dropped.card.notices)


def test_limits_groups_and_ids_work_as_with_labels(write: Write, prepare: Prepare) -> None:
    body = "".join(f"what is {i},it is {i},g{i // 4},T{i}\n" for i in range(200))
    prepared = prepare(
        task="generation", train=write("d.csv", "question,answer,customer,ticket\n" + body), group="customer",
        id="ticket", max_examples=20, max_test_examples=5,
    )  # fmt: skip
    assert (len(prepared.train), len(prepared.test)) == (20, 5)
    groups = [{record.group for record in split.records()} for split in (prepared.train, prepared.test)]
    assert not groups[0] & groups[1]
    assert next(prepared.train.records()).user_id is not None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": ["a", "b"]}, "data.labels: is set, but task generation has no labels. Remove it."),
        ({"examples_per_label": 3}, r"data.examples_per_label: is set, .* Use data.max_examples\."),
        ({"group": "nobody"}, "data.group: there is no column `nobody` in d.csv"),
        ({"test_size": 0.0001}, None),
    ],
)
def test_fields_that_do_not_fit(write: Write, prepare: Prepare, fields: dict[str, Any], message: str | None) -> None:
    path = write("d.csv", pairs(40))
    if message is None:
        prepared = prepare(task="generation", train=path, **fields)
        assert "no test row was drawn: one cluster was moved there" in " ".join(prepared.card.notices)
        return
    with pytest.raises(DataError, match=message):
        prepare(task="generation", train=path, **fields)


def test_nothing_usable_names_what_is_wanted(write: Write, prepare: Prepare) -> None:
    path = write("d.csv", "question,answer\n" + "".join(f"q{i},x\n" for i in range(9)).replace("x", " "))
    message = r"rejected: 9 empty answer, wanted rows with a text and an answer\. Check data.text and data.answer\."
    with pytest.raises(DataError, match=message):
        prepare(task="generation", train=path, text="question", answer="answer")


def test_code_and_lists_keep_their_spaces(write: Write, prepare: Prepare, tmp_path: Path) -> None:
    code = "def f(x):\r\n    if x:\r\n\treturn  1\r\n"
    rows = [{"prompt": f"  write  f{i}\n  - one\n", "response": code + f"# {i}"} for i in range(20)]
    prepared = prepare(task="generation", train=write("d.json", json.dumps(rows)))
    record = conversations(prepared.train.take([0]))[0]
    assert record.gold.startswith("def f(x):\n    if x:\n\treturn  1\n#")
    assert record.text.startswith("  write  f")
    changed = lines(tmp_path / "prepared" / "changed.jsonl")
    assert changed[0]["repairs"] == ["white space at the ends", "line ends"]


def test_other_column_names_in_the_test_file_are_found_and_said(write: Write, prepare: Prepare) -> None:
    write("train.csv", pairs().replace("question,answer", "input_text,output_text"))
    write("test.csv", pairs(10, start=500).replace("question,answer", "question,reference_answer"))
    prepared = prepare(task="generation", train=write("train.csv", pairs()).parent)
    assert [record.gold for record in prepared.test.records()][:2] == ["it is 500", "it is 501"]
    assert (
        "test.csv: has other columns than train; read from text `question`, answer `reference_answer` "
        "(train: text `question`, `answer`)"
    ) in prepared.card.notices


def test_given_names_must_be_in_every_file(write: Write, prepare: Prepare) -> None:
    write("test.csv", pairs(10, start=500).replace("question,answer", "question,reference_answer"))
    folder = write("train.csv", pairs()).parent
    with pytest.raises(DataError, match=r"data.answer: there is no column `answer` in test\.csv"):
        prepare(task="generation", train=folder, text="question", answer="answer")


def test_a_cut_back_conversation_is_counted(write: Write, prepare: Prepare) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    rows = [{"messages": [{"role": "user", "content": str(i)}, *turns]} for i in range(30)]
    prepared = prepare(task="chat", train=write("d.json", json.dumps(rows)))
    assert prepared.card.changed == {
        "turns after the last answer removed": 30, "turns of one speaker joined": 30,
    }  # fmt: skip
    assert conversations(prepared.train.take([0]))[0].gold == "b"


RULES = InputRules(text_columns=("q",), task="generation", fields={"answer": "a"})


@pytest.mark.parametrize(
    ("rules", "row", "reason"),
    [
        pytest.param(InputRules(text_columns=("q",)), {"q": " "}, "empty text", id="classification"),
        pytest.param(RULES, {"q": ""}, "empty text", id="columns"),
        pytest.param(
            InputRules(text_columns=(), task="chat", shape="messages", fields={"messages": "m"}),
            {"m": [{"role": "assistant", "content": "x"}]}, "nobody asks first", id="nobody asks",
        ),
        pytest.param(
            InputRules(text_columns=(), task="chat", shape="messages", fields={"messages": "m"}),
            {"m": "hello"}, "no messages", id="no messages",
        ),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_asked_says_why(rules: InputRules, row: dict[str, Any], reason: str) -> None:
    asked = rules.input_of(row, "0")
    assert isinstance(asked, Unusable)
    assert asked.reason == reason


TALKS = InputRules(text_columns=(), task="chat", shape="messages", fields={"messages": "m"})


@pytest.mark.parametrize(
    ("rules", "row"),
    [
        pytest.param(RULES, {"q": "why?", "a": ""}, id="column"),
        pytest.param(
            TALKS, {"m": [{"role": "user", "content": "why?"}, {"role": "assistant", "content": ""}]}, id="turn"
        ),
        pytest.param(
            TALKS, {"m": [{"role": "user", "content": "why?"}, {"role": "assistant", "content": None}]}, id="null"
        ),
    ],
)
def test_an_empty_place_for_the_answer_does_not_stop_the_question(rules: InputRules, row: dict[str, Any]) -> None:
    asked = rules.input_of(row, "0")
    assert [message.content for message in asked.messages] == ["why?"]  # type: ignore[union-attr]


def test_a_conversation_that_goes_on_from_a_test_one_leaves_train(
    write: Write, prepare: Prepare, tmp_path: Path
) -> None:
    rows = []
    for i in range(40):
        texts = [f"question {i}", f"answer {i}", f"and then {i}", f"the end {i}"]
        turns = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]
        rows += [{"messages": turns[:2]}, {"messages": turns}]
    prepared = prepare(task="chat", train=write("d.json", json.dumps(rows)))
    for other in (prepared.test, prepared.validation):
        measured = {(record.text, record.gold) for record in other.records()}
        for talk in conversations(prepared.train.records()):
            assert (talk.messages[0].content, talk.messages[1].content) not in measured
    details = [
        row["detail"] for row in lines(tmp_path / "prepared" / "rejected.jsonl") if row["reason"] == "also in test"
    ]
    assert details and all("begins with all that test row" in detail for detail in details)


def test_a_shared_greeting_keeps_conversations_apart(write: Write, prepare: Prepare) -> None:
    rows = [
        {"messages": [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]}
        for texts in (["hello", "how can I help?", f"question {i}", f"answer {i}"] for i in range(40))
    ]
    prepared = prepare(task="chat", train=write("d.json", json.dumps(rows)))
    assert sum(split.rows for split in prepared.card.splits.values()) == 40


def test_what_was_read_by_lines_is_asked_by_lines(write: Write, prepare: Prepare) -> None:
    asked = write("all.nl", "".join(f"list file {i}\n" for i in range(40)))
    prepared = prepare(task="generation", train=asked, answers=write("all.cm", "".join(f"ls {i}\n" for i in range(40))))
    assert prepared.rules.lines
    assert not prepare(task="generation", train=write("d.csv", pairs()), folder="other").rules.lines


def test_text_between_two_rulers_is_no_front_matter(write: Write, prepare: Prepare) -> None:
    for i in range(20):
        write(f"docs/{i}.md", f"---\n\nA first part of page {i}.\n\n---\n\nA second part.\n")
    prepared = prepare(task="text", train=write("docs/x.md", "---\ntitle: x\n---\nThe page x.\n").parent)
    assert prepared.card.changed == {"front matter set aside": 1}


def test_a_row_without_the_column_is_an_error() -> None:
    chat = InputRules(text_columns=(), task="chat", shape="messages", fields={"messages": "messages"})
    with pytest.raises(DataError, match=r"there is no column `messages`, wanted one of `message`\. Did you mean"):
        chat.input_of({"message": []}, "0")


def test_inputs_leave_the_answer_out() -> None:
    chat = InputRules(text_columns=(), task="chat", shape="messages", fields={"messages": "m", "tools": "tools"})
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    asked = chat.input_of({"m": talk, "tools": [{"name": "f"}]}, "0")
    assert [message.content for message in asked.messages] == ["a"]  # type: ignore[union-attr]
    assert "function" in asked.tools  # type: ignore[union-attr,operator]
    again = chat.input_of({"m": [*talk, {"role": "user", "content": "c"}]}, "0")
    assert [message.content for message in again.messages] == ["a", "b", "c"]  # type: ignore[union-attr]
    assert RULES.input_of({"q": "x", "a": "gold"}, "0").text == "x"  # type: ignore[union-attr]
    assert RULES.asked_columns == ("q",)
    assert chat.asked_columns == ("m",)


def test_rules_for_a_file_with_other_names(write: Write) -> None:
    table = read_table(write("d.csv", pairs()))
    same, notices = rules_for_file(InputRules(text_columns=("question",), task="generation"), table)
    assert (same.text_columns, notices) == (("question",), ())
    other, notices = rules_for_file(RULES, table)
    assert other.text_columns == ("question",)
    assert notices == ("d.csv: has other columns than train; read from text `question` (train: text `q`, answer `a`)",)
    nothing = read_table(write("e.csv", "n,m\n1,2\n3,4\n"))
    with pytest.raises(DataError, match=r"input: there is no column `q` in e\.csv, wanted one of `n`, `m`"):
        rules_for_file(RULES, nothing)


# --- files -----------------------------------------------------------------------------------------------------------


def test_two_aligned_files(write: Write, prepare: Prepare) -> None:
    write("all.cm", "".join(f"ls  -{i}\n" for i in range(40)))
    train = write("all.nl", "".join(f"list {i}\n" if i != 3 else "\n" for i in range(40)))
    answers = train.with_suffix(".cm")
    prepared = prepare(task="generation", train=train, answers=answers, unknown_license="allow")
    assert prepared.card.rejected == {"empty text": 1}
    record = next(prepared.train.records())
    assert record.gold == f"ls  -{record.row - 1}"
    assert prepared.card.sources[0].format == "lines"
    assert prepared.card.notices == ("all.nl: answers are the lines of all.cm (`answer`)",)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ("a\nb\n", "a.cm: has 2 lines, and a.nl has 3 rows, wanted one answer a row"),
        (None, r"data.answers: `.*a\.cm` does not exist, wanted a text file of answers"),
    ],
)
def test_answers_that_do_not_fit(write: Write, prepare: Prepare, answers: str | None, message: str) -> None:
    train = write("a.nl", "x\ny\nz\n")
    if answers is not None:
        write("a.cm", answers)
    with pytest.raises(DataError, match=message):
        prepare(task="generation", train=train, answers=train.with_suffix(".cm"))


def test_a_file_of_labels_beside_the_data(write: Write, prepare: Prepare) -> None:
    train = write("valid.jsonl", "".join(f'{{"goal": "my parcel {i}"}}\n' for i in range(40)))
    labels = write("valid-labels.lst", "".join(f"{i % 2}\n" for i in range(40)))
    prepared = prepare(train=train, answers=labels, text="goal")
    assert prepared.labels == ("0", "1")
    assert prepared.card.label_column == "answer"


@pytest.mark.parametrize(
    ("name", "content", "form"),
    [
        ("train.jsonl.gz", "".join(f'{{"question": "q{i}", "answer": "a{i}"}}\n' for i in range(40)), "jsonl"),
        ("train.csv.gz", pairs(40), "csv"),
        ("data.gz", pairs(40), "csv"),
    ],
)
def test_packed_files(write: Write, prepare: Prepare, name: str, content: str, form: str) -> None:
    path = write(name, gzip.compress(content.encode()))
    prepared = prepare(task="generation", train=path)
    assert prepared.card.sources[0].format == form
    assert sum(split.rows for split in prepared.card.splits.values()) == 40


def test_a_folder_with_packed_splits(write: Write, prepare: Prepare) -> None:
    for role, start in (("train", 0), ("valid", 100), ("test", 200)):
        path = write(f"{role}.csv.gz", gzip.compress(pairs(40, start=start).encode()))
    prepared = prepare(task="generation", train=path.parent)
    assert [len(split) for split in (prepared.train, prepared.validation, prepared.test)] == [40, 40, 40]


def test_a_folder_of_documents(write: Write, prepare: Prepare, tmp_path: Path) -> None:
    for i in range(30):
        write(f"docs/part{i % 3}/page{i}.md", f"---\ntitle: page {i}\n---\n# Page {i}\n\n    code {i}\n\ntext\n")
    write("docs/form.docx", b"PK")
    write("docs/LICENSE.txt", "do what you want")
    write("docs/empty.md", "")
    write("docs/.hidden.md", "x")
    prepared = prepare(task="text", train=tmp_path / "docs")
    records = passages(
        [record for split in (prepared.train, prepared.validation, prepared.test) for record in split.records()]
    )
    assert len(records) == 30
    assert {type(record) for record in records} == {Passage}
    assert all(record.text.startswith("# Page") and "\n    code" in record.text for record in records)
    assert {record.gold for record in records} == {""}
    assert prepared.card.changed == {"front matter set aside": 30}
    assert prepared.card.rejected == {"empty text": 1}
    assert prepared.card.notices[0].startswith("docs: LICENSE.txt, form.docx not read: no text files")
    assert prepared.card.shape == "documents"
    asked = prepared.rules.input_of({"text": "new"}, "0")
    assert (asked.text, asked.messages) == ("new", ())  # type: ignore[union-attr]


def test_documents_by_a_pattern(write: Write, prepare: Prepare, tmp_path: Path) -> None:
    for i in range(30):
        write(f"docs/part{i % 3}/page{i}.rst", f"Page {i}")
    prepared = prepare(task="text", train=f"{tmp_path}/docs/**/*.rst", format="text")
    assert sum(split.rows for split in prepared.card.splits.values()) == 30
    with pytest.raises(DataError, match=r"data.train: `.*\.txt` holds no document, wanted files such as .md"):
        prepare(task="text", train=f"{tmp_path}/docs/**/*.txt", format="text")


@pytest.mark.parametrize(
    ("name", "content", "fields"),
    [
        ("d.csv", "id,body\n" + "".join(f"{i},some text number {i}\n" for i in range(40)), {}),
        ("d.csv", "id,a,b\n" + "".join(f"{i},x{i},y{i}\n" for i in range(40)), {"text": "{a}: {b}"}),
        ("d.txt", "".join(f"line {i}\n" for i in range(40)), {"format": "lines"}),
    ],
)
def test_passages_in_rows(write: Write, prepare: Prepare, name: str, content: str, fields: dict[str, Any]) -> None:
    prepared = prepare(task="text", train=write(name, content), **fields)
    assert sum(split.rows for split in prepared.card.splits.values()) == 40
    assert not prepared.card.rejected


def test_a_column_of_turns_is_never_the_answer(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "x"}]
    rows = [{"question": f"where is order {number}", "history": turns} for number in range(30)]
    path = tmp_path / "talks.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    section = DataSection(train=str(path), text="question", shape="columns")
    with pytest.raises(DataError, match=r"data\.answer: is not set, and no column of talks\.jsonl"):
        prepare_data(section, seed=1, folder=tmp_path / "data", task="generation")


def test_records_of_a_row_stay_together_where_the_group_is_empty(tmp_path: Path) -> None:
    rows = [
        {"team": "", "questions": [{"q": f"asked {row}-{number}", "a": f"said {row}"} for number in range(3)]}
        for row in range(30)
    ]
    path = tmp_path / "tables.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    section = DataSection(train=str(path), records="questions", text="q", answer="a", group="team")
    prepared = prepare_data(section, seed=1, folder=tmp_path / "data", task="generation")
    groups = [{record.group for record in split.records()} for split in (prepared.train, prepared.test)]
    assert groups[0] and groups[1] and not groups[0] & groups[1]
