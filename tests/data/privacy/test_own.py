"""Recognisers of the recipe: they find what they should, and expressions that can take for ever are refused."""

from __future__ import annotations

import pytest

from metier.data.privacy.detectors import DetectorSettings, make_detector
from metier.data.privacy.own import OwnRecogniser, check_recognisers
from metier.errors import DataError


def own(**fields: object) -> OwnRecogniser:
    return OwnRecogniser(**{"name": "RECORD_NUMBER", "regex": r"\b[0-9]{8}\b", **fields})  # type: ignore[arg-type]


def values(recogniser: OwnRecogniser, text: str) -> list[str]:
    return [text[span.start : span.end] for span in recogniser.find(text)]


def test_a_number_counts_beside_its_words() -> None:
    recogniser = own(context=("mrn", "patient no."))
    assert values(recogniser, "MRN: 12345678, invoice follows") == ["12345678"]
    assert values(recogniser, "Patient no. 12345678") == ["12345678"]
    assert values(recogniser, "invoice 12345678" + " " * 80 + "mrn") == []
    assert values(own(), "invoice 12345678") == ["12345678"]


def test_a_check_digit_decides() -> None:
    recogniser = own(regex=r"\b[0-9]{3} [0-9]{3} [0-9]{4}\b", check="mod11")
    assert values(recogniser, "943 476 5919 and 943 476 5918") == ["943 476 5919"]


def test_it_works_in_a_detector() -> None:
    detector = make_detector(DetectorSettings(detector="patterns", recognisers=(own(),)))
    assert [span.kind for span in detector.find(["a@example.org has 12345678"])[0]] == [
        "EMAIL_ADDRESS",
        "RECORD_NUMBER",
    ]
    assert "RECORD_NUMBER" in detector.kinds


@pytest.mark.parametrize(
    "regex",
    [
        r"(a+)+$", r"(?:\d+\s?)*x", r"(a|aa)+$", r"(?:a?){40}a{40}", r"([A-Z]{1,3}\d?)+-", r"(\w+)\s\1", r"(x+x+)+y",
        r"(?:(?:ab)+c?)+", r"\d+\d+\d+\d+x", r"(?=(a+)+$)a", r"(?:.*,){11}P",
    ],
)  # fmt: skip
def test_expressions_that_can_take_for_ever_are_refused(regex: str) -> None:
    with pytest.raises(DataError, match=r"privacy\.recognisers\.RECORD_NUMBER\.regex: .*(for ever|back to a group)"):
        check_recognisers([own(regex=regex)])


@pytest.mark.parametrize(
    "regex",
    [
        r"\bMRN-?\d{6,10}\b", r"(?i:contract)\s*(?:no\.?|#)\s*\d+", r"[A-Z]{2}(?:-\d{4}){3}",
        r"(?:[A-Z]{2,3}-){1,4}\d+",
        r"(?<!\d)\d{3}(?:[ .]\d{3}){2}(?!\d)", r"P(?:AT|ER)\d{5}", r"\d{3}-\d+", r"(?P<year>\d{4})/[A-Z]+",
    ],
)  # fmt: skip
def test_usual_expressions_are_taken(regex: str) -> None:
    check_recognisers([own(regex=regex)])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "mrn"}, "privacy.recognisers.mrn: is no name of a recogniser, wanted capitals, digits and `_`"),
        ({"name": "PERSON"}, "privacy.recognisers.PERSON: is the name of another recogniser"),
        ({"regex": "(a"}, "cannot be read"),
        ({"regex": "a*"}, "matches the empty text, wanted an expression that needs at least one character"),
        ({"regex": "a" * 501}, "has 501 characters, wanted at most 500"),
        ({"check": "crc"}, "privacy.recognisers.RECORD_NUMBER.check: is `crc`, wanted one of luhn, mod97, mod11"),
        ({"context": (" ",)}, "has an empty word"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(DataError) as raised:
        check_recognisers([own(**fields)])
    assert message in str(raised.value)


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(DataError, match="is the name of another recogniser"):
        check_recognisers([own(), own()])


def test_a_search_that_takes_too_long_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metier.data.privacy.own.MAX_SECONDS", 0.05)
    with pytest.raises(
        DataError, match=r"RECORD_NUMBER: the expression took more than 0.05 s on a text of 41 characters"
    ):
        list(own(regex=r"(a|a|aa)+$").find("a" * 40 + "!"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (DetectorSettings(detector="spacy"), "privacy.detector: is `spacy`, wanted one of patterns, presidio"),
        (DetectorSettings(detector="patterns", kinds=("EMAIL",)), "Did you mean `EMAIL_ADDRESS`?"),
        (DetectorSettings(detector="patterns", kinds=("PERSON",)), "has only PERSON, which patterns cannot find"),
        (DetectorSettings(detector="patterns", kinds=()), "privacy.kinds: is empty"),
    ],
)
def test_settings_that_find_nothing_are_refused(settings: DetectorSettings, message: str) -> None:
    with pytest.raises(DataError) as raised:
        make_detector(settings)
    assert message in str(raised.value)
