"""Span F1, exact and by overlap, against scikit-learn and worked examples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from sklearn import metrics as sklearn_metrics

from metier.errors import DataError
from metier.evaluation import measures
from metier.evaluation.elsewhere.recorded import RecordedSystem, _Row
from metier.evaluation.evaluate import RecordSet, evaluate_system
from metier.evaluation.files import read_evaluations, write_evaluation
from metier.evaluation.measures import SPANS
from metier.evaluation.results import Item
from metier.evaluation.verify import verify_set
from metier.evaluation.written.spans import Span, count_spans, matched_by_overlap, read_spans, score_spans, spans_text
from metier.recipe.sections import EvaluationSection


def _planted(n: int, seed: int) -> tuple[list[str], list[str]]:
    """Gold spans, and answers in which some are shifted, lost or of another label."""
    generator = np.random.default_rng(seed)
    golds, answers = [], []
    for _ in range(n):
        gold = [
            Span(int(start), int(start + generator.integers(1, 8)), str(generator.choice(["PER", "ORG"])))
            for start in generator.choice(60, size=int(generator.integers(0, 5)), replace=False)
        ]
        said = []
        for span in gold:
            kind = generator.random()
            if kind < 0.5:
                said.append(span)
            elif kind < 0.7:
                said.append(Span(span.start + 1, span.end + 2, span.label))
            elif kind < 0.8:
                said.append(Span(span.start, span.end, "LOC"))
        golds.append(spans_text(gold))
        answers.append(spans_text(said))
    return golds, answers


def _items(golds: list[str], answers: list[str | None]) -> list[Item]:
    return [
        Item(
            id=f"i{place}", group=None, gold=gold, answer=answer, label_logprobs=None, prompt_hash=None,
            source="t.jsonl", row=place + 1, counts=counts,
        )
        for place, (gold, answer, counts) in enumerate(zip(golds, answers, count_spans(golds, answers), strict=True))
    ]  # fmt: skip


def test_exact_match_equals_scikit_learn_on_indicators() -> None:
    golds, answers = _planted(80, 1)
    found = SPANS.measure(_items(golds, [*answers]), 200, 1)
    pairs = []
    for place, (gold, said) in enumerate(zip(golds, answers, strict=True)):
        one, other = ({(place, *row) for row in map(tuple, json.loads(text))} for text in (gold, said))
        pairs += [(span in one, span in other) for span in one | other]
    true, predicted = np.array(pairs).T
    assert found["span_precision"].value == pytest.approx(sklearn_metrics.precision_score(true, predicted))
    assert found["span_recall"].value == pytest.approx(sklearn_metrics.recall_score(true, predicted))
    assert found["span_f1"].value == pytest.approx(sklearn_metrics.f1_score(true, predicted))
    assert found["span_f1_overlap"].value > found["span_f1"].value  # type: ignore[operator]


@pytest.mark.parametrize("seed", range(20))
def test_the_overlap_match_is_the_largest_there_is(seed: int) -> None:
    generator = np.random.default_rng(seed)
    starts = generator.integers(0, 12, size=(2, 6))
    ends = starts + generator.integers(1, 6, size=(2, 6))
    gold, said = (
        [Span(int(s), int(e), "x") for s, e in zip(*side, strict=True)] for side in zip(starts, ends, strict=True)
    )
    edges = np.array([[one.overlaps(other) for other in said] for one in gold])
    best = edges[linear_sum_assignment(-edges.astype(float))].sum()
    assert matched_by_overlap(gold, said) == best


def test_a_long_answer_matches_one_gold_span_only() -> None:
    gold = spans_text([Span(0, 4, "x"), Span(5, 9, "x")])
    row = count_spans([gold], [spans_text([Span(0, 9, "x")])])[0]
    assert row["span_f1_overlap"] == (1.0, 1.0, 2.0) and row["span_f1"] == (0.0, 1.0, 2.0)


@pytest.mark.parametrize(
    "text",
    ["none", "{}", '[[1, 2]]', '[[2, 2, "x"]]', '[[-1, 2, "x"]]', '[[0, 1.5, "x"]]', '[{"start": 0, "end": 2}]',
     '[[true, 2, "x"]]'],
)  # fmt: skip
def test_an_answer_that_cannot_be_read_has_found_nothing(text: str) -> None:
    assert read_spans(text) is None
    row = count_spans(['[[0, 2, "x"]]'], [text])[0]
    assert row["span_f1"] == (0.0, 0.0, 1.0) and row["invalid"] == (1.0, 1.0) and row["exact_match"][0] == 0.0


def test_objects_triples_order_and_doubles_are_the_same_spans() -> None:
    objects = '[{"start": 4, "end": 6, "label": "y"}, {"start": 0, "end": 2, "label": "x"}]'
    assert read_spans(objects) == read_spans('[[0, 2, "x"], [4, 6, "y"], [0, 2, "x"]]')
    assert count_spans([objects], [None])[0]["invalid"] == (0.0, 1.0)


def test_a_gold_answer_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(DataError, match="a gold answer is no list of spans, wanted such as"):
        count_spans(["private words"], [None])


def test_each_label_has_its_scores() -> None:
    scores = score_spans(_items(['[[0, 2, "x"], [3, 5, "y"]]'], ['[[0, 2, "x"], [3, 4, "y"]]']), ("x",))
    assert (scores["x"].f1, scores["y"].f1, scores["y"].predicted) == (1.0, 0.0, 1)


def test_the_whole_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_dialogues) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setitem(measures.MEASURES, "extraction", SPANS)  # type: ignore[arg-type]
    golds, answers = _planted(40, 3)
    records = make_dialogues(golds)
    rows = {record.id: _Row(answer=answer) for record, answer in zip(records, answers, strict=True)}
    system = RecordedSystem(name="rules", kind="recorded", settings={}, rows=rows)
    asked = RecordSet(name="test", records=records, task="extraction")
    write_evaluation(evaluate_system(system, asked, section=EvaluationSection(resamples=200), seed=1), tmp_path)
    assert read_evaluations(tmp_path)[0].metrics["span_f1"].value is not None
    assert verify_set(tmp_path) == ()
