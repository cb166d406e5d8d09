"""Whether training can pay: planted noise decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from metier.data.records import Choice
from metier.errors import DataError
from metier.evaluation.paying import FOLDS, can_training_pay, cross_validate, grouped_folds
from metier.recipe.sections import EvaluationSection

Records = Callable[..., list[Choice]]
SECTION = EvaluationSection(primary_metric="accuracy", resamples=300)


def test_what_ngrams_solve_leaves_nothing_to_pay_for(make_records: Records) -> None:
    found = can_training_pay(make_records(120), 200, SECTION, 1)
    assert found.verdict == "can hardly pay"
    assert found.sentence == (
        "Training can hardly pay: n-grams alone reach accuracy 1.00 (95 % interval 0.97 to 1.00, n = 120), "
        "which leaves room for 0.00, and the smallest useful gain is 0.02."
    )


def test_room_and_a_large_test_set_can_pay(make_records: Records) -> None:
    found = can_training_pay(make_records(150, noise=0.5), 400, SECTION, 1)
    assert found.verdict == "can pay"
    assert found.room == pytest.approx(1 - (found.estimate.value or 0))
    assert found.discordance == pytest.approx(found.room)
    assert found.smallest_gain is not None and 0.05 < found.smallest_gain < 0.12
    assert found.sentence.startswith("Training can pay: n-grams alone reach accuracy 0.")
    assert "400 test records can prove an accuracy gain of 0." in found.sentence
    assert "so a gain between 0.02 and that would stay unproven" in found.sentence


def test_a_test_set_that_can_prove_nothing_is_said_so(make_records: Records) -> None:
    found = can_training_pay(make_records(120, noise=0.1), 20, SECTION, 1)
    assert found.verdict == "cannot tell"
    assert found.sentence.endswith("More test records are needed.")
    assert "but 20 test records can prove only accuracy gains of 0." in found.sentence


def test_four_test_records_prove_no_gain_at_all(make_records: Records) -> None:
    found = can_training_pay(make_records(120, noise=0.5), 4, SECTION, 1)
    assert found.smallest_gain is None
    assert "4 test records can prove no gain at all" in found.sentence


def test_it_says_the_same_again(make_records: Records) -> None:
    records = make_records(90, noise=0.3)
    assert can_training_pay(records, 100, SECTION, 4) == can_training_pay(records, 100, SECTION, 4)


def test_groups_stay_in_one_fold_and_labels_are_spread(make_records: Records) -> None:
    records = [replace(record, group=f"g{place // 4}") for place, record in enumerate(make_records(120))]
    folds = grouped_folds(records, 3)
    for group in {record.group for record in records}:
        assert len({fold for record, fold in zip(records, folds, strict=True) if record.group == group}) == 1
    assert max(Counter(folds).values()) - min(Counter(folds).values()) <= 8


def test_every_label_is_in_every_fold_where_it_can_be(make_records: Records) -> None:
    records = make_records(60)
    folds = grouped_folds(records, 3)
    spread = Counter((record.label, fold) for record, fold in zip(records, folds, strict=True))
    assert set(spread.values()) == {4}


def test_a_group_is_never_in_its_own_training_part(make_records: Records) -> None:
    # Labels are pure noise, but each text occurs twice in a group: leaking would score above chance.
    base = make_records(90, noise=1.0)
    twins = [replace(record, id=record.id + "b") for record in base]
    records = [replace(record, group=record.id.rstrip("b")) for record in [*base, *twins]]
    answers = cross_validate(records, 1, metric="accuracy")
    right = sum(answer == record.label for answer, record in zip(answers, records, strict=True)) / len(records)
    assert right < 0.5


def test_large_data_is_sampled(make_records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metier.evaluation.paying.MOST_RECORDS", 60)
    found = can_training_pay(make_records(100), 100, SECTION, 1)
    assert (found.estimate.n, found.train_size) == (60, 100)
    assert (
        "n = 60), on a sample of the 100 training records (all of them may reach more), which leaves" in found.sentence
    )


def test_too_few_groups_are_refused(make_records: Records) -> None:
    records = [replace(record, group="a") for record in make_records(30)]
    with pytest.raises(DataError, match=f"train: has 1 independent records or groups, wanted at least {FOLDS}"):
        can_training_pay(records, 10, SECTION, 1)


def test_one_label_is_refused(make_records: Records) -> None:
    records = [replace(record, label="same") for record in make_records(30)]
    with pytest.raises(DataError, match="a fold has records of one label only"):
        can_training_pay(records, 10, SECTION, 1)
