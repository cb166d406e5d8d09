from __future__ import annotations

from pathlib import Path

import pytest

from metier.data.privacy import vault_writer as module
from metier.data.privacy.vault import Vault, VaultEntry
from metier.data.privacy.vault_key import VaultKey
from metier.data.privacy.vault_writer import vault_writer


def entry(number: int, before: str = "text") -> VaultEntry:
    return VaultEntry(
        run="r", source="a.csv", row=number, row_hash="h", step="s", version=1, reason="r", before=before
    )  # fmt: skip


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "a.vault", VaultKey(bytes(32)))


def test_entries_come_one_by_one_and_go_in_pieces(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 3)
    with vault_writer(vault) as put:
        for number in range(8):
            put(entry(number))
            if number == 6:
                assert [each.row for each in vault.entries()] == [0, 1, 2, 3, 4, 5]  # nobody is kept waiting
    assert [each.row for each in vault.entries()] == list(range(8))


def test_long_texts_do_not_pile_up(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHARACTERS", 10)
    with vault_writer(vault) as put:
        put(entry(1, "x" * 10))
        assert len(list(vault.entries())) == 1
        put(entry(2, "x"))
        assert len(list(vault.entries())) == 1
    assert len(list(vault.entries())) == 2


def test_what_fails_leaves_whole_pieces(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    with pytest.raises(KeyError), vault_writer(vault) as put:
        for number in range(3):
            put(entry(number))
        raise KeyError
    assert [each.row for each in vault.entries()] == [0, 1]


def test_a_pass_without_entries_makes_an_empty_vault(vault: Vault) -> None:
    with vault_writer(vault):
        pass
    assert vault.check().entries == 0
