"""Wrong data, recipes and models through the real command: one clear message, exit code 2, nothing overwritten."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.store.run_folder import read_state

CHEAP: dict[str, Any] = {"training": {"num_train_epochs": 1}, "evaluation": {"systems": ["majority"]}}


def _only_message(outcome: Any) -> str:
    """The error of a command that failed as it should: the last thing said, without a traceback."""
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    assert outcome.err.count("error: ") == 1
    return str("error: " + outcome.err.partition("error: ")[2]).rstrip("\n")


HEADER = "message,intent\n"
FILES: dict[str, tuple[str | bytes | None, dict[str, Any], str]] = {
    "missing": (
        None, {"train": "mail.csv"},
        r"error: data\.train: `.*mail\.csv` does not exist, wanted a file \(csv, tsv, json, jsonl, parquet or xlsx\), "
        r"a folder or a glob\. Did you mean mails\.csv\?",
    ),
    "empty": (b"", {}, r"error: .*mails\.csv: is empty, wanted a header and rows\. Give a file with data\."),
    "header only": (HEADER, {}, r"error: mails\.csv: has a header but no rows\. Give a file with data\."),
    "binary": (
        bytes(range(256)) * 8, {},
        r"error: mails\.csv: is a binary file, wanted csv, tsv, json, jsonl, parquet or xlsx\. Export it as one .*",
    ),
    "a picture": (
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(500), {}, r"error: mails\.csv: is a binary file, wanted csv.*",
    ),
    "no such label column": (
        None, {"label": "intents"},
        r"error: data\.label: there is no column `intents` in mails\.csv, wanted one of `message`, `intent`\. "
        r"Did you mean `intent`\?",
    ),
    "no such text column": (
        None, {"text": "mesage"},
        r"error: data\.text: there is no column `mesage` in mails\.csv, .*\. Did you mean `message`\?",
    ),
    "one class": (
        HEADER + "".join(f"give me my money {n},refund\n" for n in range(30)), {},
        r"error: data\.label: train has only the label `refund`, wanted two labels or more\. Check data\.label, .*",
    ),
    "all rows rejected": (
        HEADER + "".join(f"give me my money {n},\n" for n in range(30)), {},
        r"error: data\.train: no usable row is left for train; rejected: 30 empty label, "
        r"wanted rows with a text and a label\. Check data\.text and data\.label\.",
    ),
    "train and test are one file": (
        None, {"test": "mails.csv"},
        r"(?s)error: .*recipe\.yaml: has 1 fault\.\n  - data\.test \(line \d+\): train and test are the same file\. "
        r"What a model has seen cannot show what it has learned\. Remove one of them\.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_data_that_cannot_be_used(case: str, desk: Any, metier: Callable[..., Any]) -> None:
    content, data, message = FILES[case]
    if content is not None:
        desk.write("mails.csv", content)
    desk.recipe(data=data)
    before = (desk.folder / "mails.csv").read_bytes()
    outcome = metier(*desk.arguments())
    assert outcome.code == 2
    assert re.fullmatch(message, _only_message(outcome)), outcome.err
    assert (desk.folder / "mails.csv").read_bytes() == before
    assert not desk.run.data.exists()


def test_the_same_content_under_two_names(desk: Any, metier: Callable[..., Any], make_mails: Any) -> None:
    desk.write("copy.csv", make_mails(90))
    desk.recipe(data={"test": "copy.csv"})
    outcome = metier(*desk.arguments())
    assert outcome.code == 2
    assert "error: data.test: copy.csv has the same content as mails.csv, the train file" in _only_message(outcome)


def test_a_corrected_recipe_runs_in_the_same_folder(desk: Any, metier: Callable[..., Any]) -> None:
    """A run that failed before anything was done must not block its folder."""
    desk.recipe(**CHEAP, data={"label": "intents"})
    assert metier(*desk.arguments()).code == 2
    desk.recipe(**CHEAP)
    assert metier(*desk.arguments("--until", "data")).code == 0


RECIPES = {
    "three mistakes": (
        "data: {train: mails.csv, txt: message}\nadaptation: {method: lra}\ntraining: {learning_rate: -1}\n",
        [
            "recipe.yaml: has 3 faults.",
            "  - data.txt (line 1): is no field of `data`. Did you mean `data.text`?",
            "  - adaptation.method (line 2): is 'lra', wanted one of full, freeze, lora, head. Did you mean `lora`?",
            "  - training.learning_rate (line 3): is -1, wanted a number above 0",
        ],
    ),
    "a tab": (
        "data:\n\ttrain: mails.csv\n",
        ["recipe.yaml, line 2: has a tab as indentation, wanted spaces. YAML wants spaces"],
    ),
    "a tag that would run code": (
        "data: {train: !!python/object/apply:os.system ['touch pwned']}\n",
        ["recipe.yaml, line 1: a YAML tag that would run code, wanted plain values. Remove the tag."],
    ),
    "empty": ("", ["recipe.yaml"]),
}


@pytest.mark.parametrize("case", RECIPES)
@pytest.mark.parametrize("command", ["run", "check"])
def test_recipes_that_cannot_be_used(
    case: str, command: str, desk: Any, metier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    text, parts = RECIPES[case]
    recipe = desk.write("recipe.yaml", text)
    outcome = metier(command, recipe)
    assert outcome.code == 2
    message = _only_message(outcome)
    assert [part for part in parts if part not in message] == []
    assert message.count("\n  - ") == sum(part.startswith("  - ") for part in parts)
    assert sorted(path.name for path in desk.folder.iterdir()) == ["mails.csv", "recipe.yaml"]


def _no_weights(folder: Path) -> Path:
    (folder / "model.safetensors").unlink()
    return folder


def _only_pickle(folder: Path) -> Path:
    _no_weights(folder)
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cposix\nsystem\n")
    return folder


def _torn_weights(folder: Path) -> Path:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return folder


def _no_tokenizer(folder: Path) -> Path:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    return folder


def _cut_gguf(folder: Path) -> Path:
    path = folder / "cut.gguf"
    path.write_bytes(b"GGUF\x03\x00\x00\x00" + b"\x05" + bytes(7) * 3)
    return path


def _nothing(folder: Path) -> Path:
    return folder / "not-there"


MODELS: dict[Callable[[Path], Path], str] = {
    _no_weights: "has no weights, wanted model.safetensors or its shards. Copy or download the whole model again.",
    _only_pickle: "has its weights only as pickle (pytorch_model.bin), which can run code and is never opened, "
                  "wanted *.safetensors.",
    _torn_weights: "model.safetensors: is cut off or damaged, wanted whole safetensors weights. "
                   "Copy or download it again.",
    _cut_gguf: "cut.gguf: is no whole GGUF file (cut off or damaged). Copy or download it again.",
    _nothing: "not-there: is not there, wanted a model folder. Check the path.",
    _no_tokenizer: "has no tokenizer, wanted tokenizer.json or the older vocabulary files.",
}  # fmt: skip


@pytest.mark.parametrize("spoil", MODELS, ids=lambda spoil: spoil.__name__.strip("_"))
def test_models_that_cannot_be_used(
    spoil: Callable[[Path], Path], desk: Any, metier: Callable[..., Any], tmp_path: Path
) -> None:
    """Told before anything is trained, even when it is the second candidate."""
    spoiled = tmp_path / "model"
    shutil.copytree(desk.values["model"], spoiled)
    second = {"model": str(spoil(spoiled))}
    desk.recipe(**CHEAP, candidates={"first": {"seed": 1}, "second": second})
    outcome = metier(*desk.arguments())
    assert outcome.code == 2
    assert MODELS[spoil] in _only_message(outcome)
    if spoil is not _no_tokenizer:  # found when it is loaded
        assert not desk.run.attempt(1).path.exists()


def test_a_missing_package_is_named_with_its_install_line(
    desk: Any, metier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from openpyxl import Workbook  # type: ignore[import-untyped]

    book = Workbook()
    book.active.append(["message", "intent"])
    book.save(desk.folder / "mails.xlsx")
    desk.recipe(data={"train": "mails.xlsx"})
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    outcome = metier(*desk.arguments())
    assert outcome.code == 5
    message = "error: openpyxl: is not installed. Install it: pip install openpyxl"
    assert _only_message(outcome).startswith(message)


def test_a_missing_recipe(desk: Any, metier: Callable[..., Any]) -> None:
    outcome = metier("run", desk.folder / "recip.yaml")
    assert outcome.code == 2
    assert "recip.yaml: does not exist" in _only_message(outcome)


# not errors: a stated policy


def test_texts_longer_than_the_context_are_cut_and_that_is_said(desk: Any, metier: Callable[..., Any]) -> None:
    table = desk.folder / "mails.csv"
    long = "".join(f"{word} please " * 300 + f",{label}\n" for word, label in (("refund", "refund"), ("shop", "card")))
    table.write_text(table.read_text(encoding="utf-8") + long * 2, encoding="utf-8")
    desk.recipe(**CHEAP)
    outcome = metier(*desk.arguments())
    assert outcome.code == 0, outcome.err
    assert re.search(r"training texts are longer than \d+ tokens allow and were cut", " ".join(outcome.err.split()))
    assert "Token indices sequence length" not in outcome.err


def test_a_label_with_one_example_stays_and_is_said(desk: Any, metier: Callable[..., Any]) -> None:
    table = desk.folder / "mails.csv"
    table.write_text(table.read_text(encoding="utf-8") + "a rare bird,complaint\n", encoding="utf-8")
    desk.recipe(**CHEAP)
    outcome = metier(*desk.arguments())
    assert outcome.code == 0, outcome.err
    assert "one training example only, kept: `complaint`" in outcome.err


def test_a_test_label_that_training_never_saw_counts_as_wrong(
    desk: Any, metier: Callable[..., Any], make_mails: Any
) -> None:
    desk.write("test.csv", make_mails(24, seed=9) + "a rare bird,complaint\n")
    desk.recipe(**CHEAP, data={"test": "test.csv"})
    outcome = metier(*desk.arguments())
    assert outcome.code == 0, outcome.err
    said = " ".join(outcome.err.split())
    assert "test has 1 label that train does not have (`complaint`): every answer there counts as wrong (1 row)" in said
    from metier.store.files import read_json_lines

    row = read_json_lines(desk.run.items("test", "tuned"))[-1]
    assert row["gold"] == "complaint" and row["answer"] != "complaint" and "label_unseen" in row["flags"]


def test_a_mixed_encoding_is_read_and_said(desk: Any, metier: Callable[..., Any]) -> None:
    table = desk.folder / "mails.csv"
    extra = "café card declined,card\n".encode() + "café money,refund\n".encode("cp1252")
    table.write_bytes(table.read_bytes() + extra)
    desk.recipe(**CHEAP)
    outcome = metier(*desk.arguments())
    assert outcome.code == 0, outcome.err
    assert "mails.csv: UTF-8 except in row 92, read as Windows-1252" in outcome.err


# the command as a person starts it


def _command(desk: Any, repository: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "metier", *desk.arguments(*more)]
    environment = {**os.environ, **desk.environment, "PYTHONPATH": str(repository)}
    return subprocess.run(command, capture_output=True, text=True, cwd=desk.folder, env=environment, check=False)


def test_the_real_command_says_one_thing_and_no_traceback(desk: Any, repository: Path) -> None:
    desk.recipe(data={"label": "intents"})
    done = _command(desk, repository)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == 1
    assert "Did you mean `intent`?" in done.stderr


def test_a_whole_run_says_nothing_that_is_not_ours(desk: Any, repository: Path) -> None:
    """No warnings of libraries, no progress bars of theirs."""
    desk.recipe(**CHEAP)
    done = _command(desk, repository)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert "it/s]" not in done.stderr
    assert "[transformers]" not in done.stderr
    assert read_state(desk.run).complete
