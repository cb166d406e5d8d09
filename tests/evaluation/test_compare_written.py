"""Written answers are compared by the same rules as labels, whatever the metric."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from metier.errors import DataError
from metier.evaluation.compare import compare
from metier.evaluation.evaluate import About, evaluate_items
from metier.evaluation.gates import judge_gates
from metier.evaluation.overfitting import judge_overfitting
from metier.evaluation.results import Comparison, Difference, Evaluation, Item
from metier.evaluation.sentences import begins_sentence, metric_name
from metier.evaluation.statistics import mcnemar_mid_p, newcombe_interval
from metier.recipe.sections import EvaluationSection, GatesSection

Written = Callable[..., Evaluation]
TEXT = "we will send the refund for your late order today thank you dear customer please wait"
WORDS = TEXT.split()
GOLDS = [" ".join(random.Random(place).choices(WORDS, k=12)) for place in range(120)]


def _said(share: float, seed: int, golds: Sequence[str] = GOLDS) -> list[str]:
    """Answers in which about this share of words is right."""
    draw = random.Random(seed)
    return [
        " ".join(word if draw.random() < share else draw.choice(WORDS) for word in gold.split()) for gold in golds
    ]  # fmt: skip


def _section(metric: str = "chrf", **fields: object) -> EvaluationSection:
    return EvaluationSection.model_validate({"primary_metric": metric, "resamples": 400, **fields})


def _compare(one: Evaluation, other: Evaluation, metric: str = "chrf", **fields: object) -> Comparison:
    return compare(one, [other], section=_section(metric, **fields))


@pytest.mark.parametrize("metric", ["token_f1", "rouge1", "rouge2", "rougeL", "chrf", "bleu"])
def test_a_planted_gain_is_found_and_a_planted_loss_too(metric: str, make_written: Written) -> None:
    good, bad = make_written("tuned", GOLDS, _said(0.9, 1)), make_written("zero_shot", GOLDS, _said(0.5, 2))
    found, turned = _compare(good, bad, metric), _compare(bad, good, metric)
    assert (found.verdict, turned.verdict) == ("improved", "regressed")
    row = found.differences[0]
    assert row.difference.value == pytest.approx((row.candidate_value or 0) - (row.baseline_value or 0))
    assert row.difference.method == "bca bootstrap (400)"
    assert found.accuracy_differences[0].metric == "exact_match"


def test_a_mean_has_the_paired_interval_that_scipy_finds(make_written: Written) -> None:
    one, two = make_written("x", GOLDS, _said(0.7, 3)), make_written("y", GOLDS, _said(0.6, 4))
    row = _compare(one, two, "rouge1", resamples=4000).differences[0]
    gaps = [a.counts["rouge1"][0] - b.counts["rouge1"][0] for a, b in zip(one.items, two.items, strict=True)]
    theirs = stats.bootstrap((gaps,), np.mean, n_resamples=4000, rng=np.random.default_rng(1)).confidence_interval
    assert row.difference.value == pytest.approx(np.mean(gaps))
    assert (row.difference.low, row.difference.high) == pytest.approx((theirs.low, theirs.high), abs=0.008)
    # The smallest gain that is found in four of five such sets: 2.80 standard errors.
    error = float(np.std(gaps) / math.sqrt(len(gaps)))
    assert row.smallest_detectable == pytest.approx(2.80 * error, rel=0.12)
    assert row.items_needed == pytest.approx(len(gaps) * (2.80 * error / 0.02) ** 2, rel=0.25)


def test_exact_match_has_newcombes_interval_and_mid_p(make_written: Written) -> None:
    one = [gold if place < 70 else "no" for place, gold in enumerate(GOLDS)]
    two = [gold if 10 <= place < 60 else "no" for place, gold in enumerate(GOLDS)]
    found = _compare(make_written("x", GOLDS, one), make_written("y", GOLDS, two), "exact_match")
    row = found.differences[0]
    assert (row.gained, row.lost, row.p_value) == (20, 0, mcnemar_mid_p(20, 0))
    assert (row.difference.low, row.difference.high) == newcombe_interval(50, 20, 0, 50)
    assert found.accuracy_differences == found.differences


def test_lower_loss_is_an_improvement(make_written: Written) -> None:
    draw = np.random.default_rng(1)
    hard = [(-float(each), 10) for each in 20 + draw.normal(0, 2, 120)]
    easy = [(pair[0] + 5 + float(draw.normal(0, 1)), 10) for pair in hard]
    one = make_written("tuned", GOLDS, GOLDS, losses=easy)
    two = make_written("zero_shot", GOLDS, GOLDS, losses=hard)
    found = _compare(one, two, "loss")
    row = found.differences[0]
    assert found.verdict == "improved" and row.difference.value == pytest.approx(0.5, abs=0.03)
    assert (row.candidate_value or 9) < (row.baseline_value or 0)
    assert found.sentence.startswith("Better than every alternative: loss 1.5")
    assert "of zero_shot (lower is better), a gain of 0." in found.sentence
    assert _compare(two, one, "loss").verdict == "regressed"
    worst = replace(two, system="worst", metrics={**two.metrics, "loss": replace(two.metrics["loss"], value=9.0)})
    assert compare(one, [worst, two], section=_section("loss")).best_baseline == "zero_shot"


def test_an_item_that_one_system_could_not_score_counts_for_neither(make_written: Written) -> None:
    ours = [(-1.0, 1)] * 60 + [(-2.0, 1)] * 60
    theirs: list[tuple[float, int] | None] = [*[(-1.0, 1)] * 60, *[None] * 60]
    found = _compare(
        make_written("x", GOLDS, GOLDS, losses=ours), make_written("y", GOLDS, GOLDS, losses=theirs), "loss"
    )
    assert (found.differences[0].difference.value, found.differences[0].difference.n) == (0.0, 60)
    assert found.differences[0].candidate_value == 1.5


def test_a_system_without_probabilities_gives_an_unknown_difference(make_written: Written) -> None:
    one = make_written("x", GOLDS, GOLDS, losses=[(-1.0, 1)] * 120)
    found = _compare(one, make_written("nearest_answer", GOLDS, GOLDS), "loss")
    assert found.differences[0].difference.value is None and found.verdict == "underpowered"
    assert found.sentence == (
        "Cannot tell: loss is unknown (nearest_answer: the system gives no probabilities of texts)."
    )


def test_passages_have_no_right_and_wrong() -> None:
    draw = np.random.default_rng(2)

    def system(name: str, bits: float) -> Evaluation:
        items = [
            replace(_item(place), counts={"loss": (nats, 20.0), "bits_per_byte": (nats, 100.0)})
            for place, nats in enumerate(bits * 100 * math.log(2) + draw.normal(0, 3, 60))
        ]
        about = About(system=name, task="text")
        return evaluate_items(items, about=about, set_name="test", labels=(), resamples=400, seed=1)

    found = _compare(system("tuned", 0.9), system("zero_shot", 1.1), "bits_per_byte")
    assert found.accuracy_differences == ()
    assert found.verdict == "improved"
    assert found.differences[0].difference.value == pytest.approx(0.2, abs=0.02)
    assert (found.differences[0].gained, found.differences[0].lost) == (0, 0)
    assert "bits per byte 0.9" in found.sentence and "(lower is better)" in found.sentence


def _item(place: int) -> Item:
    return Item(
        id=str(place), group=None, gold="", answer=None, label_logprobs=None, prompt_hash=None, source="", row=place
    )


@pytest.mark.parametrize(("metric", "verdict"), [("chrf", "no evidence"), ("loss", "underpowered")])
def test_the_same_answers_again_are_no_gain(metric: str, verdict: str, make_written: Written) -> None:
    golds = GOLDS * 4
    same = make_written("tuned", golds, _said(0.6, 5, golds), losses=[(-1.0, 2)] * 480)
    found = _compare(same, replace(same, system="zero_shot"), metric)
    assert (found.differences[0].difference.value, found.verdict) == (0.0, verdict)


def test_systems_that_do_not_differ_are_told_apart_in_one_of_twenty() -> None:
    draw = np.random.default_rng(7)
    rejected = 0
    for _ in range(300):
        pair = []
        for name in ("x", "y"):
            scores = np.round(draw.beta(2, 3, 100), 3)
            items = [
                replace(_item(place), counts={"rougeL": (float(score), 1.0), "exact_match": (0.0, 1.0)})
                for place, score in enumerate(scores)
            ]
            about = About(system=name, task="generation")
            pair.append(evaluate_items(items, about=about, set_name="test", labels=(), resamples=200, seed=1))
        row = _compare(pair[0], pair[1], "rougeL").differences[0]
        rejected += row.verdict in ("improved", "regressed")
    assert 0.02 <= rejected / 300 <= 0.09


def test_items_of_a_group_vary_together(make_written: Written) -> None:
    golds = [gold for gold in GOLDS[:20] for _ in range(6)]
    groups = [f"g{place // 6}" for place in range(120)]
    strong = [each for each in _said(0.9, 8, GOLDS[:20]) for _ in range(6)]
    weak = [each for each in _said(0.6, 9, GOLDS[:20]) for _ in range(6)]
    rows: list[Difference] = []
    for grouping in (None, groups):
        one = make_written("x", golds, strong, grouping)
        rows += _compare(one, make_written("y", golds, weak, grouping), "chrf").differences
    alone, grouped = (row.difference for row in rows)
    assert grouped.method == "bca bootstrap (400, 20 groups)"
    assert (grouped.high or 0) - (grouped.low or 0) > 1.8 * ((alone.high or 0) - (alone.low or 0))


def test_two_tasks_are_not_compared(make_written: Written) -> None:
    one = make_written("x", GOLDS, GOLDS)
    with pytest.raises(DataError, match="one is of generation, one of chat, wanted two systems of one task"):
        _compare(one, replace(one, task="chat"))


def test_a_metric_of_another_task_is_unknown(make_written: Written) -> None:
    one = make_written("x", GOLDS, GOLDS)
    row = _compare(one, replace(one, system="y"), "macro_f1").differences[0]
    assert row.difference.reason == "x: macro_f1 is no metric of generation"


def test_a_gate_on_a_written_metric(make_written: Written) -> None:
    one, two = make_written("tuned", GOLDS, _said(0.9, 1)), make_written("zero_shot", GOLDS, _said(0.5, 2))
    gates = GatesSection.model_validate({"minimum": {"chrf": 0.7, "json_valid": 0.5}})
    passed, unknown = judge_gates(gates, _compare(one, two), one)
    assert passed.passed and not unknown.passed
    assert unknown.found == "unknown: gold answers are no JSON"


def test_power_is_stated_in_the_metric_itself(make_written: Written) -> None:
    one, two = make_written("tuned", GOLDS, _said(0.6, 4)), make_written("nearest_answer", GOLDS, _said(0.6, 6))
    found = _compare(one, two, smallest_useful_gain=0.0)
    assert found.verdict == "underpowered"
    assert "This set shows chrF gains of 0.0" in found.sentence


@pytest.mark.parametrize(
    ("metric", "name", "start"),
    [
        ("rougeL", "ROUGE-L", "ROUGE-L"),
        ("chrf", "chrF", "chrF"),
        ("token_f1", "token F1", "Token F1"),
        ("bits_per_byte", "bits per byte", "Bits per byte"),
        ("macro_f1", "macro F1", "Macro F1"),
    ],
)
def test_metrics_have_the_names_that_people_use(metric: str, name: str, start: str) -> None:
    assert metric_name(metric) == name
    assert begins_sentence(name) == start


@pytest.mark.parametrize("metric", ["chrf", "loss"])
def test_memorising_is_seen_in_either_direction(metric: str, make_written: Written) -> None:
    draw = np.random.default_rng(3)

    def evaluation(name: str, share: float, nats: float) -> Evaluation:
        losses = [(-float(each), 10) for each in nats + draw.normal(0, 1, 120)]
        return make_written("tuned", GOLDS, _said(share, 1), losses=losses, set_name=name)

    found = judge_overfitting(
        {"train": evaluation("train", 0.95, 5.0), "validation": evaluation("validation", 0.5, 15.0)}, metric
    )
    assert found.sentence.endswith("it memorises part of its training records.")
    assert found.sentence.startswith("chrF: 0.9" if metric == "chrf" else "Loss (lower is better): 0.5")
    turned = judge_overfitting(
        {"train": evaluation("train", 0.5, 15.0), "validation": evaluation("validation", 0.95, 5.0)}, metric
    )
    assert "no sign of memorising" in turned.sentence


SPEED = """
import sys, time
from pathlib import Path
started = time.process_time()
from metier.evaluation.compare import compare
from metier.evaluation.files import read_evaluations
from types import SimpleNamespace
first, *rest = read_evaluations(Path(sys.argv[1]))
section = SimpleNamespace(primary_metric="chrf", smallest_useful_gain=0.02, not_worse_margin=None, resamples=2000)
compare(first, rest, section=section)
heavy = ("torch", "scipy", "sklearn", "pydantic", "sacrebleu", "rouge_score", "nltk")
print(time.process_time() - started, [name for name in heavy if name in sys.modules])
"""


def test_two_finished_runs_are_compared_in_under_a_second_with_imports(make_written: Written, tmp_path: Path) -> None:
    from metier.evaluation.files import write_evaluation

    golds = [f"{gold} {place}" for place, gold in enumerate(GOLDS * 8)]
    for name, share in (("tuned", 0.8), ("zero_shot", 0.6)):
        write_evaluation(make_written(name, golds, _said(share, 1, golds)), tmp_path)
    shown = subprocess.run([sys.executable, "-c", SPEED, str(tmp_path)], capture_output=True, text=True, check=True)
    seconds, loaded = shown.stdout.split(maxsplit=1)
    assert loaded.strip() == "[]"
    assert float(seconds) < 1.0


JSON_GOLDS = [json.dumps({"intent": WORDS[place % 4], "reply": gold}) for place, gold in enumerate(GOLDS)]


def test_what_passes_or_fails_has_newcombes_interval(make_written: Written) -> None:
    """Valid JSON is such a metric: nobody needs resamples for it, and it is no exact match."""
    one = ['{"intent": "x"}' if place < 90 else "no" for place in range(120)]
    two = ['{"intent": "y"}' if 60 <= place < 110 else "no" for place in range(120)]
    found = _compare(make_written("x", JSON_GOLDS, one), make_written("y", JSON_GOLDS, two), "json_valid")
    row = found.differences[0]
    assert (row.difference.low, row.difference.high) == newcombe_interval(30, 60, 20, 10)
    assert (row.difference.method, row.p_value) == ("newcombe paired", mcnemar_mid_p(60, 20))
    assert (row.gained, row.lost) == (0, 0)  # of exact matches
    groups = [str(place // 2) for place in range(120)]
    together = _compare(
        make_written("x", JSON_GOLDS, one, groups), make_written("y", JSON_GOLDS, two, groups), "json_valid"
    )
    assert together.differences[0].difference.method == "bca bootstrap (400, 60 groups)"


def test_a_gain_on_every_item_is_a_gain(make_written: Written) -> None:
    """No resample differs from another, and no answer is an exact match: that must not read as no difference."""
    one = make_written("tuned", JSON_GOLDS, ['{"intent": "x"}'] * 120)
    found = _compare(one, make_written("zero_shot", JSON_GOLDS, ["no"] * 120), "json_valid")
    assert found.verdict == "improved" and (found.differences[0].difference.low or 0) > 0.9


def test_a_difference_without_an_interval_shows_nothing(make_written: Written) -> None:
    """Every answer has one of two words, the other's none: each resample gives the same difference."""
    golds = [f"order{place} parcel{place}" for place in range(60)]
    one = make_written("tuned", golds, [gold.split()[0] for gold in golds])
    found = _compare(one, make_written("zero_shot", golds, ["zebra"] * 60), "token_f1")
    row = found.differences[0]
    assert row.difference.value == pytest.approx(2 / 3) and row.difference.low is None
    assert found.verdict == "underpowered" and "gain of 0.67" in found.sentence


def test_a_free_alternative_with_as_low_a_loss_is_named(make_written: Written) -> None:
    one = make_written("tuned", GOLDS[:6], GOLDS[:6], losses=[(-10.0 - 5 * (place % 2), 10) for place in range(6)])
    two = make_written("zero_shot", GOLDS[:6], GOLDS[:6], losses=[(-10.0 - 4 * (place % 3), 10) for place in range(6)])
    better, worse = sorted((one, two), key=lambda each: each.metrics["loss"].value or 0.0)
    found = _compare(replace(worse, system="tuned"), replace(better, system="zero_shot"), "loss")
    assert found.verdict == "underpowered"
    assert found.sentence.endswith("Until then use zero_shot: it scores as low without training.")
