"""Hidden characters and keys that the repairs take away are found, whatever is kept of the rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.data.before_repairs import noted_before, text_before
from metier.data.cleaning.before import NOTHING
from metier.data.input_rules import InputRules
from metier.data.prepare import prepare_data
from metier.data.records import Choice
from metier.recipe.privacy_section import PrivacySection
from metier.recipe.sections import Recipe

KEY = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
HIDDEN = "pay\u200bment"
DIRECTED = "a\u202eb\u202cc"
PRIVACY = (None, {"policy": "mask", "detector": "patterns"}, {"policy": "drop", "detector": "patterns"})
IDS = ["rows are kept", "mask", "drop"]


ONLY = {
    "leaks": "allow", "near_duplicates": "off", "quality": "off", "label_likeness": "off", "odd_texts": "off",
    "language": {"policy": "off"}, "wrong_labels": "off", "wrong_answers": "off", "outliers": "off",
    "bias": {"policy": "off"}, "giveaway": "off",
}  # fmt: skip
"""Only secrets and poison are looked for."""


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def doubts(folder: Path, step: str) -> dict[tuple[str, int], str]:
    """Reason and row -> what is said, of one step's doubts."""
    found = [each for each in lines(folder / "doubts.jsonl") if each["step"] == step]
    return {(each["reason"], each["place"]["row"]): each["detail"] for each in found}


def prepared(folder: Path, task: str, privacy: dict[str, Any] | None, **fields: Any) -> Path:
    section = Recipe.model_validate({"task": task, "data": {**ONLY, **fields}}).data
    hide = None if privacy is None else PrivacySection.model_validate(privacy)
    prepare_data(section, seed=17, folder=folder / "data", task=task, privacy=hide)
    return folder / "data"


@pytest.mark.parametrize("privacy", PRIVACY, ids=IDS)
def test_hidden_text_in_prompt_and_answer_is_found(tmp_path: Path, privacy: dict[str, Any] | None) -> None:
    pytest.importorskip("detect_secrets")
    rows = [{"question": f"Where is order {n}, please?", "answer": f"Order {n} left on Monday."} for n in range(40)]
    rows[3]["question"] += f" The {HIDDEN} is done."
    rows[4]["answer"] += f" Your {HIDDEN} came, your second {HIDDEN} too."
    rows[5]["answer"] += f" Use {KEY} for it."
    rows[6]["answer"] = f"{DIRECTED} of order 6."
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = prepared(tmp_path, "generation", privacy, train=str(path), text="question", answer="answer", secrets="mask")
    assert doubts(data, "poison") == {
        ("hidden characters", 4): "its text has characters that nobody sees, 1 time",
        ("hidden characters", 5): "its answer has characters that nobody sees, 2 times",
        ("hidden characters", 7): "its answer has characters that nobody sees, 2 times",
    }
    assert list(doubts(data, "secrets")) == [("secret in answer", 6)]
    found = {each["step"]: each for each in json.loads((data / "findings.json").read_text("utf-8"))["steps"]}
    assert found["secrets"]["done"] == {"masked": 1}
    for file in data.glob("*.json*"):
        assert KEY not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("privacy", PRIVACY, ids=IDS)
def test_hidden_text_beside_personal_data_is_found(
    tmp_path: Path, rows: Callable[..., str], privacy: dict[str, Any] | None
) -> None:
    path = tmp_path / "train.csv"
    path.write_text(rows(40) + f"write to anna@clinic.org about my {HIDDEN},order\n", encoding="utf-8")
    data = prepared(tmp_path, "classification", privacy, train=str(path))
    gone = privacy is not None and privacy["policy"] == "drop"
    assert set(doubts(data, "poison")) == (set() if gone else {("hidden characters", 41)})


def test_without_a_repair_nothing_is_noted() -> None:
    rules = InputRules(text_columns=("text",))
    record = Choice(id="", text="payment", label="a", source="a.csv", row=1)
    assert noted_before(record, {"text": HIDDEN}, rules, ()) is NOTHING
    noted = noted_before(record, {"text": HIDDEN}, rules, ("invisible characters",))
    assert noted.of_disguises("text") == {"hidden characters": 1} and noted.of_disguises("answer") == {}
    assert noted.of_secrets("text") == {}


def test_the_text_is_the_rows_own_where_the_row_has_it() -> None:
    rules = InputRules(text_columns=("text",))
    record = Choice(id="", text="payment", label="a", source="a.csv", row=1)
    assert text_before(record, {"text": HIDDEN, "label": "a"}, rules) == HIDDEN
    assert text_before(record, {"other": HIDDEN}, rules) == "payment"
