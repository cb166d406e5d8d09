from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from metier.data.privacy.strict import WRITES, TextPolicy
from metier.data.privacy.strict_faults import StrictFaults, came_from_strict, traceback_without_values
from metier.data.privacy.vault_key import VaultKey
from metier.data.records import Choice
from metier.errors import ArgumentError
from metier.store.fingerprint import text_sha256

KEY = VaultKey(bytes(range(32)))
STRICT, OPEN = TextPolicy(strict=True, key=KEY), TextPolicy()
SECRET = "Anna Muster has asthma"
RECORD = Choice(id="x-0", text=SECRET, label="lung", source="notes.csv", row=12)


def test_without_strict_the_report_has_texts_and_a_card_never() -> None:
    assert OPEN.shown(RECORD, "report") == SECRET
    assert OPEN.shown(RECORD, "card") == f"notes.csv row 12 (hash {text_sha256(SECRET)[:16]})"
    assert OPEN.allows("splits") and OPEN.form("rejected") == "text"


@pytest.mark.parametrize("where", [name for name in WRITES if name != "prediction"])
def test_under_strict_no_kind_of_file_gets_a_text(where: str) -> None:
    shown = STRICT.shown(RECORD, where)
    assert shown == f"notes.csv row 12 (hash {KEY.mark(SECRET)})"
    assert not STRICT.allows(where) and SECRET not in shown


def test_a_prediction_is_the_users_own() -> None:
    assert STRICT.shown(RECORD, "prediction") == SECRET


def test_the_table_names_what_must_not_stay() -> None:
    forms = {name: rule.strict for name, rule in WRITES.items()}
    assert {name for name, form in forms.items() if form == "text"} == {"prediction"}
    assert {name for name, form in forms.items() if form == "vault"} == {"rejected", "changed", "review"}
    assert {name for name, form in forms.items() if form == "private"} == {"splits", "cache", "temporary"}
    assert {name for name, form in forms.items() if form == "never"} == {"prompt"}
    with pytest.raises(KeyError):
        STRICT.form("a kind that nobody thought of")


def test_hashes_of_a_strict_policy_cannot_be_looked_up() -> None:
    assert STRICT.mark(SECRET) == KEY.mark(SECRET) != text_sha256(SECRET)[:16]
    assert STRICT.record_key("  ANNA  muster ") == STRICT.record_key("Anna Muster") != OPEN.record_key("Anna Muster")
    assert OPEN.record_key("  ANNA  muster ") == text_sha256("anna muster")[:16]  # as records have always been named
    assert STRICT.member("MRN-1") == KEY.mark("MRN-1") and OPEN.member("MRN-1") == "MRN-1"
    assert STRICT.member(None) is None


def test_a_strict_policy_needs_a_key() -> None:
    with pytest.raises(ArgumentError, match=r"privacy: is strict and names no key, wanted a key for .*vault-key FILE"):
        TextPolicy(strict=True)


def test_answers_that_are_labels_stay_and_others_do_not() -> None:
    assert STRICT.answer("lung", "items", ["lung"]) == "lung" and STRICT.answer(None, "items") is None
    assert STRICT.answer(SECRET, "items", ["lung"]) == KEY.mark(SECRET)
    assert OPEN.answer(SECRET, "items") == SECRET and OPEN.answer(SECRET, "card") != SECRET
    assert STRICT.key_id == KEY.id and OPEN.key_id is None


def test_examples_in_a_prompt_are_refused() -> None:
    OPEN.refuse("prompt", "evaluation.few_shot")
    STRICT.refuse("report", "report.examples")
    with pytest.raises(ArgumentError, match=r"few_shot: puts texts of records into model/prompt\.json, exports"):
        STRICT.refuse("prompt", "evaluation.few_shot")


def test_a_traceback_without_what_it_quotes() -> None:
    @dataclass(frozen=True)
    class Reader:
        text: str

        def read(self) -> int:
            return int(self.text)

    try:
        try:
            Reader(SECRET).read()
        except ValueError as error:
            raise KeyError(SECRET) from error
    except KeyError as error:
        said = traceback_without_values(error)
    assert SECRET not in said and "Anna" not in said
    assert f'File "{Path(__file__)}"' in said and "in read" in said
    assert re.findall(r"^builtins\.\w+$", said, re.M) == ["builtins.KeyError", "builtins.ValueError"]


def test_a_traceback_that_goes_in_a_circle_ends() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert traceback_without_values(first).count("ValueError") == 2


def test_a_fault_of_a_strict_run_is_known_for_that() -> None:
    with pytest.raises(ValueError, match="x") as caught, StrictFaults():
        raise ValueError("x")
    assert came_from_strict(caught.value) and not came_from_strict(ValueError("x"))
    assert "ValueError" in traceback_without_values(caught.value)
