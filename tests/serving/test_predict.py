"""A file in, the same rows with answers out."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from metier.data.sources import read_table
from metier.data.splits import Split
from metier.errors import ArgumentError, DataError, InterruptedRun, ModelError, RunFolderError
from metier.events import Event, Notice, Progress
from metier.serving import predict as door
from metier.serving import specialist as specialist_file
from metier.serving.predict import load_run, predict_file
from metier.serving.specialist import Specialist
from metier.store.files import read_json_lines
from metier.store.run_folder import RunFolder

MESSY = (
    'key,message,intent\n'
    '1,"my card\nwas ""declined""",card\n'
    '2,,refund\n'
    '3,too,many,fields\n'
    '4,"  Überweisung 退款 🙂, bitte  ",\n'
    '5,my card was declined,card\n'
    '6,my card was declined,card\n'
)  # fmt: skip


@pytest.fixture(scope="module")
def bert(make_run: Callable[[str], RunFolder]) -> Specialist:
    return load_run(make_run("bert").path)


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    path.write_text(MESSY, encoding="utf-8")
    return path


def _many(path: Path, rows: int) -> Path:
    lines = [f"{number},where is my order {number}" for number in range(rows)]
    path.write_text("\n".join(["key,message", *lines]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_answers_are_the_runs_own_on_its_test_set(kind: str, make_run: Callable[[str], RunFolder]) -> None:
    run = make_run(kind)
    specialist = load_run(run.path)
    records = list(Split(name="test", path=run.split("test"), fingerprint="").records())
    items = {item["id"]: item for item in read_json_lines(run.items("test", "tuned"))}
    answers = list(specialist.answer([record.text for record in records]))
    assert len(answers) == len(items) > 5
    for record, answer in zip(records, answers, strict=True):
        assert answer.label == items[record.id]["answer"]
        assert answer.label_logprobs == pytest.approx(items[record.id]["label_logprobs"], abs=1e-4)
        assert answer.label == max(answer.label_logprobs or {}, key=lambda label: (answer.label_logprobs or {})[label])


def test_all_rows_and_columns_are_kept_in_order(bert: Specialist, messy: Path, tmp_path: Path) -> None:
    done = predict_file(bert, messy, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["key", "message", "intent", "answer", "probability", "reason"]
    assert [row["key"] for row in rows] == ["1", "2", "", "4", "5", "6"]
    assert rows[0]["message"] == 'my card\nwas "declined"'
    assert rows[3]["message"] == "  Überweisung 退款 🙂, bitte  "
    assert [bool(row["answer"]) for row in rows] == [True, False, False, True, True, True]
    assert rows[1]["reason"] == "empty text"
    assert rows[2]["reason"] == "broken row: line 5: 4 fields, wanted 3"
    assert rows[4]["answer"] == rows[5]["answer"]
    assert 1 / 3 < float(rows[4]["probability"]) <= 1
    assert (done.rows, done.answered, dict(done.unanswered)) == (6, 4, {"broken row": 1, "empty text": 1})


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_reads_back_the_same(suffix: str, bert: Specialist, messy: Path, tmp_path: Path) -> None:
    output = tmp_path / f"out{suffix}"
    predict_file(bert, messy, output)
    table = read_table(output)
    assert [row["message"] or "" for row in table.rows] == [
        'my card\nwas "declined"', "", "", "  Überweisung 退款 🙂, bitte  ", "my card was declined",
        "my card was declined",
    ]  # fmt: skip
    assert not table.broken
    if suffix == ".parquet":
        assert str(pq.read_schema(output).field("probability").type) == "double"
    if suffix == ".jsonl":
        assert json.loads(output.read_text(encoding="utf-8").splitlines()[1])["answer"] is None


def test_a_file_of_semicolons_stays_one(bert: Specialist, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("key;message\n1;a card\n2;an order\n", encoding="utf-8")
    predict_file(bert, source, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").startswith("key;message;answer;probability;reason\n")


class _Stop:
    """Interrupts after so many answered slices."""

    def __init__(self, slices: int) -> None:
        self.left = slices

    def __call__(self, event: Event, /) -> None:
        if isinstance(event, Progress):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "SLICE", 10)


@pytest.mark.usefixtures("small_slices")
def test_a_killed_prediction_goes_on_and_gives_the_same(bert: Specialist, tmp_path: Path) -> None:
    source = _many(tmp_path / "in.csv", 45)
    predict_file(bert, source, tmp_path / "whole.csv")
    output, partial = tmp_path / "out.csv", tmp_path / "out.csv.partial"
    with pytest.raises(InterruptedRun, match=r"interrupted after 20 of 45 texts. What was answered is kept"):
        predict_file(bert, source, output, observers=(_Stop(2),))
    assert partial.exists() and not output.exists()
    with partial.open("ab") as file:  # torn by the kill
        file.write(b'{"answers": [{"answer": "ca')
    told: list[Event] = []
    done = predict_file(bert, source, output, observers=(told.append,))
    assert done.continued == 20
    assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not partial.exists()
    notices = [event.message for event in told if isinstance(event, Notice)]
    assert notices == ["out.csv: an interrupted prediction goes on after 20 of 45 texts"]
    assert [event.done for event in told if isinstance(event, Progress)] == [30, 40, 45]


@pytest.mark.usefixtures("small_slices")
def test_the_partial_answers_of_another_input_are_never_mixed_in(bert: Specialist, tmp_path: Path) -> None:
    source, output = _many(tmp_path / "in.csv", 25), tmp_path / "out.csv"
    with pytest.raises(InterruptedRun):
        predict_file(bert, source, output, observers=(_Stop(1),))
    with pytest.raises(
        ArgumentError, match=r"out.csv.partial: holds answers that were interrupted, wanted no such file"
    ):
        predict_file(bert, source, output, resume=False)
    _many(source, 26)
    with pytest.raises(
        ArgumentError, match=r"to another input or by another model.* Remove it, or choose another name"
    ):
        predict_file(bert, source, output)
    (tmp_path / "out.csv.partial").write_text("{]\n{}\n", encoding="utf-8")
    with pytest.raises(ArgumentError, match=r"out.csv.partial: is damaged, wanted answers .* Remove it"):
        predict_file(bert, source, output)


def test_equal_texts_are_answered_once(bert: Specialist, messy: Path, tmp_path: Path) -> None:
    told: list[Event] = []
    predict_file(bert, messy, tmp_path / "out.csv", observers=(told.append,))
    assert [event.total for event in told if isinstance(event, Progress)] == [3]


def test_an_output_is_never_overwritten(bert: Specialist, messy: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    output.write_text("mine", encoding="utf-8")
    with pytest.raises(ArgumentError, match=r"out.csv: exists already, and metier never overwrites answers. Choose"):
        predict_file(bert, messy, output)
    assert output.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [("out.xlsx", r"ends in \.xlsx, wanted \.csv, \.tsv"), ("out", r"has no ending, wanted \.csv, \.tsv")],
)
def test_an_unknown_ending_is_refused(name: str, message: str, bert: Specialist, messy: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=message):
        predict_file(bert, messy, tmp_path / name)


def test_a_missing_column_names_the_nearest(bert: Specialist, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("key,messages\n1,a\n2,b\n", encoding="utf-8")
    wanted = r"in.csv: there is no column `message`, wanted one of `key`, `messages`. Did you mean `messages`\?"
    with pytest.raises(DataError, match=wanted):
        predict_file(bert, source, tmp_path / "out.csv")
    done = predict_file(bert, source, tmp_path / "out.csv", text_column="messages")
    assert done.answered == 2


def test_columns_of_the_same_name_get_a_prefix_and_a_notice(bert: Specialist, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("message,answer,metier_reason\nhello,mine,too\nworld,mine,too\n", encoding="utf-8")
    told: list[Event] = []
    done = predict_file(bert, source, tmp_path / "out.csv", observers=(told.append,))
    assert done.columns == ("metier_metier_answer", "metier_metier_probability", "metier_metier_reason")
    assert "the input has `answer` already; the answers are in `metier_metier_answer`" in "".join(
        event.message for event in told if isinstance(event, Notice)
    )
    assert read_table(tmp_path / "out.csv").rows[0]["answer"] == "mine"


def test_a_text_that_is_cut_says_so(bert: Specialist, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text(f"message\n{'order ' * 400}\nshort\n", encoding="utf-8")
    done = predict_file(bert, source, tmp_path / "out.csv")
    assert (done.cut, done.answered) == (1, 2)
    assert [row["reason"] or None for row in read_table(tmp_path / "out.csv").rows] == ["cut", None]


def test_single_texts_are_cleaned_and_empty_ones_have_a_reason(bert: Specialist) -> None:
    plain, same, empty = bert.answer(["my card", "\u200bmy   card ", " \n"])
    assert plain.label == same.label and plain.label_logprobs == same.label_logprobs
    assert math.isclose(sum(math.exp(value) for value in (plain.label_logprobs or {}).values()), 1.0, abs_tol=1e-6)
    assert (empty.label, empty.reason) == (None, "empty text")
    assert [answer.id for answer in bert.answer(["a", "", "b"])] == ["0", "1", "2"]


def test_answers_stream_in_slices(bert: Specialist, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"order {number}" for number in range(7)]
    whole = list(bert.answer(texts))
    monkeypatch.setattr(specialist_file, "SLICE", 2)
    assert [answer.label for answer in bert.answer(texts)] == [answer.label for answer in whole]


@pytest.mark.parametrize("place", ["promoted", "attempt", "alone"])
def test_the_models_folder_alone_answers_too(
    place: str, bert: Specialist, make_run: Callable[[str], RunFolder], tmp_path: Path
) -> None:
    run = make_run("bert")
    folders = {"promoted": run.model, "attempt": run.attempt(1).model, "alone": tmp_path / "model"}
    shutil.copytree(run.model, tmp_path / "model")
    specialist = load_run(folders[place])
    assert specialist.rules == bert.rules
    assert next(specialist.answer(["my card"])).label == next(bert.answer(["my card"])).label


def test_a_model_without_its_run_needs_the_column(
    make_run: Callable[[str], RunFolder], messy: Path, tmp_path: Path
) -> None:
    shutil.copytree(make_run("bert").attempt(1).model, tmp_path / "model")
    specialist = load_run(tmp_path / "model")
    with pytest.raises(DataError, match=r"does not say which column holds the text. Name it with --text-column"):
        predict_file(specialist, messy, tmp_path / "out.csv")
    assert predict_file(specialist, messy, tmp_path / "out.csv", text_column="message").answered == 4


def test_what_is_no_run_is_refused(tmp_path: Path, make_run: Callable[[str], RunFolder]) -> None:
    with pytest.raises(RunFolderError, match="does not exist, wanted a run folder"):
        load_run(tmp_path / "none")
    shutil.copytree(make_run("bert").path, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "model")
    with pytest.raises(ModelError, match="has no promoted model yet, wanted a run that reached its test set"):
        load_run(tmp_path / "run")


def test_another_base_model_is_refused(make_run: Callable[[str], RunFolder], tmp_path: Path) -> None:
    shutil.copytree(make_run("llama").path, tmp_path / "run")
    about = tmp_path / "run" / "model" / "metier-model.json"
    plain: dict[str, Any] = json.loads(about.read_text(encoding="utf-8"))
    about.write_text(json.dumps({**plain, "base_sha256": "0" * 64}), encoding="utf-8")
    with pytest.raises(ModelError, match="Restore that base model; another one would answer nonsense"):
        load_run(tmp_path / "run")
    plain["base"]["name"] = str(tmp_path / "gone")
    about.write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(ModelError, match="gone: is not there"):
        load_run(tmp_path / "run")
