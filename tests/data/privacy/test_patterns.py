"""What has a form is found, what only looks like it is not: planted values, trusted references, any text at all."""

from __future__ import annotations

import ipaddress
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.privacy.checks import is_card, is_ssn, luhn, luhn_digit, mod11, mod97
from metier.data.privacy.patterns import PATTERN_KINDS, PatternDetector
from metier.data.privacy.spans import KINDS, Span, settle

DETECTOR = PatternDetector(PATTERN_KINDS)


def found(text: str) -> list[tuple[str, str]]:
    """Kind and value of all that is found in a text."""
    return [(span.kind, text[span.start : span.end]) for span in DETECTOR.find([text])[0]]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("EMAIL_ADDRESS", "anna.k+news@mail.example.co.uk", "Write to <{}>, please."),
        ("EMAIL_ADDRESS", "müller_9@büro-süd.de", "An {}."),
        ("EMAIL_ADDRESS", "a@b.io", "{}"),
        ("CREDIT_CARD", "4111 1111 1111 1111", "Card {} was declined"),
        ("CREDIT_CARD", "378282246310005", "amex {}."),
        ("CREDIT_CARD", "5555-5555-5555-4444", "number: {}!"),
        ("IBAN_CODE", "DE89 3704 0044 0532 0130 00", "Pay to {} today"),
        ("IBAN_CODE", "GB82WEST12345698765432", "IBAN {}, thanks"),
        ("IBAN_CODE", "fr14 2004 1010 0505 0001 3m02 606", "iban: {}"),
        ("IBAN_CODE", "NO93-8601-1117-947", "({})"),
        ("IP_ADDRESS", "203.0.113.9", "from {}."),
        ("IP_ADDRESS", "2001:db8:85a3::8a2e:370:7334", "host {} answers"),
        ("IP_ADDRESS", "fe80::1ff:fe23:4567:890a", "[{}]:80"),
        ("IP_ADDRESS", "::ffff:192.0.2.128", "mapped {} here"),
        ("US_SSN", "536-22-8471", "SSN {}"),
        ("US_SSN", "536228471", "my social security number is {}."),
        ("PHONE_NUMBER", "+49 (0)30 901820", "Tel {}"),
        ("PHONE_NUMBER", "(212) 736-5000", "{} is the desk"),
        ("PHONE_NUMBER", "212.736.5000 ext. 22", "at {}"),
        ("PHONE_NUMBER", "001-518-640-0854", "x {}"),
        ("PHONE_NUMBER", "07911 123456", "call me on {} after six"),
        ("PHONE_NUMBER", "01 42 68 53 00", "à {}"),
        ("PHONE_NUMBER", "736-5000", "phone: {}"),
        ("PHONE_NUMBER", "28-64-66-98", "{} office"),
        ("URL", "https://shop.example.org/a?b=1", "see {}."),
        ("URL", "www.example.net", "({})"),
        ("DATE_TIME", "2024-02-29 11:34:35", "on {}."),
        ("DATE_TIME", "March 3rd, 2021", "on {} we met"),
        ("DATE_TIME", "3 Jan 1999", "born {}"),
    ],
)
def test_planted_values_are_found_whole(kind: str, value: str, text: str) -> None:
    assert found(text.format(value)) == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "the ratio is 3.14159265 and 1,234,567.89",
        "order 4111111111111112 of 2024",  # Luhn's digit is wrong
        "DE89 3704 0044 0532 0130 01",  # so are these
        "version 1.2.3.4.5 and 256.1.1.1",
        "std::vector<int> a::b at 12:30:45",
        "localhost is 127.0.0.1 or ::1",
        "000-12-3456 and 666-12-3456 and 900-12-3456",
        "pages 1234-5678, years 1998-2004, score 21 000 000",
        "@user said a@b and @@ and x@.com",
        "$1 250 300 or 10 000 000 people",
        "1111111111111111",
    ],
)
def test_what_only_looks_like_it_is_not(text: str) -> None:
    assert found(text) == []


def test_the_recogniser_of_cards_agrees_with_presidio() -> None:
    cards = pytest.importorskip("presidio_analyzer.predefined_recognizers").CreditCardRecognizer()
    draw = random.Random(17)
    for _ in range(300):
        number = draw.choice(["4", "51", "6011"]) + "".join(draw.choice("0123456789") for _ in range(11))
        number = (number + luhn_digit(number)) if draw.random() < 0.5 else number + draw.choice("0123456789")
        assert luhn(number) == cards.validate_result(number)
        if len(number) == 16:
            assert is_card(number) == luhn(number)


def test_the_check_of_ibans_agrees_with_presidio() -> None:
    ibans = pytest.importorskip("presidio_analyzer.predefined_recognizers").IbanRecognizer()
    draw = random.Random(17)
    right = 0
    for _ in range(300):
        account = "".join(draw.choice("0123456789") for _ in range(18))
        digits = f"{draw.randrange(2, 99):02}"
        if draw.random() < 0.5:
            digits = f"{98 - int(account + '131400') % 97:02}"
        value = f"DE{digits}{account}"
        right += mod97(value)
        assert bool(ibans.validate_result(value)) == mod97(value)
        assert found(f"to {value}.") == ([("IBAN_CODE", value)] if mod97(value) else [])
    assert 100 < right < 200


def test_numbers_of_many_countries_are_found() -> None:
    phonenumbers = pytest.importorskip("phonenumbers")
    missed = []
    for region in (
        "US",
        "GB",
        "DE",
        "FR",
        "ES",
        "IT",
        "NL",
        "SE",
        "PL",
        "IN",
        "JP",
        "BR",
        "AU",
        "ZA",
        "MX",
        "IL",
        "CN",
    ):
        for sort in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE):
            number = phonenumbers.example_number_for_type(region, sort)
            for form in (phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.NATIONAL):
                written = phonenumbers.format_number(number, form)
                if found(f"Please call {written} soon.") != [("PHONE_NUMBER", written)]:
                    missed.append((region, written))
    assert missed == []


def test_check_digits_of_health_numbers() -> None:
    assert mod11("943 476 5919")  # the NHS's own example
    assert not mod11("943 476 5918")
    assert mod11("0-8044-2957-X")


def test_a_social_security_number_of_an_advertisement_is_nobodys() -> None:
    assert not is_ssn("078-05-1120")
    assert is_ssn("536-22-8471")


@settings(deadline=None)
@given(st.ip_addresses())
def test_any_address_is_found(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    expected = [] if address.is_loopback or address.is_unspecified else [("IP_ADDRESS", str(address))]
    # Few letters and no digit: `::a` may stand in a program's text.
    if any(character.isdigit() for character in str(address)):
        assert found(f"from {address} to") == expected


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("0123456789 .-()+/:@aA,\n"), max_size=200) | st.text(max_size=200))
def test_any_text_gives_spans_in_order_within_it(text: str) -> None:
    spans = DETECTOR.find([text])[0]
    places = [place for span in spans for place in (span.start, span.end)]
    assert places == sorted(places)
    assert all(0 <= span.start < span.end <= len(text) and span.kind in KINDS for span in spans)


@pytest.mark.parametrize(
    "unit", ["1 ", "1-", "a@", "a.", "1.", "a:", "(1)", "DE12 ", "+1 ", "http://", "1/1/", "jan 1 "]
)
def test_no_text_takes_long(unit: str) -> None:
    def seconds(times: int) -> float:
        started = time.process_time()
        DETECTOR.find([unit * times])
        return time.process_time() - started

    seconds(100)
    assert seconds(20_000) < 2.0  # linear: milliseconds; quadratic: minutes


def test_names_are_said_not_to_be_covered() -> None:
    detector = PatternDetector(["EMAIL_ADDRESS", "PERSON", "LOCATION"])
    assert detector.kinds == ("EMAIL_ADDRESS",)
    said = "Only patterns were used: names of persons and places are not covered (PERSON, LOCATION was asked for)."
    assert detector.notes == (said,)
    assert "names of persons and places are not covered" in PatternDetector(["EMAIL_ADDRESS"]).notes[0]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(1, 12), st.sampled_from("ABC"), st.sampled_from([0.5, 0.8, 1.0])),
        max_size=8,
    )
)
def test_settled_spans_cover_all_and_do_not_overlap(drawn: list[tuple[int, int, str, float]]) -> None:
    text = "x" * 60
    spans = [Span(start, start + length, kind, score) for start, length, kind, score in drawn]
    settled = settle(text, spans)
    covered = [place for span in settled for place in range(span.start, span.end)]
    assert len(covered) == len(set(covered))
    # A rest of one character is given up; nothing else is.
    left = {place for span in spans for place in range(span.start, span.end)} - set(covered)
    assert all(place - 1 not in left or place + 1 not in left for place in left)
    assert settle(text, settled) == settled


def test_the_surer_span_stays_whole() -> None:
    text = "Anna Meier 536-22-8471"
    settled = settle(text, [Span(0, 22, "PERSON", 0.85), Span(11, 22, "US_SSN", 0.97)])
    assert [(span.kind, text[span.start : span.end]) for span in settled] == [
        ("PERSON", "Anna Meier"),
        ("US_SSN", "536-22-8471"),
    ]
