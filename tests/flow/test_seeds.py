"""Other seeds: the promoted way trained again, on the same set, opened once; a statement beside the verdict."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.errors import RecipeError
from metier.evaluation.evidence import SeedStatement
from metier.evaluation.files import read_comparison, read_evaluations
from metier.evaluation.looks import read_look
from metier.evaluation.verify import verify_evaluations
from metier.events import StageStarted
from metier.store.files import read_json_lines

Homes = Callable[[], Any]


@pytest.fixture(scope="module")
def changes(cheap: dict[str, Any], tiny_model: Callable[..., Path]) -> dict[str, Any]:
    """One candidate that learns from its seed, trained with three."""
    words = {"model": str(tiny_model("llama")), "adaptation": {"method": "lora", "layers": "top 1", "r": 4}}
    return {
        "candidates": {"words": words}, "training": {"num_train_epochs": 1, "learning_rate": 0.05},
        "evaluation": {"systems": ["majority", "tfidf"], "seeds": 3, "primary_metric": "accuracy"},
    }  # fmt: skip


@pytest.fixture(scope="module")
def seed_home(new_home: Homes) -> Any:
    return new_home()


@pytest.fixture(scope="module")
def seeded(seed_home: Any, changes: dict[str, Any]) -> Any:
    """The run; tests only read it."""
    return seed_home.run("seeded", **changes)


def _statement(ran: Any) -> SeedStatement:
    found = read_look(SeedStatement, ran.folder.evaluation_of("test").path)
    assert found is not None
    return found


def test_each_seed_gives_a_model_that_answers_the_same_items(seeded: Any) -> None:
    found = read_evaluations(seeded.folder.evaluation_of("seeds").path)
    assert [each.system for each in found] == ["seed-1", "seed-2", "seed-3"]
    assert {each.set for each in found} == {"test"}
    assert len({tuple(item.id for item in each.items) for each in found}) == 1
    (tuned,) = read_evaluations(seeded.folder.evaluation_of("test").path, systems={"tuned"})
    assert [item.answer for item in tuned.items] == [item.answer for item in found[0].items]
    sums = {tuple(round(sum((item.label_logprobs or {}).values()), 6) for item in each.items) for each in found}
    assert len(sums) == 3  # other seeds are other models


def test_the_statement_is_about_the_recipe(seeded: Any) -> None:
    statement = _statement(seeded)
    values = [each.metrics["accuracy"].value for each in read_evaluations(seeded.folder.evaluation_of("seeds").path)]
    assert statement.values == tuple(values) and statement.seeds == (17, 18, 19)
    assert statement.spread is not None and statement.same_items.low is None
    assert statement.components is not None and statement.components.item > 0
    assert statement.sentence.startswith("3 seeds give accuracy ") and "needs 5 seeds" in statement.sentence
    assert statement.against == read_comparison(seeded.folder.evaluation_of("test").path).best_baseline
    assert "The verdict and the gates are about the model that is kept" in " ".join(statement.notes)


def test_the_test_set_was_opened_once_and_the_verdict_is_the_same(
    seed_home: Any, seeded: Any, changes: dict[str, Any]
) -> None:
    rows = read_json_lines(seed_home.folder / "state" / "openings.jsonl")
    assert len(rows) == 1
    plain = seed_home.run("plain", **{**changes, "evaluation": {**changes["evaluation"], "seeds": 1}})
    one, other = (read_comparison(run.folder.evaluation_of("test").path) for run in (seeded, plain))
    assert [row.difference for row in one.differences] == [row.difference for row in other.differences]
    assert "seeds" not in plain.done and not plain.folder.evaluation_of("seeds").results.exists()
    assert list((seeded.folder.path / "seeds").rglob("*.safetensors")) == []


def test_it_is_verified_and_a_changed_digit_is_found(seeded: Any, tmp_path: Path) -> None:
    assert verify_evaluations(seeded.folder.evaluation) == ()
    copy = tmp_path / "evaluation"
    shutil.copytree(seeded.folder.evaluation, copy)
    path = copy / "test" / "seeds.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["mean"] += 0.01
    path.write_text(json.dumps(content), encoding="utf-8")
    assert [each.where for each in verify_evaluations(copy)] == ["test/seeds.json.mean"]


def test_a_killed_run_trains_only_the_seeds_that_are_missing(
    seed_home: Any, seeded: Any, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from metier.stages import again, attempt

    trained: list[str] = []
    original = attempt.train_into

    def watched(shop: Any, name: str, recipe: Any, folder: Any) -> Any:
        if name == "seed-3" and "seed-3" not in trained:
            trained.append(name)
            raise KeyboardInterrupt
        trained.append(name)
        return original(shop, name, recipe, folder)

    monkeypatch.setattr(again, "train_into", watched)
    fresh = {**changes, "training": {**changes["training"], "learning_rate": 0.04}}
    with pytest.raises(KeyboardInterrupt):
        seed_home.run("killed", **fresh)
    first = read_evaluations(seed_home.folder / "runs" / "killed" / "evaluation" / "seeds")
    assert [each.system for each in first] == ["seed-1", "seed-2"]
    rest = seed_home.run("killed", resume=True, **fresh)
    assert trained == ["seed-2", "seed-3", "seed-3"]
    assert len(_statement(rest).values) == 3 and verify_evaluations(rest.folder.evaluation) == ()


def test_another_run_takes_the_models_of_all_seeds_from_the_cache(
    seed_home: Any, seeded: Any, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from metier.stages import again

    def never(*_: Any) -> Any:
        raise AssertionError("trained again")

    monkeypatch.setattr(again, "train_into", never)
    other = seed_home.run("other", **{**changes, "card": {"author": "Grace"}})
    assert _statement(other).values == _statement(seeded).values


def test_seeds_begin_after_the_verdict(seeded: Any) -> None:
    started = [event.stage for event in seeded.events if isinstance(event, StageStarted)]
    assert started.index("test") < started.index("seeds") < started.index("report")


def test_a_head_alone_has_no_seeds(seed_home: Any, cheap: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="every seed gives the same model"):
        seed_home.run("head", **{**cheap, "evaluation": {**cheap["evaluation"], "seeds": 3}})
