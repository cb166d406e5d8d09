"""Every verdict with planted items, the numbers behind it, and what is refused."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from metier.errors import ArgumentError, DataError
from metier.evaluation.compare import compare
from metier.evaluation.results import Comparison, Evaluation
from metier.evaluation.statistics import items_needed, mcnemar_mid_p, newcombe_interval, smallest_detectable
from metier.recipe.sections import EvaluationSection

Paired = Callable[..., tuple[Evaluation, Evaluation]]
Make = Callable[..., Evaluation]


def _section(**fields: object) -> EvaluationSection:
    return EvaluationSection.model_validate({"primary_metric": "accuracy", "resamples": 400, **fields})


def _compare(pair: tuple[Evaluation, Evaluation], **fields: object) -> Comparison:
    return compare(pair[0], [pair[1]], section=_section(**fields))


@pytest.mark.parametrize(
    ("table", "fields", "verdict"),
    [
        pytest.param((200, 40, 5, 55), {}, "improved", id="improved"),
        pytest.param((200, 5, 40, 55), {}, "regressed", id="regressed"),
        pytest.param((900, 3, 3, 94), {}, "no evidence", id="no evidence"),
        pytest.param((60, 10, 8, 22), {}, "underpowered", id="underpowered"),
        pytest.param((900, 3, 3, 94), {"not_worse_margin": 0.02}, "not worse", id="not worse"),
        pytest.param((60, 10, 8, 22), {"not_worse_margin": 0.02}, "underpowered", id="margin too narrow to show"),
        pytest.param((200, 5, 40, 55), {"not_worse_margin": 0.5}, "regressed", id="regressed within the margin"),
        pytest.param((200, 40, 5, 55), {"not_worse_margin": 0.05}, "improved", id="improved beats not worse"),
        pytest.param((950, 0, 0, 50), {}, "no evidence", id="no different answer, many items"),
        pytest.param((20, 0, 0, 5), {}, "underpowered", id="no different answer, few items"),
        pytest.param((900, 3, 3, 94), {"smallest_useful_gain": 0.0}, "underpowered", id="any gain is useful"),
    ],
)
@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_every_verdict(
    table: tuple[int, int, int, int], fields: dict[str, object], verdict: str, metric: str, make_paired: Paired
) -> None:
    found = _compare(make_paired(*table), primary_metric=metric, **fields)
    assert found.differences[0].verdict == verdict
    assert found.verdict == verdict


def test_accuracy_has_newcombes_interval_and_mid_p(make_paired: Paired) -> None:
    row = _compare(make_paired(200, 40, 5, 55)).differences[0]
    assert (row.difference.low, row.difference.high) == newcombe_interval(200, 40, 5, 55)
    assert row.difference.value == pytest.approx(35 / 300)
    assert row.difference.method == "newcombe paired"
    assert row.p_value == mcnemar_mid_p(40, 5)
    assert (row.gained, row.lost) == (40, 5)
    assert row.smallest_detectable == smallest_detectable(300, 0.15)


def test_macro_f1_has_the_paired_interval_that_scipy_finds(make_evaluation: Make) -> None:
    generator = np.random.default_rng(2)
    golds = [("a", "b", "c")[place] for place in generator.integers(0, 3, 150)]
    one = [gold if generator.random() < 0.85 else "a" for gold in golds]
    two = [gold if generator.random() < 0.75 else "b" for gold in golds]

    def gap(gold: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:  # type: ignore[type-arg]
        return float(f1_score(gold, first, average="macro") - f1_score(gold, second, average="macro"))

    scipys = stats.bootstrap(
        (np.array(golds), np.array(one), np.array(two)), gap, paired=True, vectorized=False, n_resamples=400,
        method="BCa", rng=np.random.default_rng(3),
    ).confidence_interval  # fmt: skip
    section = _section(primary_metric="macro_f1", resamples=5000)
    found = compare(make_evaluation("x", golds, one), [make_evaluation("y", golds, two)], section=section)
    row = found.differences[0]
    assert (row.difference.low, row.difference.high) == pytest.approx((scipys.low, scipys.high), abs=0.025)
    assert row.difference.method == "bca bootstrap (5000)"
    assert found.accuracy_differences[0].metric == "accuracy"


def test_pairing_makes_the_interval_narrower_than_two_separate_ones(make_paired: Paired) -> None:
    candidate, baseline = make_paired(250, 20, 5, 25)
    row = compare(candidate, [baseline], section=_section(primary_metric="macro_f1")).differences[0]
    separate = [evaluation.metrics["macro_f1"] for evaluation in (candidate, baseline)]
    width = sum((one.high or 0) - (one.low or 0) for one in separate)
    assert row.difference.high is not None and row.difference.low is not None
    assert row.difference.high - row.difference.low < width / 1.5


def test_improved_needs_every_baseline(make_evaluation: Make) -> None:
    golds = ["yes", "no"] * 200
    wrong = {"yes": "no", "no": "yes"}

    def system(name: str, misses: int, start: int = 0) -> Evaluation:
        missed = set(range(start, start + misses))
        return make_evaluation(name, golds, [wrong[g] if i in missed else g for i, g in enumerate(golds)])

    tuned, weak, close = system("tuned", 20), system("weak", 150), system("close", 25)
    assert compare(tuned, [weak], section=_section()).verdict == "improved"
    both = compare(tuned, [weak, close], section=_section())
    assert [row.verdict for row in both.differences] == ["improved", "underpowered"]
    assert both.verdict == "underpowered"
    assert both.best_baseline == "close"


def test_the_unbeaten_baseline_decides_even_when_another_scores_higher(make_evaluation: Make) -> None:
    golds = ["yes", "no"] * 200
    wrong = {"yes": "no", "no": "yes"}

    def answers(missed: range) -> list[str]:
        return [wrong[gold] if place in missed else gold for place, gold in enumerate(golds)]

    tuned = make_evaluation("tuned", golds, answers(range(100)))
    # Always wrong where tuned is, and ten times more: surely worse. Wrong elsewhere: noisy.
    steady = make_evaluation("steady", golds, answers(range(110)))
    noisy = make_evaluation("noisy", golds, answers(range(285, 400)))
    found = compare(tuned, [steady, noisy], section=_section())
    assert [row.verdict for row in found.differences] == ["improved", "underpowered"]
    assert found.best_baseline == "steady"
    assert found.verdict == "underpowered"
    assert "better than noisy" in found.sentence


def test_holm_runs_over_the_table_and_leaves_verdicts_alone(make_paired: Paired) -> None:
    candidate, baseline = make_paired(200, 30, 14, 56)
    baselines = [replace(baseline, system=name) for name in ("a", "b", "c", "d")]
    found = compare(candidate, baselines, section=_section())
    assert found.verdict == "improved"
    for row in found.differences:
        assert row.p_value is not None and row.p_value < 0.05
        assert row.p_holm == pytest.approx(min(1.0, 4 * row.p_value))


def test_groups_are_drawn_whole(make_evaluation: Make) -> None:
    golds = ["yes", "no"] * 60
    wrong = {"yes": "no", "no": "yes"}
    groups = [str(place // 12) for place in range(120)]
    second = [wrong[gold] if place < 36 else gold for place, gold in enumerate(golds)]
    alone = compare(
        make_evaluation("x", golds, golds), [make_evaluation("y", golds, second)], section=_section()
    ).differences[0]
    together = compare(
        make_evaluation("x", golds, golds, groups), [make_evaluation("y", golds, second, groups)], section=_section()
    ).differences[0]
    assert together.difference.method == "bca bootstrap (400, 10 groups)"
    assert together.difference.low is not None and alone.difference.low is not None
    assert together.difference.low < alone.difference.low
    assert together.p_value is not None and alone.p_value is not None
    assert together.p_value > alone.p_value
    assert together.smallest_detectable is not None and alone.smallest_detectable is not None
    assert together.smallest_detectable > 1.5 * alone.smallest_detectable


def test_an_unknown_metric_gives_an_unknown_difference_not_zero(make_evaluation: Make) -> None:
    golds = ["yes", "no"] * 20
    found = compare(
        make_evaluation("x", golds, golds),
        [make_evaluation("silent", golds, [None] * 40)],
        section=_section(primary_metric="macro_precision"),
    )
    row = found.differences[0]
    assert row.difference.value is None and row.p_value is None and row.p_holm is None
    assert row.difference.reason == "silent: nothing was answered"
    assert found.verdict == "underpowered"
    assert found.sentence == "Cannot tell: macro precision is unknown (silent: nothing was answered)."


def test_items_needed_come_with_underpowered(make_paired: Paired) -> None:
    accuracy = _compare(make_paired(60, 10, 8, 22)).differences[0]
    macro = _compare(make_paired(60, 10, 8, 22), primary_metric="macro_f1").differences[0]
    assert accuracy.items_needed is not None and macro.items_needed is not None
    assert accuracy.items_needed > 1000
    assert macro.items_needed == pytest.approx(accuracy.items_needed, rel=0.4)


def test_the_same_seed_gives_the_same_comparison(make_paired: Paired) -> None:
    pair = make_paired(100, 20, 10, 20)
    one, other = (_compare(pair, primary_metric="macro_f1") for _ in range(2))
    assert one == other


def test_no_baseline_is_refused(make_paired: Paired) -> None:
    with pytest.raises(ArgumentError, match="compare: found no baseline, wanted at least one"):
        compare(make_paired(5, 1, 1, 1)[0], [], section=_section())


def test_missing_items_and_changed_golds_are_refused_with_their_counts(make_paired: Paired) -> None:
    candidate, baseline = make_paired(80, 10, 5, 5)
    items = list(baseline.items)
    items[3] = replace(items[3], gold="other")
    items[4] = replace(items[4], gold="other")
    items[5] = replace(items[5], id="unheard of")
    message = (
        "tuned and tfidf on test: of 100 items of tuned, 1 are missing in tfidf and 2 have another gold "
        "answer there; tfidf has 1 more, wanted the same items. Evaluate both on the same file"
    )
    with pytest.raises(DataError, match=message):
        compare(candidate, [replace(baseline, items=tuple(items))], section=_section())


def test_an_id_twice_is_refused(make_paired: Paired) -> None:
    candidate, baseline = make_paired(8, 1, 1, 1)
    twice = replace(baseline, items=(*baseline.items, baseline.items[0]))
    with pytest.raises(DataError, match="an item id occurs twice in one of them"):
        compare(candidate, [twice], section=_section())


def test_no_items_are_refused(make_paired: Paired) -> None:
    candidate, baseline = make_paired(8, 1, 1, 1)
    with pytest.raises(DataError, match="there are no items, wanted at least one"):
        compare(replace(candidate, items=()), [replace(baseline, items=())], section=_section())


def test_the_order_of_items_does_not_matter(make_paired: Paired) -> None:
    candidate, baseline = make_paired(80, 10, 5, 5)
    turned = replace(baseline, items=baseline.items[::-1])
    assert compare(candidate, [turned], section=_section()) == compare(candidate, [baseline], section=_section())


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_the_second_opening_asks_for_more(metric: str, make_paired: Paired) -> None:
    pair = make_paired(200, 30, 12, 58)
    section = _section(primary_metric=metric, resamples=2000)
    first = compare(pair[0], [pair[1]], section=section, openings=1)
    fourth = compare(pair[0], [pair[1]], section=section, openings=4)
    assert first.differences[0].after_openings is None
    row = fourth.differences[0]
    after = row.after_openings
    assert after is not None and after.low is not None and after.high is not None
    assert row.difference == first.differences[0].difference  # the plain interval stays beside it
    assert row.difference.low is not None and row.difference.high is not None
    assert after.low < row.difference.low and after.high > row.difference.high
    if metric == "accuracy":
        assert (after.low, after.high) == newcombe_interval(200, 30, 12, 58, 1 - 0.05 / 4)
    assert fourth.accuracy_differences[0].after_openings is not None


def test_too_few_resamples_for_many_openings_are_told(make_paired: Paired) -> None:
    pair = make_paired(60, 20, 5, 15)
    found = compare(pair[0], [pair[1]], section=_section(primary_metric="macro_f1", resamples=400), openings=10)
    after = found.differences[0].after_openings
    assert after is not None and after.low is None
    assert after.reason == "too few resamples for 99.5 % coverage"


def test_power_is_stated_at_validations_discordance(make_paired: Paired) -> None:
    pair = make_paired(200, 40, 5, 55)
    found = compare(pair[0], [pair[1]], section=_section(), discordances={"tfidf": 0.3})
    row = found.differences[0]
    assert row.discordance == 0.3
    assert row.smallest_detectable == smallest_detectable(300, 0.3)
    assert row.items_needed == items_needed(0.02, 0.3)
    own = compare(pair[0], [pair[1]], section=_section(), discordances={"other": 0.3}).differences[0]
    assert own.discordance is None and own.smallest_detectable == smallest_detectable(300, 0.15)


SPEED = """
import sys, time
from pathlib import Path
started = time.process_time()
from metier.evaluation.compare import compare
from metier.evaluation.files import read_evaluations
from types import SimpleNamespace
first, *rest = read_evaluations(Path(sys.argv[1]))
section = SimpleNamespace(primary_metric="macro_f1", smallest_useful_gain=0.02, not_worse_margin=None, resamples=2000)
compare(first, rest, section=section)
loaded = [name for name in ("torch", "scipy", "sklearn", "pydantic") if name in sys.modules]
print(time.process_time() - started, loaded)
"""


def test_two_finished_runs_are_compared_in_under_a_second_with_imports(make_paired: Paired, tmp_path: Path) -> None:
    from metier.evaluation.files import write_evaluation

    for evaluation in make_paired(1500, 200, 100, 200):
        write_evaluation(evaluation, tmp_path)
    started = time.perf_counter()
    shown = subprocess.run([sys.executable, "-c", SPEED, str(tmp_path)], capture_output=True, text=True, check=True)
    seconds, loaded = shown.stdout.split(maxsplit=1)
    assert float(seconds) < 1.0, time.perf_counter() - started
    assert loaded.strip() == "[]"
