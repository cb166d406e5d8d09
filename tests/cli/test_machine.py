"""`metier doctor` and `metier cache`: what is said about this machine."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.store.cache import cache_folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("METIER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_usage_and_purge_of_one_kind(own_cache: Path, metier: Callable[..., Any]) -> None:
    (cache_folder("scores") / "a").write_bytes(b"x" * 2_000_000)
    (cache_folder("trunk") / "b").write_bytes(b"x" * 1_000_000)
    plain = json.loads(metier("cache", "usage", "--json").out)
    assert plain["folder"] == str(own_cache)
    assert plain["kinds"]["scores"] == {"files": 1, "bytes": 2_000_000}
    assert "scores" in metier("cache", "usage").out
    assert metier("cache", "purge", "scores").out == "Freed 2.0 MB.\n"
    assert (own_cache / "trunk" / "b").exists()
    assert metier("cache", "purge", "--all").out == "Freed 1.0 MB.\n"


def test_doctor_finds_what_metier_needs(metier: Callable[..., Any]) -> None:
    plain = json.loads(metier("doctor", "--json").out)
    found = {finding["what"]: finding for finding in plain["findings"]}
    assert {"Python", "torch", "pyarrow", "Processor", "Device", "Cache", "model minilm"} <= found.keys()
    assert found["model minilm"]["state"] == "note"
    assert "the first use fetches 83.5 MB" in found["model minilm"]["found"]


def test_doctor_says_how_to_install_what_is_missing(
    metier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = ["nosuchpackage>=2.0", "typer>=999", 'onlyonmars; extra == "mars"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: declared)
    outcome = metier("doctor")
    assert outcome.code == 5
    assert 'nosuchpackage: pip install "nosuchpackage>=2.0"' in outcome.out
    assert 'typer: pip install "typer>=999"' in outcome.out
    assert "onlyonmars" not in outcome.out
    assert "2 things are missing." in outcome.out
