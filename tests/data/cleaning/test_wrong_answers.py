"""Written answers: every planted contradiction is found, and answers that do not belong to their prompts come first."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.cleaning.rows import Finding, Row
from metier.data.cleaning.wrong_answers import (
    CONTRADICTION,
    HARD,
    NEAR,
    UNHELPED,
    WrongAnswerSettings,
    instruction_difficulty,
    screen_wrong_answers,
)

RealData = Callable[[str], Path]


def _rows(pairs: Sequence[tuple[str, str]], *, split: str = "train", labelled: bool = False) -> list[Row]:
    return [
        Row(key=at, split=split, text=text, answer=answer, labelled=labelled, group=None, source="made.jsonl",
            row=at + 1)
        for at, (text, answer) in enumerate(pairs)
    ]  # fmt: skip


def _torn(finding: Finding) -> set[int]:
    return {doubt.key for doubt in finding.doubts if doubt.reason in (CONTRADICTION, NEAR)}


def _gsm8k(real_data: RealData) -> list[tuple[str, str]]:
    lines = (real_data("general/gsm8k") / "train_2000.jsonl").read_text("utf-8").splitlines()
    return [(row["question"], row["answer"]) for row in map(json.loads, lines)]


def test_every_planted_contradiction_is_found(real_data: RealData) -> None:
    pairs = _gsm8k(real_data)
    before = _torn(screen_wrong_answers(_rows(pairs)))
    changed = [
        lambda text: text,
        lambda text: text.upper(),
        lambda text: text.replace(" ", "  ").replace(",", ""),
        lambda text: f"Please: {text}",
        lambda text: text + " Think well.",
    ]
    planted = [(changed[at % 5](text), f"{answer} or not") for at, (text, answer) in enumerate(pairs[:500])]
    finding = screen_wrong_answers(_rows([*pairs, *planted]))
    found = _torn(finding)
    assert set(range(500)) | set(range(2000, 2500)) <= found
    assert len(found - before - set(range(500)) - set(range(2000, 2500))) == 0
    twins = {doubt.key: doubt.others for doubt in finding.doubts}
    reasons = Counter(doubt.reason for doubt in finding.doubts if doubt.key >= 2000)
    assert reasons[CONTRADICTION] >= 300
    assert reasons[NEAR] >= 195
    assert all(at in twins[2000 + at] and 2000 + at in twins[at] for at in range(500))


def test_another_number_is_another_question() -> None:
    text = "If one train leaves the station at noon and drives {} miles an hour, when does it arrive at the coast?"
    assert not _torn(screen_wrong_answers(_rows([(text.format(50), "at two"), (text.format(60), "at one")])))
    assert not _torn(screen_wrong_answers(_rows([("what is 3 + 4", "7"), ("what is 3 - 4", "-1")])))


def test_the_same_answer_written_otherwise_is_no_contradiction() -> None:
    assert not _torn(screen_wrong_answers(_rows([("Who?", "The  Cook."), ("who", "the cook")])))


def test_near_inputs_can_be_left_alone_or_given() -> None:
    text = "please tell me the opening hours of the main office in the city for the coming week"
    pairs = [(text, "nine to five"), (f"{text} thanks", "never"), ("something else", "nine")]
    assert _torn(screen_wrong_answers(_rows(pairs))) == {0, 1}
    assert not _torn(screen_wrong_answers(_rows(pairs), WrongAnswerSettings(near=False)))
    assert _torn(screen_wrong_answers(_rows(pairs), clusters=np.array([0, 1, 1]))) == {1, 2}


def test_a_word_makes_a_short_question_another_one() -> None:
    pairs = [("what are the causes of measles in adults", "x"), ("what are the signs of measles in adults", "y")]
    assert not _torn(screen_wrong_answers(_rows(pairs)))


def test_contradictions_can_be_left_to_another_step() -> None:
    finding = screen_wrong_answers(_rows([("same", "a"), ("same", "b")]), WrongAnswerSettings(contradictions=False))
    assert (finding.doubts, finding.counts) == ((), {})


def test_a_contradiction_names_the_other_rows_and_no_text() -> None:
    pairs = [("secret question", "yes"), ("another", "x"), ("Secret question", "no"), ("secret question", "no")]
    finding = screen_wrong_answers(_rows(pairs))
    details = [doubt.detail for doubt in finding.doubts]
    assert details == [
        "the same input has another answer in rows 3, 4 of made.jsonl; 2 answers in all",
        "the same input has another answer in row 1 of made.jsonl; 2 answers in all",
        "the same input has another answer in row 1 of made.jsonl; 2 answers in all",
    ]
    assert [doubt.score for doubt in finding.doubts] == [0.6667, 0.3333, 0.3333]
    assert "secret" not in repr(finding).lower()


def test_labels_are_left_to_another_screen() -> None:
    finding = screen_wrong_answers(_rows([("same", "a"), ("same", "b")], labelled=True))
    assert (finding.looked_at, finding.doubts) == (0, ())
    assert finding.notes[0] == "2 rows with labels or without an answer not looked at"
    assert screen_wrong_answers([]).doubts == ()


def _losses(count: int, wrong: Sequence[int], seed: int) -> tuple[dict[int, float], dict[int, float]]:
    """Losses alone, and after a prompt that halves them; where the prompt is another row's it does not."""
    random = np.random.default_rng(seed)
    alone = np.exp(random.normal(0.8, 0.4, count))
    ratio = np.exp(random.normal(-0.6, 0.2, count))
    ratio[list(wrong)] = np.exp(random.normal(0.15, 0.1, len(wrong)))
    return dict(enumerate((alone * ratio).tolist())), dict(enumerate(alone.tolist()))


def test_answers_of_other_prompts_come_first_by_difficulty() -> None:
    from sklearn.metrics import roc_auc_score

    wrong = list(range(0, 1000, 20))
    losses, alone = _losses(1000, wrong, 4)
    keys, ratio = instruction_difficulty(losses, alone)
    truth = np.isin(keys, wrong)
    assert roc_auc_score(truth, ratio) >= 0.95
    rows = _rows([(f"question {at}", f"answer {at}") for at in range(1000)])
    finding = screen_wrong_answers(rows, losses=losses, alone=alone)
    doubted = {doubt.key for doubt in finding.doubts if doubt.reason in (UNHELPED, HARD)}
    assert len(doubted & set(wrong)) >= 30
    assert len(doubted - set(wrong)) <= 5
    few = screen_wrong_answers(rows, WrongAnswerSettings(most_doubts=10), losses=losses, alone=alone)
    assert len(few.doubts) == 10
    assert any("beyond the surest 10 left out" in note for note in few.notes)


def test_without_losses_alone_the_far_ones_are_named() -> None:
    random = np.random.default_rng(2)
    losses = dict(enumerate(np.exp(random.normal(0.5, 0.2, 500)).tolist()))
    losses[7] = 60.0
    rows = _rows([(f"question {at}", f"answer {at}") for at in range(500)])
    finding = screen_wrong_answers(rows, losses=losses)
    assert next(doubt.key for doubt in finding.doubts if doubt.reason == HARD) == 7
    assert len(finding.doubts) <= 3
    assert screen_wrong_answers(_rows([("q", "a")] * 1, split="test"), losses={0: 9.0}).doubts == ()
    assert "1 row without a loss not ranked" in screen_wrong_answers(rows[:2], losses={0: 1.0}).notes


def test_losses_that_are_no_losses_are_not_ranked() -> None:
    rows = _rows([(f"question {at}", f"answer {at}") for at in range(4)])
    finding = screen_wrong_answers(rows, losses={0: float("nan"), 1: float("inf"), 2: 0.0, 3: 1.0}, alone={3: 0.0})
    assert finding.doubts == ()
    assert "3 rows without a loss not ranked" in finding.notes


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a b", "A  b!", "b a", "c", ""]), st.text(max_size=5)), max_size=12))
def test_contradictions_are_those_of_a_slow_search(pairs: list[tuple[str, str]]) -> None:
    """Of inputs that are the same but for case, spaces and punctuation, and answers of plain words."""
    plain = [(text, f"w{len(answer)}" if answer else "") for text, answer in pairs]
    form = {"a b": "ab", "A  b!": "ab", "b a": "ba", "c": "c", "": ""}
    slow = {
        at
        for at, (text, answer) in enumerate(plain)
        for other, said in plain
        if answer and said and form[text] == form[other] and answer != said
    }
    assert _torn(screen_wrong_answers(_rows(plain), WrongAnswerSettings(near=False))) == slow
