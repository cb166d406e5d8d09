"""Other words around a question: every label keeps its words and its part of the scoring rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from metier.data.records import Input
from metier.evaluation.answering.language_model import LabelScorer
from metier.evaluation.answering.reworded import Reworded, with_other_instructions, with_other_orders
from metier.evaluation.answering.scoring import Rule
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions
from metier.model.prompt import PromptFormat

LABELS, WORDS = ("a", "b", "c"), ("first", "second", "third")


def _scorer(*, listed: bool = True) -> LabelScorer:
    prompt = PromptFormat(instruction="Read it.", labels=LABELS, label_texts=WORDS, list_labels=listed)
    nothing: Any = None
    return LabelScorer(
        name="tuned", kind="tiny", runner=nothing, encoder=nothing, prompt=prompt,
        rule=Rule("sum_minus_mean", np.array([1.0, 2.0, 3.0]), np.array([-1.0, -2.0, -3.0])), parameters=1, bytes=2,
        trained_on="3 examples", settings={},
    )  # fmt: skip


def test_labels_keep_their_words_and_their_rule_in_every_order() -> None:
    turned = with_other_orders(_scorer(), seed=17)
    assert turned is not None and len({scorer.prompt.labels for scorer in turned.scorers}) == 3
    for scorer in turned.scorers:
        assert scorer.prompt.labels != LABELS
        assert dict(zip(scorer.prompt.labels, scorer.prompt.label_texts, strict=True)) == dict(
            zip(LABELS, WORDS, strict=True)
        )
        assert [LABELS[int(divisor) - 1] for divisor in scorer.rule.divisors] == list(scorer.prompt.labels)
        assert (scorer.rule.offsets == -scorer.rule.divisors).all()


def test_a_prompt_that_lists_no_labels_has_no_order() -> None:
    assert with_other_orders(_scorer(listed=False), seed=17) is None


def test_other_instructions_say_the_same() -> None:
    turned = with_other_instructions(_scorer(), seed=17)
    said = [scorer.prompt.instruction for scorer in turned.scorers]
    assert len(set(said)) == 3 and all("Read it." in words and words != "Read it." for words in said)
    assert len(set(turned.settings["prompts"])) == 3
    assert (turned.name, turned.trained_on) == ("tuned", "3 examples")


def test_every_input_is_answered_once_in_order_by_the_prompt_that_its_id_decides() -> None:
    class Part:
        def __init__(self, name: str) -> None:
            self.name = name

        def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
            yield from (Answer(id=given.id, label=self.name) for given in inputs)

    parts: Any = [Part("x"), Part("y"), Part("z")]
    inputs = [Input(id=f"i{number}", text="?") for number in range(60)]
    told = list(Reworded(parts, 17).answer(inputs, AnswerOptions()))
    assert [answer.id for answer in told] == [given.id for given in inputs]
    assert {answer.label for answer in told} == {"x", "y", "z"}
    few = list(Reworded(parts, 17).answer(inputs[:5], AnswerOptions()))
    assert [answer.label for answer in few] == [answer.label for answer in told[:5]]
