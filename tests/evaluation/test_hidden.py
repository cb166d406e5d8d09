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
