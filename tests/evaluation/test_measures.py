"""Written answers and passages are evaluated like labels: asked without gold, counted, measured."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from metier.data.records import Conversation, Input, Passage, Record
from metier.errors import MetierError
from metier.evaluation.evaluate import RecordSet, evaluate_system, recompute
from metier.evaluation.measures import MEASURES, score_of
from metier.evaluation.results import Answer, Evaluation
from metier.evaluation.significance.bootstrap import resample
from metier.evaluation.statistics import wilson_interval
from metier.evaluation.systems import AnswerOptions
from metier.evaluation.written.text_estimates import text_units
from metier.recipe.sections import EvaluationSection

SECTION = EvaluationSection(primary_metric="chrf", resamples=300)
Dialogues = Callable[..., list[Conversation]]
Written = Callable[..., Evaluation]


class Planted:
    """Writes what it was told to."""

    name = "planted"
    kind = "recorded answers"
    parameters = None
    bytes = None
    trained_on = "no examples"
    settings: Mapping[str, Any] = {"prompt_hash": "abc"}

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.answers = answers
        self.seen: Sequence[Input] = ()

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        self.seen = inputs
        yield from self.answers


class Sure(Planted):
    """It also says how probable the gold answers are to it."""

    scored: Sequence[tuple[float, int] | None] = ()

    def target_logprobs(self, records: Sequence[Record]) -> Sequence[tuple[float, int] | None]:
        return self.scored


GOLDS = ["your order is late today", "we send the money back", "please wait for the mail", "thank you for this"]
SAID = ["your order is late today", "we send money back", None, "thank you for this this this this this this"]


def _answers(records: Sequence[Record], said: Sequence[str | None] = SAID) -> list[Answer]:
    stops = ["end of turn", "end of turn", "none", "length"]
    pairs = zip(records, said, stops, strict=True)
    return [Answer(id=record.id, label=None, text=text, stop=stop) for record, text, stop in pairs]


def _evaluate(system: Planted, records: Sequence[Record], task: str = "generation", **more: Any) -> Evaluation:
    return evaluate_system(system, RecordSet(name="test", records=records, task=task), section=SECTION, seed=3, **more)


@pytest.mark.parametrize("task", ["generation", "chat"])
def test_written_answers_are_kept_with_their_counts(task: str, make_dialogues: Dialogues) -> None:
    records = make_dialogues(GOLDS)
    found = _evaluate(Planted(_answers(records)), records, task)
    assert (found.task, found.n, found.labels) == (task, 4, ())
    item = found.items[1]
    assert (item.gold, item.answer, item.stop, item.prompt_hash) == (GOLDS[1], SAID[1], "end of turn", "abc")
    assert item.counts["exact_match"] == (0.0, 1.0) and item.row == 2
    assert found.items[2].answer is None
    assert set(found.metrics) == set(MEASURES[task].metrics)
    assert found.metrics["exact_match"].value == 0.25
    assert found.metrics["unfinished"].value == 0.25
    assert (found.metrics["exact_match"].low, found.metrics["exact_match"].high) == wilson_interval(1, 4)
    assert found.metrics["chrf"].method == "bca bootstrap (300)"
    assert (found.per_class, found.confusion, found.per_field) == ({}, {}, {})
    assert found.settings["prompt_hash"] == "abc" and "bleu" in found.settings["signatures"]


def test_the_system_sees_no_gold_answer(make_dialogues: Dialogues) -> None:
    records = make_dialogues(GOLDS)
    system = Planted(_answers(records))
    _evaluate(system, records)
    assert not any(gold in repr(given) for gold in GOLDS for given in system.seen)


def test_what_a_system_cannot_give_has_a_reason_and_is_not_0(make_dialogues: Dialogues) -> None:
    records = make_dialogues(GOLDS)
    metrics = _evaluate(Planted(_answers(records)), records).metrics
    assert (metrics["loss"].value, metrics["loss"].reason) == (None, "the system gives no probabilities of texts")
    for name in ("json_valid", "field_f1"):
        assert (metrics[name].value, metrics[name].reason) == (None, "gold answers are no JSON")


def test_loss_is_nats_a_token_over_the_records_that_could_be_scored(make_dialogues: Dialogues) -> None:
    records = make_dialogues(GOLDS)
    system = Sure(_answers(records))
    system.scored = [(-10.0, 5), None, (-2.0, 4), (-math.inf, 3)]
    loss = _evaluate(system, records).metrics["loss"]
    assert (loss.value, loss.n) == (pytest.approx(12 / 9), 2)
    assert _evaluate(system, records, losses=False).metrics["loss"].value is None


def test_probabilities_must_be_one_for_one(make_dialogues: Dialogues) -> None:
    records = make_dialogues(GOLDS)
    system = Sure(_answers(records))
    system.scored = [(-1.0, 1)]
    with pytest.raises(MetierError, match="system planted: 1 probabilities, wanted 4"):
        _evaluate(system, records)


def test_passages_are_scored_in_bits_a_byte_and_never_asked() -> None:
    texts = ["grüße", "a passage of some length", "another one"]
    records = [Passage(id=str(place), text=text) for place, text in enumerate(texts)]
    system = Sure([])
    system.scored = [(-7.0, 3), (-20.0, 9), (-9.0, 5)]
    found = _evaluate(system, records, "text")
    bytes_in_all = sum(len(text.encode()) for text in texts)
    assert bytes_in_all == 7 + 24 + 11 and system.seen == ()
    assert found.metrics["bits_per_byte"].value == pytest.approx(36 / math.log(2) / bytes_in_all)
    assert found.metrics["loss"].value == pytest.approx(36 / 17)
    assert set(found.metrics) == {"loss", "bits_per_byte"}
    assert found.items[0].answer is None and found.items[0].gold == ""
    assert recompute(replace(found, metrics={}, n=0)) == found


def test_passages_of_a_system_without_probabilities_are_unknown() -> None:
    found = _evaluate(Planted([]), [Passage(id="1", text="a")], "text")
    assert found.metrics["bits_per_byte"].reason == "the system gives no probabilities of texts"


def test_items_alone_give_every_number_again(make_written: Written) -> None:
    golds = [json.dumps({"intent": word, "n": place}) for place, word in enumerate("abcabc")]
    found = make_written("x", golds, [*golds[:4], "no", None], losses=[(-1.0, 2)] * 6)
    assert recompute(replace(found, metrics={}, per_field={}, n=0)) == found
    assert found.per_field["intent"].value == pytest.approx(4 / 6)


def test_groups_are_resampled_and_not_items(make_written: Written) -> None:
    golds, said = ["a b c d e f"] * 12, [*["a b c d e f"] * 6, *["x y z u v w"] * 3, *["a b c"] * 3]
    groups = [f"g{place // 3}" for place in range(12)]
    alone, grouped = make_written("x", golds, said), make_written("x", golds, said, groups)
    assert grouped.metrics["rougeL"].method == "bca bootstrap (500, 4 groups)"
    assert grouped.metrics["rougeL"].value == alone.metrics["rougeL"].value
    assert grouped.metrics["exact_match"].method == "bca bootstrap (500, 4 groups)"
    units, is_grouped = text_units(grouped.items, np.array([item.counts["rougeL"] for item in grouped.items]))
    assert is_grouped and units.sums.shape == (4, 2) and units.total[1] == 12


def test_the_interval_of_a_mean_covers_as_scipy_says(make_written: Written) -> None:
    from scipy import stats

    generator = np.random.default_rng(4)
    golds = ["one two three four five six seven eight nine ten"] * 80
    said = [" ".join(golds[0].split()[: int(generator.integers(1, 11))]) for _ in golds]
    found = make_written("x", golds, said)
    values = np.array([item.counts["rouge1"][0] for item in found.items])
    theirs = stats.bootstrap((values,), np.mean, n_resamples=5000, random_state=1).confidence_interval
    assert found.metrics["rouge1"].value == pytest.approx(values.mean())
    assert found.metrics["rouge1"].low == pytest.approx(theirs.low, abs=0.015)
    assert found.metrics["rouge1"].high == pytest.approx(theirs.high, abs=0.015)


def test_sums_with_fractions_are_drawn_exactly(make_written: Written) -> None:
    found = make_written("x", GOLDS * 5, ["your order is here", "we send", "please", "thank you"] * 5)
    columns = np.array([item.counts["token_f1"] for item in found.items])
    drawn = resample(text_units(found.items, columns)[0], 50, 1).draws
    assert np.array_equal(drawn[:, 1], np.full(50, 20.0))
    assert drawn[:, 0].max() <= 20 and not np.array_equal(drawn, drawn.astype(np.float32))


@pytest.mark.parametrize(("metric", "score"), [("chrf", 1.0), ("loss", -0.5), ("field_f1", -math.inf)])
def test_a_score_to_choose_by_is_higher_where_better(metric: str, score: float, make_written: Written) -> None:
    assert score_of(make_written("x", GOLDS, GOLDS, losses=[(-1.0, 2)] * 4), metric) == pytest.approx(score)
