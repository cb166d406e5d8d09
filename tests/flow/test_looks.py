"""The closer looks, end to end: what a run leaves, what is asked again, what a kill costs, what verification sees."""

from __future__ import annotations

import csv
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metier.data.record.near_errors import REASON
from metier.data.record.review import apply_review, export_review
from metier.errors import ArgumentError, DataError
from metier.evaluation.closer.slice_report import FEW
from metier.evaluation.evidence import ErrorReport, Robustness, SliceReport, Trust
from metier.evaluation.labels.saved_calibration import read_calibration
from metier.evaluation.looks import read_look
from metier.evaluation.verify import verify_evaluations
from metier.events import Event, Notice, Progress
from metier.model.saved import ABOUT
from metier.serving.predict import FOR_A_PERSON, load_run, predict_file, promised_threshold
from metier.store.files import read_json_lines
from metier.store.run_folder import RunFolder

LOOKS = ("trust", "slices", "robustness", "errors")
CHANGES = ["typos", "lower_case", "instruction", "option_order"]


class Killed(Exception):
    """The process is gone."""


@pytest.fixture(scope="module")
def looked_home(new_home: Callable[[], Any], tiny_model: Callable[..., Path], make_mails: Callable[..., str]) -> Any:
    """A home whose mails came by two channels, one of them with half of the labels wrong."""
    home = new_home()
    for name, count, seed in (("mails.csv", 150, 3), ("test.csv", 80, 9)):
        lines = make_mails(count, seed=seed).splitlines()
        names = ["refund", "card", "login"]
        rows = [f"{lines[0]},channel"]
        for place, line in enumerate(lines[1:]):
            text, label = line.rsplit(",", 1)
            label = names[(names.index(label) + 1) % 3] if name == "test.csv" and place % 4 == 0 else label
            rows.append(f"{text},{label},{'letter' if place % 2 == 0 else 'mail'}")
        (home.folder / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    words = {"model": str(tiny_model("llama")), "adaptation": {"method": "lora", "layers": "top 1", "r": 4}}
    home.values = {
        **home.values, "data": {**home.values["data"], "test": "test.csv", "validation_size": 0.3},
        "candidates": {"words": words}, "prompt": {"list_labels": True},
        "evaluation": {
            **home.values["evaluation"], "systems": ["majority", "tfidf", "probe"], "selection_examples": 60,
            "slice_columns": ["channel", "id"], "robustness": CHANGES, "robustness_items": 20,
            "promise_accuracy": 0.6, "promise_confidence": 0.6,
        },
    }  # fmt: skip
    return home


@pytest.fixture(scope="module")
def looked(looked_home: Any) -> Any:
    """The run; tests read it, or copy it."""
    return looked_home.run("looked")


def _look(ran: Any, kind: type) -> Any:
    found = read_look(kind, ran.folder.evaluation_of("test").path)
    assert found is not None
    return found


def test_every_system_with_probabilities_is_looked_at(looked: Any) -> None:
    trust: Trust = _look(looked, Trust)
    assert list(trust.calibration) == ["majority", "tfidf", "probe", "tuned"]
    assert trust.curve is not None and trust.curve.n == 80
    assert trust.temperature.n == looked.result.summary.attempts[0].validation.n, "all of validation"
    assert any(event.topic == "trust" for event in looked.events if isinstance(event, Notice))


def test_slices_come_from_items_texts_vectors_and_the_users_columns(looked: Any) -> None:
    slices: SliceReport = _look(looked, SliceReport)
    assert {"label", "channel", "cluster"} <= set(slices.kinds)
    assert slices.left_out["length"] == "all items are in one", "every mail has seven words"
    assert set(slices.kinds["channel"]) == {"letter", "mail"}
    assert slices.left_out["id"] == FEW and slices.left_out["source"] == "all items are in one"
    assert slices.left_out["group"] == "no record has a group"
    items = read_json_lines(looked.folder.items("test", "tuned"))
    with (looked.folder.path.parent.parent / "test.csv").open(encoding="utf-8") as file:
        channels = [row["channel"] for row in csv.DictReader(file)]
    assert list(slices.kinds["channel"]) == [channels[item["row"] - 1] for item in items]
    assert slices.against == looked.result.summary.comparison.best_baseline


def test_the_promoted_system_and_the_best_baseline_are_asked_again(looked: Any) -> None:
    found: Robustness = _look(looked, Robustness)
    assert {row.change for row in found.drops} == set(CHANGES) - set(found.left_out)
    assert found.left_out == {"lower_case": "it changes none of these texts"}, "the mails have no capitals"
    assert found.against == looked.result.summary.comparison.best_baseline
    assert {row.change for row in found.baseline} == {"typos"}, "a classical baseline has no prompt"
    assert all(row.n == 20 for row in found.drops)
    typos = read_json_lines(looked.folder.items("test-typos", "tuned"))
    assert {row["id"] for row in typos} <= {row["id"] for row in read_json_lines(looked.folder.items("test", "tuned"))}


def test_wrong_answers_stand_beside_training_rows(looked: Any) -> None:
    errors: ErrorReport = _look(looked, ErrorReport)
    wrong = [row for row in read_json_lines(looked.folder.items("test", "tuned")) if row["answer"] != row["gold"]]
    assert len(errors.explained) == errors.wrong == len(wrong) > 0
    assert errors.vectors.startswith("frozen features of ")
    assert all(len(each.neighbours) == 5 and each.neighbours[0].source == "mails.csv" for each in errors.explained)


def test_rows_near_errors_come_into_the_review_and_back(looked: Any, tmp_path: Path) -> None:
    errors: ErrorReport = _look(looked, ErrorReport)
    wanted = [row for row in errors.rows if row.doubted or row.errors > 1]
    data = looked.folder.data
    done = export_review(data, tmp_path / "sheet.csv", reasons=[REASON])
    assert done.doubts == len(wanted) > 0 and done.without_text == 0
    with (tmp_path / "sheet.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rows] == [row.row for row in wanted]
    assert rows[0]["why"] == f"lies near {wanted[0].errors} wrong answers, given with its label"
    rows[0]["decision"] = "drop"
    with (tmp_path / "sheet.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    applied = apply_review(data, tmp_path / "sheet.csv", tmp_path / "d.jsonl", by="me", at="2026-01-01T00:00:00Z")
    assert applied.decisions == {"drop": 1}


def test_power_is_stated_at_validations_discordance(looked: Any) -> None:
    rows = looked.result.summary.comparison.differences
    assert any(row.discordance is not None and 0 < row.discordance <= 1 for row in rows)


def test_all_is_verified(looked: Any) -> None:
    assert verify_evaluations(looked.folder.evaluation) == ()


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(part, (*path, key))
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from _leaves(part, (*path, place))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


@pytest.mark.parametrize("name", LOOKS)
def test_one_changed_digit_is_found(name: str, looked: Any, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(looked.folder.path, folder.path)
    path = folder.evaluation_of("test").path / f"{name}.json"
    text = path.read_text(encoding="utf-8")
    leaves = [leaf for leaf in _leaves(json.loads(text)) if leaf[0] != ("version",)]
    for where, value in random.Random(4).sample(leaves, 8):
        plain = json.loads(text)
        parent = plain
        for step in where[:-1]:
            parent = parent[step]
        parent[where[-1]] = value + 1 if isinstance(value, int) else value + 0.0001
        path.write_text(json.dumps(plain), encoding="utf-8")
        found = [each.where for each in verify_evaluations(folder.evaluation)]
        assert any(each.startswith(f"test/{name}.json") for each in found), where


def test_a_kill_between_two_looks_costs_nothing_that_was_answered(looked: Any, looked_home: Any) -> None:
    def kill(event: Event) -> None:
        if isinstance(event, Progress) and event.label == "tuned on test-option-order":
            raise Killed

    with pytest.raises(Killed):
        looked_home.run("killed", observer=kill)
    folder = RunFolder(looked_home.folder / "runs" / "killed")
    assert not (folder.evaluation_of("test").path / "robustness.json").exists()
    ran = looked_home.run("killed", resume=True)
    asked = {event.label for event in ran.events if isinstance(event, Progress)}
    assert "tuned on test-option-order" in asked
    assert not {"tuned on test", "tuned on test-typos", "tuned on test-instruction"} & asked
    for name in LOOKS:
        files = [each.folder.evaluation_of("test").path / f"{name}.json" for each in (ran, looked)]
        assert files[0].read_bytes() == files[1].read_bytes(), name
    assert verify_evaluations(folder.evaluation) == ()


@pytest.mark.slow
def test_two_processes_leave_the_same_looks(looked: Any, looked_home: Any, in_processes: Any) -> None:
    recipe = looked_home.folder / "two.yaml"
    recipe.write_text(json.dumps(looked_home.values), encoding="utf-8")
    place = looked_home.folder / "runs" / "two"
    ended = in_processes(2, ["run", str(recipe), "--output", str(place)], environment=looked_home.environment)
    assert ended.codes == [0, 0], ended.said
    folder = RunFolder(place)
    assert verify_evaluations(folder.evaluation) == ()
    for kind in (SliceReport, Robustness, ErrorReport, Trust):
        assert read_look(kind, folder.evaluation_of("test").path) is not None
    slices = read_look(SliceReport, folder.evaluation_of("test").path)
    assert slices is not None and slices.kinds["channel"] == _look(looked, SliceReport).kinds["channel"]


def test_a_column_that_no_file_has_is_told_first(looked_home: Any) -> None:
    with pytest.raises(DataError, match=r"slice_columns.*no column `chanel`.*Did you mean `channel`"):
        looked_home.run("misspelt", evaluation={"slice_columns": ["chanel"]})


def test_a_file_that_changed_gives_no_column(looked_home: Any, cheap: dict[str, Any]) -> None:
    changes = {
        **cheap,
        "evaluation": {
            **cheap["evaluation"],
            "robustness": [],
            "robustness_items": 100,
            "explain_errors": 0,
            "slices": [],
        },
    }
    looked_home.run("changed", until="train", **changes)
    file = looked_home.folder / "test.csv"
    text = file.read_text(encoding="utf-8")

    def change(event: Event) -> None:
        file.write_text(text + "\n", encoding="utf-8")

    try:
        ran = looked_home.run("changed", resume=True, observer=change, **changes)
    finally:
        file.write_text(text, encoding="utf-8")
    slices: SliceReport = _look(ran, SliceReport)
    assert slices.left_out["channel"] == "test.csv changed since the data was prepared" and slices.kinds == {}
    place = ran.folder.evaluation_of("test").path
    assert read_look(Robustness, place) is None and read_look(ErrorReport, place) is None


def test_gates_on_coverage_and_gaps_decide_the_exit_code(looked_home: Any, cheap: dict[str, Any]) -> None:
    gates = {"minimum_coverage": 0.99, "largest_gap": {"channel": 0.001}}
    section = {**cheap["evaluation"], "robustness": [], "robustness_items": 100}
    ran = looked_home.run("gated", **{**cheap, "evaluation": section}, gates=gates)
    assert ran.result.exit_code == 3
    assert [gate.gate for gate in ran.result.summary.comparison.gates] == ["minimum_coverage", "largest_gap.channel"]
    assert verify_evaluations(ran.folder.evaluation) == ()
    errors: ErrorReport = _look(ran, ErrorReport)
    assert errors.vectors == "the model's own states" and errors.explained, "without a probe the encoder reads again"


def test_predict_writes_tempered_confidences_and_hands_over(looked: Any, looked_home: Any, tmp_path: Path) -> None:
    saved = read_calibration(looked.folder.model, ABOUT)
    assert saved is not None and saved.promise is not None
    specialist = load_run(looked.folder.path)
    everything = predict_file(specialist, looked_home.folder / "test.csv", tmp_path / "all.csv")
    assert everything.to_a_person == 0 and everything.threshold is None
    with (tmp_path / "all.csv").open(encoding="utf-8") as file:
        sure = sorted(float(row["probability"]) for row in csv.DictReader(file))
    threshold = promised_threshold(specialist, sure[30])
    done = predict_file(specialist, looked_home.folder / "test.csv", tmp_path / "out.csv", threshold=threshold)
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    handed = [row for row in rows if not row["answer"]]
    assert done.to_a_person == len(handed) == sum(each < sure[30] - 1e-9 for each in sure) > 0
    assert done.unanswered == {FOR_A_PERSON: len(handed)}
    assert all(row["reason"].startswith(f"{FOR_A_PERSON}: ") and row["probability"] for row in handed)
    assert done.answered == 80 - len(handed)


def test_a_model_without_a_promise_says_so(looked_home: Any, cheap: dict[str, Any]) -> None:
    section = {**cheap["evaluation"], "robustness": [], "robustness_items": 100, "promise_accuracy": 0.999}
    ran = looked_home.run("unpromised", **{**cheap, "evaluation": section})
    specialist = load_run(ran.folder.path)
    with pytest.raises(
        ArgumentError, match=r"--abstain.*supports no promise of 99\.9 % right.*too few.*--abstain 0\.9"
    ):
        promised_threshold(specialist)
    assert promised_threshold(specialist, 0.7) == 0.7
    with pytest.raises(ArgumentError, match=r"--abstain.*found 1\.2.*a probability above 0 and up to 1"):
        promised_threshold(specialist, 1.2)
    trust: Trust = _look(ran, Trust)
    assert trust.alone is not None and trust.alone.sentence.startswith("Hands everything to a person: 99.9 % right")
