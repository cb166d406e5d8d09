from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from metier.data.privacy.strict import TextPolicy
from metier.data.privacy.vault_key import VaultKey
from metier.evaluation.evaluate import About, evaluate_items
from metier.evaluation.files import read_evaluations, write_evaluation
from metier.evaluation.hidden import without_texts
from metier.evaluation.measures import MEASURES
from metier.evaluation.results import Evaluation, Item
from metier.evaluation.verify import holds_hashes, verify_evaluations

KEY = VaultKey(bytes(range(32)))
STRICT = TextPolicy(strict=True, key=KEY)
PAIRS = (("Anna Muster fell", "Anna  Muster fell"), ("she was stung", "she fell"), ("take two", None))
"""Gold and given answers; the first is an exact match but for white space."""


@pytest.fixture
def written() -> Evaluation:
    items = [
        Item(id=f"{number}-0", group=None, gold=gold, answer=answer, label_logprobs=None, prompt_hash=None,
             source="a.csv", row=number, stop="end of turn")
        for number, (gold, answer) in enumerate(PAIRS, start=1)
    ]  # fmt: skip
    counted = MEASURES["generation"].recount(items)
    items = [replace(item, counts=counts) for item, counts in zip(items, counted, strict=True)]
    about = About(system="tuned", task="generation")
    return evaluate_items(items, about=about, set_name="test", labels=(), resamples=200, seed=1)


def test_answers_become_hashes_and_numbers_stay(written: Evaluation) -> None:
    hidden = without_texts(written, STRICT)
    assert hidden.hashed and hidden.metrics == written.metrics and hidden.items[0].counts == written.items[0].counts
    assert hidden.items[0].gold == hidden.items[0].answer == KEY.mark("Anna Muster fell")
    assert hidden.items[1].gold != hidden.items[1].answer and hidden.items[2].answer is None
    assert without_texts(written, TextPolicy()) is written


def test_labels_stay(written: Evaluation) -> None:
    labelled = replace(written, task="classification")
    assert without_texts(labelled, STRICT) is labelled


def test_exact_matches_are_verified_and_other_counts_of_texts_are_not(written: Evaluation, tmp_path: Path) -> None:
    write_evaluation(without_texts(written, STRICT), tmp_path / "test")
    assert holds_hashes(tmp_path) and verify_evaluations(tmp_path) == ()
    assert read_evaluations(tmp_path / "test")[0].hashed
    items = tmp_path / "test" / "items-tuned.jsonl"
    assert "Anna" not in items.read_text(encoding="utf-8")
    gold, other = KEY.mark("she was stung"), KEY.mark("she fell")
    items.write_text(items.read_text(encoding="utf-8").replace(other, gold), encoding="utf-8")
    (found,) = verify_evaluations(tmp_path)
    assert found.where == "test/items-tuned.jsonl row 2: exact_match"
    assert (found.reported, found.recomputed) == ("0.0", "1.0")


def test_texts_are_verified_as_before(written: Evaluation, tmp_path: Path) -> None:
    write_evaluation(written, tmp_path / "test")
    assert not holds_hashes(tmp_path) and verify_evaluations(tmp_path) == ()


@pytest.fixture
def marked() -> Evaluation:
    """Places with their labels; a model wrote words of the text where a label should stand, and once no list."""
    answers = ('[[0, 4, "PERSON"]]', '[[0, 4, "PERSON"], [5, 11, "Anna Muster"]]', "[[Anna Muster", "", None)
    items = [
        Item(id=f"{number}-0", group=None, gold='[[0, 4, "PERSON"]]', answer=answer, label_logprobs=None,
             prompt_hash=None, source="a.csv", row=number, stop="end of turn")
        for number, answer in enumerate(answers, start=1)
    ]  # fmt: skip
    counted = MEASURES["extraction"].recount(items)
    items = [replace(item, counts=counts) for item, counts in zip(items, counted, strict=True)]
    about = About(system="tuned", task="extraction")
    return evaluate_items(items, about=about, set_name="test", labels=("PERSON",), resamples=200, seed=1)


def test_places_stay_and_what_is_no_label_becomes_a_hash(marked: Evaluation, tmp_path: Path) -> None:
    hidden = without_texts(marked, STRICT)
    assert not hidden.hashed and hidden.metrics == marked.metrics
    assert [item.counts for item in hidden.items] == [item.counts for item in marked.items]
    assert hidden.items[0] == marked.items[0] and [item.answer for item in hidden.items[3:]] == ["", None]
    assert "Anna Muster" in marked.per_class and set(hidden.per_class) == {"PERSON", KEY.mark("Anna Muster")}
    write_evaluation(hidden, tmp_path / "test")
    assert not any(b"Anna" in path.read_bytes() for path in (tmp_path / "test").iterdir())
    assert not holds_hashes(tmp_path) and verify_evaluations(tmp_path) == ()


def test_all_that_is_counted_from_places_is_verified(marked: Evaluation, tmp_path: Path) -> None:
    write_evaluation(without_texts(marked, STRICT), tmp_path / "test")
    items = tmp_path / "test" / "items-tuned.jsonl"
    items.write_text(items.read_text(encoding="utf-8").replace("[[0, 4,", "[[0, 3,", 1), encoding="utf-8")
    places = {found.where for found in verify_evaluations(tmp_path)}
    assert "test/items-tuned.jsonl row 1: span_f1" in places
