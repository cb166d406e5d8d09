"""The input as its own answer, and the nearest old answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from metier.data.records import Conversation, as_input
from metier.errors import DataError
from metier.evaluation.answering.retrieval import NearestAnswer, countable
from metier.evaluation.answering.text_index import FEATURES
from metier.evaluation.evaluate import RecordSet, evaluate_system
from metier.evaluation.systems import AnswerOptions, Material, System, build_system
from metier.recipe.sections import EvaluationSection

Dialogues = Callable[..., list[Conversation]]
SECTION = EvaluationSection(primary_metric="chrf", resamples=200)
TOPICS = {
    "please cancel my order": "your order is cancelled now",
    "i want my money back": "we send the refund today",
    "where is my parcel": "the parcel arrives tomorrow",
}


def _records(make: Dialogues, n: int, prefix: str) -> list[Conversation]:
    generator = np.random.default_rng(n)
    asked = [f"{list(TOPICS)[place % 3]} number {int(generator.integers(1000))}" for place in range(n)]
    return make([list(TOPICS.values())[place % 3] for place in range(n)], asked, prefix=prefix)


def _said(system: System, records: list[Conversation]) -> list[str | None]:
    return [answer.text for answer in system.answer([as_input(record) for record in records], AnswerOptions())]


def test_both_rows_are_built_and_measured(make_dialogues: Dialogues) -> None:
    train, validation = _records(make_dialogues, 60, "t"), _records(make_dialogues, 20, "v")
    material = Material(train=train, validation=validation, labels=(), section=SECTION, seed=1, task="generation")
    nearest, copied = (
        evaluate_system(
            build_system(name, material),
            RecordSet(name="validation", records=validation, task="generation"),
            section=SECTION,
            seed=1,
        )
        for name in ("nearest_answer", "copy_input")
    )
    assert nearest.metrics["exact_match"].value == 1.0
    assert copied.metrics["copy_rate"].value == 1.0 and copied.metrics["exact_match"].value == 0.0
    assert nearest.settings["chosen_on"] == "validation chrf, n = 20"
    assert set(nearest.settings["tried"]) == set(FEATURES)
    assert (nearest.trained_on, copied.trained_on) == ("60 examples", "no examples")
    assert nearest.metrics["loss"].value is None


def test_the_nearest_text_gives_the_answer_and_the_earliest_of_equals(make_dialogues: Dialogues) -> None:
    train = make_dialogues(["first", "second", "third"], ["red house", "blue car", "red house"])
    system = NearestAnswer(train, (), metric="chrf")
    asked = make_dialogues(["", "", ""], ["the red house", "a blue car", "nothing alike zzz"])
    assert _said(system, asked) == ["first", "second", "first"]
    assert system.settings["chosen_on"] == "not chosen: no validation set"


def test_validation_chooses_the_features(make_dialogues: Dialogues) -> None:
    # Words are misspelt at their ends: characters find what words cannot.
    train = make_dialogues(["mail", "phone"], ["unsubscription newsletters", "telephone contract"])
    asked = make_dialogues(["mail"] * 4, ["newsletterz telephone contracts unsubscriptionz newsletterr"] * 4)
    assert NearestAnswer(train, asked, metric="exact_match").features in ("both", "characters")
    words = make_dialogues(["phone"] * 4, ["telephone contract"] * 4)
    system = NearestAnswer(train, words, metric="exact_match")
    assert system.features == "both" and set(system.settings["tried"].values()) == {1.0}


def test_texts_without_words_are_compared_by_characters(make_dialogues: Dialogues) -> None:
    train = make_dialogues(["sum", "arrow"], ["+++ &&&", "--> ==>"])
    assert _said(NearestAnswer(train, (), metric="chrf"), make_dialogues([""], ["==> -->"])) == ["arrow"]


def test_texts_that_cannot_be_compared_are_refused(make_dialogues: Dialogues) -> None:
    with pytest.raises(DataError, match=r"train: no text has a word or two characters.*Leave `nearest_answer` out"):
        NearestAnswer(make_dialogues(["a"], [" "]), (), metric="chrf")
    with pytest.raises(DataError, match="train: has no records, wanted at least one"):
        NearestAnswer([], (), metric="chrf")


@pytest.mark.parametrize(("metric", "used"), [("loss", "chrf"), ("rougeL", "rougeL"), ("field_f1", "field_f1")])
def test_a_metric_that_needs_a_model_is_replaced_for_choosing(metric: str, used: str) -> None:
    assert countable(metric) == used


def test_many_inputs_are_answered_in_pieces(make_dialogues: Dialogues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metier.evaluation.answering.text_index.CELLS_AT_ONCE", 100)
    train = _records(make_dialogues, 60, "t")
    assert _said(NearestAnswer(train, (), metric="chrf"), train) == [record.gold for record in train]
