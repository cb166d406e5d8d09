"""`metier predict`: what a person sees."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.data.sources import read_table
from metier.recipe.load import recipe_from_values
from metier.run import run_recipe

WORDS = {"refund": "give me my money back", "card": "my card was declined", "login": "I can't log in"}


@pytest.fixture(scope="module")
def run(tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a tiny encoder with a head."""
    home = tmp_path_factory.mktemp("run")
    rows = [f"{words} number {number},{label}" for number in range(16) for label, words in WORDS.items()]
    (home / "mails.csv").write_text("\n".join(["message,intent", *rows]) + "\n", encoding="utf-8")
    values = {
        "model": str(tiny_model("bert")),
        "data": {"train": "mails.csv", "text": "message", "label": "intent"},
        "adaptation": {"method": "head"},
        "evaluation": {"systems": ["majority", "tfidf"], "resamples": 200, "selection_examples": 6},
        "hardware": {"device": "cpu", "dtype": "float32", "threads": 1},
    }
    return run_recipe(recipe_from_values(values, base=home, where="recipe.yaml"), output=home / "run").folder.path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    path.write_text('message\nmy card was declined\n""\nhello\n', encoding="utf-8")
    return path


def test_one_text_gives_the_label_alone_on_standard_output(run: Path, metier: Callable[..., Any]) -> None:
    outcome = metier("predict", run, "--text", "my card was declined")
    assert outcome.code == 0
    label = outcome.out.strip()
    assert label in WORDS
    shown = [line.split() for line in outcome.err.splitlines() if "%" in line]
    assert shown[0][1] == label and len(shown) == 3


def test_one_text_as_json(run: Path, metier: Callable[..., Any]) -> None:
    plain = json.loads(metier("predict", run, "--text", "my card was declined", "--json").out)
    assert plain["format"] == "metier.answer"
    assert plain["probability"] == plain["probabilities"][plain["label"]] == max(plain["probabilities"].values())


def test_a_file(run: Path, table: Path, tmp_path: Path, metier: Callable[..., Any]) -> None:
    output = tmp_path / "out.csv"
    outcome = metier("predict", run, table, output)
    assert outcome.code == 0
    assert outcome.out == f"Answered 2 of 3 rows: {output}\n"
    assert "  no answer for 1 row: empty text\n" in outcome.err
    assert len(read_table(output).rows) == 3


def test_a_file_as_json(run: Path, table: Path, tmp_path: Path, metier: Callable[..., Any]) -> None:
    plain = json.loads(metier("predict", run, table, tmp_path / "out.jsonl", "--json").out)
    assert plain["format"] == "metier.prediction"
    assert (plain["rows"], plain["answered"], plain["unanswered"]) == (3, 2, {"empty text": 1})
    assert plain["columns"] == ["answer", "probability", "reason"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "what to answer is not clear, wanted IN and OUT, or --text"),
        (["{in}"], "what to answer is not clear, wanted IN and OUT, or --text"),
        (["--text", "  "], "--text: is empty, wanted a text to answer."),
        (["{in}", "{in}"], "exists already, and metier never overwrites answers. Choose another name."),
        (["{in}", "{dir}/out.pdf"], "ends in .pdf, wanted .csv, .tsv, .jsonl, .ndjson, .parquet."),
        (["{dir}/none.csv", "{dir}/out.csv"], "none.csv: does not exist, wanted a data file."),
        (["{in}", "{dir}/out.csv", "--text-column", "massage"], "Did you mean `message`?"),
    ],
    ids=["nothing", "no output", "empty text", "exists", "ending", "no input", "no column"],
)
def test_faults_end_with_2(
    arguments: list[str], message: str, run: Path, table: Path, tmp_path: Path, metier: Callable[..., Any]
) -> None:
    filled = [argument.replace("{in}", str(table)).replace("{dir}", str(tmp_path)) for argument in arguments]
    outcome = metier("predict", run, *filled)
    assert outcome.code == 2
    assert message in outcome.err


def test_ctrl_c_ends_with_4_and_the_same_command_goes_on(
    run: Path, tmp_path: Path, metier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("\n".join(["message", *(f"order {number}" for number in range(9))]) + "\n", encoding="utf-8")
    monkeypatch.setattr("metier.serving.predict.SLICE", 4)
    from metier.serving.specialist import Specialist

    original, calls = Specialist.ask, [0]

    def ask(self: Specialist, inputs: Any, first: int = 0) -> Any:
        calls[0] += 1
        if calls[0] == 2:
            raise KeyboardInterrupt
        return original(self, inputs, first)

    monkeypatch.setattr(Specialist, "ask", ask)
    first = metier("predict", run, source, output)
    assert first.code == 4
    assert "interrupted after 4 of 9 texts. What was answered is kept; the same command goes on." in first.err
    again = metier("predict", run, source, output)
    assert again.code == 0
    assert "goes on after 4 of 9 texts" in again.err
    assert again.out == f"Answered 9 of 9 rows: {output}\n"


def test_abstain_with_a_number_hands_over(run: Path, table: Path, tmp_path: Path, metier: Callable[..., Any]) -> None:
    output = tmp_path / "out.csv"
    outcome = metier("predict", run, table, output, "--abstain", "1")
    assert outcome.code == 0 and "Answered 0 of 3 rows" in outcome.out
    assert "for a person: 2 of 3 rows (67%) less sure than 1.000, answer left empty" in outcome.err
    rows = read_table(output).rows
    assert [bool(row["answer"]) for row in rows] == [False] * 3
    assert [(row["reason"] or "").partition(":")[0] for row in rows] == ["for a person", "empty text", "for a person"]


def test_abstain_alone_needs_a_promise(run: Path, tmp_path: Path, table: Path, metier: Callable[..., Any]) -> None:
    outcome = metier("predict", run, table, tmp_path / "out.csv", "--abstain")
    assert outcome.code == 2 and not (tmp_path / "out.csv").exists()
    assert "--abstain: validation supports no promise of 90 % right of what it answers by itself" in outcome.err
    one = metier("predict", run, "--text", "my card was declined", "--abstain", "1")
    assert one.code == 0 and one.out.startswith("(no answer: for a person: ")
    assert "wanted a probability" in metier("predict", run, table, tmp_path / "o.csv", "--abstain=much").err
