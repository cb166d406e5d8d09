from __future__ import annotations

import os
import socket
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from metier.data.privacy.private_folder import VARIABLE
from metier.data.privacy.strict_faults import came_from_strict
from metier.data.privacy.strict_run import StrictSettings, default_vault, strict_run
from metier.data.privacy.vault import VaultEntry
from metier.data.privacy.vault_key import make_key
from metier.errors import ArgumentError, RefusedConnection

RECORD = "Anna Muster fell on the icy stairs of the old chapel and hurt her left wrist"


@pytest.fixture
def settings(tmp_path: Path) -> StrictSettings:
    make_key(tmp_path / "safe" / "clinic.key")
    return StrictSettings(vault=tmp_path / "safe" / "clinic.vault", vault_key_file=tmp_path / "safe" / "clinic.key")


def test_everything_is_up_inside_and_nothing_afterwards(settings: StrictSettings, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    with strict_run(settings, run, "clinic") as strict:
        assert strict.policy.strict and os.environ[VARIABLE] == str(run / "private")
        (strict.cache / "train.txt").write_text(RECORD)
        (run / "report.html").write_text("nothing of it")
        (Path(tempfile.mkdtemp()) / "job.json").write_text(RECORD)
        with pytest.raises(RefusedConnection):
            sys.audit("socket.getaddrinfo", "example.org", 443, 0, 0, 0)
        state = strict.vault.add([
            VaultEntry(run="r", source="a.csv", row=1, row_hash=strict.policy.mark(RECORD), step="s", version=1,
                       reason="empty label", before=RECORD)
        ])  # fmt: skip
        account = strict.account([RECORD])
    assert account.connections.attempts == 1 and account.connections.made == 0
    assert account.line.endswith(", 0 sentences of record text")
    assert account.vault_entries == 1 and account.vault_head == state.head
    assert sorted(path.name for path in run.iterdir()) == ["connections.jsonl", "report.html"]
    assert VARIABLE not in os.environ and strict.vault.check(state) == state
    if os.name == "posix":
        assert stat.S_IMODE(run.stat().st_mode) == 0o700
    socket.getaddrinfo("localhost", 80)


def test_what_was_left_is_counted(settings: StrictSettings, tmp_path: Path) -> None:
    with strict_run(settings, tmp_path / "run", "clinic") as strict:
        (tmp_path / "run" / "report.html").write_text(f"<p>{RECORD}</p>")
        line = strict.account([RECORD]).line
    assert line == "0 connections, 1 sentence of record text (in report.html)"


def test_an_interrupted_run_goes_on_and_counts_on(settings: StrictSettings, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt) as caught, strict_run(settings, run, "clinic") as strict:
        (strict.cache / "train.txt").write_text(RECORD)
        with pytest.raises(RefusedConnection):
            sys.audit("socket.getaddrinfo", "example.org", 443, 0, 0, 0)
        raise KeyboardInterrupt
    assert came_from_strict(caught.value)
    with strict_run(settings, run, "clinic") as strict:
        assert (strict.cache / "train.txt").read_text() == RECORD
        with strict_run(settings, run, "clinic", first=False):  # another process of the run ends earlier
            pass
        assert strict.account([]).connections.attempts == 1
    assert not (run / "private").exists()


def test_without_a_key_nothing_begins(tmp_path: Path) -> None:
    with (
        pytest.raises(ArgumentError, match="privacy: names no key"),
        strict_run(StrictSettings(), tmp_path / "run", "x"),
    ):
        pass
    assert not (tmp_path / "run").exists()


def test_key_and_vault_stay_outside_of_the_run(settings: StrictSettings, tmp_path: Path) -> None:
    inside = StrictSettings(vault=tmp_path / "run" / "v.vault", vault_key_file=settings.vault_key_file)
    with pytest.raises(ArgumentError, match="lies in the run folder"), strict_run(inside, tmp_path / "run", "x"):
        pass


def test_the_default_vault_is_in_the_state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("METIER_STATE", str(tmp_path))
    assert default_vault("clinic") == tmp_path / "vaults" / "clinic.vault"
    assert default_vault("../a b/c").parent == default_vault("..").parent == tmp_path / "vaults"
