"""The parts together: what a strict run does with planted rows leaves none of their texts outside of the vault."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.data.privacy.account import Account
from metier.data.privacy.connections import no_connections
from metier.data.privacy.private_folder import make_private, private_cache
from metier.data.privacy.search import find_texts
from metier.data.privacy.sentences import count_shared
from metier.data.privacy.strict import TextPolicy
from metier.data.privacy.strict_faults import traceback_without_values
from metier.data.privacy.vault import Vault, VaultEntry
from metier.data.privacy.vault_key import load_key, make_key
from metier.data.records import Choice
from metier.data.splits import write_split
from metier.errors import RefusedConnection


def _run(planted: Any, run: Path, policy: TextPolicy, vault: Vault | None) -> Account:
    """What the stages of a run write, by the policy: data, items, log, report, crash."""
    records = [
        Choice(
            id=f"{policy.record_key(text)}-0", text=text, label=label, source="notes.csv", row=number, group=text[:20]
        )
        for number, (text, label) in enumerate(planted.rows, start=1)
    ]
    rejected = [record for record in records if not record.label]
    with no_connections(run / "connections.jsonl") as watch, private_cache(run / "private") as private:
        place = private if policy.form("splits") == "private" else run
        write_split([record for record in records if record.label], place / "train.parquet")
        if policy.form("rejected") == "vault":
            assert vault is not None
            vault.add(
                VaultEntry(run="r", source=each.source, row=each.row, row_hash=policy.mark(each.text), step="labels",
                           version=1, reason="empty label", before=each.text)
                for each in rejected
            )  # fmt: skip
        else:
            lines = [json.dumps({"row": each.row, "content": each.text}) for each in rejected]
            (run / "rejected.jsonl").write_text("\n".join(lines))
        items = [
            {"id": each.id, "group": policy.member(each.group), "gold": each.label,
             "answer": policy.answer(each.text, "items", ["fall", "sting"])}
            for each in records
        ]  # fmt: skip
        (run / "items-tuned.jsonl").write_text("\n".join(map(json.dumps, items)))
        (run / "index.html").write_text("".join(f"<p>{policy.shown(each, 'report')}</p>\n" for each in records))
        with pytest.raises(RefusedConnection):
            sys.audit("socket.getaddrinfo", "hub.example.org", 443, 0, 0, 0)
        try:
            raise ValueError(records[0].text)
        except ValueError as error:
            said = traceback_without_values(error) if not policy.allows("crash") else repr(error)
            (run / "crash.txt").write_text(said)
    shared = count_shared(run, (record.text for record in records), known=["fall", "sting"])
    return Account(connections=watch.connections, text=shared)


def test_a_strict_run_leaves_nothing(planted: Any, nothing_left: Callable[..., None], tmp_path: Path) -> None:
    make_key(tmp_path / "safe" / "clinic.key")
    run = make_private(tmp_path / "run")
    key = load_key(file=tmp_path / "safe" / "clinic.key", run_folder=run)
    vault = Vault(tmp_path / "safe" / "clinic.vault", key, run_folder=run)
    account = _run(planted, run, TextPolicy(strict=True, key=key), vault)
    nothing_left(run, tmp_path / "safe")
    assert account.line.startswith("0 connections (1 attempt refused: ")
    assert account.line.endswith(", 0 sentences of record text")
    kept = list(vault.entries())
    assert len(kept) == 10 and all(entry.before in dict(planted.rows) for entry in kept)
    shown = json.loads((run / "items-tuned.jsonl").read_text().splitlines()[kept[0].row - 1])
    assert vault.with_hash(shown["answer"])[0].before == kept[0].before  # who has the key finds the row again


def test_the_same_run_without_strict_leaves_everything(planted: Any, tmp_path: Path) -> None:
    run = make_private(tmp_path / "run")
    account = _run(planted, run, TextPolicy(), None)
    found = find_texts(run, planted.needles, hashes=True)
    assert {each.needle for each in found.found} == set(range(200))
    assert account.text is not None and account.text.sentences >= 100
    assert "sentences of record text (in " in account.line
