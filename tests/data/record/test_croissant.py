"""What we write as Croissant is what mlcroissant reads: without an error, and record by record."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.data.prepare import load_prepared
from metier.data.record.croissant import About, hash_name, write_croissant
from metier.data.record.findings import read_steps
from metier.data.record.licences import check_licences
from metier.store.fingerprint import file_sha256
from metier.store.run_folder import RunFolder

ABOUT = About(name="tickets", published="2026-11-22", creator="A clinic", languages=("en", "de"))
ANSWERS = "".join(
    json.dumps({"messages": [{"role": "user", "content": f"what is {n}?"}, {"role": "assistant", "content": f"{n}!"}]})
    + "\n"
    for n in range(30)
)


def described(run: RunFolder, licences: dict[str, str] | None = None) -> Path:
    card = load_prepared(run.data).card
    found = check_licences(card.sources, licences or {}, policy="allow")
    file = read_steps(run.data)
    return write_croissant(run.data, card, found, ABOUT, steps=file.steps, stages=file.stages)


def validated(path: Path) -> Any:
    """The data set as mlcroissant reads it; its context must be the standard one, and there are no errors."""
    mlcroissant = pytest.importorskip("mlcroissant")
    dataset = mlcroissant.Dataset(path)  # raises on errors
    assert not dataset.metadata.ctx.issues.errors
    recommended = r"(?m)citeAs\" is recommended"
    assert len(re.findall(recommended, "\n".join(map(str, dataset.metadata.ctx.issues.warnings)))) <= 1
    assert len(dataset.metadata.ctx.issues.warnings) <= 1
    return dataset


def test_labels_are_read_back_record_by_record(doubted_run: RunFolder) -> None:
    dataset = validated(described(doubted_run, {"*": "CC-BY-4.0"}))
    assert [one["labels/name"] for one in dataset.records("labels")] == ["order", "refund"]
    prepared = load_prepared(doubted_run.data)
    for split in (prepared.train, prepared.validation, prepared.test):
        read = {(row[f"{split.name}/id"].decode(), row[f"{split.name}/text"].decode(),
                 row[f"{split.name}/label"].decode(), row[f"{split.name}/row"])
                for row in dataset.records(split.name)}  # fmt: skip
        assert read == {(one.id, one.text, one.gold, one.row) for one in split.records()}


def test_the_context_is_the_standard_one(doubted_run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(pytest.importorskip("absl.logging"), "warning", lambda text, *_: said.append(str(text)))
    path = described(doubted_run)
    validated(path)
    assert not [text for text in said if "not standard" in text]
    value = json.loads(path.read_text(encoding="utf-8"))
    del value["@context"]["citeAs"]
    path.write_text(json.dumps(value), encoding="utf-8")
    validated(path)
    assert [text for text in said if "not standard" in text]


def test_a_label_that_only_test_has_is_not_lost(make_run: Callable[..., RunFolder], tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("text,label\nsomething new,complaint\nanother text,order\n", encoding="utf-8")
    rows = "".join(f"message {n} about {n * 3},{['order', 'refund'][n % 2]}\n" for n in range(30))
    run = make_run("text,label\n" + rows, data={"test": str(tmp_path / "test.csv")})
    dataset = validated(described(run))
    labels = {row["test/label"].decode() for row in dataset.records("test")}
    assert labels == {"complaint", "order"}
    assert [row["labels/name"] for row in dataset.records("labels")] == ["complaint", "order", "refund"]


def test_conversations_too(make_run: Callable[..., RunFolder]) -> None:
    dataset = validated(described(make_run(ANSWERS, file="talks.jsonl", task="chat")))
    (row, *_) = dataset.records("train")
    turns = json.loads(row["train/messages"])
    assert [turn["role"] for turn in turns] == ["user", "assistant"]


def test_sources_licences_and_steps_are_in_it(doubted_run: RunFolder) -> None:
    value = json.loads(described(doubted_run, {"tickets.csv": "MIT OR Apache-2.0"}).read_text(encoding="utf-8"))
    card = load_prepared(doubted_run.data).card
    assert value["conformsTo"][0] == "http://mlcommons.org/croissant/1.1"
    assert value["license"] == [{"@type": "sc:CreativeWork", "name": "MIT OR Apache-2.0"}]
    (origin,) = value["prov:wasDerivedFrom"]
    assert (origin["sha256"], origin["dct:license"]) == (card.sources[0].sha256, "MIT OR Apache-2.0")
    assert any("Step wrong_labels, version 2: 40 rows looked at, 3 doubts" in said
               for said in value["rai:dataPreprocessingProtocol"])  # fmt: skip
    assert any(said.startswith("After repaired: 40 rows, SHA-256 ") for said in value["rai:dataPreprocessingProtocol"])
    for file in value["distribution"]:
        assert file["sha256"] == file_sha256(doubted_run.data / file["contentUrl"])
    assert value["creator"]["name"] == "A clinic"
    assert value["url"] == hash_name(card.fingerprint)
    assert "Zebra" not in json.dumps(value)


def test_an_unknown_licence_is_called_unknown(doubted_run: RunFolder) -> None:
    path = described(doubted_run)
    validated(path)
    value = json.loads(path.read_text(encoding="utf-8"))
    assert value["license"] == [{"@type": "sc:CreativeWork", "name": "unknown: tickets.csv"}]


def test_the_same_run_gives_the_same_bytes(doubted_run: RunFolder) -> None:
    first = described(doubted_run).read_bytes()
    assert described(doubted_run).read_bytes() == first


def test_the_name_of_a_hash_is_that_of_the_standard() -> None:
    # The example of RFC 6920, section 8.1: "Hello World!"
    digest = "7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069"
    assert hash_name(digest) == "ni:///sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk"
