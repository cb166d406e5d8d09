"""Check digits: the arithmetic that tells a number of a kind from any other number."""

from __future__ import annotations

from collections.abc import Callable, Mapping

# Length of the IBAN by country: IBAN registry of SWIFT (ISO 13616), release 99.
IBAN_LENGTHS: Mapping[str, int] = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip


def digits_of(text: str) -> str:
    """The ASCII digits of a text."""
    return "".join(character for character in text if character in "0123456789")


def luhn(text: str) -> bool:
    """Whether the last digit checks the others by Luhn's sum (ISO/IEC 7812-1, annex B)."""
    digits = digits_of(text)
    return len(digits) > 1 and luhn_digit(digits[:-1]) == digits[-1]


def luhn_digit(digits: str) -> str:
    """The digit that makes `digits` with it pass `luhn`."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def mod97(text: str) -> bool:
    """Whether letters and digits pass ISO/IEC 7064 MOD 97-10 with the first four moved to the end, as an IBAN's do.

    Check digits 00, 01 and 99 are never given (ISO 13616).
    """
    bare = "".join(character for character in text.upper() if character.isascii() and character.isalnum())
    if len(bare) < 5 or not bare[2:4].isdigit() or not 2 <= int(bare[2:4]) <= 98:
        return False
    return int("".join(str(int(character, 36)) for character in bare[4:] + bare[:4])) % 97 == 1


def mod11(text: str) -> bool:
    """Whether the last digit checks the others by weights 10, 9, 8, … modulo 11, as of an NHS number or an ISBN-10."""
    digits = digits_of(text[:-1]) + ("X" if text[-1:] in "xX" else digits_of(text[-1:]))
    if len(digits) != 10 or "X" in digits[:-1]:
        return False
    values = [10 if digit == "X" else int(digit) for digit in digits]
    return sum(value * weight for value, weight in zip(values, range(10, 0, -1), strict=True)) % 11 == 0


CHECKS: Mapping[str, Callable[[str], bool]] = {"luhn": luhn, "mod97": mod97, "mod11": mod11}
"""Checks that a recogniser of the recipe may name."""


def is_card(text: str, *, named: bool = False) -> bool:
    """Whether digits are a payment card number: a known beginning with a length that goes with it, and Luhn's digit.

    Beginnings and lengths: ISO/IEC 7812 issuer ranges as listed by the networks (Visa, Mastercard, American Express,
    Diners Club, Discover, JCB, UnionPay, Maestro). One digit over and over is no number.

    Args:
        text: Digits, separators between them.
        named: Whether the words before it speak of a card; then every beginning will do: shops and clubs have cards
            of their own.
    """
    digits = digits_of(text)
    lengths = range(12, 20) if named else _card_lengths(digits)
    return len(set(digits)) > 1 and len(digits) in lengths and luhn(digits)


def _card_lengths(digits: str) -> tuple[int, ...]:
    two, four = int(digits[:2] or 0), int(digits[:4] or 0)
    if digits[:1] == "4":
        return (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return (16,)
    if two in (34, 37):
        return (15,)
    if two in (36, 38, 39) or 3000 <= four <= 3059:
        return (14, 16, 19)
    if 3528 <= four <= 3589:
        return (16, 17, 18, 19)
    if four in (1800, 2131):
        return (15,)
    if two in (50, 56, 57, 58) or digits[:1] == "6":
        return (12, 13, 14, 15, 16, 17, 18, 19)
    return ()


def is_ssn(text: str) -> bool:
    """Whether nine digits may be a social security number: areas 000, 666 and 9xx and zero groups were never issued.

    Source: Social Security Administration, POMS RM 10201.035. Two numbers of advertisements are nobody's.
    """
    digits = digits_of(text)
    if len(digits) != 9 or digits in ("078051120", "219099999", "123456789") or len(set(digits)) == 1:
        return False
    return digits[:3] not in ("000", "666") and digits[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"
