"""A cache of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder that no other test sees; nothing of the user's settings for downloads remains."""
    for name in ("METIER_WHEELS", "METIER_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("METIER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
