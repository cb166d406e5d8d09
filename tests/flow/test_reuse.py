"""Nothing is computed twice, and what is computed again is the same to the last byte."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.data.cleaning.steps import rule_versions
from metier.errors import ArgumentError, RunFolderError
from metier.store.files import read_json
from metier.store.run_folder import RunFolder, read_state

SYSTEMS = ["majority", "tfidf", "probe", "zero_shot", "few_shot", "tuned"]


def _times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}


def _without_seconds(path: Path) -> str:
    """A results file without how long answers took."""
    results = json.loads(path.read_text(encoding="utf-8"))
    for system in results["systems"].values():
        system["seconds_per_thousand"] = None
    return json.dumps(results)


def same_findings(one: RunFolder, other: RunFolder) -> None:
    """Hold two runs to the same splits, models' answers, numbers and verdict."""
    for split in ("train", "validation", "test"):
        assert one.split(split).read_bytes() == other.split(split).read_bytes()
    for set in ("train", "validation", "test"):
        assert _without_seconds(one.results(set)) == _without_seconds(other.results(set))
    for system in SYSTEMS:
        assert one.items("test", system).read_bytes() == other.items("test", system).read_bytes()
    assert one.comparison("test").read_bytes() == other.comparison("test").read_bytes()
    assert one.overfitting.read_bytes() == other.overfitting.read_bytes()


def test_the_same_recipe_again_computes_nothing(finished: Any, home: Any) -> None:
    before = _times(finished.folder.path)
    again = home.run("whole")
    assert (again.result.reused, again.result.exit_code, again.events) == (True, 0, [])
    assert again.result.summary.comparison == finished.result.summary.comparison
    assert _times(finished.folder.path) == before


def test_another_folder_takes_every_stage_from_the_cache(finished: Any, home: Any) -> None:
    again = home.run("again", card={"author": "Ada"})
    assert list(again.reused) == ["data", "attempt words", "attempt encoder"]
    assert all("taken from the cache" in detail for detail in again.reused.values())
    assert "author: Ada" in again.folder.attempt(1).recipe.read_text(encoding="utf-8")
    for set in ("validation", "test"):
        assert _without_seconds(again.folder.results(set)) == _without_seconds(finished.folder.results(set))


def test_data_is_prepared_again_when_the_rules_of_a_step_changed(
    finished: Any, home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = home.run("same rules", until="data")
    assert (list(again.reused), again.done) == (["data"], [])
    monkeypatch.setattr("metier.run.rule_versions", lambda: {**rule_versions(), "poison": 99})
    other = home.run("other rules", until="data")
    assert (list(other.reused), other.done) == ([], ["data"])


def test_a_third_candidate_reuses_the_first_two(finished: Any, home: Any, cheap: dict[str, Any]) -> None:
    third = {**home.values["candidates"], "head": cheap["candidates"]["head"]}
    more = home.run("more", candidates=third)
    assert list(more.reused) == ["data", "attempt words", "attempt encoder"]
    assert "attempt head" in more.done
    assert set(read_json(more.folder.chosen, format="chosen")["scores"]) == {"words", "encoder", "head"}
    # Another recipe met the same test set: that is an opening of its own.
    assert more.result.summary.comparison.openings > 1


def test_stopping_after_each_stage_ends_with_the_same_bytes(finished: Any, new_home: Callable[[], Any]) -> None:
    """In another folder with an empty cache, stopped twice and resumed: the same findings as in one go."""
    home = new_home()
    data = home.run("parts", until="data")
    assert (data.done, data.result.summary, data.result.exit_code) == (["data"], None, 0)
    assert not (data.folder.path / "attempts").exists()
    with pytest.raises(RunFolderError, match=r"holds an incomplete run of this recipe\. Add --resume"):
        home.run("parts")
    train = home.run("parts", until="train", resume=True)
    assert train.done == ["baselines", "attempt words", "attempt encoder"]
    assert not train.folder.results("test").exists()
    assert not (home.folder / "state" / "openings.jsonl").exists()
    rest = home.run("parts", resume=True)
    assert rest.done == ["test", "report"]
    assert read_state(rest.folder).resumed
    same_findings(finished.folder, rest.folder)


def test_an_unknown_stage_to_stop_at(home: Any) -> None:
    with pytest.raises(ArgumentError, match="--until: 'lunch', wanted data or train"):
        home.run("never", until="lunch")
    assert not (home.folder / "runs" / "never").exists()


def test_changed_data_is_not_taken_from_the_cache(new_home: Callable[[], Any], cheap: dict[str, Any]) -> None:
    home = new_home()
    home.run("one", **cheap)
    table = home.folder / "mails.csv"
    table.write_text(table.read_text(encoding="utf-8") + "90,a refund of my money please,refund\n", encoding="utf-8")
    again = home.run("two", **cheap)
    assert not again.reused
    assert again.done == ["data", "baselines", "attempt head", "test", "report"]


def test_changed_weights_are_not_taken_from_the_cache(
    new_home: Callable[[], Any], cheap: dict[str, Any], tmp_path: Path
) -> None:
    """A model folder of the same name with other weights is another model."""
    from safetensors.torch import load_file, save_file

    own = tmp_path / "bert"
    shutil.copytree(cheap["candidates"]["head"]["model"], own)
    changes = {**cheap, "candidates": {"head": {"model": str(own), "adaptation": {"method": "head"}}}}
    home = new_home()
    home.run("one", **changes)
    weights = load_file(own / "model.safetensors")
    save_file({name: tensor * 1.5 for name, tensor in weights.items()}, own / "model.safetensors", {"format": "pt"})
    again = home.run("two", **changes)
    assert list(again.reused) == ["data"]
    assert "attempt head" in again.done


def test_another_seed_is_another_run(new_home: Callable[[], Any], cheap: dict[str, Any]) -> None:
    home = new_home()
    one, other = home.run("one", **cheap), home.run("other", **cheap, seed=18)
    assert not other.reused
    assert one.folder.split("test").read_bytes() != other.folder.split("test").read_bytes()


def test_another_recipe_is_refused_in_the_same_folder(home: Any, finished: Any) -> None:
    before = _times(finished.folder.path)
    with pytest.raises(RunFolderError, match=r"whole: holds a run of another recipe \(\w{8}\), wanted \w{8}\. Choose"):
        home.run("whole", seed=18)
    assert _times(finished.folder.path) == before


def test_a_run_survives_a_purge_of_the_cache(finished: Any, home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are linked between cache and run where the disk allows it; one name less loses nothing."""
    from metier.store.cache import purge

    for name, value in home.environment.items():
        monkeypatch.setenv(name, value)
    before = (finished.folder.attempt(2).model / "model.safetensors").read_bytes()
    assert purge("stages") > 0
    assert (finished.folder.attempt(2).model / "model.safetensors").read_bytes() == before


def test_texts_that_only_count_as_the_same_are_other_data(new_home: Callable[[], Any], cheap: dict[str, Any]) -> None:
    """Ids are blind to capitals and the fingerprint to the name of the label's column; a model is to neither."""
    home = new_home()
    home.run("one", **cheap)
    table = home.folder / "mails.csv"
    header, rows = table.read_text(encoding="utf-8").split("\n", 1)
    table.write_text(f"{header}\n{rows.replace('money', 'MONEY')}", encoding="utf-8")
    assert "attempt head" in home.run("two", **cheap).done
    table.write_text(f"{header.replace('intent', 'topic')}\n{rows}", encoding="utf-8")
    renamed = {**home.values["data"], "label": "topic"}
    assert "attempt head" in home.run("three", **cheap, data=renamed).done


def test_an_upper_half_that_learned_does_not_share_its_trunk_with_another_dtype(
    new_home: Callable[[], Any], tiny_model: Callable[..., Path]
) -> None:
    """With `freeze` the tuned model is float32 and the base bfloat16: their boundary states are not the same."""
    way = {"model": str(tiny_model("llama")), "adaptation": {"method": "freeze", "layers": "top 1"}}
    changes = {
        "candidates": {"upper": way}, "evaluation": {"systems": ["zero_shot"]}, "prompt": {"list_labels": False},
        "hardware": {"dtype": "bfloat16"},
        "training": {"max_steps": 2},
    }  # fmt: skip
    home = new_home()
    ran = home.run("mixed", **changes)
    assert read_json(ran.folder.lock, format="lock")["hardware"]["dtype"] == "bfloat16"
    # The attempt's own states, and no others.
    kept = [place for place in (home.folder / "cache" / "trunk").iterdir() if not place.name.startswith(".")]
    assert len(kept) == 1


def test_hardware_that_changed_since_the_run_began(
    new_home: Callable[[], Any], cheap: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` may lead elsewhere on the machine where a run goes on: answers of two dtypes are not mixed."""
    home = new_home()
    monkeypatch.setattr("metier.device._has_native_bfloat16", lambda _device: False)
    changes = {**cheap, "hardware": {"dtype": "auto"}}
    home.run("moved", **changes, until="train")
    monkeypatch.setattr("metier.device._has_native_bfloat16", lambda _device: True)
    with pytest.raises(RunFolderError, match="the device or dtype that the recipe leads to changed since this run"):
        home.run("moved", **changes, resume=True)
    assert "attempt head" in home.run("elsewhere", **changes).done
