"""`metier doctor` and `metier cache`: what is said about this machine."""

from __future__ import annotations

import importlib.metadata
import json
import re
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
    used = plain["kinds"]["scores"]
    assert (used["files"], used["bytes"]) == (1, 2_000_000)
    assert used["last_used"].startswith("20") and plain["kinds"]["models"]["last_used"] is None
    assert plain["trunk_limit"] > 0
    shown = metier("cache", "usage").out
    assert used["last_used"] in shown and "never" in shown
    assert re.search(r"The trunk may take [\d,.]+ [MG]B \(METIER_CACHE_LIMIT\)\.", shown)
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


def test_doctor_says_which_extras_are_there(metier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    declared = ['bitsandbytes>=0.49; extra == "quantization"', 'metier[quantization]; extra == "dev"']
    versions = {"bitsandbytes": "0.50.2"}

    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "requires", lambda _: declared)
    monkeypatch.setattr(importlib.metadata, "version", version)
    there = metier("doctor")
    assert "0.50.2 (4-bit and 8-bit base models, 8-bit optimisers)" in there.out
    versions.clear()
    lacking = metier("doctor")
    assert lacking.code == 0 and "not installed; 4-bit and 8-bit base models, 8-bit optimisers" in lacking.out
    assert 'bitsandbytes (extra): pip install "metier[quantization]"' in lacking.out
