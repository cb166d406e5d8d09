"""Memory: what is free is what the container may still take, and what is scattered is given back."""

from __future__ import annotations

from pathlib import Path

import pytest

from metier import device
from metier.device import _container_room


def group(folder: Path, limit: str, used: str = "700", stat: str = "anon 300\ninactive_file 200\n") -> Path:
    (folder / "memory.max").write_text(limit + "\n", encoding="ascii")
    (folder / "memory.current").write_text(used + "\n", encoding="ascii")
    (folder / "memory.stat").write_text(stat, encoding="ascii")
    return folder


def test_room_below_the_limit_counts_idle_file_pages_as_free(tmp_path: Path) -> None:
    assert _container_room(group(tmp_path, "1000")) == 500


@pytest.mark.parametrize(("limit", "used"), [("max", "700"), ("", "700"), ("1000", "many")])
def test_without_a_readable_limit_there_is_none(tmp_path: Path, limit: str, used: str) -> None:
    assert _container_room(group(tmp_path, limit, used)) is None


def test_no_group_no_limit(tmp_path: Path) -> None:
    assert _container_room(tmp_path / "missing") is None


def test_memory_is_given_back_when_the_process_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    now, held, given = [100.0], [1000], list[float]()

    def release() -> None:
        given.append(now[0])
        held[0] -= 50  # what was scattered

    monkeypatch.setattr(device.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(device, "_TIDIED", device._Tidied(99.0, 1000))
    monkeypatch.setattr(device, "release_freed_memory", release)
    monkeypatch.setattr(device, "resident_bytes", lambda: held[0])
    for now[0], held[0] in ((100.0, 1050), (100.1, 2000), (101.0, 1200), (102.0, 1200), (103.0, 600), (104.0, 700)):
        device.tidy_memory()
    # Not at 100.1, which is too soon, and not at 102, when it has not grown since; after it fell to 600, 700 is growth.
    assert given == [101.0, 104.0]
