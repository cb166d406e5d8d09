"""`metier export --as lm-eval`: the items that a run was judged on, as the run asked them, and back as a system."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from metier.data.prepare import load_prepared
from metier.errors import ArgumentError, DataError, RunFolderError
from metier.evaluation.files import read_evaluations
from metier.serving.export import export_items
from metier.store.files import read_json
from metier.store.run_folder import RunFolder, find_run

MakeRun = Callable[[str], RunFolder]


def _rows(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "metier_mails.parquet").to_pylist()  # type: ignore[no-any-return]


def _copy(run: RunFolder, to: Path) -> RunFolder:
    """A run that may be changed."""
    shutil.copytree(run.path, to)
    return find_run(to)


def _set(run: RunFolder, section: str, field: str, value: Any) -> None:
    recipe = yaml.safe_load(run.recipe.read_text(encoding="utf-8"))
    recipe.setdefault(section, {})[field] = value
    run.recipe.write_text(yaml.safe_dump(recipe), encoding="utf-8")


def test_the_items_are_those_of_the_test_set_as_the_model_was_asked(make_run: MakeRun, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from metier.model.encode import Encoder
    from metier.model.saved import read_prompt

    run = make_run("llama")
    done = export_items(run.path, tmp_path / "out")
    assert [(task.name, task.chat) for task in done.tasks] == [("metier_mails", False), ("metier_mails_chat", True)]
    assert (done.set, done.cut, done.path, done.own) == ("test", 0, tmp_path / "out", True)
    items = read_evaluations(run.results("test").parent, systems={"tuned"})[0].items
    rows = _rows(tmp_path / "out")
    assert [(row["id"], row["labels"][row["label"]]) for row in rows] == [(item.id, item.gold) for item in items]
    texts = {record.id: record.text for record in load_prepared(run.data).test.records()}
    prompt, encoder = read_prompt(run.model), Encoder(AutoTokenizer.from_pretrained(run.model), 1024)
    assert [row["asked"] for row in rows] == [encoder.render(prompt, texts[row["id"]]) for row in rows]  # type: ignore[arg-type]
    named = yaml.safe_load((tmp_path / "out" / "metier_mails_chat.yaml").read_text())["dataset_kwargs"]["data_files"]
    assert Path(named["test"]) == (tmp_path / "out" / "metier_mails.parquet").resolve()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "metier_mails.parquet", "metier_mails.yaml", "metier_mails_chat.yaml",
    ]  # fmt: skip


def test_a_model_with_a_head_is_asked_in_the_words_of_the_recipe(make_run: MakeRun, tmp_path: Path) -> None:
    done = export_items(make_run("bert").path, tmp_path / "out")
    assert [task.name for task in done.tasks] == ["metier_mails"] and not done.own
    row = _rows(tmp_path / "out")[0]
    assert row["prompt"].startswith("Read the text and answer with its intent.\n\n") and "asked" not in row
    assert row["choices"] == ["card", "login", "refund"]


def test_prompts_that_the_run_cut_are_counted_and_whole(make_run: MakeRun, tmp_path: Path) -> None:
    run = _copy(make_run("llama"), tmp_path / "run")
    path = run.model / "metier-model.json"
    about = read_json(path, format="saved_model")
    short = {**json.loads(path.read_text()), "max_length": about["max_length"]}
    whole = export_items(run.path, tmp_path / "one")
    from transformers import AutoTokenizer

    longest = max(len(AutoTokenizer.from_pretrained(run.model)(row["asked"])["input_ids"]) for row in _rows(whole.path))
    path.write_text(json.dumps({**short, "max_length": longest}))  # the answer has no room any more
    cut = export_items(run.path, tmp_path / "two")
    assert whole.cut == 0 < cut.cut <= cut.items
    assert _rows(tmp_path / "one") == _rows(tmp_path / "two")


def test_what_may_not_or_cannot_leave_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("bert")
    (tmp_path / "there").mkdir()
    with pytest.raises(ArgumentError, match="exists already, and metier never overwrites an export"):
        export_items(run.path, tmp_path / "there")
    strict = _copy(run, tmp_path / "strict")
    _set(strict, "privacy", "level", "strict")
    with pytest.raises(
        DataError, match="was made under privacy: strict, and the items would take texts of records out"
    ):
        export_items(strict.path, tmp_path / "out")
    folded = _copy(run, tmp_path / "folded")
    _set(folded, "evaluation", "folds", 3)
    with pytest.raises(DataError, match="has folds: the model that is kept learned from every row"):
        export_items(folded.path, tmp_path / "out")
    begun = _copy(run, tmp_path / "begun")
    state = json.loads(begun.state.read_text())
    begun.state.write_text(json.dumps({**state, "status": "running"}))
    with pytest.raises(RunFolderError, match="has not been judged yet"):
        export_items(begun.path, tmp_path / "out")
    gone = _copy(run, tmp_path / "gone")
    shutil.rmtree(gone.evaluation)
    with pytest.raises(RunFolderError, match="does not hold its test records"):
        export_items(gone.path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_there_and_back_is_a_system_of_a_comparison(
    make_run: MakeRun, tmp_path: Path, metier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a model that is always right, but for one item, would log."""
    run = make_run("bert")
    home = tmp_path / "home"
    shutil.copytree(run.path.parent, home, ignore=shutil.ignore_patterns("cache", "state"))
    monkeypatch.chdir(home)
    outcome = metier("export", "run", "items", "--as", "lm-eval")
    assert outcome.code == 0
    assert f"{len(_rows(home / 'items'))} test items in items, for lm-evaluation-harness:" in outcome.out
    assert "metier_mails  in plain text, for any model" in outcome.out
    assert "--tasks metier_mails --include_path items --log_samples" in outcome.err
    samples = []
    for place, row in enumerate(_rows(home / "items")):
        picked = row["label"] if place else (row["label"] + 1) % 3
        sums = [["-1.0" if each == picked else "-4.0", "False"] for each in range(3)]
        samples.append({"doc": row, "filtered_resps": sums, "acc": float(place > 0)})
    (home / "samples.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    recipe = yaml.safe_load((home / "run" / "recipe.yaml").read_text())
    recipe = {
        "name": "both", "training": "none", "seed": recipe["seed"],
        "data": {"train": "mails.csv", "text": "message", "label": "intent"},
        "systems": {"ours": {"run": "run"}, "theirs": {"lm_eval": "samples.jsonl"}},
        "evaluation": {"primary_metric": "accuracy", "resamples": 200},
    }  # fmt: skip
    (home / "compare.yaml").write_text(yaml.safe_dump(recipe))
    outcome = metier("compare", "compare.yaml", "--json")
    assert outcome.code == 0, outcome.err
    rows = {row["system"]: row for row in json.loads(outcome.out)["standings"]}
    assert rows["theirs"]["value"]["value"] == pytest.approx(1 - 1 / len(samples))
    assert rows["theirs"]["kind"] == "lm-eval samples (samples.jsonl)"


def test_items_come_without_weights(make_run: MakeRun, metier: Callable[..., Any], tmp_path: Path) -> None:
    run = str(make_run("bert").path)
    for flags in (("--with-base",), ("--outtype", "f16")):
        outcome = metier("export", run, tmp_path / "out", "--as", "lm-eval", *flags)
        assert outcome.code == ArgumentError.exit_code
        assert "--as lm-eval: holds items and no weights, wanted neither --outtype nor --with-base" in outcome.err
    plain = json.loads(metier("export", run, tmp_path / "out", "--as", "lm-eval", "--json").out)
    assert plain["format"] == "metier.lm_eval_task" and plain["tasks"][0]["name"] == "metier_mails"
