"""What cleaning changed, end to end: trained twice, on the same test set, opened once, told everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import yaml

from metier.cli.run import result_as_plain
from metier.evaluation.files import read_comparison, read_evaluations
from metier.evaluation.verify import verify_evaluations
from metier.events import Event, StageStarted
from metier.store.files import read_json, read_json_lines

Homes = Callable[[], Any]
DIRT = 30


def dirty(mails: str) -> str:
    """The mails, and as many rows again of which each says what another says, with another answer."""
    rows = mails.splitlines()
    wrong = {"refund": "card", "card": "login", "login": "refund"}
    torn = []
    for number in range(1, DIRT + 1):
        _, message, label = rows[number].split(",")
        torn.append(f"{1000 + number},{message} again {number},{label}")
        torn.append(f"{2000 + number},{message} again {number},{wrong[label]}")
    return "\n".join([*rows, *torn]) + "\n"


@pytest.fixture(scope="module")
def dirty_home(new_home: Homes, make_mails: Callable[..., str]) -> Any:
    """A user whose train file contradicts itself, with files of their own for validation and test."""
    home = new_home()
    (home.folder / "mails.csv").write_text(dirty(make_mails(90)), encoding="utf-8")
    (home.folder / "dev.csv").write_text(make_mails(30, seed=5), encoding="utf-8")
    (home.folder / "test.csv").write_text(make_mails(45, seed=6), encoding="utf-8")
    return home


@pytest.fixture(scope="module")
def changes(cheap: dict[str, Any]) -> dict[str, Any]:
    """A cheap run with an ablation."""
    return {**cheap, "data": {"validation": "dev.csv", "test": "test.csv", "ablation": True}}


@pytest.fixture(scope="module")
def ablated(dirty_home: Any, changes: dict[str, Any]) -> Any:
    """The run; tests only read it."""
    return dirty_home.run("ablated", **changes)


def test_the_same_way_learned_from_more_rows(ablated: Any) -> None:
    ablation = ablated.result.summary.ablation
    assert ablation.records == {"cleaned": 90, "raw": 90 + 2 * DIRT}
    assert ablation.metric == "macro_f1" and ablation.change.n == 45
    assert ablated.done == ["data", "baselines", "attempt head", "test", "ablation", "report"]


def test_both_answered_the_same_test_set_which_was_opened_once(ablated: Any, dirty_home: Any) -> None:
    place = ablated.folder.evaluation_of("ablation").path
    cleaned, raw = read_evaluations(place)
    assert (cleaned.system, raw.system, cleaned.set) == ("cleaned", "raw", "test")
    assert [item.id for item in cleaned.items] == [item.id for item in raw.items]
    (tuned,) = read_evaluations(ablated.folder.evaluation_of("test").path, systems={"tuned"})
    assert [item.answer for item in tuned.items] == [item.answer for item in cleaned.items]
    comparison = read_comparison(place)
    against = read_comparison(ablated.folder.evaluation_of("test").path)
    assert (comparison.candidate, comparison.openings) == ("cleaned", against.openings)
    rows = read_json_lines(dirty_home.folder / "state" / "openings.jsonl")
    assert len(rows) == len({row["run"] for row in rows})


def test_the_numbers_are_verified(ablated: Any) -> None:
    assert verify_evaluations(ablated.folder.evaluation) == ()
    difference = read_comparison(ablated.folder.evaluation_of("ablation").path).differences[0]
    assert ablated.result.summary.ablation.change == difference.difference


def test_it_is_told_everywhere(ablated: Any) -> None:
    sentence = ablated.result.summary.ablation.sentence
    assert sentence.startswith("Cleaning changed macro F1 by ") and "n = 45" in sentence
    page, card = (path.read_text(encoding="utf-8") for path in (ablated.folder.report_page, ablated.folder.readme))
    assert sentence in page and "What cleaning changed" in page
    assert "Cleaning changed macro F1 by" in card
    assert result_as_plain(ablated.result)["ablation"]["sentence"] == sentence
    notes = " ".join(ablated.result.summary.ablation.notes)
    assert "other seeds would give other differences" in notes and "leakage would flatter" in notes


def test_a_run_without_it_has_the_same_verdict(dirty_home: Any, changes: dict[str, Any], ablated: Any) -> None:
    """The ablation is an addition: nothing else of a run depends on it."""
    plain = dirty_home.run("plain", **{**changes, "data": {**changes["data"], "ablation": False}})
    assert "ablation" not in plain.done and plain.result.summary.ablation is None
    assert not (plain.folder.path / "ablation").exists() and not plain.folder.split("raw").exists()
    for name in ("train", "validation", "test"):
        assert plain.folder.split(name).read_bytes() == ablated.folder.split(name).read_bytes()
    one, other = (read_comparison(run.folder.evaluation_of("test").path) for run in (plain, ablated))
    # Only that the other one opened the same test set a second time differs.
    assert [replace(each, after_openings=None) for each in one.differences] == [
        replace(each, after_openings=None) for each in other.differences
    ]


def test_a_run_that_was_killed_goes_on_and_takes_the_raw_model_from_the_cache(
    dirty_home: Any, changes: dict[str, Any], ablated: Any
) -> None:
    """Another run of the same way: killed after its test stage, resumed, opened once, and not trained again."""

    def kill(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == "ablation":
            raise KeyboardInterrupt

    named = {**changes, "card": {"author": "Grace"}}
    with pytest.raises(KeyboardInterrupt):
        dirty_home.run("killed", observer=kill, **named)
    ledger = dirty_home.folder / "state" / "openings.jsonl"
    before = read_json_lines(ledger)
    rest = dirty_home.run("killed", resume=True, **named)
    assert rest.result.summary.ablation.change == ablated.result.summary.ablation.change
    assert read_json_lines(ledger) == before
    mine, first = (run.folder.path / "ablation" / "training" / "history.json" for run in (rest, ablated))
    assert mine.read_bytes() == first.read_bytes()  # its seconds are those of the first


def test_steps_seeds_and_validations_are_equal(dirty_home: Any, changes: dict[str, Any]) -> None:
    """An adapter in words: the raw training has more rows, and not one step more."""
    way = {"words": dirty_home.values["candidates"]["words"]}
    training = {"num_train_epochs": 3, "early_stopping_patience": None}
    ran = dirty_home.run("steps", **{**changes, "candidates": way, "training": training})
    steps = ran.result.summary.ablation.steps
    assert steps == {"cleaned": 34, "raw": 34, "planned": 34}  # 90 rows, 3 epochs, batches of 8
    folder = ran.folder.path / "ablation"
    recipes = [yaml.safe_load((place / "recipe.yaml").read_text()) for place in (ran.folder.attempt(1).path, folder)]
    assert recipes[1]["training"]["max_steps"] == 34 and recipes[1]["training"]["eval_steps"] == 12
    assert recipes[0].get("seed") == recipes[1].get("seed")
    locks = [read_json(place / "lock.json", format="attempt_lock") for place in (ran.folder.attempt(1).path, folder)]
    assert locks[0]["layers"]["used"] == locks[1]["layers"]["used"] and locks[0]["model"] == locks[1]["model"]
    rows = [read_json_lines(place / "training" / "history.jsonl") for place in (ran.folder.attempt(1).path, folder)]
    assert [row["learning_rate"] for row in rows[0]] == [row["learning_rate"] for row in rows[1]]
    assert verify_evaluations(ran.folder.evaluation) == ()


def test_where_nothing_was_dirty_nothing_is_trained_again(
    new_home: Homes, cheap: dict[str, Any], make_mails: Callable[..., str]
) -> None:
    home = new_home()
    for name, seed in (("dev.csv", 5), ("test.csv", 6)):
        (home.folder / name).write_text(make_mails(30, seed=seed), encoding="utf-8")
    ran = home.run(**cheap, data={"validation": "dev.csv", "test": "test.csv", "ablation": True})
    ablation = ran.result.summary.ablation
    assert ablation.change is None and "nothing to compare" in ablation.sentence
    assert not (ran.folder.path / "ablation").exists()
    assert ablation.sentence in ran.folder.report_page.read_text(encoding="utf-8")
    assert json.loads((ran.folder.evaluation_of("ablation").path / "ablation.json").read_text())["change"] is None


def test_written_answers_have_one_too(tiny_model: Callable[..., Any], new_home: Homes) -> None:
    home = new_home()

    def asked(first: int, count: int, said: str = "on its way") -> str:
        rows = ({"question": f"Where is order {number}?", "answer": said} for number in range(first, first + count))
        return "".join(json.dumps(row) + "\n" for row in rows)

    (home.folder / "train.jsonl").write_text(asked(0, 40) + asked(500, 12) + asked(500, 12, "gone"), encoding="utf-8")
    (home.folder / "dev.jsonl").write_text(asked(1000, 8), encoding="utf-8")
    (home.folder / "test.jsonl").write_text(asked(2000, 10), encoding="utf-8")
    home.values = {
        "task": "generation", "name": "written", "model": str(tiny_model("llama")),
        "data": {"train": "train.jsonl", "validation": "dev.jsonl", "test": "test.jsonl", "ablation": True,
                 "contradictions": "drop"},
        "adaptation": {"method": "lora", "layers": "top 1", "r": 4},
        "training": {"max_steps": 4, "max_length": 128, "per_device_train_batch_size": 8},
        "generation": {"max_new_tokens": 8},
        "evaluation": {
            "selection_examples": 4, "train_examples": 4, "resamples": 200, "systems": ["zero_shot"],
            "primary_metric": "loss",
        },
        "hardware": {"device": "cpu", "dtype": "float32", "threads": 1},
    }  # fmt: skip
    ran = home.run("written")
    ablation = ran.result.summary.ablation
    assert ablation.records == {"cleaned": 40, "raw": 64}
    assert ablation.steps["planned"] == 4 and ablation.change.value is not None
    assert any("conversations have their repairs in both" in note for note in ablation.notes)
    assert verify_evaluations(ran.folder.evaluation) == ()


def test_two_processes_give_the_ablation_of_one(
    dirty_home: Any, changes: dict[str, Any], ablated: Any, in_processes: Callable[..., Any]
) -> None:
    values = {**dirty_home.values, **changes, "data": {**dirty_home.values["data"], **changes["data"]}}
    values["evaluation"] = {**dirty_home.values["evaluation"], **changes["evaluation"]}
    (dirty_home.folder / "together.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    folder = dirty_home.folder / "runs" / "together"
    own = {name: str(dirty_home.folder / f"together-{name}") for name in ("cache", "state")}
    ended = in_processes(
        2, ["run", str(dirty_home.folder / "together.yaml"), "--output", str(folder)],
        environment={"METIER_CACHE": own["cache"], "METIER_STATE": own["state"]},
    )  # fmt: skip
    assert ended.codes == [0, 0], ended.said
    again = json.loads((folder / "evaluation" / "ablation" / "ablation.json").read_text(encoding="utf-8"))
    once = json.loads((ablated.folder.evaluation_of("ablation").path / "ablation.json").read_text(encoding="utf-8"))
    assert (again["records"], again["change"]["value"]) == (once["records"], pytest.approx(once["change"]["value"]))
    assert verify_evaluations(folder / "evaluation") == ()
