"""The rules of evidence, end to end: the seal, the gates, the user's own splits, verification."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from metier.evaluation.verify import verify_evaluations
from metier.events import Event, StageFinished, StageStarted
from metier.store.files import read_json, read_json_lines
from metier.store.run_folder import RunFolder, read_state


def test_the_test_split_is_closed_until_the_test_stage(new_home: Callable[[], Any], cheap: dict[str, Any]) -> None:
    """The file is taken away after preparation, and comes back when the test stage begins."""
    home = new_home()
    split = RunFolder(home.folder / "runs" / "run").split("test")
    away = split.with_name("taken-away")

    def take_away(event: Event) -> None:
        if isinstance(event, StageFinished) and event.stage == "data":
            split.rename(away)
        if isinstance(event, StageStarted) and event.stage == "test":
            away.rename(split)

    ran = home.run(observer=take_away, **{**cheap, "candidates": home.values["candidates"]})
    assert ran.done == ["data", "baselines", "attempt words", "attempt encoder", "test", "report"]


def test_openings_are_counted_per_test_set(new_home: Callable[[], Any], cheap: dict[str, Any]) -> None:
    home = new_home()
    one = home.run("one", **cheap)
    assert one.result.summary.comparison.openings == 1
    assert home.run("one", **cheap).result.summary.comparison.openings == 1
    other = home.run("other", **{**cheap, "evaluation": {"systems": ["majority"]}})
    assert other.folder.split("test").read_bytes() == one.folder.split("test").read_bytes()
    assert other.result.summary.comparison.openings == 2
    assert "The test set was opened once, by this run." in one.folder.readme.read_text(encoding="utf-8")
    assert "The test set was opened once" not in other.folder.readme.read_text(encoding="utf-8")
    rows = read_json_lines(home.folder / "state" / "openings.jsonl")
    assert len({row["run"] for row in rows}) == len(rows) == 2


@pytest.mark.parametrize(
    ("gates", "code"),
    [
        ({"minimum": {"accuracy": 0.01}}, 0),
        ({"minimum": {"accuracy": 0.99}}, 3),
        ({"verdict": "improved"}, 3),
        ({"verdict": "improved", "minimum": {"macro_f1": 0.01}}, 3),
    ],
    ids=["reached", "not reached", "verdict", "one of two"],
)
def test_a_gate_decides_the_exit_code(
    gates: dict[str, Any], code: int, gated: Any, cheap: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.id.replace(" ", "-")
    ran = gated.run(name, **cheap, gates=gates)
    assert ran.result.exit_code == code
    assert read_state(ran.folder).exit_code == code
    assert ran.folder.report_page.is_file()
    again = gated.run(name, **cheap, gates=gates)
    assert (again.result.reused, again.result.exit_code) == (True, code)
    assert all(gate.passed for gate in ran.result.summary.comparison.gates) == (code == 0)


@pytest.fixture(scope="module")
def gated(new_home: Callable[[], Any]) -> Any:
    """One home for all gates: only the verdict differs."""
    return new_home()


def test_official_splits_stay_as_they_are(
    new_home: Callable[[], Any], cheap: dict[str, Any], make_mails: Callable[..., str]
) -> None:
    """The user's test rows all stay, in order; what train shares with them leaves train."""
    home = new_home()
    test = make_mails(24, seed=5)
    rows = test.splitlines()
    test += rows[1] + "\n"  # a duplicate within test is flagged, not removed
    (home.folder / "test.csv").write_text(test, encoding="utf-8")
    (home.folder / "dev.csv").write_text(make_mails(18, seed=6), encoding="utf-8")
    train = make_mails(60) + rows[2] + "\n"
    (home.folder / "mails.csv").write_text(train, encoding="utf-8")
    ran = home.run(**cheap, data={"test": "test.csv", "validation": "dev.csv"})
    records = pq.read_table(ran.folder.split("test")).to_pylist()
    assert [record["row"] for record in records] == list(range(1, 26))
    assert [record["label"] for record in records] == [row.rsplit(",", 1)[1] for row in test.splitlines()[1:]]
    assert "duplicate" in records[-1]["flags"]
    card = read_json(ran.folder.data_card, format="card")
    assert [card["splits"][name]["rows"] for name in ("train", "validation", "test")] == [60, 18, 25]
    assert [row["reason"] for row in read_json_lines(ran.folder.rejected)] == ["also in test"]
    assert read_json(ran.folder.results("test"), format="results")["n"] == 25
    assert "left train or validation: the text is also in test" in ran.notices


def test_verify_finds_no_difference(finished: Any) -> None:
    assert verify_evaluations(finished.folder.evaluation) == ()


def _raise_a_metric(folder: RunFolder) -> str:
    path = folder.results("test")
    results = json.loads(path.read_text(encoding="utf-8"))
    metrics = results["systems"]["tuned"]["metrics"]
    metrics["macro_f1"]["value"] = (metrics["macro_f1"]["value"] or 0.0) + 0.01
    path.write_text(json.dumps(results), encoding="utf-8")
    return "test/results.json: tuned.metrics.macro_f1.value"


def _change_an_answer(folder: RunFolder) -> str:
    path = folder.items("test", "majority")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    wrong = next(row for row in rows if row["answer"] != row["gold"])
    wrong["answer"] = wrong["gold"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return "test/results.json: majority.metrics.accuracy.value"


def _soften_the_verdict(folder: RunFolder) -> str:
    path = folder.comparison("test")
    comparison = json.loads(path.read_text(encoding="utf-8"))
    comparison["verdict"] = "improved" if comparison["verdict"] != "improved" else "regressed"
    path.write_text(json.dumps(comparison), encoding="utf-8")
    return "test/comparison.json.verdict"


@pytest.mark.parametrize("plant", [_raise_a_metric, _change_an_answer, _soften_the_verdict])
def test_verify_finds_a_planted_difference(finished: Any, tmp_path: Path, plant: Callable[[RunFolder], str]) -> None:
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(finished.folder.path, folder.path)
    where = plant(folder)
    assert where in [mismatch.where for mismatch in verify_evaluations(folder.evaluation)]
