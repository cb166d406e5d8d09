"""Values of text metrics from sums, and the counts behind them, against sacrebleu, rouge-score and SQuAD."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenize import tokenize
from sacrebleu import corpus_bleu, corpus_chrf

from metier.evaluation.measures import MEASURES
from metier.evaluation.systems import SYSTEMS_OF
from metier.evaluation.written.text_counts import (
    COUNTERS,
    Texts,
    common_subsequence,
    count_texts,
    normalised,
    point_values,
    signatures,
    token_f1,
)
from metier.evaluation.written.text_metrics import ADDED_METRICS, READ, TEXT_METRICS, WRITTEN, sign
from metier.recipe import tasks

ROUGE = ("rouge1", "rouge2", "rougeL")
TEXT = "We will send your refund today ; the order no. 12 isn't late , sorry ! (thanks) Grüße 你好 $5.00 re-send"
WORDS = TEXT.split()


def _texts(golds: Sequence[str], answers: Sequence[str | None], inputs: Sequence[str] | None = None) -> Texts:
    return Texts(golds=golds, answers=answers, stops=["end of turn"] * len(golds), inputs=inputs)


def _planted(n: int, longest: int, seed: int) -> tuple[list[str], list[str]]:
    """Gold answers, and answers that share some of their words."""
    draw = random.Random(seed)
    golds = [" ".join(draw.choices(WORDS, k=draw.randint(1, longest))) for _ in range(n)]
    answers = [
        " ".join(word if draw.random() < 0.7 else draw.choice(WORDS) for word in gold.split() if draw.random() < 0.9)
        for gold in golds
    ]
    return golds, answers


CORPORA = [
    pytest.param(*_planted(40, 30, 1), id="sentences"),
    pytest.param(*_planted(40, 3, 2), id="few words"),
    pytest.param(["a b c d e f", "g h i j k"], ["a b c d e f", "g h i j k"], id="perfect"),
    pytest.param(["a b c d e f"], ["u v w x y z"], id="nothing shared"),
    pytest.param(["a b c d e f", "one two three four"], ["", ""], id="empty answers"),
    pytest.param(["the cat sat on the mat"], ["the cat"], id="too short for four words"),
    pytest.param(["the cat sat on the mat today"], ["the cat is on the mat"], id="no shared 4-gram"),
    pytest.param(["a b c d", ""], ["a b c d", "e f"], id="one empty gold answer"),
]


@pytest.mark.parametrize(("golds", "answers"), CORPORA)
def test_bleu_and_chrf_of_sums_are_sacrebleus_of_the_corpus(golds: list[str], answers: list[str]) -> None:
    found = point_values(_texts(golds, answers), {"bleu", "chrf"})
    assert found["chrf"] == pytest.approx(corpus_chrf(answers, [golds]).score / 100, abs=1e-12)
    if any(len(gold.split()) >= 4 for gold in golds):
        assert found["bleu"] == pytest.approx(corpus_bleu(answers, [golds]).score / 100, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=40), st.text(max_size=40)), min_size=1, max_size=5))
def test_bleu_and_chrf_of_any_texts_are_sacrebleus(pairs: list[tuple[str, str]]) -> None:
    golds, answers = [gold for gold, _ in pairs], [answer for _, answer in pairs]
    found = point_values(_texts(golds, answers), {"bleu", "chrf"})
    for name, theirs in (("chrf", corpus_chrf(answers, [golds])), ("bleu", corpus_bleu(answers, [golds]))):
        assert found[name] is None or found[name] == pytest.approx(theirs.score / 100, abs=1e-12)


def test_bleu_without_gold_4_grams_is_unknown_and_not_0() -> None:
    texts = _texts(["ls -l", "cd .."], ["ls -l", "cd .."])
    assert corpus_bleu(["ls", "cd"], [["ls", "cd"]]).score == 0.0
    assert point_values(Texts(golds=["ls", "cd"], answers=["ls", "cd"], stops=[None, None]))["bleu"] is None
    assert point_values(texts)["exact_match"] == 1.0


def test_signatures_name_the_variant() -> None:
    found = signatures()
    assert found["bleu"].startswith("BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert found["chrf"].startswith("chrF2|nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")
    assert found["rouge"].startswith("F1|stemmer:no|rouge-score:")


@pytest.mark.parametrize(("golds", "answers"), CORPORA)
def test_rouge_is_rouge_scores_mean_over_gold_answers_with_words(golds: list[str], answers: list[str]) -> None:
    scorer = RougeScorer(list(ROUGE), use_stemmer=False)
    rows = [
        scorer.score(gold, said) for gold, said in zip(golds, answers, strict=True) if tokenize(gold, None)
    ]  # fmt: skip
    found = point_values(_texts(golds, answers), set(ROUGE))
    for name in ROUGE:
        assert found[name] == pytest.approx(np.mean([row[name].fmeasure for row in rows]), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.text("ab c", max_size=60), st.text("ab c", max_size=60))
def test_rouge_of_any_texts_is_rouge_scores(gold: str, answer: str) -> None:
    theirs = RougeScorer(list(ROUGE), use_stemmer=False).score(gold, answer)
    found = point_values(_texts([gold], [answer]), set(ROUGE))
    for name in ROUGE:
        assert (found[name] or 0.0) == pytest.approx(theirs[name].fmeasure, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=30), st.lists(st.sampled_from("abcd"), max_size=30))
def test_the_longest_common_subsequence_is_that_of_the_table(one: list[str], two: list[str]) -> None:
    table = [[0] * (len(two) + 1) for _ in range(len(one) + 1)]
    for i, first in enumerate(one):
        for j, second in enumerate(two):
            table[i + 1][j + 1] = table[i][j] + 1 if first == second else max(table[i][j + 1], table[i + 1][j])
    assert common_subsequence(one, two) == table[-1][-1]


def test_rouge_of_answers_without_latin_letters_is_unknown_and_not_0() -> None:
    assert point_values(_texts(["你好"], ["你好"]))["rouge1"] is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The  quick, brown Fox!", ["quick", "brown", "fox"]),
        ("an apple a day", ["apple", "day"]),
        ("isn't", ["isnt"]),
        ("theatre", ["theatre"]),
        ("...", []),
    ],
)
def test_words_are_compared_as_squad_does(text: str, words: list[str]) -> None:
    assert normalised(text) == words


@pytest.mark.parametrize(
    ("gold", "answer", "value"),
    [
        ("Denver Broncos", "the Denver Broncos", 1.0),
        ("Denver Broncos", "Broncos", 2 / 3),
        ("a b b c", "b b b", 2 * 2 / 6),
        ("", "", 1.0),
        ("", "x", 0.0),
        ("x", "", 0.0),
    ],
)
def test_token_f1_is_squads(gold: str, answer: str, value: float) -> None:
    # "a" is an article: the third pair is (b, b, c) against (b, b, b).
    assert token_f1(gold, answer) == pytest.approx(value)


def test_exact_match_settles_white_space_and_nothing_else() -> None:
    texts = _texts(["a  b\n", "a b", "A b", ""], ["a b ", "ab", "a b", None])
    assert [row["exact_match"] for row in count_texts(texts, {"exact_match"})] == [(1, 1), (0, 1), (0, 1), (0, 1)]


def test_an_item_without_an_answer_is_an_empty_answer_and_wrong() -> None:
    rows = count_texts(_texts(["one two three four", ""], [None, None], ["x", "y"]))
    assert rows[0]["exact_match"] == rows[1]["exact_match"] == (0.0, 1.0)
    assert rows[0]["token_f1"] == rows[1]["token_f1"] == (0.0, 1.0)
    assert rows[0]["length_ratio"] == (0.0, 4.0)
    values = point_values(_texts(["one two three four"], [None], ["x"]))
    assert values["chrf"] == values["bleu"] == values["rougeL"] == 0.0
    assert values["copy_rate"] is None and values["repetition"] is None


def test_copy_rate_repetition_length_and_unfinished_are_what_was_planted() -> None:
    texts = Texts(
        golds=["x x x x x x", "y y"],
        answers=["one two three four five", "Two, SIX"],
        stops=["length", "end of turn"],
        inputs=["zero one two three four", "two"],
    )
    values = point_values(texts)
    # 4-grams: one of two stands in the input; then, in a short answer, one of two words.
    assert values["copy_rate"] == pytest.approx(2 / 4)
    assert values["repetition"] == 0.0
    assert values["length_ratio"] == pytest.approx(7 / 8)
    assert values["unfinished"] == 0.5
    assert point_values(_texts(["g"], ["a b c d a b c d a b c d"]))["repetition"] == pytest.approx(5 / 9)


def test_copying_is_unknown_without_the_input() -> None:
    assert "copy_rate" not in count_texts(_texts(["a"], ["a"]))[0]
    assert point_values(_texts(["a"], ["a"]))["copy_rate"] is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(), st.none() | st.text(), st.text()), min_size=1, max_size=4))
def test_any_texts_give_finite_counts_of_the_right_number(rows: list[tuple[str, str | None, str]]) -> None:
    golds, answers, inputs = zip(*rows, strict=True)
    counted = count_texts(_texts(golds, answers, inputs))
    for counts in counted:
        assert set(COUNTERS) <= set(counts)
        for name in COUNTERS:
            assert len(counts[name]) == TEXT_METRICS[name].features
            assert all(math.isfinite(number) and number >= 0 for number in counts[name])
    for name, value in point_values(_texts(golds, answers, inputs)).items():
        assert value is None or value >= 0
        assert value is None or not TEXT_METRICS[name].bounded or value <= 1 + 1e-12


def test_a_huge_answer_takes_seconds() -> None:
    draw = random.Random(3)
    gold, answer = (" ".join(draw.choices(WORDS, k=20_000)) for _ in range(2))
    value = point_values(_texts([gold], [answer]), {"rougeL", "rouge1", "chrf", "token_f1"})["rougeL"]
    assert value is not None and 0.2 < value < 0.9


def test_sums_of_many_samples_are_valued_at_once() -> None:
    rows = count_texts(_texts(*_planted(30, 12, 4), ["x"] * 30))
    for name in COUNTERS:
        sums = np.array([row[name] for row in rows]).reshape(3, 10, -1).sum(axis=1)
        alone = [float(TEXT_METRICS[name].value(each)) for each in sums]
        assert TEXT_METRICS[name].value(sums) == pytest.approx(alone, nan_ok=True)


def test_the_table_has_the_metrics_and_systems_that_a_recipe_can_name() -> None:
    assert set(MEASURES) == set(tasks.METRICS_OF) == set(SYSTEMS_OF)
    for task, measures in MEASURES.items():
        added = set(tasks.ADDED_OF.get(task, ()))
        assert added <= set(ADDED_METRICS)
        assert set(tasks.METRICS_OF[task]) - added <= set(measures.metrics)
        assert tuple(SYSTEMS_OF[task]) == tasks.SYSTEMS_OF[task]
    assert {*WRITTEN, *READ} == set(TEXT_METRICS)
    named = {name for names in tasks.METRICS_OF.values() for name in names}
    assert {name for name in named if sign(name) < 0} == set(tasks.LOWER_IS_BETTER)
