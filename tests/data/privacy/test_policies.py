"""Policies: what they replace, that question and answer agree, and that it can be undone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.privacy.own import OwnRecogniser
from metier.data.privacy.patterns import PATTERN_KINDS, PatternDetector
from metier.data.privacy.policies import PolicySettings, Protection, restored
from metier.data.privacy.surrogates import StandIns
from metier.errors import DataError

KEY = b"a key of thirty-two bytes, or so"
OWN = OwnRecogniser(name="PATIENT_NUMBER", regex=r"\bPN-[0-9]{6}\b")
QUESTION = "I am anna@clinic.org, card 4111 1111 1111 1111, PN-123456. Call +49 30 901820."
ANSWER = "We wrote to Anna@clinic.org about pn-1 and PN-123456."


def protection(policy: str, **fields: object) -> Protection:
    made = PolicySettings(policy=policy, **fields)  # type: ignore[arg-type]
    return Protection(made, PatternDetector(PATTERN_KINDS, [OWN]), StandIns(KEY, made.scope))


def test_masks_stand_in_question_and_answer() -> None:
    hidden = protection("mask").hide([[QUESTION, ANSWER]])[0]
    assert hidden.parts == (
        "I am <EMAIL_ADDRESS>, card <CREDIT_CARD>, <PATIENT_NUMBER>. Call <PHONE_NUMBER>.",
        "We wrote to <EMAIL_ADDRESS> about pn-1 and <PATIENT_NUMBER>.",
    )


def test_stand_ins_agree_in_question_and_answer() -> None:
    hidden = protection("surrogate").hide([[QUESTION, ANSWER]])[0]
    by_value = {(each.kind, each.value.casefold()): each.stand_in.casefold() for each in hidden.replacements}
    assert len(by_value) == 4
    assert len(hidden.replacements) == 6
    assert all(stand_in in (hidden.parts[0] + hidden.parts[1]).casefold() for stand_in in by_value.values())
    assert not any(value in hidden.parts[0] for value in ("anna@clinic.org", "4111", "PN-123456", "901820"))


@pytest.mark.parametrize("policy", ["mask", "surrogate"])
def test_replacements_undo_it(policy: str) -> None:
    hidden = protection(policy).hide([[QUESTION, ANSWER], ["nothing here", ""]])
    assert restored(hidden[0]) == (QUESTION, ANSWER)
    assert restored(hidden[1]) == ("nothing here", "")


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from([QUESTION, ANSWER, "a@b.io", "x", "<EMAIL_ADDRESS>", "4111111111111111", " ", "<"]), max_size=6
    )
)
def test_masking_twice_changes_nothing_and_can_be_undone(pieces: list[str]) -> None:
    text = " ".join(pieces)
    mask = protection("mask")
    once = mask.hide([[text]])[0]
    assert mask.repair(once.parts[0]) == once.parts[0] == mask.repair(text)
    assert restored(once) == (text,)


def test_a_span_over_a_mask_hides_what_is_outside_of_it() -> None:
    own = OwnRecogniser(name="NOTE", regex=r"from .{1,60} to")
    mask = Protection(PolicySettings(policy="mask"), PatternDetector(["EMAIL_ADDRESS"], [own]))
    assert mask.repair("from <EMAIL_ADDRESS> Meier to me") == "<NOTE> <EMAIL_ADDRESS> <NOTE> me"


def test_report_leaves_texts_and_says_what_was_left() -> None:
    hidden = protection("report").hide([[QUESTION, ANSWER]])[0]
    assert hidden.parts == (QUESTION, ANSWER)
    assert [len(spans) for spans in hidden.kept] == [4, 2]


def test_kinds_have_policies_of_their_own() -> None:
    hidden = protection("mask", by_kind={"EMAIL_ADDRESS": "report", "PATIENT_NUMBER": "surrogate"}).hide([[QUESTION]])[
        0
    ]
    assert "anna@clinic.org" in hidden.parts[0]
    assert "<CREDIT_CARD>" in hidden.parts[0]
    assert "<PATIENT_NUMBER>" not in hidden.parts[0]
    assert "PN-123456" not in hidden.parts[0]


def test_the_same_question_has_the_same_stand_ins_later() -> None:
    trained = protection("surrogate").hide([[QUESTION, ANSWER]])[0].parts[0]
    assert protection("surrogate").repair(QUESTION) == trained


def test_nothing_that_is_printed_holds_a_value() -> None:
    hidden = protection("mask").hide([[QUESTION]])[0]
    assert "clinic" not in repr(hidden)


def test_a_text_that_was_changed_cannot_be_restored() -> None:
    from dataclasses import replace

    hidden = protection("mask").hide([[QUESTION]])[0]
    with pytest.raises(DataError, match="part 0: has no stand-in at character"):
        restored(replace(hidden, parts=("another",)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"policy": "hide"}, "privacy.policy: is `hide`, wanted one of report, mask, surrogate, drop, refuse"),
        ({"policy": "mask", "by_kind": {"US_SSN": "x"}}, "privacy.by_kind.US_SSN: is `x`, wanted one of"),
        ({"policy": "mask", "by_kind": {"AGE": "mask"}}, "privacy.by_kind.AGE: is a kind that is not looked for"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(DataError) as raised:
        protection(**fields)  # type: ignore[arg-type]
    assert message in str(raised.value)


def test_stand_ins_need_a_key() -> None:
    with pytest.raises(DataError, match=r"privacy\.policy: is `surrogate`, which needs a key"):
        Protection(PolicySettings(policy="surrogate"), PatternDetector(["EMAIL_ADDRESS"]))
