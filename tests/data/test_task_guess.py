from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.data.describe import DataDescription, describe_data
from metier.data.draft import draft_recipe
from metier.data.prepare import prepare_data
from metier.data.prepared import PreparedData
from metier.data.task_guess import handful
from metier.errors import DataError
from metier.recipe.load import load_recipe

Write = Callable[..., Path]


def talk(i: int, answer: str, turns: int = 1) -> dict[str, Any]:
    pair = [{"role": "user", "content": f"question {i}"}, {"role": "assistant", "content": answer}]
    return {"messages": pair * turns}


def drafted(found: DataDescription, tmp_path: Path) -> PreparedData:
    file = tmp_path / "recipe.yaml"
    file.write_text(draft_recipe(found, recipe_folder=tmp_path), encoding="utf-8")
    recipe = load_recipe(file)
    return prepare_data(recipe.data, seed=17, folder=tmp_path / "data", task=recipe.task)


CASES: dict[str, tuple[list[dict[str, Any]], str, str]] = {
    "messages": ([talk(i, f"answer {i}") for i in range(60)], "generation", "messages"),
    "long talks": ([talk(i, f"answer {i}", 2) for i in range(60)], "chat", "messages"),
    "few answers": ([talk(i, ["yes", "no"][i % 2]) for i in range(60)], "classification", "columns"),
    "sharegpt with few answers": (
        [{"conversations": [{"from": "human", "value": f"q {i}"}, {"from": "gpt", "value": "ab"[i % 2]}]}
         for i in range(60)], "classification", "columns",
    ),
    "alpaca": ([{"instruction": f"q {i}", "input": "", "output": f"a {i}"} for i in range(60)], "generation", "alpaca"),
    "alpaca with few answers": (
        [{"instruction": f"q {i}", "input": "", "output": "ab"[i % 2]} for i in range(60)], "classification", "columns",
    ),
    "a pair": ([{"question": f"q {i}", "answer": f"a {i}", "kind": "xy"[i % 2]} for i in range(60)],
               "generation", "columns"),
    "a pair with few answers": ([{"question": f"q {i}", "answer": "xy"[i % 2]} for i in range(60)],
                                "classification", "columns"),
    "a usual label beside a pair": (
        [{"text": f"my text {i}", "summary": f"s {i}", "label": "xy"[i % 2]} for i in range(60)],
        "classification", "columns",
    ),
    "preference": ([{"prompt": f"q {i}", "chosen": "a", "rejected": "b"} for i in range(60)],
                   "preference", "preference"),
    "one text": ([{"id": i, "body": f"a long enough text that is to be read on, number {i}"} for i in range(60)],
                 "text", "documents"),
    "nested questions": (
        [{"table": {"uid": "x", "table": [["a", str(i)]]}, "questions": [{"question": f"q {i}", "answer": f"a {i}"}]}
         for i in range(60)], "generation", "columns",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_task_is_told_by_what_the_file_holds(write: Write, tmp_path: Path, name: str) -> None:
    rows, task, shape = CASES[name]
    found = describe_data(write("d.json", json.dumps(rows)))
    assert (found.task, found.shape) == (task, shape)
    prepared = drafted(found, tmp_path)
    assert prepared.card.task == task
    assert sum(split.rows for split in prepared.card.splits.values()) == 60


def test_few_answers_say_why_and_how_to_choose_the_other(write: Write, tmp_path: Path) -> None:
    found = describe_data(write("d.json", json.dumps(CASES["few answers"][0])))
    assert found.notices == (
        "The answers are 2 different strings, each 30 times on average: the draft takes task classification, which "
        "is surer and cheaper. For written answers set task: generation, and remove candidates, "
        "evaluation and all of data but the files.",
    )
    assert (found.text, found.label) == (("messages[0].content",), "messages[-1].content")
    assert found.notices[0] in draft_recipe(found, recipe_folder=tmp_path)
    assert drafted(found, tmp_path).labels == ("no", "yes")


def test_few_answers_behind_a_system_prompt_are_asked_without_their_answer_too(write: Write) -> None:
    rows = [
        {"messages": [
            {"role": "system", "content": "Sort."}, {"role": "user", "content": f"mail {i}"},
            {"role": "assistant", "content": ["yes", "no"][i % 2]},
        ]}
        for i in range(60)
    ]  # fmt: skip
    assert describe_data(write("d.json", json.dumps(rows))).text == ("messages[1].content",)


def test_folders_called_after_the_splits_are_drafted(write: Write, tmp_path: Path) -> None:
    for i in range(20):
        write(f"pages/train/{i}.md", f"A page about {i}.\n")
        write(f"pages/test/{i}.md", f"Another page about {i}.\n")
    found = describe_data(tmp_path / "pages")
    assert (found.test, found.examples) == (tmp_path / "pages" / "test", 20)
    assert drafted(found, tmp_path).card.splits["test"].rows == 20


def test_a_file_without_a_row_that_can_be_read_is_said(write: Write, tmp_path: Path) -> None:
    found = describe_data(write("d.json", json.dumps(["a", "b"])))
    with pytest.raises(DataError, match=r"d\.json: holds no row that could be read, wanted rows with named columns"):
        draft_recipe(found, recipe_folder=tmp_path)


def test_labels_beside_a_pair_are_said(write: Write) -> None:
    found = describe_data(write("d.json", json.dumps(CASES["a pair"][0])))
    assert found.notices == (
        "`kind` looks like labels: to predict it, set task: classification and name it as data.label; "
        "remove data.answer then.",
    )
    assert found.task_sentence == "Task: generation, written answers to single questions (60 records)."


def test_nested_records_bring_what_they_are_about(write: Write) -> None:
    found = describe_data(write("d.json", json.dumps(CASES["nested questions"][0])))
    assert (found.records, found.text, found.answer) == ("questions", ("table.table", "question"), "answer")


def test_a_rating_of_single_answers_is_said(write: Write) -> None:
    rows = [{"prompt": f"q {i}", "completion": f"a {i}", "label": i % 2 == 0} for i in range(60)]
    found = describe_data(write("d.json", json.dumps(rows)))
    assert found.notices[0].startswith("Column `label` looks like a rating of single answers, which is not read")


def test_ratings_end_in_a_sentence(write: Write, tmp_path: Path) -> None:
    rows = [{"context": [{"role": "agent", "text": f"q {i}"}], "reward": i % 2} for i in range(60)]
    found = describe_data(write("d.json", json.dumps(rows)))
    assert "Column `reward` looks like ratings of single answers (unpaired preference)" in found.questions[-1]
    with pytest.raises(DataError, match=r"data\.text: no column looks like the text"):
        draft_recipe(found, recipe_folder=tmp_path)


def test_preference_says_that_training_comes_later(write: Write, tmp_path: Path) -> None:
    found = describe_data(write("d.json", json.dumps(CASES["preference"][0])))
    assert "training on them comes in a later version" in draft_recipe(found, recipe_folder=tmp_path)


def test_problems_of_conversations_are_said_by_row(write: Write) -> None:
    rows = [talk(i, f"answer {i}") for i in range(60)] + [{"messages": [{"role": "user", "content": "x"}]}]
    rows.append(talk(1, "answer 1"))
    found = describe_data(write("d.json", json.dumps(rows)))
    assert [problem.sentence for problem in found.problems] == [
        "1 row repeating an earlier text and answer (row 62)", "1 row rejected: no answer (row 61)",
    ]  # fmt: skip


def test_two_aligned_files(write: Write, tmp_path: Path) -> None:
    write("bash/all.cm", "".join(f"ls -{i}\n" for i in range(60)))
    write("bash/all.nl", "".join(f"list {i}\n" for i in range(60)))
    write("bash/LICENSE.txt", "MIT")
    found = describe_data(tmp_path / "bash")
    assert (found.task, Path(found.train).name, found.answers_file) == (
        "generation", "all.nl", tmp_path / "bash" / "all.cm",
    )  # fmt: skip
    text = draft_recipe(found, recipe_folder=tmp_path)
    assert "\nname: bash\n" in text
    assert "  answers: bash/all.cm" in text
    assert len(drafted(found, tmp_path).train) > 30


def test_two_aligned_files_of_unknown_order_are_asked(write: Write, tmp_path: Path) -> None:
    for ending in ("fr", "xx"):
        write(f"pair/all.{ending}", "".join(f"{ending} {i}\n" for i in range(60)))
    assert describe_data(tmp_path / "pair").questions == (
        "Which file holds the questions: all.fr or all.xx? The draft takes all.fr; otherwise exchange data.train and "
        "data.answers.",
    )


def test_a_file_of_labels_beside_the_data(write: Write, tmp_path: Path) -> None:
    write("set/valid-labels.lst", "".join(f"{i % 2}\n" for i in range(60)))
    write("set/valid.jsonl", "".join(f'{{"goal": "how do I mend parcel number {i}"}}\n' for i in range(60)))
    found = describe_data(tmp_path / "set")
    assert (found.task, found.labels) == ("classification", {"0": 30, "1": 30})
    assert drafted(found, tmp_path).labels == ("0", "1")


def test_a_folder_of_documents(write: Write, tmp_path: Path) -> None:
    for i in range(30):
        write(f"handbook/docs/{i}.md", f"---\ntitle: {i}\n---\nThis is page {i}.\n")
    write("handbook/form.docx", b"PK")
    write("handbook/LICENSE.txt", "MIT")
    found = describe_data(tmp_path / "handbook")
    assert (found.task, found.examples) == ("text", 30)
    assert found.notices == ("Not read, as they are no text files: LICENSE.txt, form.docx",)
    assert "  train: handbook  " in draft_recipe(found, recipe_folder=tmp_path)
    assert "# 30 text files, each a document" in draft_recipe(found, recipe_folder=tmp_path)
    assert sum(split.rows for split in drafted(found, tmp_path).card.splits.values()) == 30


def test_a_table_among_notes_is_a_table(write: Write, tmp_path: Path) -> None:
    for i in range(9):
        write(f"set/{i}.md", "note")
    write("set/train.csv", "text,label\n" + "".join(f"my text {i},{'ab'[i % 2]}\n" for i in range(60)))
    assert describe_data(tmp_path / "set").task == "classification"


def test_several_test_files_are_asked(write: Write, tmp_path: Path) -> None:
    for name in ("train", "test1", "test2"):
        write(f"set/{name}.csv", "question,answer\n" + "".join(f"{name} q {i},a {i}\n" for i in range(60)))
    assert describe_data(tmp_path / "set").questions == (
        "Which file is for test: test1.csv or test2.csv? The draft takes none; name it as data.test.",
    )


def test_the_test_file_of_the_same_kind_is_taken(write: Write, tmp_path: Path) -> None:
    rows = "".join(f'{{"question": "q {i}", "answer": "a {i}"}}\n' for i in range(60))
    write("set/train_60.jsonl", rows)
    write("set/test.jsonl", rows.replace("q ", "t "))
    write("set/test.csv", "question,answer\nx,y\n")
    found = describe_data(tmp_path / "set")
    assert found.test == tmp_path / "set" / "test.jsonl"


def test_a_test_file_with_other_names_is_found_by_itself(write: Write, tmp_path: Path) -> None:
    write("set/train.jsonl", "".join(f'{{"input_text": "q {i}", "output_text": "a {i}"}}\n' for i in range(60)))
    write("set/test.jsonl", "".join(f'{{"question": "t {i}", "reference_answer": "a {i}"}}\n' for i in range(20)))
    found = describe_data(tmp_path / "set")
    assert not found.same_columns
    text = draft_recipe(found, recipe_folder=tmp_path)
    assert "  # text `input_text`, answer `output_text` in train; the other files call them differently" in text
    assert len(drafted(found, tmp_path).test) == 20


@given(st.lists(st.sampled_from(["a", "b", " a", ""]) | st.text(max_size=3)))
def test_a_handful_is_few_and_frequent(answers: list[str]) -> None:
    found = handful(answers)
    filled = [answer.strip() for answer in answers if answer.strip()]
    assert found is None or (2 <= found <= 20 and len(filled) >= 5 * found)
