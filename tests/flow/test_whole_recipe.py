"""One recipe from data to report: what the run folder holds, and what can be read there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from metier.cli.main import run_command_line
from metier.evaluation.files import read_comparison, read_evaluations
from metier.store.files import read_json, read_json_lines
from metier.store.run_folder import read_state

SYSTEMS = ["majority", "tfidf", "probe", "zero_shot", "few_shot", "tuned"]
TEST_ROWS = 16
FOLDER = [
    "README.md", "events.jsonl", "lock.json", "plan.json", "recipe.yaml", "run.json", "data/card.json",
    "data/changed.jsonl", "data/input.json", "data/rejected.jsonl", "data/test.parquet", "data/train.parquet",
    "data/validation.parquet",
    "attempts/001/recipe.yaml", "attempts/001/model/adapter_config.json",
    "attempts/001/model/adapter_model.safetensors", "attempts/001/model/prompt.json",
    "attempts/001/model/summary.json", "attempts/001/model/tokenizer.json", "attempts/001/training/history.jsonl",
    "attempts/001/training/history.json", "attempts/001/evaluation/validation/results.json",
    "attempts/001/evaluation/validation/items-tuned.jsonl", "attempts/002/model/config.json",
    "attempts/002/model/model.safetensors", "attempts/002/model/head.safetensors", "model/chosen.json",
    "model/input.json", "model/prompt.json", "model/summary.json", "model/tokenizer.json",
    "evaluation/overfitting.json", "evaluation/train/results.json", "evaluation/validation/results.json",
    "evaluation/test/results.json", "evaluation/test/comparison.json", "report/index.html",
]  # fmt: skip


def test_the_run_folder_is_that_of_the_design(finished: Any) -> None:
    missing = [name for name in FOLDER if not (finished.folder.path / name).is_file()]
    assert not missing
    assert {p.name for p in finished.folder.path.iterdir()} == {
        "README.md", "events.jsonl", "lock.json", "plan.json", "recipe.yaml", "run.json",
        "attempts", "data", "evaluation", "model", "report",
    }  # fmt: skip
    for system in SYSTEMS:
        assert finished.folder.items("test", system).is_file()
    assert any(finished.folder.figures.glob("*.svg"))


def test_nothing_is_left_half_written(finished: Any, home: Any) -> None:
    assert not [path for path in home.folder.rglob("*") if ".tmp-" in path.name]


def test_every_json_file_has_format_and_version(finished: Any) -> None:
    theirs = {"adapter_config.json", "config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"}
    ours = [p for p in finished.folder.path.rglob("*.json") if p.name not in theirs | {"special_tokens_map.json"}]
    assert len(ours) > 15
    (croissant,) = (path for path in ours if path.name == "croissant.json")
    assert "@context" in json.loads(croissant.read_text(encoding="utf-8"))  # JSON-LD, as its standard has it
    ours.remove(croissant)
    for path in ours:
        keys = list(json.loads(path.read_text(encoding="utf-8")))
        assert keys[:2] == ["format", "version"], path


def test_it_ended_well_and_says_so(finished: Any) -> None:
    assert (finished.result.exit_code, finished.result.reused) == (0, False)
    state = read_state(finished.folder)
    assert (state.status, state.exit_code, state.resumed) == ("complete", 0, False)
    assert {"data", "attempt words", "attempt encoder"} <= set(state.stages)
    assert finished.done == ["data", "baselines", "attempt words", "attempt encoder", "test", "report"]


def test_results_have_the_published_form(finished: Any) -> None:
    results = read_json(finished.folder.results("test"), format="results")
    assert list(results)[:2] == ["format", "version"]
    assert (results["task"], results["set"], results["n"]) == ("classification", "test", TEST_ROWS)
    assert list(results["systems"]) == SYSTEMS
    for system in results["systems"].values():
        assert {"accuracy", "macro_f1", "macro_precision", "weighted_recall"} <= set(system["metrics"])
        for estimate in system["metrics"].values():
            assert {"value", "low", "high", "n", "method", "reason"} <= set(estimate)
            assert estimate["value"] is not None or estimate["reason"]
        assert set(system["per_class"]) == {"card", "login", "refund"}


def test_metrics_are_those_of_scikit_learn(finished: Any) -> None:
    from sklearn.metrics import accuracy_score, f1_score  # type: ignore[import-untyped]

    for evaluation in read_evaluations(finished.folder.evaluation_of("test").path):
        golds, answers = [item.gold for item in evaluation.items], [item.answer for item in evaluation.items]
        assert evaluation.metrics["accuracy"].value == pytest.approx(accuracy_score(golds, answers))
        expected = f1_score(golds, answers, average="macro", zero_division=0)
        assert evaluation.metrics["macro_f1"].value == pytest.approx(expected)


def test_every_system_answered_the_same_items_in_the_same_order(finished: Any) -> None:
    ids = [row["id"] for row in pq.read_table(finished.folder.split("test"), columns=["id"]).to_pylist()]
    assert len(ids) == TEST_ROWS
    for system in SYSTEMS:
        assert [row["id"] for row in read_json_lines(finished.folder.items("test", system))] == ids


def test_the_verdict_is_there_and_names_every_baseline(finished: Any) -> None:
    comparison = read_comparison(finished.folder.evaluation_of("test").path)
    assert comparison.candidate == "tuned"
    assert {difference.baseline for difference in comparison.differences} == set(SYSTEMS) - {"tuned"}
    assert comparison.verdict in ("improved", "regressed", "not worse", "no evidence", "underpowered")
    assert comparison.sentence and comparison.openings == 1
    assert finished.result.summary.comparison == comparison


def test_validation_chose_and_wrote_down_why(finished: Any) -> None:
    chosen = read_json(finished.folder.chosen, format="chosen")
    assert set(chosen["scores"]) == {"words", "encoder"}
    assert chosen["name"] == max(chosen["scores"], key=chosen["scores"].get)
    number = finished.folder.attempt(chosen["number"])
    assert (number.model / "summary.json").read_bytes() == finished.folder.summary.read_bytes()


def test_report_and_card_are_written(finished: Any) -> None:
    page = finished.folder.report_page.read_text(encoding="utf-8")
    card = finished.folder.readme.read_text(encoding="utf-8")
    sentence = finished.result.summary.comparison.sentence
    assert card.startswith("---\n")
    for system in SYSTEMS:
        assert system in page
    assert sentence.split(":")[0].split(".")[0] in card
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_the_event_log_tells_the_stages_in_order(finished: Any) -> None:
    rows = read_json_lines(finished.folder.events)
    started = [row["stage"] for row in rows if row["kind"] == "stage_started"]
    assert started == ["data", "baselines", "attempt words", "attempt encoder", "test", "report"]
    assert all(row["time"] for row in rows)


def test_no_record_text_is_in_the_event_log(finished: Any) -> None:
    texts = [row["text"] for row in pq.read_table(finished.folder.split("train")).to_pylist()]
    log = finished.folder.events.read_text(encoding="utf-8")
    assert not [text for text in texts if text in log]


def test_the_base_models_are_as_they_were(finished: Any, tmp_path: Path, home: Any) -> None:
    """Weights on disk untouched: what the attempt trained lies in the attempt."""
    summaries = [read_json(finished.folder.attempt(n).summary, format="model") for n in (1, 2)]
    lock = read_json(finished.folder.lock, format="lock")
    assert lock["attention"]["kernel"] == "blocks" and lock["attention"]["queries"] > 0
    for name, summary in zip(("words", "encoder"), summaries, strict=True):
        assert lock["models"][name]["weights_sha256"] == summary["weights_sha256"]
    base = Path(home.values["candidates"]["encoder"]["model"]) / "model.safetensors"
    assert finished.folder.attempt(2).model.joinpath("model.safetensors").stat().st_ino != base.stat().st_ino
    assert base.stat().st_mtime < finished.folder.recipe.stat().st_mtime


def test_training_a_model_does_not_change_what_its_base_answers(
    finished: Any, new_home: Any, cheap: dict[str, Any]
) -> None:
    """zero_shot in a run that trained that model equals zero_shot in a run that never did."""
    other = new_home().run(**{**cheap, "evaluation": {"systems": ["zero_shot"]}})
    before = read_json_lines(other.folder.items("test", "zero_shot"))
    after = read_json_lines(finished.folder.items("test", "zero_shot"))
    assert [row["answer"] for row in before] == [row["answer"] for row in after]
    for one, two in zip(before, after, strict=True):
        assert one["label_logprobs"] == pytest.approx(two["label_logprobs"], abs=1e-4)


def test_the_command_line_says_nothing_to_do(
    finished: Any, home: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import yaml

    recipe = home.folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(dict(home.values)), encoding="utf-8")
    with mock.patch.dict(os.environ, home.environment):
        code = run_command_line(["run", str(recipe), "--output", str(finished.folder.path)])
    seen = capsys.readouterr()
    assert code == 0
    assert "nothing to do" in seen.err and "Traceback" not in seen.err
    assert finished.result.summary.comparison.sentence in seen.out
