"""Majority and n-grams: what they answer, what they choose, what they refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from metier.data.records import Choice, as_input
from metier.errors import DataError
from metier.evaluation.answering.baselines import C_TABLE, DEFAULT_C, MajoritySystem, TfidfSystem
from metier.evaluation.systems import AnswerOptions

Records = Callable[..., list[Choice]]
LABELS = ("cancel", "refund", "track")


def test_majority_answers_the_most_frequent_label(make_records: Records) -> None:
    records = [*make_records(9), replace(make_records(9)[4], id="more")]  # one more refund
    system = MajoritySystem(records, LABELS)
    answers = list(system.answer([as_input(record) for record in records], AnswerOptions()))
    assert {answer.label for answer in answers} == {"refund"}
    assert [answer.id for answer in answers] == [record.id for record in records]
    assert answers[0].label_logprobs is not None
    assert sum(math.exp(value) for value in answers[0].label_logprobs.values()) == pytest.approx(1)
    assert system.settings == {"label": "refund", "share_of_train": 0.4}


def test_majority_takes_the_first_by_name_where_labels_are_equal(make_records: Records) -> None:
    assert MajoritySystem(make_records(9), LABELS).label == "cancel"


def test_majority_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="train: has no records, wanted at least one"):
        MajoritySystem([], LABELS)


def test_tfidf_learns_words(make_records: Records) -> None:
    system = TfidfSystem(make_records(90), make_records(30, seed=1, prefix="v"), LABELS)
    unseen = make_records(60, seed=2, prefix="t")
    answers = list(system.answer([as_input(record) for record in unseen], AnswerOptions(batch_size=7)))
    assert [answer.label for answer in answers] == [record.label for record in unseen]
    assert [answer.id for answer in answers] == [record.id for record in unseen]


def test_tfidf_gives_every_label_a_probability(make_records: Records) -> None:
    system = TfidfSystem(make_records(60), make_records(30, seed=1), (*LABELS, "unseen"))
    answer = next(system.answer([as_input(make_records(1)[0])], AnswerOptions()))
    assert answer.label_logprobs is not None
    assert set(answer.label_logprobs) == {*LABELS, "unseen"}
    assert sum(math.exp(value) for value in answer.label_logprobs.values()) == pytest.approx(1, abs=1e-5)
    assert max(answer.label_logprobs, key=answer.label_logprobs.__getitem__) == answer.label


def test_tfidf_chooses_c_on_validation_and_keeps_the_losers(make_records: Records) -> None:
    validation = make_records(60, noise=0.4, seed=5, prefix="v")
    system = TfidfSystem(make_records(120, noise=0.4), validation, LABELS, metric="accuracy")
    tried = system.settings["tried"]
    assert list(tried) == [f"C={c:g}" for c in C_TABLE]
    assert tried[f"C={system.c:g}"] == max(tried.values())
    assert system.settings["chosen_on"] == "validation accuracy, n = 60"
    first_best = next(name for name, score in tried.items() if score == max(tried.values()))
    assert first_best == f"C={system.c:g}"


def test_tfidf_is_fitted_on_train_only(make_records: Records) -> None:
    train = make_records(60)
    one, other = (TfidfSystem(train, make_records(30, seed=seed), LABELS, table=(1.0,)) for seed in (1, 2))
    assert (one.model.coef_ == other.model.coef_).all()
    assert one.trained_on == "60 examples"


def test_tfidf_counts_its_parameters(make_records: Records) -> None:
    system = TfidfSystem(make_records(60), make_records(30, seed=1), LABELS)
    assert system.parameters == 3 * system.settings["features"] + 3


def test_tfidf_without_validation_takes_the_usual_c(make_records: Records) -> None:
    system = TfidfSystem(make_records(60), [], LABELS)
    assert system.c == DEFAULT_C
    assert system.settings["chosen_on"] == "not chosen: no validation set"


def test_tfidf_gives_the_same_answers_again(make_records: Records) -> None:
    train, inputs = make_records(90, noise=0.3), [as_input(record) for record in make_records(30, seed=3)]
    one, other = (list(TfidfSystem(train, train[:30], LABELS).answer(inputs, AnswerOptions())) for _ in range(2))
    assert one == other


def test_tfidf_of_one_label_is_refused(make_records: Records) -> None:
    records = [record for record in make_records(30) if record.label == "track"]
    with pytest.raises(DataError, match="train: has records of fewer than two labels, wanted at least two labels"):
        TfidfSystem(records, [], LABELS)


def test_tfidf_of_texts_without_words_is_refused(make_records: Records) -> None:
    records = [replace(record, text="!") for record in make_records(30)]
    with pytest.raises(DataError, match="train: no text has a word, wanted texts with words"):
        TfidfSystem(records, [], LABELS)
