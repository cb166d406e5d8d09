"""The cache is the owner's alone and is emptied on request; the state folder never is."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from metier.errors import LackingEnvironment
from metier.store.cache import (
    CACHE_KINDS,
    PRIVATE_KINDS,
    PRIVATE_VARIABLE,
    CacheUsage,
    cache_folder,
    cache_root,
    purge,
    state_root,
    usage,
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("METIER_STATE", str(tmp_path / "state"))


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX")
def test_the_folders_are_the_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folders = [cache_root(), state_root(), *map(cache_folder, CACHE_KINDS)]
    finally:
        os.umask(before)
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    assert folders[0] == tmp_path / "cache"


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX")
def test_a_folder_that_the_user_made_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o755)
    assert stat.S_IMODE(cache_root().stat().st_mode) == 0o755
    assert stat.S_IMODE(cache_folder("trunk").stat().st_mode) == 0o700


@pytest.mark.skipif(sys.platform != "linux", reason="Linux paths")
def test_the_default_places_on_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("METIER_CACHE", "METIER_STATE", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / ".cache" / "metier"
    assert state_root() == tmp_path / ".local" / "state" / "metier"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert cache_root() == tmp_path / "elsewhere" / "metier"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_root() == tmp_path / ".cache" / "metier"


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("METIER_CACHE", "~/c")
    assert cache_root() == tmp_path / "c"


def test_usage_and_purge_know_only_their_own_folders(tmp_path: Path) -> None:
    (cache_folder("trunk") / "a").mkdir()
    (cache_folder("trunk") / "a" / "x").write_bytes(b"12345")
    (cache_folder("scores") / "y").write_bytes(b"123")
    (cache_root() / "mine.txt").write_text("keep")
    (state_root() / "ledger").write_text("keep")
    assert usage()["trunk"] == CacheUsage(files=1, bytes=5)
    assert usage()["models"] == CacheUsage(files=0, bytes=0)
    assert purge("trunk") == 5
    assert usage()["trunk"].files == 0
    assert usage()["scores"].files == 1
    assert purge() == 3
    assert (tmp_path / "cache" / "mine.txt").exists()
    assert (tmp_path / "state" / "ledger").exists()


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="'secrets' is no kind of cache entry; there are models, trunk, features, sc"):
        cache_folder("secrets")
    with pytest.raises(ValueError, match="no kind of cache entry"):
        purge("../..")


def test_a_place_that_cannot_be_made_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("METIER_CACHE", str(tmp_path / "file" / "c"))
    with pytest.raises(LackingEnvironment, match=r"cannot be made .*\. Set METIER_CACHE or METIER_STATE to a folder"):
        cache_root()


def test_while_a_strict_run_is_on_what_holds_texts_lies_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PRIVATE_VARIABLE, str(tmp_path / "run" / "private"))
    for kind in CACHE_KINDS:
        inside = kind in PRIVATE_KINDS
        assert cache_folder(kind) == (tmp_path / "run" / "private" if inside else tmp_path / "cache") / kind
    monkeypatch.setenv(PRIVATE_VARIABLE, "")
    assert cache_folder("trunk") == tmp_path / "cache" / "trunk"
