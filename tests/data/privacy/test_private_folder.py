from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from metier.data.privacy import private_folder as module
from metier.data.privacy.private_folder import (
    KINDS,
    VARIABLE,
    make_private,
    private_cache,
    private_temporary,
    purge_private,
    temporary_place,
)
from metier.errors import RunFolderError
from metier.store.cache import CACHE_KINDS

posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes")


@posix
def test_a_private_folder_is_the_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = make_private(tmp_path / "run" / "private")
    finally:
        os.umask(before)
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    made.chmod(0o755)
    assert stat.S_IMODE(make_private(made).stat().st_mode) == 0o700


def test_a_link_or_a_file_is_no_private_folder(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there", target_is_directory=True)
    with pytest.raises(RunFolderError, match="is a link, wanted a folder of its own for what is private"):
        make_private(tmp_path / "link")
    with pytest.raises(RunFolderError, match=r"is a link, wanted a folder\. Remove it by hand; nothing was removed"):
        purge_private(tmp_path / "link")
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunFolderError, match="cannot be written"):
        make_private(tmp_path / "file")
    assert (tmp_path / "there").is_dir()


@posix
def test_somebody_elses_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(RunFolderError, match="belongs to another user, wanted a folder of your own"):
        make_private(tmp_path / "private")


def test_a_purge_removes_everything_and_follows_nothing(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("stays")
    folder = make_private(tmp_path / "private")
    (folder / "deep" / "deeper").mkdir(parents=True)
    (folder / "deep" / "deeper" / ".hidden").write_text("12345")
    (folder / "deep" / "read-only").write_text("123")
    (folder / "deep" / "read-only").chmod(0o400)
    (folder / "deep").chmod(0o500)
    (folder / "link").symlink_to(outside)
    purged = purge_private(folder)
    assert not folder.exists() and outside.read_text() == "stays"
    assert purged.files == 3 and purged.bytes >= 8
    assert "removed, not overwritten" in purged.note and "backups" in purged.note
    assert purge_private(folder).files == 0


def test_what_is_left_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_private(tmp_path / "private")
    (folder / "in-use").write_text("x")
    monkeypatch.setattr(module.shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(RunFolderError, match=r"could not be removed whole: in-use is left\. End what uses it"):
        purge_private(folder)


def test_the_cache_of_a_strict_run_goes_with_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    place = tmp_path / "run" / "private"
    with private_cache(place) as folder:
        assert os.environ[VARIABLE] == str(place)
        (folder / "answers").write_text("x")
    assert not place.exists() and VARIABLE not in os.environ


def test_an_interrupted_run_keeps_its_cache_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "before")
    place = tmp_path / "private"
    with pytest.raises(KeyboardInterrupt), private_cache(place) as folder:
        (folder / "answers").write_text("x")
        raise KeyboardInterrupt
    assert (place / "answers").exists() and os.environ[VARIABLE] == "before"
    with pytest.raises(KeyboardInterrupt), private_cache(place, keep_on_failure=False):
        raise KeyboardInterrupt
    assert not place.exists()


def test_one_process_of_several_removes_it(tmp_path: Path) -> None:
    with private_cache(tmp_path / "private") as folder:
        with private_cache(tmp_path / "private", first=False):
            (folder / "answers").write_text("x")
        assert (folder / "answers").exists()
    assert not folder.exists()


def test_temporary_files_are_private_and_go(tmp_path: Path) -> None:
    before = (tempfile.gettempdir(), os.environ.get("TMPDIR"))
    place = temporary_place(tmp_path / "private")
    with pytest.raises(KeyError), private_temporary(place):
        with tempfile.NamedTemporaryFile(delete=False) as mine:
            assert Path(mine.name).parent == place
        code = "import tempfile; print(tempfile.mkdtemp())"
        child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert Path(child.stdout.strip()).parent == place
        with private_temporary(place, first=False):
            pass
        assert Path(mine.name).exists()
        raise KeyError
    assert not place.exists()
    assert (tempfile.gettempdir(), os.environ.get("TMPDIR")) == before


def test_a_place_for_temporary_files_is_short() -> None:
    short, long = Path("/run/private"), Path("/runs") / ("long" * 30) / "private"
    assert temporary_place(short).parent.name == "private"
    assert temporary_place(long).parent == Path(tempfile.gettempdir()) and temporary_place(long) == temporary_place(
        long
    )
    assert temporary_place(long) != temporary_place(long.with_name("other"))


def test_the_private_kinds_are_kinds_of_the_cache() -> None:
    assert set(KINDS) == set(CACHE_KINDS) - {"models", "plans"}
