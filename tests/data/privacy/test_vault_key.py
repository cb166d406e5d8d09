from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from metier.data.privacy.vault_key import VaultKey, load_key, make_key
from metier.errors import ArgumentError
from metier.store.files import write_json
from metier.store.run_folder import RunFolder

KEY = VaultKey(bytes(range(32)))


def test_a_made_key_is_the_owners_alone_and_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "clinic.key"
    made = make_key(path)
    assert load_key(file=path) == made
    assert make_key(tmp_path / "other.key") != made
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_key_in_a_variable() -> None:
    assert load_key(variable="VAULT", environment={"VAULT": f" {KEY.text()}\n"}) == KEY


@pytest.mark.parametrize("given", ["", "secret", "metier-vault-key-1:", "metier-vault-key-1:AAAA", "é"])
def test_what_is_no_key_is_refused(given: str, tmp_path: Path) -> None:
    path = tmp_path / "some.key"
    path.write_bytes(given.encode())
    path.chmod(0o600)
    with pytest.raises(ArgumentError, match=r"some\.key: holds no key of a vault, wanted a line that begins"):
        load_key(file=path)


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"none\.key: does not exist, wanted the file of a key\. Make one: metier"):
        load_key(file=tmp_path / "none.key")
    with pytest.raises(ArgumentError, match=r"\$VAULT: is not set, wanted the key of a vault\. Make one"):
        load_key(variable="VAULT", environment={})
    with pytest.raises(ArgumentError, match=r"privacy: names no key, wanted one of vault_key_file and vault_key_env"):
        load_key()
    with pytest.raises(ArgumentError, match=r"names a file and a variable.*Keep one of them"):
        load_key(file=tmp_path / "none.key", variable="VAULT")


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "clinic.key"
    made = make_key(path)
    with pytest.raises(ArgumentError, match=r"exists, wanted the name of a new file\. Choose another name: who loses"):
        make_key(path)
    assert load_key(file=path) == made


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes")
def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clinic.key"
    make_key(path)
    path.chmod(0o640)
    with pytest.raises(ArgumentError, match=r"may be used by others \(mode 0640\), wanted mode 0600\. chmod 600"):
        load_key(file=path)


def test_a_key_never_lies_in_a_run_folder(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "runs" / "one")
    with pytest.raises(ArgumentError, match=r"lies in the run folder .*one, wanted the key of a vault outside of"):
        load_key(file=run.path / "deep" / "clinic.key", run_folder=run.path)
    write_json(run.state, {}, format="run")
    with pytest.raises(ArgumentError, match="lies in the run folder"):
        make_key(run.path / "deep" / "clinic.key")
    link = tmp_path / "link"
    link.symlink_to(run.path, target_is_directory=True)
    with pytest.raises(ArgumentError, match="lies in the run folder"):
        make_key(link / "clinic.key")


def test_derived_secrets_are_those_of_the_standard() -> None:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    for salt in (b"", b"salt of a vault"):
        reference = HKDF(algorithm=SHA256(), length=32, salt=salt or None, info=b"metier vault 1 entries")
        assert KEY.derive("entries", salt) == reference.derive(KEY.secret)
    assert KEY.derive("entries") != KEY.derive("mark")


def test_marks_need_the_key() -> None:
    assert KEY.mark("Anna Muster") == VaultKey(bytes(range(32))).mark("Anna Muster")
    assert len(KEY.mark("")) == 16 and KEY.mark("a") != KEY.mark("b")
    assert VaultKey(bytes(32)).mark("Anna Muster") != KEY.mark("Anna Muster")
    assert KEY.mark("\ud800") != KEY.mark("?")  # half of a surrogate pair


def test_a_key_does_not_show_itself() -> None:
    shown = f"{KEY!r} {KEY} {KEY.id}"
    assert KEY.text().removeprefix("metier-vault-key-1:") not in shown and KEY.secret.hex() not in shown
    assert len(KEY.id) == 16 and KEY.id != VaultKey(bytes(32)).id
