"""A whole run under `privacy: strict` on planted rows: no planted text in any file that it leaves."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.data.privacy.search import find_texts
from metier.data.privacy.vault import Vault
from metier.data.privacy.vault_key import load_key, make_key
from metier.recipe.sections import Recipe

PRIVACY = {"level": "strict"}
"""What a recipe says; where the key and the vault are is added."""
FOLDERS = ("runs", "cache", "state", "tmp")
"""Everything that a run may write to."""


def _recipe(planted: Any, home: Path, model: Path, task: str) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": "clinic", "task": task, "model": str(model),
        "adaptation": {"method": "lora", "layers": "top 1", "r": 4},
        "training": {"max_steps": 4, "per_device_train_batch_size": 4, "save_steps": 2, "max_length": 1000},
        "evaluation": {"few_shot": {"k": [2]}, "selection_examples": 4, "resamples": 200, "baseline_model": str(model)},
        "hardware": {"device": "cpu", "dtype": "float32", "threads": 1},
    }  # fmt: skip
    if task == "classification":
        planted.write(home / "notes.csv")
        systems = ["majority", "tfidf", "zero_shot", "few_shot"]
        values["evaluation"] |= {"systems": systems}
        return values | {"data": {"train": "notes.csv", "text": "text", "label": "label"}}
    with (home / "chat.csv").open("w", encoding="utf-8", newline="") as file:
        rows = zip(planted.identifiers, planted.sentences, strict=True)
        csv.writer(file).writerows(
            [("question", "answer"), *((f"What happened to {who}?", what) for who, what in rows)]
        )
    values["generation"] = {"max_new_tokens": 8}
    return values | {"data": {"train": "chat.csv", "text": "question", "answer": "answer"}}


@pytest.fixture
def run(
    planted: Any, tiny_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """`run(task, **sections)`: the home of a finished run."""

    def go(task: str, **sections: Any) -> Path:
        from metier.recipe.load import recipe_from_values
        from metier.run import run_recipe

        for name in FOLDERS:
            (tmp_path / name).mkdir()
        for name in ("cache", "state"):
            monkeypatch.setenv(f"METIER_{name.upper()}", str(tmp_path / name))
        monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
        monkeypatch.setattr(tempfile, "tempdir", None)
        values = _recipe(planted, tmp_path, tiny_model("llama", max_position_embeddings=1024), task)
        recipe = recipe_from_values({**values, **sections}, base=tmp_path, where="recipe.yaml")
        run_recipe(recipe, output=tmp_path / "runs" / "one")
        return tmp_path

    return go


def _tokens_of(model: Path) -> Callable[[str], list[int]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "generation"])
def test_a_strict_run_leaves_no_text(
    task: str, run: Callable[..., Path], planted: Any, nothing_left: Callable[..., None],
    tiny_model: Callable[..., Path], tmp_path: Path,
) -> None:  # fmt: skip
    if "privacy" not in Recipe.model_fields:
        pytest.skip("recipes of this version have no section `privacy`")
    make_key(tmp_path / "safe" / "clinic.key")
    where = {"vault": str(tmp_path / "safe" / "v.vault"), "vault_key_file": str(tmp_path / "safe" / "clinic.key")}
    home = run(task, privacy={**PRIVACY, **where})
    encode = _tokens_of(tiny_model("llama", max_position_embeddings=1024))
    nothing_left(*(home / name for name in ("runs", "state", "safe")), encode=encode)
    for name in ("cache", "tmp"):  # may be empty
        found = find_texts(home / name, planted.needles, encode=encode)
        assert not found.found and not found.unread, found
    page = (home / "runs" / "one" / "report" / "index.html").read_text(encoding="utf-8")
    assert "0 connections" in page and "0 sentences of record text" in page
    if task == "classification":  # rows without label, repeated and contradicted ones
        key = load_key(file=tmp_path / "safe" / "clinic.key")
        assert len(list(Vault(Path(where["vault"]), key).entries())) >= 30
    if os.name == "posix":
        assert (home / "runs" / "one").stat().st_mode & 0o077 == 0


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "generation"])
def test_the_same_run_without_strict_is_found_out(task: str, run: Callable[..., Path], planted: Any) -> None:
    """What the test above would see if nothing were hidden: it is no test without this one."""
    home = run(task)
    found = find_texts(home / "runs", planted.needles)
    assert {each.needle for each in found.found} == set(range(200))
    assert find_texts(home / "cache", planted.needles).found
