"""Names and places with Presidio's model; recall and precision on a published set (requirement DQ-3)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.data_privacy import REPORTED, THRESHOLDS, UNLIKE, measured, sentences
from metier.data.privacy import presidio
from metier.data.privacy.detectors import DetectorSettings, make_detector
from metier.data.privacy.patterns import PATTERN_KINDS, PatternDetector
from metier.data.privacy.policies import PolicySettings, Protection, restored
from metier.data.privacy.presidio import PresidioDetector
from metier.data.privacy.spans import DEFAULT_KINDS
from metier.data.privacy.surrogates import StandIns
from metier.errors import DataError, MissingPackage

needs_presidio = pytest.mark.skipif(
    any(importlib.util.find_spec(package) is None for package in presidio.PACKAGES), reason="needs the extra pii"
)


@pytest.fixture(scope="module")
def detector() -> PresidioDetector:
    """Loaded once: it takes seconds."""
    return PresidioDetector(DEFAULT_KINDS)


def found(detector: PresidioDetector, text: str) -> list[tuple[str, str]]:
    return [(span.kind, text[span.start : span.end]) for span in detector.find([text])[0]]


@needs_presidio
def test_names_places_and_numbers_are_found(detector: PresidioDetector) -> None:
    text = "My name is Johanna Schmidt, I live in Chicago. Call (212) 736-5000 or write to j.schmidt@posteo.net."
    assert found(detector, text) == [
        ("PERSON", "Johanna Schmidt"),
        ("LOCATION", "Chicago"),
        ("PHONE_NUMBER", "(212) 736-5000"),
        ("EMAIL_ADDRESS", "j.schmidt@posteo.net"),
    ]
    assert "English model" in detector.notes[0]


@needs_presidio
def test_everyday_text_has_nobody_in_it(detector: PresidioDetector) -> None:
    for text in (
        "My card has not arrived yet, what should I do?",
        "find . -type f -exec rm -rf {} +",
        "Good morning. Um, okay.",
    ):
        assert found(detector, text) == []


@needs_presidio
def test_a_text_is_read_whatever_stands_beside_it(detector: PresidioDetector) -> None:
    texts = ["Johanna Schmidt asked.", "", "x\ud800 y \x00", "a " * 12_000 + "Johanna Schmidt asked."]
    together = detector.find(texts)
    assert together == [detector.find([text])[0] for text in texts]
    assert [span.start for span in together[3]] == [24_000]


@needs_presidio
@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("I live at 12 Oak Street, Apt. 4 now", "12 Oak Street, Apt. 4"),
        ("send it to 6750 Koskikatu 25 Apt. 864", "6750 Koskikatu 25 Apt. 864"),
        ("P.O. Box 1234 will do", "P.O. Box 1234"),
        (
            "To\n971 Kesk 53\n Suite 343\n Pärnu\n Estonia 80296\nthanks",
            "971 Kesk 53\n Suite 343\n Pärnu\n Estonia 80296",
        ),
        ("She lives at 86036 Rua do Arenque 1634 since May", "86036 Rua do Arenque 1634"),
    ],
)
def test_street_addresses_are_places(detector: PresidioDetector, text: str, address: str) -> None:
    assert ("LOCATION", address) in found(detector, text)


@needs_presidio
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=300) | st.text(st.sampled_from("Maria Schmidt,.\n 12<>'’-"), max_size=100))
def test_any_text_can_be_read_and_masked(detector: PresidioDetector, text: str) -> None:
    mask = Protection(PolicySettings(policy="mask"), detector)
    hidden = mask.hide([[text, text[::-1]]])[0]
    assert restored(hidden) == (text, text[::-1])


@needs_presidio
def test_question_and_answer_name_the_same_person(detector: PresidioDetector) -> None:
    record = ["I am Irenke Sörös and I want a refund.", "Dear Sörös, it is done. Best wishes, Irenke."]
    policy = Protection(PolicySettings(policy="surrogate"), detector, StandIns(b"a key of more than 16 bytes"))
    question, answer = policy.hide([record])[0].parts
    first, last = question.removeprefix("I am ").split()[:2]
    assert answer == f"Dear {last}, it is done. Best wishes, {first}."
    assert not {first, last} & {"Irenke", "Sörös"}


@needs_presidio
def test_other_kinds_come_from_presidio() -> None:
    detector = PresidioDetector(["UK_NHS"])
    assert found(detector, "NHS number 943 476 5919 was given") == [("UK_NHS", "943 476 5919")]
    with pytest.raises(DataError, match=r"privacy\.kinds: has `BLOOD_TYPE`, wanted one of .*UK_NHS"):
        PresidioDetector(["BLOOD_TYPE"])


def test_a_missing_package_is_an_error_and_no_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presidio, "PACKAGES", ("presidio_analyzer", "no_such_package_at_all"))
    with pytest.raises(MissingPackage) as raised:
        make_detector(DetectorSettings(detector="presidio"))
    assert "privacy.detector: names and places need" in str(raised.value)
    assert "no-such-package-at-all" in str(raised.value)
    assert 'pip install "metier[pii]"' in str(raised.value)
    assert raised.value.exit_code == 5


@needs_presidio
@pytest.mark.parametrize("half", [REPORTED, UNLIKE])
def test_recall_on_sentences_that_were_not_read(
    real_data: Callable[[str], Path], detector: PresidioDetector, half: str
) -> None:
    table = measured(detector, sentences(real_data("."), half))
    assert {kind: table[kind].recall >= wanted for kind, wanted in THRESHOLDS.items()} == dict.fromkeys(
        THRESHOLDS, True
    )
    assert all(table[kind].precision >= 0.9 for kind in THRESHOLDS if kind != "PERSON")
    assert table["PERSON"].precision >= 0.6


def test_patterns_alone_reach_the_same_recall(real_data: Callable[[str], Path]) -> None:
    table = measured(PatternDetector(PATTERN_KINDS), sentences(real_data("."), REPORTED))
    wanted = {kind: least for kind, least in THRESHOLDS.items() if kind != "PERSON"}
    assert {kind: table[kind].recall >= least for kind, least in wanted.items()} == dict.fromkeys(wanted, True)


@needs_presidio
def test_masking_twice_changes_nothing(real_data: Callable[[str], Path], detector: PresidioDetector) -> None:
    mask = Protection(PolicySettings(policy="mask"), detector)
    texts = [[sentence.text] for sentence in sentences(real_data("."), REPORTED)[:200]]
    once = [hidden.parts for hidden in mask.hide(texts)]
    assert [hidden.parts for hidden in mask.hide(once)] == once
