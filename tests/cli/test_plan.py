"""`metier plan`: would it fit on machines that are not here, and what would it cost?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metier.cli.main import run_command_line
from metier.errors import ArgumentError


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A small llama's configuration, without weights."""
    values = {
        "model_type": "llama", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1000,
    }  # fmt: skip
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def test_every_way_is_told_with_what_it_rests_on(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["plan", str(config), "--gpus", "8", "--tokens", "20M", "--price", "2.5"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("small: llama, 0.00 B parameters")
    assert "8 x h100, 80 GB each, 4,096 tokens a pass" in said
    assert [line.split()[0] for line in said.splitlines() if line.startswith(("lora  ", "qlora  ", "full  "))] == [
        "lora", "lora", "qlora", "qlora", "full", "full",
    ]  # fmt: skip
    assert "sharded" in said and "whole on each card" in said
    assert "Estimated from sizes and published rates, not measured" in said
    assert "20,000,000 tokens at 989 TFLOP/s a card and 41% of them (32% to 43% in published runs)" in said


def test_without_tokens_time_is_not_told(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["plan", str(config / "config.json"), "--gpu-memory", "40GB"]) == 0
    said = capsys.readouterr().out
    assert "1 x h100, 40 GB each" in said and "Add --tokens for time and energy, --price for cost." in said
    assert "Time" not in said and "Cost" not in said


def test_json_has_everything(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["plan", str(config), "--gpus", "2", "--tokens", "1M", "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["format"] == "metier.cluster-plan"
    assert plain["model"]["layers"] == 4 and plain["cluster"]["microbatch"] == 4096
    assert len(plain["ways"]) == 6
    for way in plain["ways"]:
        parts = ("weights", "learning", "activations", "loss", "gathered", "reserved")
        assert way["total_bytes"] == pytest.approx(sum(way["memory"][part] for part in parts))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--gpu", "h1000"], "--gpu: found 'h1000'; wanted one of a100, b200, h100"),
        (["--tokens", "many"], "--tokens: found 'many'; wanted a number, with K, M, B or GB behind it"),
    ],
)
def test_what_is_wrong_is_told(
    config: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["plan", str(config), *arguments]) == ArgumentError.exit_code
    assert said.split(";")[0].split("found ")[-1] in capsys.readouterr().err
