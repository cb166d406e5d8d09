"""Numbers are written one way, and unknown is never zero."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.evaluation.results import Estimate
from metier.report import formats


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (formats.score(0.9414), "0.941"), (formats.score(None), "unknown"),
        (formats.score(-0.5), "\N{MINUS SIGN}0.500"),
        (formats.signed(0.02), "+0.020"), (formats.signed(-0.0313), "\N{MINUS SIGN}0.031"),
        (formats.signed(-0.0001), "0.000"),
        (formats.signed(None), "unknown"), (formats.p_value(0.0002), "< 0.001"), (formats.p_value(0.0405), "0.041"),
        (formats.p_value(None), "unknown"), (formats.share(1, 8), "12.5 %"), (formats.share(1, 100_000), "< 0.1 %"),
        (formats.share(0, 10), "0.0 %"), (formats.share(0, 0), "unknown"), (formats.megabytes(90_800_000), "90.8 MB"),
        (formats.megabytes(900), "< 0.1 MB"), (formats.megabytes(0), "0.0 MB"), (formats.megabytes(None), "unknown"),
        (formats.parameters(134_515_008), "134.5 M"), (formats.parameters(9_024), "9,024"),
        (formats.parameters(None), "unknown"), (formats.duration(None), "unknown"),
        (formats.duration(0.0004), "< 0.01 s"), (formats.duration(3.4), "3.40 s"),
        (formats.duration(59.6), "1 min 00 s"),
        (formats.duration(74.2), "1 min 14 s"), (formats.duration(7500), "2 h 05 min"),
        (formats.count(None), "unknown"),
        (formats.count(1234), "1,234"), (formats.times(1), "once"), (formats.times(3), "3 times"),
        (formats.counted(1, "record"), "1 record"), (formats.counted(2, "record"), "2 records"),
        (formats.metric_title("macro_f1"), "Macro F1"), (formats.metric_words("macro_f1"), "macro F1"),
        (formats.metric_title("expected_calibration_error"), "Expected calibration error"),
        (formats.plain(None), "none"), (formats.plain(True), "yes"), (formats.plain([1, "a"]), "1, a"),
        (formats.plain(5e-05), "5e-05"), (formats.shortened("a\n b  c", 9), "a b c"),
        (formats.shortened("abcdef", 4), "abc…"),
    ],
)  # fmt: skip
def test_form(found: str, expected: str) -> None:
    assert found == expected


def test_interval_says_why_there_is_none() -> None:
    unknown = Estimate(value=None, low=None, high=None, n=3, method="none", reason="too few records")
    alone = Estimate(value=0.5, low=None, high=None, n=3, method="none")
    assert formats.interval(unknown) == "too few records"
    assert formats.interval(alone) == "no interval"
    assert formats.interval(Estimate(value=0.0, low=-0.1, high=0.1, n=3, method="x"), with_sign=True) == (
        "\N{MINUS SIGN}0.100 to +0.100"
    )


@given(st.text())
def test_printable_text_is_fit_for_every_file(text: str) -> None:
    found = formats.printable(text)
    assert found.encode("utf-8").decode("utf-8") == found
    assert "\x00" not in found


@given(st.integers(min_value=1, max_value=10**9), st.integers(min_value=1, max_value=10**9))
def test_a_part_that_is_there_never_reads_as_nothing(part: int, whole: int) -> None:
    assert formats.share(part, whole) != "0.0 %"
