"""A whole run under `privacy: strict` on planted rows: no planted text in any file that it leaves."""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from metier.data.privacy.search import find_texts
from metier.data.privacy.vault import Vault
from metier.data.privacy.vault_key import load_key, make_key
from metier.errors import ArgumentError, MissingPackage
from metier.recipe.load import recipe_from_values
from metier.recipe.sections import Recipe
from metier.run import run_recipe
from metier.store.run_folder import RunFolder

FOLDERS = ("runs", "cache", "state", "tmp")
"""Everything that a run may write to."""
TASKS = ("classification", "generation")


def _values(planted: Any, home: Path, model: Path, task: str) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": "clinic", "task": task, "model": str(model),
        "adaptation": {"method": "lora", "layers": "top 1", "r": 4},
        "training": {"max_steps": 4, "per_device_train_batch_size": 4, "save_steps": 2, "max_length": 1000},
        "evaluation": {"few_shot": {"k": [2]}, "selection_examples": 4, "resamples": 200, "baseline_model": str(model)},
        "hardware": {"device": "cpu", "dtype": "float32", "threads": 1},
    }  # fmt: skip
    if task == "classification":
        planted.write(home / "notes.csv")
        values["evaluation"] |= {"systems": ["majority", "tfidf", "zero_shot", "few_shot"]}
        return values | {"data": {"train": "notes.csv", "text": "text", "label": "label"}}
    with (home / "chat.csv").open("w", encoding="utf-8", newline="") as file:
        rows = zip(planted.identifiers, planted.sentences, strict=True)
        csv.writer(file).writerows(
            [("question", "answer"), *((f"What happened to {who}?", what) for who, what in rows)]
        )
    values["generation"] = {"max_new_tokens": 8}
    return values | {"data": {"train": "chat.csv", "text": "question", "answer": "answer"}}


class Home:
    """A place for one run and all that it may write."""

    def __init__(self, path: Path, planted: Any, model: Path, task: str) -> None:
        self.path, self.task, self.planted, self.model = path, task, planted, model
        self.data: dict[str, Any] = {}
        self.folder = RunFolder(path / "runs" / "one")
        self.key, self.vault = path / "safe" / "clinic.key", path / "safe" / "v.vault"
        for name in FOLDERS:
            (path / name).mkdir()
        with mock.patch("metier.data.privacy.vault_key.secrets.token_bytes", lambda size: bytes(range(size))):
            make_key(self.key)  # one key: ids of records, and so the splits, are made with it

    def enter(self, patch: pytest.MonkeyPatch) -> None:
        """Let the cache, the state and temporary files be here."""
        for name in ("cache", "state"):
            patch.setenv(f"METIER_{name.upper()}", str(self.path / name))
        patch.setenv("TMPDIR", str(self.path / "tmp"))
        patch.setattr(tempfile, "tempdir", None)

    def recipe(self, *, strict: bool = True, **privacy: Any) -> Recipe:
        values = _values(self.planted, self.path, self.model, self.task)
        values["data"] |= self.data
        if strict:
            where = {"vault": str(self.vault), "vault_key_file": str(self.key)}
            values["privacy"] = {"level": "strict", **where, **privacy}
        return recipe_from_values(values, base=self.path, where="recipe.yaml")

    def entries(self) -> list[Any]:
        return list(Vault(self.vault, load_key(file=self.key)).entries())


@pytest.fixture
def home(planted: Any, tiny_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty home for a run of the classification."""
    made = Home(tmp_path, planted, tiny_model("llama", max_position_embeddings=1024), "classification")
    made.enter(monkeypatch)
    return made


@pytest.fixture(scope="module", params=TASKS)
def finished(
    request: pytest.FixtureRequest, planted: Any, tiny_model: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Home]:  # fmt: skip
    """The home of a run that was made under `privacy: strict`."""
    made = Home(
        tmp_path_factory.mktemp("strict"), planted, tiny_model("llama", max_position_embeddings=1024), request.param
    )
    with pytest.MonkeyPatch.context() as patch:
        made.enter(patch)
        run_recipe(made.recipe(), output=made.folder.path)
        yield made


@pytest.fixture
def clean(nothing_left: Callable[..., None], planted: Any) -> Callable[[Home], None]:
    """A check that nothing planted stands in any file that a run may have written."""

    def check(home: Home) -> None:
        encode = _tokens_of(home.model)
        nothing_left(*(home.path / name for name in ("runs", "state", "safe")), encode=encode)
        for name in ("cache", "tmp"):  # may be empty
            found = find_texts(home.path / name, planted.needles, encode=encode, hashes=True)
            assert not found.found and not found.unread, found

    return check


def _tokens_of(model: Path) -> Callable[[str], list[int]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.mark.slow
def test_a_strict_run_leaves_no_text(finished: Home, clean: Callable[[Home], None]) -> None:
    clean(finished)
    for page in (finished.folder.report_page, finished.folder.readme):
        text = page.read_text(encoding="utf-8")
        assert "0 connections" in text and "0 sentences of record text" in text, page
    account = json.loads(finished.folder.privacy.read_text(encoding="utf-8"))
    assert account["text"]["sentences"] == 0 and account["text"]["records"] >= 100 and not account["text"]["unread"]
    assert account["connections"]["refused"] == [] and account["connections"]["looks"] >= 4
    assert not finished.folder.private.exists() and not any((finished.path / "tmp").iterdir())
    if os.name == "posix":
        assert finished.folder.path.stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_who_has_the_key_reads_what_was_rejected_and_changed(finished: Home) -> None:
    entries = finished.entries()
    lines = [json.loads(line) for line in finished.folder.rejected.read_text(encoding="utf-8").splitlines()]
    assert all(line["content"] == "" for line in lines)
    if finished.task == "classification":  # rows without label, repeated and contradicted ones; repaired ones
        assert len(lines) >= 30
        by_hash = {entry.row_hash: entry for entry in entries}
        stored = [by_hash[line["sha256"]] for line in lines]
        assert [(entry.source, entry.row) for entry in stored] == [(line["source"], line["row"]) for line in lines]
        assert all(json.loads(entry.before)["text"] in dict(finished.planted.rows) for entry in stored)
        changed = [entry for entry in entries if entry.after is not None]
        assert changed and all("\u200b" in json.loads(entry.before)["text"] for entry in changed)
        assert all("\u200b" not in (entry.after or "") for entry in changed)


@pytest.mark.slow
def test_what_is_made_of_a_strict_run_has_no_text_either(
    finished: Home, clean: Callable[[Home], None], metier: Callable[..., Any], planted: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    finished.enter(monkeypatch)
    run, runs = finished.folder.path, finished.path / "runs"
    assert metier("report", run).code == 0
    assert metier("data", "report", run).code == 0
    assert metier("export", run, runs / "merged").code == 0
    verified = metier("verify", run)
    assert verified.code == 0, verified.out + verified.err
    assert ("hashes stand for written answers" in verified.err) == (finished.task == "generation")
    review = metier("data", "review", "export", run, runs / "review.csv")
    assert review.code in (0, 2), review.err  # there may be no doubts
    clean(finished)
    said = metier("predict", run, "--text", planted.sentences[0])
    assert said.code == 0, said.err
    clean(finished)


@pytest.mark.slow
def test_rows_are_restored_from_the_vault(
    finished: Home, metier: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if finished.task != "classification":
        pytest.skip("nothing was rejected")
    source = finished.path / "notes.csv"
    moved = source.rename(tmp_path / "notes.csv")
    try:
        restored = metier("data", "restore", finished.folder.path, tmp_path / "rows.jsonl", "--rows")
        assert restored.code == 0, restored.err
        finished.key.rename(tmp_path / "key")
        without = metier("data", "restore", finished.folder.path, tmp_path / "less.jsonl", "--rows")
    finally:
        moved.rename(source)
        (tmp_path / "key").rename(finished.key)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["what"] for row in rows} == {"rejected", "changed"} and len(rows) >= 40
    given = {text.replace("\r\n", "\n") for text, _ in finished.planted.rows}  # as a reader of CSV gives line ends
    wrong = [row for row in rows if row["content"]["text"].replace("\r\n", "\n") not in given]
    assert not wrong, wrong[:3]
    assert without.code == 0 and "The vault is not read" in without.err
    assert (tmp_path / "less.jsonl").read_text(encoding="utf-8") == ""


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_the_same_run_without_strict_is_found_out(
    task: str, planted: Any, tiny_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the test above would see if nothing were hidden: it is no test without this one."""
    home = Home(tmp_path, planted, tiny_model("llama", max_position_embeddings=1024), task)
    home.enter(monkeypatch)
    run_recipe(home.recipe(strict=False), output=home.folder.path)
    found = find_texts(tmp_path / "runs", planted.needles)
    assert {each.needle for each in found.found} == set(range(200))
    assert find_texts(tmp_path / "cache", planted.needles).found
    assert not home.folder.privacy.exists() and "Privacy" not in home.folder.report_page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_run_that_stops_in_the_middle_goes_on(home: Home, clean: Callable[[Home], None]) -> None:
    result = run_recipe(home.recipe(), output=home.folder.path, until="data")
    assert not result.reused and home.folder.split("train").parent == home.folder.private_data
    assert not (home.folder.data / "train.parquet").exists()
    found = find_texts(home.folder.path, home.planted.needles, skip=lambda place: "private/" in place)
    assert not found.found
    if os.name == "posix":
        assert home.folder.private.stat().st_mode & 0o077 == 0
    run_recipe(home.recipe(), output=home.folder.path, resume=True)
    clean(home)
    assert run_recipe(home.recipe(), output=home.folder.path).reused


@pytest.mark.slow
def test_a_run_that_failed_keeps_its_texts_closed_and_tells_none(
    home: Home, clean: Callable[[Home], None], metier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from metier.recipe.dump import dump_recipe
    from metier.stages import baselines

    def fail(shop: Any, systems: Any) -> None:
        raise ValueError(f"cannot read {shop.train[0].text}")

    home.path.joinpath("recipe.yaml").write_text(dump_recipe(home.recipe()), encoding="utf-8")
    with monkeypatch.context() as broken:
        broken.setattr(baselines, "measure_baselines", fail)
        failed = metier("run", home.path / "recipe.yaml", "--output", home.folder.path)
    assert failed.code == 1 and "without any value, because of privacy: strict" in failed.err
    crash = next((home.path / "state" / "crashes").iterdir()).read_text(encoding="utf-8")
    assert "ValueError" in crash and "in fail" in crash and "cannot read" not in crash
    assert home.folder.split("train").is_file()
    found = find_texts(home.path, home.planted.needles, skip=lambda place: "private/" in place or "notes.csv" in place)
    assert not found.found, found.found[:5]
    (home.folder.private_data / "train.parquet").unlink()  # what is private may be removed at any time
    again = metier("run", home.path / "recipe.yaml", "--output", home.folder.path, "--resume")
    assert again.code == 0, again.err
    assert "0 sentences of record text" in again.out
    (home.path / "recipe.yaml").unlink()
    clean(home)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_what_reads_the_data_once_more_leaves_no_text_either(
    task: str, planted: Any, tiny_model: Callable[..., Path], tmp_path: Path, clean: Callable[[Home], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A screening model, copies that speak of other groups, and a second training on rows as they were read."""
    model = tiny_model("llama", max_position_embeddings=1024)
    home = Home(tmp_path, planted, model, task)
    home.enter(monkeypatch)
    home.data = {"screening_model": str(model), "ablation": True, "bias": {"counterfactuals": True}}
    summary = run_recipe(home.recipe(), output=home.folder.path).summary
    assert summary is not None and summary.ablation is not None
    assert any("data.screening_model" in notice for notice in summary.data.notices)
    clean(home)


@pytest.mark.slow
def test_attempts_to_connect_are_refused_and_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from metier.errors import RefusedConnection
    from metier.stages import baselines

    real = baselines.measure_baselines

    def ask(shop: Any, systems: Any) -> Any:
        with pytest.raises(RefusedConnection, match=r"hub\.example\.org:443"):
            sys.audit("socket.getaddrinfo", "hub.example.org", 443, 0, 0, 0)
        return real(shop, systems)

    monkeypatch.setattr(baselines, "measure_baselines", ask)
    result = run_recipe(home.recipe(), output=home.folder.path)
    assert result.summary is not None and result.summary.privacy is not None
    assert result.summary.privacy.connections.attempts == 1 and result.summary.privacy.connections.made == 0
    assert "hub.example.org" in home.folder.report_page.read_text(encoding="utf-8")


def test_without_the_full_detector_nothing_begins(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from metier.data.privacy import presidio

    monkeypatch.setattr(presidio, "PACKAGES", ("presidio_analyzer", "a_model_that_is_not_there"))
    with pytest.raises(MissingPackage, match=r"need a-model-that-is-not-there, .* strict never does without") as caught:
        run_recipe(home.recipe(), output=home.folder.path)
    assert caught.value.exit_code == 5 and "patterns" not in str(caught.value)
    assert not home.folder.path.exists()


def test_without_the_key_nothing_begins(home: Home) -> None:
    home.key.unlink()
    with pytest.raises(ArgumentError, match=r"clinic\.key: does not exist"):
        run_recipe(home.recipe(), output=home.folder.path)
    assert not home.folder.path.exists()


@pytest.mark.slow
def test_a_check_shows_no_record(home: Home, metier: Callable[..., Any]) -> None:
    from metier.recipe.dump import dump_recipe

    recipe = home.path / "recipe.yaml"
    recipe.write_text(dump_recipe(home.recipe()), encoding="utf-8")
    for form in ((), ("--json",)):
        checked = metier("check", recipe, *form)
        assert checked.code == 0, checked.err
        (home.path / "runs" / "said").write_text(checked.out + checked.err, encoding="utf-8")
        found = find_texts(home.path / "runs", home.planted.needles, encode=_tokens_of(home.model), hashes=True)
        assert not found.found, found.found[:5]
    assert not any((home.path / "tmp").iterdir())


@pytest.mark.slow
def test_masks_and_the_ablation_leave_no_text_either(home: Home, clean: Callable[[Home], None]) -> None:
    home.data = {"ablation": True, "bias": {"reweight": True, "augment": True}}
    result = run_recipe(home.recipe(policy="mask"), output=home.folder.path)
    assert result.summary is not None and result.summary.privacy is not None
    assert result.summary.privacy.line.endswith("0 sentences of record text")
    clean(home)
    masked = [entry for entry in home.entries() if entry.reason == "personal data" and entry.after is not None]
    assert masked and all("<" in (entry.after or "") for entry in masked)


@pytest.mark.slow
def test_two_processes_keep_the_promise_together(
    home: Home, clean: Callable[[Home], None], in_processes: Callable[..., Any]
) -> None:
    from metier.recipe.dump import dump_recipe

    recipe = home.path / "recipe.yaml"
    recipe.write_text(dump_recipe(home.recipe()), encoding="utf-8")
    arguments = ["run", str(recipe), "--output", str(home.folder.path)]
    ended = in_processes(2, arguments, environment={"TMPDIR": str(home.path / "tmp")}, limit=240.0)
    assert ended.codes == [0, 0], ended
    recipe.unlink()
    clean(home)
    assert "0 sentences of record text" in home.folder.report_page.read_text(encoding="utf-8")
    assert not home.folder.private.exists()
