"""`metier data vault-key`, and faults of a strict run as a person reads them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.cli.faults import describe_crash, describe_fault
from metier.data.privacy.strict_faults import StrictFaults
from metier.data.privacy.vault_key import load_key
from metier.errors import DataError

SECRET = "Anna Muster has asthma"


def test_a_key_is_made_once(metier: Callable[..., Any], tmp_path: Path) -> None:
    made = metier("data", "vault-key", tmp_path / "safe" / "key")
    assert made.code == 0
    key = load_key(file=tmp_path / "safe" / "key")
    assert made.out.strip() == f"Key {key.id}: {tmp_path / 'safe' / 'key'}"
    assert key.text() not in made.out + made.err and f"vault_key_file: {tmp_path / 'safe' / 'key'}" in made.err
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "safe" / "key").stat().st_mode) == 0o600
    again = metier("data", "vault-key", tmp_path / "safe" / "key")
    assert again.code == 2 and "exists" in again.err
    assert load_key(file=tmp_path / "safe" / "key") == key


def crash(error: type[Exception]) -> Exception:
    """An exception that left a strict run."""
    try:
        with StrictFaults():
            raise error(SECRET)
    except error as fault:
        return fault


def test_a_bug_in_a_strict_run_is_told_without_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METIER_STATE", str(tmp_path))
    monkeypatch.delenv("METIER_DEBUG", raising=False)
    said = describe_crash(crash(ValueError))
    (written,) = (tmp_path / "crashes").iterdir()
    assert f"{written} (without any value, because of privacy: strict)" in said and SECRET not in said
    text = written.read_text(encoding="utf-8")
    assert "in crash" in text and "ValueError" in text and SECRET not in text
    assert "it may quote your data" in describe_crash(ValueError(SECRET))


def test_debugging_shows_where_and_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METIER_DEBUG", "1")
    assert SECRET not in describe_crash(crash(ValueError)) and "in crash" in describe_crash(crash(ValueError))
    try:
        with StrictFaults():
            try:
                raise ValueError(SECRET)
            except ValueError as cause:
                raise DataError("a.csv", "cannot be read") from cause
    except DataError as fault:
        said = describe_fault(fault)
    assert SECRET not in said and said.endswith("error: a.csv: cannot be read.")
