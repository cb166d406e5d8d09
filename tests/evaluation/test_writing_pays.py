"""Whether training to write can pay: planted answers decide."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from metier.data.records import Conversation
from metier.errors import DataError
from metier.evaluation.paying import grouped_folds
from metier.evaluation.writing_pays import can_writing_pay, nearest_outside
from metier.recipe.sections import EvaluationSection

Dialogues = Callable[..., list[Conversation]]
SECTION = EvaluationSection(primary_metric="chrf", resamples=300)
TEXT = "we send the refund for a late order today thank you dear customer please wait sorry mail"
WORDS = TEXT.split()


@pytest.fixture
def solved(make_dialogues: Dialogues) -> list[Conversation]:
    """Questions whose old answer is the right answer."""
    topics = ["cancel my order", "money back please", "where is the parcel"]
    asked = [f"{topics[place % 3]} {place}" for place in range(60)]
    return make_dialogues([f"answer about {topics[place % 3]}" for place in range(60)], asked)


@pytest.fixture
def open_ended(make_dialogues: Dialogues) -> list[Conversation]:
    """Questions whose answers are all different."""
    draw = np.random.default_rng(1)
    texts = [" ".join(draw.choice(WORDS, 10)) for _ in range(200)]
    return make_dialogues(texts[:100], texts[100:])


def test_what_old_answers_solve_leaves_nothing_to_pay_for(solved: list[Conversation]) -> None:
    found = can_writing_pay(solved, 100, SECTION, 1)
    assert (found.verdict, found.nearest.value) == ("can hardly pay", 1.0)
    assert found.sentence.startswith("Training can hardly pay: the nearest old answer reaches chrF 1.00 (no interval")
    assert found.sentence.endswith("which leaves room for 0.00, and the smallest useful gain is 0.02.")


def test_room_and_a_test_set_can_pay(open_ended: list[Conversation]) -> None:
    found = can_writing_pay(open_ended, 400, SECTION, 1)
    assert found.verdict == "can pay"
    assert found.room == pytest.approx(1 - max(found.nearest.value or 0, found.copied.value or 0))
    assert found.nearest.method == "bca bootstrap (300), 5 folds"
    assert "400 test records can prove a gain of about 0.0" in found.sentence
    smaller = can_writing_pay(open_ended, 25, SECTION, 1)
    assert smaller.smallest_gain == pytest.approx(4 * (found.smallest_gain or 0))


def test_no_test_records_cannot_tell(open_ended: list[Conversation]) -> None:
    found = can_writing_pay(open_ended, 0, SECTION, 1)
    assert (found.verdict, found.smallest_gain) == ("cannot tell", None)
    assert "but 0 test records can prove no gain that can be foreseen. More test records" in found.sentence


def test_a_metric_that_answers_do_not_have_is_unknown(open_ended: list[Conversation]) -> None:
    section = SECTION.model_copy(update={"primary_metric": "field_f1"})
    found = can_writing_pay(open_ended, 100, section, 1)
    assert found.verdict == "cannot tell" and found.room is None
    assert found.sentence == ("Cannot tell whether training pays: field F1 is unknown (gold answers are no JSON).")


def test_loss_needs_a_model_so_chrf_stands_in_and_it_is_said(open_ended: list[Conversation]) -> None:
    found = can_writing_pay(open_ended, 400, SECTION.model_copy(update={"primary_metric": "loss"}), 1)
    assert found.metric == "chrf" and "(loss needs a model)" in found.sentence


def test_no_record_is_answered_from_its_own_group(make_dialogues: Dialogues) -> None:
    golds = [f"answer {place}" for place in range(30)]
    groups = [f"g{place // 2}" for place in range(30)]
    asked = [f"the same words {word}" for word in "abcdefghijklmno" for _ in range(2)]
    records = make_dialogues(golds, asked, groups)
    said = nearest_outside(records, 3, metric="chrf")
    folds = grouped_folds(records, 3)
    for record, answer, fold in zip(records, said, folds, strict=True):
        assert answer and folds[golds.index(answer)] != fold
        assert answer != record.gold


def test_large_data_is_sampled_and_it_is_said(open_ended: list[Conversation], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metier.evaluation.writing_pays.MOST_RECORDS", 50)
    found = can_writing_pay(open_ended, 100, SECTION, 1)
    assert found.nearest.n == 50 and found.train_size == 100
    assert "on a sample of the 100 training records (all of them may reach more)" in found.sentence


def test_it_says_the_same_again_and_needs_enough_records(open_ended: list[Conversation]) -> None:
    assert can_writing_pay(open_ended, 50, SECTION, 2) == can_writing_pay(open_ended, 50, SECTION, 2)
    with pytest.raises(DataError, match="train: has 4 independent records or groups, wanted at least 5"):
        can_writing_pay(open_ended[:4], 50, SECTION, 2)


def test_the_smallest_gain_is_2_80_standard_errors(open_ended: list[Conversation]) -> None:
    section = SECTION.model_copy(update={"primary_metric": "token_f1", "resamples": 4000})
    found = can_writing_pay(open_ended, 100, section, 1)
    from metier.evaluation.written.text_counts import token_f1

    nearest = nearest_outside(open_ended, 1, metric="token_f1")
    gaps = [
        token_f1(record.gold, said) - token_f1(record.gold, record.text)
        for record, said in zip(open_ended, nearest, strict=True)
    ]
    assert found.smallest_gain == pytest.approx(2.80 * float(np.std(gaps)) / math.sqrt(100), rel=0.06)
