"""Several labels at once: sets as text, metrics against scikit-learn, the whole way through files."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from metier.errors import DataError
from metier.evaluation import measures
from metier.evaluation.compare import compare
from metier.evaluation.evaluate import About, evaluate_items
from metier.evaluation.files import read_evaluations, write_comparison, write_evaluation
from metier.evaluation.labels.multi_label import (
    SET_METRICS,
    count_sets,
    gather_labels,
    label_set,
    measure_sets,
    score_sets,
    set_text,
    split_labels,
)
from metier.evaluation.results import Evaluation, Item
from metier.evaluation.verify import verify_set
from metier.recipe.sections import EvaluationSection

LABELS = ("billing", "card", "refund")
sets = st.frozensets(st.sampled_from(LABELS))
rows_of_sets = st.lists(st.tuples(sets, sets), min_size=1, max_size=30)


def _items(rows: list[tuple[frozenset[str], frozenset[str] | None]], groups: bool = False) -> list[Item]:
    return [
        Item(
            id=f"i{place}", group=f"g{place // 3}" if groups else None, gold=set_text(gold),
            answer=None if said is None else set_text(said), label_logprobs=None, prompt_hash=None, source="t.csv",
            row=place + 1, counts=counts,
        )
        for place, ((gold, said), counts) in enumerate(zip(rows, _counts(rows), strict=True))
    ]  # fmt: skip


def _counts(rows: list[tuple[frozenset[str], frozenset[str] | None]]) -> list[dict[str, tuple[float, ...]]]:
    blank = [
        Item(
            id=str(place), group=None, gold=set_text(gold), answer=None if said is None else set_text(said),
            label_logprobs=None, prompt_hash=None, source="", row=0,
        )
        for place, (gold, said) in enumerate(rows)
    ]  # fmt: skip
    return count_sets(blank)


def _indicators(rows: list[frozenset[str]], names: list[str]) -> np.ndarray:
    return np.array([[int(name in row) for name in names] for row in rows])


@given(rows=rows_of_sets)
@settings(max_examples=60, deadline=None)
def test_every_metric_equals_scikit_learn(rows: list[tuple[frozenset[str], frozenset[str]]]) -> None:
    found = measure_sets(_items([*rows]), resamples=200, seed=1)
    names = sorted(frozenset[str]().union(*(gold | said for gold, said in rows)))
    assume(len(names) != 1)  # scikit-learn reads a single column as two classes
    gold, said = (_indicators([row[side] for row in rows], names) for side in (0, 1))
    assert found["exact_match"].value == pytest.approx(np.mean([g == s for g, s in rows]))
    for name in SET_METRICS:
        if found[name].value is None:
            assert found[name].reason
            continue
        average, kind = name.split("_")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function = getattr(sklearn_metrics, f"{kind}_score")
            expected = function(gold, said, average=average, zero_division=0)
        assert found[name].value == pytest.approx(expected, abs=1e-12), name


def test_hamming_loss_equals_scikit_learn() -> None:
    generator = np.random.default_rng(1)
    gold, said = generator.integers(2, size=(2, 50, 3))
    gold[0] = 1  # every label is gold somewhere
    rows = [
        tuple(frozenset(name for name, there in zip(LABELS, row, strict=True) if there) for row in pair)
        for pair in zip(gold, said, strict=True)
    ]
    found = measure_sets(_items(rows), resamples=200, seed=1)["hamming_loss"]  # type: ignore[arg-type]
    assert found.value == pytest.approx(sklearn_metrics.hamming_loss(gold, said))
    assert found.low is not None and found.high is not None and found.low < found.value < found.high


def test_an_unanswered_item_matches_nothing_even_where_no_label_is_gold() -> None:
    rows = [(frozenset[str](), None), (frozenset[str](), frozenset[str]()), (frozenset({"card"}), None)]
    found = measure_sets(_items([*rows]), resamples=200, seed=1)  # type: ignore[list-item]
    assert found["exact_match"].value == pytest.approx(1 / 3)
    assert found["micro_recall"].value == 0.0
    assert found["micro_precision"].reason == "nothing was answered"


def test_each_label_has_its_scores() -> None:
    rows = [(frozenset({"card", "refund"}), frozenset({"card"})), (frozenset({"card"}), frozenset({"other"}))]
    scores = score_sets(_items([*rows]), LABELS)
    assert list(scores) == ["billing", "card", "refund", "other"]
    assert (scores["card"].precision, scores["card"].recall, scores["card"].support) == (1.0, 0.5, 2)
    assert scores["refund"].f1 == 0.0 and scores["billing"].f1 is None and scores["other"].precision == 0.0


def test_sets_as_text_and_back() -> None:
    assert set_text(["b", "a", "b"]) == '["a", "b"]'
    assert label_set('["ä|;", "b"]') == {"ä|;", "b"} and label_set(None) == frozenset()
    assert split_labels(" refund; card ;", ";") == '["card", "refund"]'
    assert split_labels('["x"]', ";") == '["x"]' and split_labels(None, ";") == "[]"
    row = {"billing": "1", "card": "no", "refund": "TRUE", "text": "x"}
    assert gather_labels(row, LABELS) == '["billing", "refund"]'


def test_what_is_no_set_is_refused_without_its_content() -> None:
    with pytest.raises(DataError, match=r"an item's labels are no JSON list") as told:
        label_set("my secret")
    assert "secret" not in str(told.value)
    with pytest.raises(DataError, match="the column `card` holds a cell that is neither yes nor no"):
        gather_labels({"billing": "1", "card": "perhaps"}, ["billing", "card"])
    with pytest.raises(DataError, match="there is no column `card`"):
        gather_labels({"billing": "1"}, ["billing", "card"])


def _evaluation(system: str, said: list[frozenset[str]], golds: list[frozenset[str]], groups: bool) -> Evaluation:
    items = _items([*zip(golds, said, strict=True)], groups)
    return evaluate_items(
        items, about=About(system=system, task="labels"), set_name="test", labels=LABELS, resamples=300, seed=1
    )


@pytest.mark.parametrize("groups", [False, True])
def test_the_whole_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: bool) -> None:
    """Evaluated, written, read, compared, verified: as soon as the task has a row."""
    monkeypatch.setitem(measures.MEASURES, "labels", measures.LABEL_SETS)  # type: ignore[arg-type]
    generator = np.random.default_rng(2)
    golds = [frozenset(name for name in LABELS if generator.random() < 0.5) for _ in range(120)]
    good = [gold if generator.random() < 0.9 else frozenset({"card"}) for gold in golds]
    bad = [gold if generator.random() < 0.4 else frozenset({"card"}) for gold in golds]
    ours, theirs = _evaluation("ours", good, golds, groups), _evaluation("theirs", bad, golds, groups)
    for each in (ours, theirs):
        write_evaluation(each, tmp_path)
    section = EvaluationSection(primary_metric="macro_f1", resamples=300)
    found = compare(read_evaluations(tmp_path)[0], [theirs], section=section, seed=1)
    write_comparison(found, tmp_path)
    assert found.verdict == "improved" and found.accuracy_differences[0].metric == "exact_match"
    assert verify_set(tmp_path) == ()
