from __future__ import annotations

import dataclasses
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metier.data.privacy import vault as module
from metier.data.privacy.vault import Vault, VaultEntry
from metier.data.privacy.vault_key import VaultKey
from metier.data.privacy.vault_mark import MarkFile
from metier.errors import ArgumentError, DataError, DiskFull, MissingPackage, RunFolderError

KEY, OTHER = VaultKey(bytes(range(32))), VaultKey(bytes(32))
SECRET = "Anna Muster, born 1961-04-03, has asthma"


def entry(number: int, before: str = SECRET, after: str | None = None) -> VaultEntry:
    return VaultEntry(
        run="ab12", source="notes.csv", row=number, row_hash=KEY.mark(before), step="language", version=1,
        reason="other language", before=before, after=after,
    )  # fmt: skip


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "vaults" / "clinic.vault", KEY)


def filled(vault: Vault, count: int = 5) -> list[VaultEntry]:
    entries = [entry(number, f"{SECRET} {number % 3}") for number in range(1, count + 1)]
    vault.add(entries)
    return entries


def test_what_was_added_is_read_back(vault: Vault) -> None:
    first, second = [entry(1), entry(2, "x", after="y")], [entry(1, "later"), entry(4, "\ud800 half, \x00, 漢字")]
    assert vault.add(first).entries == 2
    assert vault.add(iter(second)).entries == 4
    assert list(vault.entries()) == [*first, *second]
    assert vault.row("notes.csv", 1) == (first[0], second[0])
    assert vault.row("notes.csv", 3) == vault.row("other.csv", 1) == ()
    assert vault.with_hash(KEY.mark("x")) == (first[1],)
    assert list(Vault(vault.path, KEY).entries()) == [*first, *second]


def test_no_text_is_in_the_clear(vault: Vault) -> None:
    filled(vault)
    for path in vault.path.parent.iterdir():
        data = path.read_bytes()
        assert b"Anna" not in data and b"notes.csv" not in data and KEY.secret not in data
        assert KEY.mark(f"{SECRET} 1").encode() not in data


def test_adding_nothing_makes_an_empty_vault(vault: Vault) -> None:
    assert vault.add([]).entries == 0
    assert list(vault.entries()) == []
    assert vault.check().entries == 0


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes")
def test_the_vault_is_the_owners_alone(vault: Vault) -> None:
    filled(vault)
    assert stat.S_IMODE(vault.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(vault.path.parent.stat().st_mode) == 0o700


def test_a_vault_never_lies_in_a_run_folder(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"lies in the run folder .*, wanted the vault outside of every run folder"):
        Vault(tmp_path / "run" / "clinic.vault", KEY, run_folder=tmp_path / "run")


def test_a_wrong_key(vault: Vault) -> None:
    filled(vault)
    wrong = Vault(vault.path, OTHER)
    found = rf"is encrypted with another key \(its key has the id {KEY.id}, the one given {OTHER.id}\)\. Give the key"
    for read in (lambda: list(wrong.entries()), lambda: wrong.add([entry(9)]), wrong.check, wrong.repair_mark):
        with pytest.raises(DataError, match=found):
            read()


def test_a_vault_that_is_not_there(vault: Vault) -> None:
    for read in (lambda: list(vault.entries()), vault.check, vault.repair_mark, lambda: vault.forget(["x"])):
        with pytest.raises(DataError, match=r"clinic\.vault: does not exist, wanted a vault"):
            read()


def test_something_else_is_no_vault(vault: Vault) -> None:
    vault.path.parent.mkdir(parents=True)
    vault.path.write_bytes(b"text,label\n" * 100)
    with pytest.raises(DataError, match="is no vault, or its first bytes are damaged"):
        list(vault.entries())
    with pytest.raises(DataError, match="is no vault"):
        vault.add([entry(1)])
    assert vault.path.read_bytes() == b"text,label\n" * 100


def test_every_cut_is_noticed(vault: Vault) -> None:
    entries = filled(vault)
    whole = vault.path.read_bytes()
    for size in range(0, len(whole), 7):
        vault.path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"is cut: .* bytes are left of 5 entries|is no vault"):
            list(vault.entries())
        with pytest.raises(DataError, match=r"is cut|is no vault"):
            vault.add([entry(9)])
    vault.path.write_bytes(whole)
    assert list(vault.entries()) == entries


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_changed_byte_is_noticed(vault: Vault, data: st.DataObject) -> None:
    if not vault.path.exists():
        filled(vault)
    whole = vault.path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] ^= data.draw(st.integers(1, 255))
    vault.path.write_bytes(bytes(changed))
    try:
        with pytest.raises(DataError, match=r"as it was written|damaged|another key|of version|is cut"):
            list(vault.entries())
        with pytest.raises(DataError):
            vault.row("notes.csv", 2)  # whichever row is wanted, the whole file is held against its mark
        with pytest.raises(DataError):
            vault.check()
    finally:
        vault.path.write_bytes(whole)


def test_entries_that_change_places_are_noticed(vault: Vault) -> None:
    vault.add([entry(1, "same length 1")])
    one = vault.path.stat().st_size
    vault.add([entry(2, "same length 2")])
    two = vault.path.stat().st_size
    vault.add([entry(3, "same length 3")])
    whole = vault.path.read_bytes()
    vault.path.write_bytes(whole[:one] + whole[two:] + whole[one:two])
    with pytest.raises(DataError, match="entry 2 is not as it was written"):
        list(vault.entries())


def test_the_mark_belongs_to_the_vault(vault: Vault) -> None:
    filled(vault)
    mark = vault.mark_path.read_text()
    vault.mark_path.write_text(mark.replace('"entries": 5', '"entries": 4'))
    with pytest.raises(DataError, match=r"was not written with this key, or was changed\. Put it back, or call"):
        list(vault.entries())
    vault.mark_path.unlink()
    with pytest.raises(DataError, match=r"is missing, wanted the mark of the vault, which says how far it goes"):
        vault.add([entry(9)])
    vault.mark_path.write_text(mark)
    kept = vault.path.read_bytes()
    vault.path.unlink()
    with pytest.raises(DataError, match="is missing, while its mark is there"):
        vault.add([entry(9)])
    vault.path.write_bytes(kept)
    empty = Vault(vault.path.with_name("empty.vault"), KEY)
    empty.add([])
    vault.mark_path.write_bytes(empty.mark_path.read_bytes())
    with pytest.raises(DataError, match="is the mark of another vault"):
        list(vault.entries())


def test_a_lost_mark_is_made_again(vault: Vault) -> None:
    entries = filled(vault)
    before = vault.check()
    vault.mark_path.unlink()
    assert vault.repair_mark() == before
    assert list(vault.entries()) == entries
    with vault.path.open("r+b") as file:
        file.truncate(before.bytes - 3)
    left = vault.repair_mark()
    assert left.entries == 4 and left.torn_bytes > 0
    assert list(vault.entries()) == entries[:4]
    vault.add([entry(9)])
    assert list(vault.entries()) == [*entries[:4], entry(9)]


def test_rows_are_forgotten(vault: Vault) -> None:
    entries = filled(vault)
    gone = entries[0].row_hash
    assert vault.forget([gone]) == 2  # rows 1 and 4 have the same text
    left = [each for each in entries if each.row_hash != gone]
    assert list(vault.entries()) == left and vault.with_hash(gone) == ()
    assert vault.forget([gone, "no such hash"]) == 0
    vault.add([entry(9)])
    assert list(vault.entries()) == [*left, entry(9)]
    names = sorted(path.name for path in vault.path.parent.iterdir())
    assert names == ["clinic.vault", "clinic.vault.lock", "clinic.vault.mark.json"]


def test_a_damaged_vault_forgets_nothing(vault: Vault) -> None:
    entries = filled(vault)
    whole = vault.path.read_bytes()
    vault.path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    before = sorted(path.name for path in vault.path.parent.iterdir())
    with pytest.raises(DataError, match="entry 5 is not as it was written"):
        vault.forget([entries[0].row_hash])
    assert vault.path.read_bytes()[:-1] == whole[:-1]
    assert sorted(path.name for path in vault.path.parent.iterdir()) == before


def test_an_earlier_state_is_noticed_by_what_a_run_wrote_down(vault: Vault) -> None:
    empty, first = vault.add([]), vault.add([entry(1)])
    kept = [path.read_bytes() for path in (vault.path, vault.mark_path)]
    second = vault.add([entry(2)])
    assert vault.check(expected=empty) == vault.check(expected=first) == vault.check(expected=second) == second
    for path, data in zip((vault.path, vault.mark_path), kept, strict=True):
        path.write_bytes(data)
    assert vault.check(expected=first) == first
    with pytest.raises(DataError, match=r"another vault than the run's, or an earlier state of it \(1 entries\), wan"):
        vault.check(expected=second)


def test_an_append_that_fails_leaves_the_vault_as_it_was(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = filled(vault)
    before = vault.path.read_bytes()

    def broken() -> Iterator[VaultEntry]:
        yield entry(8, "x" * 3_000_000)  # more than is written in one go
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vault.add(broken())
    assert vault.path.read_bytes() == before

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(DiskFull, match="no space left"):
        vault.add([entry(9)])
    assert vault.path.read_bytes() == before
    assert list(vault.entries()) == entries


def test_a_killed_append_is_forgotten(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = filled(vault)
    with monkeypatch.context() as patch:
        patch.setattr(MarkFile, "write", lambda *_: (_ for _ in ()).throw(SystemExit))  # the kill comes before it
        with pytest.raises(SystemExit):
            vault.add([entry(8)])
    assert vault.check().torn_bytes > 0
    assert list(vault.entries()) == entries
    vault.add([entry(9)])
    assert list(vault.entries()) == [*entries, entry(9)] and vault.check().torn_bytes == 0


def test_a_killed_creation_is_begun_again(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(MarkFile, "write", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            vault.add([entry(8)])
    vault.add([entry(1)])
    assert list(vault.entries()) == [entry(1)]


WRITER = """
import sys
from pathlib import Path
from metier.data.privacy.vault import Vault, VaultEntry
from metier.data.privacy.vault_key import VaultKey
vault = Vault(Path(sys.argv[1]), VaultKey(bytes(range(32))))
for number in range(int(sys.argv[3])):
    vault.add([VaultEntry(run="r", source=sys.argv[2], row=number, row_hash="h", step="s", version=1, reason="r",
                          before=f"{number} {part}") for part in "ab"])
    print(number, flush=True)
"""


def _writer(vault: Vault, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(vault.path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_writers_wait_for_each_other(vault: Vault) -> None:
    writers = [_writer(vault, name, 10) for name in ("one", "two")]
    assert [writer.communicate(timeout=120) and writer.returncode for writer in writers] == [0, 0]
    found = list(vault.entries())
    for name in ("one", "two"):
        assert [each.before for each in found if each.source == name] == [f"{n} {p}" for n in range(10) for p in "ab"]


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_kill_leaves_whole_appends(vault: Vault) -> None:
    writer = _writer(vault, "one", 100_000)
    assert writer.stdout is not None
    said = [writer.stdout.readline() for _ in range(5)]
    time.sleep(0.01)
    writer.kill()
    writer.wait()
    writer.stdout.close()
    found = list(vault.entries())
    assert len(said) == 5 and len(found) >= 10 and len(found) % 2 == 0
    vault.add([entry(1)])
    assert len(list(vault.entries())) == len(found) + 1


def test_a_writer_does_not_wait_for_ever(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    from filelock import FileLock

    monkeypatch.setattr(module, "PATIENCE", 0.05)
    filled(vault)
    with (
        FileLock(vault.path.with_name("clinic.vault.lock")),
        pytest.raises(RunFolderError, match=r"has been written by another process for .* seconds\. Wait for it to end"),
    ):
        vault.add([entry(9)])


def test_without_cryptography_the_message_says_how_to_install_it(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers", None)
    with pytest.raises(MissingPackage, match=r'needs cryptography, .* pip install "metier\[pii\]"'):
        vault.add([entry(1)])


def test_an_entry_has_nothing_that_is_not_kept(vault: Vault) -> None:
    vault.add([entry(1, after="z")])
    [found] = vault.entries()
    assert dataclasses.asdict(found) == dataclasses.asdict(entry(1, after="z"))
