from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from metier.data.describe import describe_data
from metier.data.draft import draft_recipe
from metier.data.prepare import prepare_data
from metier.errors import DataError
from metier.recipe.load import load_recipe

Write = Callable[..., Path]
Rows = Callable[..., str]


def test_kinds_of_columns_and_problems_by_row(write: Write) -> None:
    lines = ["id,text,label,customer_id,created,amount"]
    lines += [f"{i},my parcel {i} is late,{'ab'[i % 2]},c{i // 4},2026-01-{1 + i % 28:02},{i * 1.5}" for i in range(40)]
    lines += ["40,my parcel 1 is late,b,c1,2026-01-01,1", "41,my parcel 2 is late,b,c1,2026-01-01,1", "42,,a,c1,x,1"]
    lines += ["43,alone,-,c1,2026-01-01,1", "broken row"]
    found = describe_data(write("d.csv", "\n".join(lines)))
    assert {column.name: column.kind for column in found.columns} == {
        "id": "id", "text": "text", "label": "label", "customer_id": "group", "created": "date", "amount": "number",
    }  # fmt: skip
    assert (found.rows, found.text, found.label, found.group, found.date) == (
        45, ("text",), "label", "customer_id", "created",
    )  # fmt: skip
    assert {problem.kind: problem.rows for problem in found.problems} == {
        "broken row": {"d.csv": [45]},
        "empty text": {"d.csv": [43]},
        "contradiction": {"d.csv": [3, 42]},
        "duplicate": {"d.csv": [41]},
        "single label": {"d.csv": [44]},
    }
    assert found.problems[0].sentence == "1 row broken, will be rejected (row 45)"
    assert (found.labels, found.ignore_labels) == ({"b": 22, "a": 21, "-": 1}, ("-",))


def test_siblings_are_found_when_their_columns_agree(write: Write, rows: Rows) -> None:
    train = write("train.csv", rows())
    write("test.csv", "text,label\nsomething,order\n")
    write("dev.csv", "other,columns\na,b\n")
    found = describe_data(train)
    assert found.test == train.parent / "test.csv"
    assert found.validation is None


def test_a_file_that_names_the_labels(write: Write) -> None:
    body = "".join(f"my text {i},{i % 3}\n" for i in range(30))
    train = write("train.csv", "text,label\n" + body)
    write("classes.csv", "number,name\n0,first one\n1,second\n2,third\n3,fourth\n")
    found = describe_data(train)
    assert (found.label_names["0"], found.label_file) == ("first one", "classes.csv")
    assert '    "0": first one' in draft_recipe(found, recipe_folder=train.parent)


def test_questions_name_the_candidates(write: Write) -> None:
    body = "".join(f"my text {i},{i % 4},{i % 2}\n" for i in range(40))
    found = describe_data(write("d.csv", "text,intent,category\n" + body))
    assert found.label == "intent"
    assert found.questions == (
        "Which column is the answer: `intent` (4 values, 1 characters on average) or `category` (2 values, 1 "
        "characters on average)? The draft takes `intent`; otherwise set data.label.",
    )


def test_nothing_like_a_label_is_an_error_of_the_draft(write: Write, tmp_path: Path) -> None:
    found = describe_data(write("d.csv", "text,n\n" + "".join(f"my text {i},{i}.5\n" for i in range(40))))
    assert found.questions == ("Which column is the answer? None of `text`, `n` looks like it; set data.label.",)
    with pytest.raises(DataError, match=r"data.label: no column looks like the answer, wanted one of `text`, `n`"):
        draft_recipe(found, recipe_folder=tmp_path)


@pytest.mark.parametrize(
    ("label", "why"),
    [
        ("x", "`label` has one value only, and with one label there is nothing to tell apart."),
        ("x{i}", "`label` has 40 values in 40 rows: a label comes again and again."),
    ],
)
def test_a_column_called_label_that_is_none_says_why(label: str, why: str, write: Write) -> None:
    body = "".join(f"my text {i},{label.format(i=i)}\n" for i in range(40))
    (question,) = describe_data(write("d.csv", "text,label\n" + body)).questions
    assert question.endswith(f"set data.label. {why}")


def test_nested_columns_are_said(write: Write) -> None:
    found = describe_data(write("d.jsonl", "".join(f'{{"m": {{"text": "my text {i}"}}}}\n' for i in range(40))))
    assert "Lists and objects (`m`) are read by a path into them, such as `m.text`." in found.questions[0]


def test_a_usual_group_is_the_last_guess_for_the_label(write: Write) -> None:
    body = "".join(f"my long enough text {i},{i % 7},{i % 3}\n" for i in range(60))
    assert describe_data(write("d.csv", "text,contract,kind\n" + body)).label == "kind"


def test_a_message_lists_some_of_many_columns(write: Write) -> None:
    header = ",".join(f"column{i}" for i in range(50))
    row = ",".join(f"{i}.5" for i in range(50))
    (question, _) = describe_data(write("d.csv", f"{header}\n{row}\n{row}\n")).questions
    assert "`column19` and 30 more looks like it" in question


def test_a_run_is_named_in_plain_letters(write: Write, rows: Rows, tmp_path: Path) -> None:
    found = describe_data(write("Übergrößen 😀.csv", rows()))
    assert "\nname: Ubergrossen\n" in draft_recipe(found, recipe_folder=tmp_path)


def test_the_draft_is_short_and_loads(write: Write, rows: Rows, tmp_path: Path) -> None:
    found = describe_data(write("data/my tickets (new).csv", rows()))
    text = draft_recipe(found, recipe_folder=tmp_path / "recipes")
    assert '  train: "../data/my tickets (new).csv"' in text
    assert len(text.splitlines()) < 30
    path = write("recipes/recipe.yaml", text)
    recipe = load_recipe(path)
    assert recipe.name == "my-tickets-new"
    assert (recipe.data.text, recipe.data.label) == ("text", "label")
    assert set(recipe.candidates) == {"llm", "encoder"}
    assert recipe.evaluation.smallest_useful_gain == 0.02
    assert len(prepare_data(recipe.data, seed=1, folder=tmp_path / "out").train) > 0


@pytest.mark.parametrize("column", ["yes", "label: x", "a #b", "étiquette", "- x", "'q'", "1"])
def test_odd_column_names_survive_the_draft(write: Write, tmp_path: Path, column: str) -> None:
    body = "".join(f"my text number {i},{'ab'[i % 2]}\n" for i in range(40))
    found = describe_data(write("d.csv", f"text,{column}\n" + body))
    recipe = load_recipe(write("recipe.yaml", draft_recipe(found, recipe_folder=tmp_path)))
    assert recipe.data.label == column


def test_a_folder_of_like_files_is_one_set(write: Write, rows: Rows, tmp_path: Path) -> None:
    write("set/a.csv", rows(20))
    write("set/b.csv", rows(20, start=20))
    found = describe_data(tmp_path / "set")
    assert (found.train, found.rows) == (str(tmp_path / "set" / "*.csv"), 40)


def test_the_built_in_example(tmp_path: Path, write: Write) -> None:
    found = describe_data("builtin:inbox/train.csv")
    text = draft_recipe(found, recipe_folder=tmp_path)
    assert '  train: "builtin:inbox/train.csv"' in text
    assert '  test: "builtin:inbox/test.csv"' in text
