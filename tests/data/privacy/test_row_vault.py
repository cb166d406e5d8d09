from __future__ import annotations

import json
from pathlib import Path

import pytest

from metier.data.examples import Intake
from metier.data.privacy.row_vault import REMEMBERED, RowVault, row_vault, rows_in
from metier.data.privacy.strict_run import StrictRun, StrictSettings, strict_run, text_folder
from metier.data.privacy.vault import state_of
from metier.data.privacy.vault_key import make_key
from metier.data.reasons import PERSONAL_DATA
from metier.data.records import Changed, Choice, Rejected
from metier.data.splits import write_split
from metier.data.spool import Spool
from metier.store.files import whole_folder
from metier.store.fingerprint import text_sha256
from metier.store.run_folder import DataFolder, RunFolder

ROW = {"text": "  Anna Muster fell ", "label": "fall"}
SAID = json.dumps(ROW)


@pytest.fixture
def settings(tmp_path: Path) -> StrictSettings:
    make_key(tmp_path / "safe" / "key")
    return StrictSettings(vault=tmp_path / "safe" / "vault", vault_key_file=tmp_path / "safe" / "key")


def record(row: int = 1, text: str = "Anna Muster fell") -> Choice:
    return Choice(id="", text=text, label="fall", source="a.csv", row=row)


def _written(strict: StrictRun, folder: RunFolder) -> None:
    """What preparation does with one rejected and one changed row."""
    with (
        whole_folder(folder.data) as target,
        text_folder(target, strict),
        row_vault(strict) as vaulted,
        Spool(target, "choice", vaulted=vaulted) as spool,
    ):
        assert spool.path.parent.parent == folder.private
        spool.accept(record(), ROW)
        spool.change(
            Changed(source="a.csv", row=1, repairs=("white space",), step="repairs", version=1,
                    sha256=text_sha256(SAID))
        )  # fmt: skip
        spool.reject(Rejected(source="a.csv", row=2, reason="empty label", content='{"text": "he fell", "label": ""}'))
        spool.close()
        write_split([record()], DataFolder(target).split("train"))


def test_lines_stay_and_texts_go_to_the_vault(settings: StrictSettings, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with strict_run(settings, folder.path, "x", run="hash", ended=lambda: False) as strict:
        _written(strict, folder)
    (rejected,) = map(json.loads, folder.rejected.read_text(encoding="utf-8").splitlines())
    (changed,) = map(json.loads, folder.changed.read_text(encoding="utf-8").splitlines())
    assert (rejected["source"], rejected["row"], rejected["content"]) == ("a.csv", 2, "")
    kept = {entry.row_hash: entry for entry in strict.vault.entries()}
    assert kept[rejected["sha256"]].before == '{"text": "he fell", "label": ""}'
    assert kept[changed["sha256"]].before == SAID and kept[changed["sha256"]].after == "Anna Muster fell\n\nfall"
    assert changed["sha256"] not in (text_sha256(SAID), text_sha256(SAID)[:16])
    assert {entry.run for entry in kept.values()} == {"hash"}
    assert rows_in(strict.vault, "hash")[rejected["sha256"]] == '{"text": "he fell", "label": ""}'
    assert rows_in(strict.vault, "another") == {}
    # The splits are where `DataFolder` finds them, and nothing of them is beside the lines.
    assert folder.split("train") == folder.private_data / "train.parquet" and folder.split("train").is_file()
    assert {path.name for path in folder.data.iterdir()} == {"rejected.jsonl", "changed.jsonl"}


def test_a_run_that_fails_meanwhile_leaves_nothing_half_done(settings: StrictSettings, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with (
        strict_run(settings, folder.path, "x", ended=lambda: False) as strict,
        pytest.raises(RuntimeError, match="stop"),
        whole_folder(folder.data) as target,
        text_folder(target, strict),
        row_vault(strict) as vaulted,
        Spool(target, "choice", vaulted=vaulted) as spool,
    ):
        spool.accept(record(), ROW)
        raise RuntimeError("stop")
    assert not folder.data.exists() and not folder.private_data.exists()
    assert state_of(strict.vault) is None


def test_without_strict_everything_is_as_it_was(tmp_path: Path) -> None:
    with text_folder(tmp_path, None) as texts, row_vault(None) as vaulted, Spool(tmp_path, "choice") as spool:
        assert texts == tmp_path and vaulted is None and spool.path == tmp_path / "spool.parquet"
        spool.reject(Rejected(source="a.csv", row=2, reason="empty label", content=SAID))
        assert spool.mark("a") == text_sha256("a")[:16] == Intake(spool).mark("a")
    assert json.loads((tmp_path / "rejected.jsonl").read_text(encoding="utf-8"))["content"] == SAID


def test_a_record_before_and_after_personal_data_was_hidden(settings: StrictSettings, tmp_path: Path) -> None:
    with strict_run(settings, tmp_path / "run", "x") as strict:
        with row_vault(strict) as vaulted:
            assert vaulted is not None
            vaulted.hidden(record(), record(text="<PERSON> fell"))
            vaulted.hidden(record(row=2), None)
        first, second = strict.vault.entries()
    assert (first.before, first.after) == ("Anna Muster fell\n\nfall", "<PERSON> fell\n\nfall")
    assert (second.row, second.after, second.step) == (2, None, PERSONAL_DATA.step)


def test_rows_that_were_accepted_long_ago_are_not_remembered(settings: StrictSettings, tmp_path: Path) -> None:
    put: list[object] = []
    with strict_run(settings, tmp_path / "run", "x") as strict:
        vaulted = RowVault(put.append, strict.policy, "hash")
    for number in range(REMEMBERED + 1):
        vaulted.accept(record(number), ROW)
    line = Changed(source="a.csv", row=0, repairs=("white space",), sha256=text_sha256(SAID))
    assert vaulted.changed(line).sha256 == strict.policy.mark(text_sha256(SAID)) and not put
    vaulted.changed(Changed(source="a.csv", row=1, repairs=("white space",), sha256=text_sha256(SAID)))
    assert len(put) == 1
