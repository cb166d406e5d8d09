"""A run over a base model in 4 bits: everything that leaves it says so, and its export is what was measured."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.errors import MissingPackage, ModelError
from metier.serving.export import export_run
from metier.serving.predict import load_run
from metier.store.files import read_json

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="needs the extra `quantization`"
)


@pytest.fixture
def way(tiny_model: Callable[..., Path]) -> dict[str, Any]:
    """One candidate over a base in 4 bits, against itself before training."""
    model = {"name": str(tiny_model("llama")), "quantization": "nf4"}
    adaptation = {"method": "lora", "layers": "top 1", "r": 4}
    training = {"optim": "adamw_bnb_8bit", "gradient_checkpointing": True}
    return {
        "candidates": {"words": {"model": model, "adaptation": adaptation, "training": training}},
        "evaluation": {"systems": ["majority", "zero_shot"]},
    }  # fmt: skip


@pytest.mark.slow
@needs_package
def test_everything_says_that_the_base_was_in_4_bits(
    new_home: Callable[..., Any], way: dict[str, Any], tmp_path: Path
) -> None:
    ran = new_home().run("small", **way)
    folder = ran.folder
    lock = read_json(folder.lock, format="lock")
    said = lock["models"]["words"]
    assert (said["quantization"], said["optim"], said["gradient_checkpointing"]) == ("nf4", "adamw_bnb_8bit", True)
    assert lock["packages"]["bitsandbytes"]
    attempt = read_json(folder.attempt(1).lock, format="attempt_lock")
    assert attempt["model"]["quantization"] == "nf4"
    note = "its linear layers were held in 4 bits (nf4, bitsandbytes) while it learned and was measured"
    assert note in (folder.path / "README.md").read_text() and note in (folder.path / "report/index.html").read_text()
    load_run(folder.path)
    merged = export_run(folder.path, tmp_path / "merged")
    assert merged.parity.passed
    assert any("the export holds the numbers that those 4 bits stand for" in notice for notice in merged.notices)
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert "quantization_config" not in config
    with pytest.raises(ModelError) as refused:
        export_run(folder.path, tmp_path / "adapter", form="adapter")
    assert str(refused.value) == (
        "--as adapter: the adapter learned over a base held in nf4; over the base as it is, it answers otherwise. "
        "Use --as merged, which holds the numbers that it learned over."
    )


def test_a_missing_package_ends_the_run_before_anything_is_trained(
    new_home: Callable[..., Any], way: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else found(name))
    events: list[Any] = []
    with pytest.raises(MissingPackage, match=r'Install it: pip install "metier\[quantization\]"'):
        new_home().run("small", observer=events.append, **way)
    assert "train" not in {getattr(event, "stage", "") for event in events}
