"""`her` and `his`: the rule on sentences of known grammar, and against spaCy's tagger."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from metier.data.bias.counterfactuals import Swapper
from metier.data.bias.matching import small
from metier.data.bias.pronouns import is_possessive, stands_alone
from metier.data.bias.tagger import spacy_tagger, tagger_where_installed
from metier.errors import MissingPackage

HER = re.compile(r"\bher\b")


@pytest.mark.parametrize(
    "text",
    [
        "her book", "I met her mother", "her two sons", "her very own car", "her back hurts", "in her late thirties",
        "gave her dog a bone", "with her own money", "her family came", "her friendly voice", "her lovely home",
        "her home is far", "her more recent work", "make her bed", "her last year at school",
        "her \"old\" car", "throughout her home.",
    ],
)  # fmt: skip
def test_her_as_a_possessive(text: str) -> None:
    place = HER.search(text)
    assert place is not None and is_possessive(text, *place.span())


@pytest.mark.parametrize(
    "text",
    [
        "I saw her.", "I saw her", "tell her that", "asked her to call", "with her and me", "called her yesterday",
        "let her go", "made her happy", "gave her 50 dollars", "called her back.", "drove her home.",
        "I saw her last night", "saw her leaving", "take her off the list",
        "loves her very much", "told her about it", "gave her the keys", "helped her find it", "saw her recently",
        "pay her more than him", "\"it was her\", he said", "her, not me", "for her (again)",
    ],
)  # fmt: skip
def test_her_as_an_object(text: str) -> None:
    place = HER.search(text)
    assert place is not None and not is_possessive(text, *place.span())


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        ("his book", False),
        ("the book is his.", True),
        ("a friend of his who", True),
        ("his own", False),
        ("it is his", True),
    ],
)
def test_his(text: str, alone: bool) -> None:
    assert stands_alone(text, text.index("his") + 3) is alone


@pytest.mark.slow
def test_the_rule_agrees_with_a_tagger(real_data: Callable[[str], Path]) -> None:
    """On sentences of Winogender and CrowS-Pairs that have `her`; spaCy's small model is itself not always right."""
    try:
        tags = spacy_tagger()
    except MissingPackage as missing:
        pytest.skip(str(missing))
    with (real_data("bias/winogender") / "all_sentences.tsv").open(encoding="utf-8") as file:
        texts = [row["sentence"] for row in csv.DictReader(file, delimiter="\t")]
    with (real_data("bias/crows_pairs") / "crows_pairs_anonymized.csv").open(encoding="utf-8") as file:
        texts += [row["sent_more"] for row in csv.DictReader(file)]
    looked_at = agreed = 0
    for text in [text for text in texts if HER.search(text)]:
        tagged = tags(text)
        for match in HER.finditer(small(text)):
            looked_at += 1
            agreed += (tagged.get(match.start()) == "PRP$") == is_possessive(small(text), *match.span())
    assert looked_at > 150
    assert agreed / looked_at >= 0.97


def test_without_spacy_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(MissingPackage, match=r"bias tagger: spaCy or its model .*metier\[pii\]"):
        spacy_tagger()


@pytest.mark.slow
def test_a_missing_model_says_how_to_get_it() -> None:
    with pytest.raises(MissingPackage, match=r"bias tagger: .* no_such_model .*metier\[pii\]"):
        spacy_tagger("no_such_model")


def test_where_spacy_is_missing_the_next_word_decides_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    tagger_where_installed.cache_clear()
    try:
        tagger, how = tagger_where_installed()
    finally:
        tagger_where_installed.cache_clear()
    assert tagger is None and how.endswith("told apart by the next word, as spaCy is not installed")


def test_a_tagger_is_asked_before_the_rule() -> None:
    text = "we gave her training"  # to the rule `her` belongs to what follows
    swap = Swapper(dimensions=("gender",), partners=1)
    tagged = Swapper(dimensions=("gender",), partners=1, tagger=lambda text: {8: "PRP"})
    assert swap.swap_parts([text], answers=0, turn=0)[0][0].parts == ("we gave his training",)
    assert tagged.swap_parts([text], answers=0, turn=0)[0][0].parts == ("we gave him training",)
