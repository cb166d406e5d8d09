"""How much the stored trunk may take: what the user says, else a share of the disk."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from metier.errors import ArgumentError
from metier.store.limit import DEFAULT_LIMIT, VARIABLE, cache_limit

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1000", 1000),
        ("20GB", 20 * 10**9),
        ("1.5 gb", 1_500_000_000),
        ("3M", 3_000_000),
        ("2 TB", 2 * 10**12),
        ("0", 0),
    ],
)
def test_sizes_are_read_as_people_write_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, size: int
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    assert cache_limit(tmp_path) == size


def test_a_word_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "plenty")
    message = r"^METIER_CACHE_LIMIT: is 'plenty', wanted a number of bytes, or a size such as 20GB\.$"
    with pytest.raises(ArgumentError, match=message):
        cache_limit(tmp_path)


def test_the_default_is_20_gb_and_at_most_half_of_the_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**13, 0, 10**13))
    assert cache_limit(tmp_path) == DEFAULT_LIMIT == 20 * 10**9
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "x.safetensors").write_bytes(b"x" * 400)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**13, 10**13, 600))
    assert cache_limit(tmp_path) == 500, "what is stored counts as free room"
