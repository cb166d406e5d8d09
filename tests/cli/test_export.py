"""`metier export`: what is shown, what goes to standard output, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.errors import MetierError
from metier.serving.export import Export
from metier.serving.parity import Check, Parity


def _parity(passed: bool) -> Parity:
    checks = (
        Check(what="same most likely token", found="100.00% of 40 positions", wanted="at least 100%", passed=True),
        Check(what="KL(metier || export), mean", found="2.0e-09", wanted="at most 1e-06", passed=passed),
    )
    return Parity(
        form="model", precision="float32", prompts=8, from_validation=True, positions=40, agreement=1.0, kl_mean=2e-9,
        kl_max=1e-8, logit_difference=1e-5, same_written=1.0, score="accuracy", score_metier=0.5, score_export=0.5,
        checks=checks,
    )  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the command asked of the door, which answers at once."""
    seen: dict[str, Any] = {}

    def export_run(path: Path, out: Path | None, **options: Any) -> Export:
        seen.update(path=path, out=out, **{name: value for name, value in options.items() if name != "observers"})
        return Export(
            path=tmp_path / "out", form=options["form"], outtype="f32", bytes=12_000_000, files=("README.md",),
            parity=_parity(True), notices=(),
        )  # fmt: skip

    monkeypatch.setattr("metier.serving.export.export_run", export_run)
    return seen


def test_the_table_is_shown_and_the_folder_is_the_result(
    asked: dict[str, Any], metier: Callable[..., Any], tmp_path: Path
) -> None:
    outcome = metier("export", "runs/a", tmp_path / "out", "--as", "adapter", "--with-base")
    assert outcome.code == 0
    assert outcome.out == f"Exported 12.0 MB: {tmp_path / 'out'}\n"
    assert "8 prompts of the validation split, through the trained model and through the export:" in outcome.err
    assert "KL(metier || export), mean  2.0e-09" in outcome.err
    assert asked == {
        "path": Path("runs/a"), "out": tmp_path / "out", "form": "adapter", "outtype": None, "with_base": True,
    }  # fmt: skip


def test_json_is_one_object(asked: dict[str, Any], metier: Callable[..., Any]) -> None:
    outcome = metier("export", "runs/a", "--outtype", "bf16", "--json")
    plain = json.loads(outcome.out)
    assert plain["format"] == "metier.export"
    assert plain["parity"]["checks"][1] == {
        "what": "KL(metier || export), mean", "found": "2.0e-09", "wanted": "at most 1e-06", "passed": True,
    }  # fmt: skip
    assert (asked["form"], asked["outtype"], asked["out"]) == ("merged", "bf16", None)


def test_an_export_that_differs_ends_with_1(metier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from metier.serving import export as door

    def export_run(*_: Any, **__: Any) -> Export:
        raise door._differs(_parity(False))

    monkeypatch.setattr(door, "export_run", export_run)
    outcome = metier("export", "runs/a")
    assert outcome.code == MetierError.exit_code == 1
    assert "KL(metier || export), mean: 2.0e-09, wanted at most 1e-06" in outcome.err
    assert "The export was removed: it would not answer as the model that was measured." in outcome.err


def test_what_is_no_run_ends_with_2(metier: Callable[..., Any], tmp_path: Path) -> None:
    outcome = metier("export", tmp_path / "none")
    assert outcome.code == 2
    assert "none: does not exist, wanted a run folder" in outcome.err
