from __future__ import annotations

import base64
import random
import string
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.data.cleaning.odd_texts import FEATURES, OddSettings, _count_kinds, _features, screen_odd_texts
from metier.data.cleaning.rows import Row

TEXT = (
    "where is my parcel it was sent on Monday and the card was charged twice please tell me when I get the money "
    "back because nobody answers and my order number is on the invoice that came with the last mail"
)
WORDS = TEXT.split()


def rows_of(texts: Sequence[str]) -> list[Row]:
    return [
        Row(key=key, split="train", text=text, answer="", labelled=True, group=None, source="a.csv", row=key + 1)
        for key, text in enumerate(texts)
    ]


@pytest.fixture
def ordinary() -> list[str]:
    chosen = random.Random(17)
    return [" ".join(chosen.choices(WORDS, k=chosen.randint(8, 60))).capitalize() + "." for _ in range(2000)]


PLANTED = {
    "odd length": " ".join(WORDS * 60),
    "odd capitals": " ".join(WORDS[:30]).upper(),
    "odd digits": " ".join(str(number) for number in range(1000, 1040)),
    "odd signs": " ".join("".join(random.Random(at).choices("+-|=*#", k=4)) for at in range(20)),
    "odd other scripts": "где моя посылка она была отправлена в понедельник и деньги списали дважды",
    "odd compression": "parcel " * 40,
}


@pytest.mark.parametrize("reason", PLANTED)
def test_a_planted_text_is_found_and_for_its_reason(ordinary: list[str], reason: str) -> None:
    ordinary[700] = PLANTED[reason]
    finding = screen_odd_texts(rows_of(ordinary))
    assert finding.looked_at == 2000
    assert [(doubt.key, doubt.reason) for doubt in finding.doubts] == [(700, reason)]
    assert finding.counts == {reason: 1, "rows beyond the limit": 1}
    assert "robust deviations" in finding.doubts[0].detail
    assert "parcel" not in repr(finding)


def test_an_encoded_file_is_found(ordinary: list[str]) -> None:
    noise = random.Random(1).randbytes(300)
    ordinary[3] = base64.b64encode(noise).decode()
    ordinary[9] = "".join(random.Random(2).choices(string.ascii_lowercase, k=300))
    assert {doubt.key for doubt in screen_odd_texts(rows_of(ordinary)).doubts} == {3, 9}


def test_ordinary_texts_are_not_odd(ordinary: list[str]) -> None:
    finding = screen_odd_texts(rows_of(ordinary))
    assert finding.doubts == ()
    usual = {cells["feature"]: cells for cells in finding.tables["usual texts"]}
    assert set(usual) == set(FEATURES)
    assert 5 < float(str(usual["longest word"]["median"])) < 9


def test_no_more_are_named_than_the_share_says(ordinary: list[str]) -> None:
    for at in range(0, 600, 10):
        ordinary[at] = PLANTED["odd digits"]
    finding = screen_odd_texts(rows_of(ordinary), OddSettings(most_share=0.01))
    assert len(finding.doubts) == 20
    assert finding.counts["rows beyond the limit"] == 60
    assert "60 rows are odd, of which the oddest 20 are named" in finding.notes


def test_few_rows_are_not_judged() -> None:
    finding = screen_odd_texts(rows_of(["a", "b" * 1000]))
    assert finding.doubts == ()
    assert finding.notes == ("2 rows are too few to say what is usual; 50 are needed",)
    assert screen_odd_texts([]).looked_at == 0


def test_empty_texts_and_short_ones_do_no_harm(ordinary: list[str]) -> None:
    texts = ["", " ", "?", "ok"] * 30 + ordinary[:60]
    assert screen_odd_texts(rows_of(texts)).looked_at == 180


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1, max_size=6))
def test_kinds_of_characters_are_counted_as_python_counts_them(texts: list[str]) -> None:
    counts = _count_kinds([text.encode() for text in texts])
    for text, (upper, lower, digit, space, sign, beyond, inside) in zip(texts, counts.tolist(), strict=True):
        plain = [one for one in text if one.isascii()]
        assert upper == sum(one.isupper() for one in plain)
        assert lower == sum(one.islower() for one in plain)
        assert digit == sum(one.isdigit() for one in plain)
        assert space == sum(one in " \t\n\r\v\f" for one in plain)
        assert beyond == len(text) - len(plain)
        assert upper + lower + digit + space + sign + beyond == len(text)
        assert inside == len(text.encode()) - len(text)


def test_features_of_a_text() -> None:
    text = "Order 66: WHERE is it?! " * 6
    found = dict(zip(FEATURES, _features([text])[0].tolist(), strict=True))
    assert np.expm1(found["length"]) == pytest.approx(144)
    assert np.expm1(found["word length"]) == pytest.approx(19 / 5)
    assert np.expm1(found["longest word"]) == pytest.approx(5)
    assert found["capitals"] == pytest.approx(6 / 14)
    assert found["digits"] == pytest.approx(2 / 24)
    assert found["signs"] == pytest.approx(3 / 24)
    assert found["compression"] == pytest.approx(np.log(len(zlib.compress(text.encode(), 1)) / 144), abs=1e-6)


def test_a_real_set_has_few_odd_texts(real_data: Callable[[str], Path]) -> None:
    lines = real_data("customer_support/banking77/train.csv").read_text(encoding="utf-8").splitlines()
    texts = [line.rsplit(",", 1)[0] for line in lines if "," in line]
    finding = screen_odd_texts(rows_of(texts))
    assert finding.counts["rows beyond the limit"] <= 0.005 * len(texts)
