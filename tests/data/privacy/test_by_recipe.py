from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from metier.data.privacy.by_recipe import (
    closed_network,
    is_strict,
    refuse_unready,
    remove_what_is_left,
    settings_of,
    strict_if_asked,
    used_as_made,
    vault_of,
)
from metier.data.privacy.vault import VaultEntry
from metier.data.privacy.vault_key import make_key
from metier.errors import ArgumentError, DataError, MissingPackage, RefusedConnection, RunFolderError
from metier.recipe.dump import dump_recipe
from metier.recipe.sections import Recipe
from metier.store.run_folder import RunFolder

OUTSIDE = ("socket.getaddrinfo", "example.org", 443, 0, 0, 0)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def recipe(tmp_path: Path, **privacy: Any) -> Recipe:
    safe = tmp_path / "safe"
    if not safe.exists():
        make_key(safe / "key")
    strict = {"level": "strict", "vault": str(safe / "vault"), "vault_key_file": str(safe / "key"), **privacy}
    return Recipe.model_validate({"data": {"train": "a.csv"}, "privacy": strict})


def written(folder: RunFolder, made: Recipe) -> RunFolder:
    folder.path.mkdir()
    folder.recipe.write_text(dump_recipe(made), encoding="utf-8")
    return folder


def test_the_section_becomes_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFE", str(tmp_path))
    made = recipe(tmp_path, vault="${SAFE}/v", vault_key_file=None, vault_key_env="KEY", allowed_hosts=["a.example"])
    settings = settings_of(made.privacy)
    assert (settings.vault, settings.vault_key_file) == (tmp_path / "v", None)
    assert (settings.vault_key_env, settings.allowed_hosts) == ("KEY", ("a.example",))


@pytest.mark.usefixtures("hooks_alone")
def test_a_recipe_without_privacy_needs_nothing(folder: RunFolder) -> None:
    plain = Recipe.model_validate({"data": {"train": "a.csv"}})
    refuse_unready(plain, folder.path)
    with strict_if_asked(plain, folder, run="r") as strict, closed_network(plain):
        assert strict is None
        sys.audit(*OUTSIDE)
    assert not folder.path.exists()


def test_what_is_missing_is_told_before_a_folder_is_made(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from metier.data.privacy import presidio

    made = recipe(tmp_path)
    refuse_unready(made, folder.path)
    with monkeypatch.context() as without:
        without.setattr(presidio, "PACKAGES", ("not_there",))
        with pytest.raises(MissingPackage, match=r"need not-there, .*never does without\. Install it: pip install"):
            refuse_unready(made, folder.path)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers", None)
        with pytest.raises(MissingPackage, match="needs cryptography"):
            refuse_unready(made, folder.path)
    entry = VaultEntry(run="r", source="a", row=1, row_hash="h", step="s", version=1, reason="r", before="b")
    vault_of(made, folder.path).add([entry])
    (tmp_path / "safe" / "key").unlink()
    with pytest.raises(ArgumentError, match="does not exist"):
        refuse_unready(made, folder.path)
    make_key(tmp_path / "safe" / "key")
    with pytest.raises(DataError, match="key"):
        refuse_unready(made, folder.path)
    assert not folder.path.exists()


def test_a_strict_run_keeps_its_folder_until_it_has_ended(folder: RunFolder, tmp_path: Path) -> None:
    made = recipe(tmp_path)
    with strict_if_asked(made, folder, run="r", ended=lambda: False) as strict:
        assert strict is not None and strict.run == "r" and strict.cache == folder.private
    assert folder.private.is_dir()
    with strict_if_asked(made, folder, run="r", ended=lambda: True), pytest.raises(RefusedConnection):
        sys.audit(*OUTSIDE)
    assert not folder.private.exists() and folder.connections.is_file()


def test_what_a_kill_after_the_end_left_is_removed(folder: RunFolder, tmp_path: Path) -> None:
    written(folder, recipe(tmp_path))
    (folder.private / "data").mkdir(parents=True)
    remove_what_is_left(folder)
    assert not folder.private.exists()
    plain = written(RunFolder(tmp_path / "plain"), Recipe.model_validate({"data": {"train": "a.csv"}}))
    plain.private.mkdir()  # the user's own
    remove_what_is_left(plain)
    assert plain.private.is_dir()


def test_a_finished_run_says_whether_it_was_strict(folder: RunFolder, tmp_path: Path) -> None:
    assert not is_strict(folder)
    assert is_strict(written(folder, recipe(tmp_path)))
    folder.recipe.write_text("a: [", encoding="utf-8")
    with pytest.raises(RunFolderError, match="is damaged"):
        is_strict(folder)


@pytest.mark.usefixtures("hooks_alone")
def test_a_model_is_used_as_it_was_made(folder: RunFolder, tmp_path: Path) -> None:
    written(folder, recipe(tmp_path))
    with used_as_made(folder), pytest.raises(RefusedConnection):
        sys.audit(*OUTSIDE)
    with closed_network(recipe(tmp_path)), pytest.raises(RefusedConnection):
        sys.audit(*OUTSIDE)
    with used_as_made(None):
        sys.audit(*OUTSIDE)
