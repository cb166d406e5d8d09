"""How a record is put before a language model."""

from __future__ import annotations

import json

import pytest

from metier.errors import DataError
from metier.model.prompt import PromptFormat, make_prompt_format, prompt_from_plain, readable
from metier.recipe.sections import PromptSection
from metier.store.values import to_plain

LABELS = ("card_arrival", "refund")


def test_labels_become_words_and_the_column_names_the_question() -> None:
    prompt = make_prompt_format(PromptSection(), LABELS, "support_intent")
    assert prompt.label_texts == ("card arrival", "refund")
    assert prompt.instruction == "Read the text and answer with its support intent."
    assert prompt.messages("where is it?") == [
        {"role": "user", "content": "Read the text and answer with its support intent.\n\nwhere is it?"}
    ]


def test_texts_and_instruction_of_the_recipe_are_used() -> None:
    section = PromptSection(instruction="Which one?", label_texts={"refund": "money back"}, list_labels=True)
    prompt = make_prompt_format(section, LABELS, "label")
    (turn,) = prompt.messages("hello")
    assert turn["content"] == "Which one?\nThe possible answers are: card arrival, money back.\n\nhello"


def test_examples_are_earlier_turns_and_the_instruction_stands_once() -> None:
    prompt = make_prompt_format(PromptSection(instruction="Which?"), LABELS, "label")
    turns = prompt.with_choices(list_labels=False, shots=[("one", "refund"), ("two", "card_arrival")]).messages("three")
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user", "assistant", "user"]
    assert [turn["content"] for turn in turns] == ["Which?\n\none", "refund", "two", "card arrival", "three"]


@pytest.mark.parametrize(
    ("section", "labels", "message"),
    [
        (
            PromptSection(),
            ("card-arrival", "card_arrival"),
            r"^prompt\.label_texts: the labels 'card-arrival', 'card_arrival' are all answered 'card arrival', wanted "
            r"different words for different labels\. Give them texts of their own in prompt\.label_texts\.$",
        ),
        (
            PromptSection(label_texts={"refund": "card arrival"}),
            LABELS,
            r"'card_arrival', 'refund' are all answered 'card arrival'",
        ),
        (
            PromptSection(label_texts={"refunds": "x"}),
            LABELS,
            r"^prompt\.label_texts: names 'refunds', which no training row has, wanted labels among card_arrival, "
            r"refund\.$",
        ),
    ],
    ids=["readable names collide", "a given text collides", "no such label"],
)
def test_label_texts_that_cannot_work(section: PromptSection, labels: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_prompt_format(section, labels, "label")


@pytest.mark.parametrize(
    ("name", "words"), [("a_b-c", "a b c"), ("__", "__"), ("  two  words ", "two words"), ("x", "x")]
)
def test_readable(name: str, words: str) -> None:
    assert readable(name) == words


def test_round_trip_and_hash() -> None:
    prompt = make_prompt_format(PromptSection(), LABELS, "label")
    other = prompt.with_choices(list_labels=True, shots=[("é", "refund")])
    again = prompt_from_plain(json.loads(json.dumps(to_plain(other))))
    assert again == other and again.hash == other.hash
    changes: list[PromptFormat] = [
        prompt, other, prompt.with_choices(list_labels=True),
        make_prompt_format(PromptSection(), LABELS[::-1], "label"),
        make_prompt_format(PromptSection(instruction="?"), LABELS, "label"),
    ]  # fmt: skip
    assert len({each.hash for each in changes}) == len(changes)
