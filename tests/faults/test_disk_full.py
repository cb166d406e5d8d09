"""No space left while saving: exit code 5, nothing half-written, and `--resume` works once there is space."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metier.store.files import append_json_line, read_json, write_json
from metier.store.run_folder import RunFolder, read_state


def _whole(folder: RunFolder) -> None:
    """Nothing half-written is visible: no leftovers, and all that is there can be read."""
    assert not [path for path in folder.path.rglob("*") if ".tmp-" in path.name]
    for path in folder.path.rglob("*.json"):
        assert path.read_text(encoding="utf-8").rstrip().endswith("}"), path
    if folder.state.exists():
        assert read_state(folder).status == "running"


def _full_for(part: str) -> Callable[..., int]:
    """`os.open` on a disk that has no space for a file whose path holds `part`."""
    real = os.open

    def open_file(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if part in os.fspath(path) and flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))
        return real(path, flags, *rest, **options)

    return open_file


@pytest.mark.parametrize(
    "part",
    ["card.json", "checkpoint-4", "history.jsonl", "prompt.json", "chosen.json", "items-tfidf.jsonl", "results.json",
     "comparison.json", "index.html", "README.md", "lock.json", "events.jsonl"],
)  # fmt: skip
def test_a_full_disk_ends_with_5_and_can_be_resumed(
    part: str, desk: Any, metier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.recipe(training={"num_train_epochs": 1}, evaluation={"systems": ["tfidf"]})
    with monkeypatch.context() as full:
        full.setattr(os, "open", _full_for(part))
        outcome = metier(*desk.arguments())
    assert outcome.code == 5
    last = outcome.err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert (
        "no space left on the device. Free some space or set output.dir (METIER_CACHE for the cache) to another" in last
    )
    assert "Traceback" not in outcome.err
    _whole(desk.run)
    again = metier(*desk.arguments("--resume"))
    assert again.code == 0, again.err
    assert read_state(desk.run).complete
    # Everything that this desk needs was written in the end.
    assert metier("verify", desk.run.path).code == 0


LIBRARIES = {
    "safetensors": ("peft.PeftModel.save_pretrained", "SafetensorError"),
    "tokenizers": ("transformers.PreTrainedTokenizerFast.save_pretrained", "Exception"),
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_libraries_that_report_a_full_disk_their_own_way(
    library: str, desk: Any, metier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import SafetensorError

    place, kind = LIBRARIES[library]
    error = (SafetensorError if kind == "SafetensorError" else Exception)("No space left on device (os error 28)")

    def fail(*_: Any, **__: Any) -> None:
        raise error

    desk.recipe(training={"num_train_epochs": 1}, evaluation={"systems": ["majority"]})
    with monkeypatch.context() as full:
        full.setattr(place, fail)
        outcome = metier(*desk.arguments())
    assert outcome.code == 5
    model = desk.run.attempt(1).model
    assert f"error: {model}: no space left on the device." in outcome.err
    assert not model.exists()
    _whole(desk.run)
    assert metier(*desk.arguments("--resume")).code == 0


def test_no_space_for_the_run_folder_itself(
    desk: Any, metier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "open", _full_for("run.json"))
    outcome = metier(*desk.arguments())
    assert outcome.code == 5
    assert not desk.run.state.exists()


def test_a_full_cache_is_said_as_such(desk: Any, metier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", _full_for("trunk"))
    outcome = metier(*desk.arguments())
    assert outcome.code == 5
    assert str(desk.folder / "cache") in outcome.err
    assert "METIER_CACHE" in outcome.err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """`small_disk(kilobytes)`: a file system of that size; called again it is resized."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = False

    def resize(kilobytes: int) -> Path:
        nonlocal mounted
        options = f"{'remount,' if mounted else ''}size={kilobytes}k,mode=700"
        try:
            done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True)
        except OSError:
            pytest.skip("needs the mount command")
        if done.returncode:
            pytest.skip("needs the right to mount a file system")
        mounted = True
        return place

    yield resize
    if mounted:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("share", [0.02, 0.4, 0.7, 0.95])
def test_a_disk_that_is_really_too_small(
    share: float, new_desk: Any, small_disk: Any, launch: Any, undisturbed: Any, findings_of: Any
) -> None:
    """The run folder on a disk that holds a share of it; then the disk grows and the run goes on."""
    needed = sum(path.stat().st_size for path in undisturbed.folder.path.rglob("*") if path.is_file())
    place = small_disk(max(8, int(needed * share / 1024)))
    desk, folder = new_desk(), RunFolder(place / "run")
    ended = launch(desk.arguments(output=folder.path), desk.environment)
    assert ended.code == 5, ended.said
    assert "no space left on the device" in ended.said
    assert "Traceback" not in ended.said
    _whole(folder)
    small_disk(8 * needed // 1024)
    again = launch(desk.arguments("--resume", output=folder.path), desk.environment)
    assert again.code == 0, again.said
    found = findings_of(folder)
    assert [name for name in found if found[name] != undisturbed.findings[name]] == []


def test_a_small_disk_keeps_the_old_file(small_disk: Any) -> None:
    place = small_disk(64)
    write_json(place / "x.json", {"a": 1}, format="x")
    from metier.errors import DiskFull

    with pytest.raises(DiskFull, match="no space left"):
        write_json(place / "x.json", {"a": "b" * 200_000}, format="x")
    assert read_json(place / "x.json", format="x")["a"] == 1
    append_json_line(place / "y.jsonl", {"a": 1})
    with pytest.raises(DiskFull, match="no space left"):
        append_json_line(place / "y.jsonl", {"a": "b" * 200_000})
    assert (place / "y.jsonl").read_bytes() == b'{"a": 1}\n'
