"""Which written answers and documents are shown: nobody picks, or it is said why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from metier.data.records import Message
from metier.evaluation.written.text_metrics import TEXT_METRICS
from metier.report import picks
from metier.report.gather import gather_summary
from metier.report.summary import RunSummary, WrittenExample
from metier.store.run_folder import RunFolder


def by_hash(summary: RunSummary) -> list[WrittenExample]:
    """The examples that nobody picked."""
    return [example for example in summary.written if picks.BY_HASH in example.why]


def test_the_first_ten_are_those_of_the_smallest_ids(make_summary: Callable[..., RunSummary]) -> None:
    found = make_summary()
    ids = sorted(item.id for item in found.test[-1].items)
    assert [example.id for example in by_hash(found)] == ids[: picks.FIRST]


def test_best_and_worst_are_marked_and_no_record_is_both(make_summary: Callable[..., RunSummary]) -> None:
    found = make_summary()
    gains = {example.id: example.gain for example in found.written}
    best, worst = ([e for e in found.written if name in e.why] for name in (picks.BEST, picks.WORST))
    assert len(best) == len(worst) == picks.EXTREMES
    assert not {e.id for e in best} & {e.id for e in worst}
    assert min(e.gain or 0 for e in best) >= max(value or 0 for id, value in gains.items() if id not in
                                                 {e.id for e in best})  # fmt: skip
    # The records whose answers were spoilt by hand: no answer (row 5) and a wrong one (row 1).
    assert {1, 5} <= {example.row for example in worst}


def test_gains_are_differences_of_single_answers(make_summary: Callable[..., RunSummary]) -> None:
    found = make_summary()
    assert found.comparison.best_baseline == "nearest_answer"
    for example in found.written:
        scores = {answer.system: answer.score for answer in example.answers}
        own, rival = scores["tuned"], scores["nearest_answer"]
        assert own is not None and rival is not None
        assert example.gain == pytest.approx(own - rival)
        assert 0 <= own <= 1


def test_one_answer_scores_as_evaluation_scores_a_set_of_one(make_summary: Callable[..., RunSummary]) -> None:
    import numpy as np

    found = make_summary()
    counts = {item.id: item.counts["chrf"] for item in found.test[-1].items}
    for example in found.written[:3]:
        assert example.answers[0].score == pytest.approx(
            float(TEXT_METRICS["chrf"].value(np.array(counts[example.id])))
        )


def test_lower_is_better_turns_the_gain(make_reading: Callable[..., RunSummary]) -> None:
    for document in make_reading().documents:
        zero, tuned = document.scores["zero_shot"], document.scores["tuned"]
        assert zero is not None and tuned is not None
        assert document.gain == pytest.approx(zero - tuned)
        assert document.gain > 0


def test_the_candidate_stands_first_and_the_copied_question_nowhere(make_summary: Callable[..., RunSummary]) -> None:
    order = [answer.system for answer in make_summary().written[0].answers]
    assert order == ["tuned", "few_shot", "zero_shot", "nearest_answer"]


def test_turns_are_those_before_the_answer(make_summary: Callable[..., RunSummary]) -> None:
    found = make_summary()
    example = next(example for example in found.written if example.row == 1)
    assert example.turns == (
        Message(role="system", content="You are a clerk."),
        Message(role="user", content="Where is parcel 0? It was meant to come on day 0."),
    )


@pytest.mark.parametrize(("most", "shown"), [(2, 2), (12, 10)], ids=["fewer", "ten at most"])
def test_the_recipe_says_how_many(make_summary: Callable[..., RunSummary], most: int, shown: int) -> None:
    found = make_summary(recipe={"report": {"examples": True, "max_examples": most}})
    assert len(by_hash(found)) == shown


def test_nothing_is_read_or_shown_where_the_recipe_forbids_texts(make_run: Callable[..., RunFolder]) -> None:
    folder = make_run(recipe={"report": {"examples": False}})
    folder.split("test").unlink()
    assert gather_summary(folder).written == ()


def test_an_unknown_candidate_shows_nothing(make_run: Callable[..., RunFolder]) -> None:
    folder = make_run()
    found = gather_summary(folder)
    asked = picks.Asked(
        task="generation", test=found.test, comparison=replace(found.comparison, candidate="nobody"), options={},
        records=(folder.split("test"),),
    )  # fmt: skip
    assert picks.pick(asked).written == ()


def test_few_documents_are_all_shown_the_largest_gain_first(make_reading: Callable[..., RunSummary]) -> None:
    documents = make_reading(12).documents
    assert len(documents) == 12
    assert [d.gain for d in documents] == sorted((d.gain for d in documents), key=lambda gain: -(gain or 0))
    assert all(document.why == () for document in documents)


def test_of_many_documents_ten_and_both_ends_are_shown(make_reading: Callable[..., RunSummary]) -> None:
    documents = make_reading(60).documents
    assert picks.FIRST <= len(documents) <= picks.FIRST + 2 * picks.EXTREMES
    reasons = [why for document in documents for why in document.why]
    assert (reasons.count(picks.BEST), reasons.count(picks.WORST)) == (picks.EXTREMES, picks.EXTREMES)


def test_passages_of_a_group_are_one_document_that_is_not_named(make_reading: Callable[..., RunSummary]) -> None:
    documents = make_reading(12, grouped=True).documents
    assert sorted(document.name for document in documents) == [
        "handbook.md, rows 1 to 4", "handbook.md, rows 5 to 8", "handbook.md, rows 9 to 12",
    ]  # fmt: skip
    assert sum(document.size for document in documents) == sum(
        len(f"Paragraph {n}. " * (3 + n % 4)) for n in range(12)
    )  # fmt: skip
