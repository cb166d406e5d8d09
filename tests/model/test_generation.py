"""How long an answer may become: what the recipe says, else a little above the training answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from metier.model.chat_encode import ChatEncoder
from metier.model.generation import settle_generation
from metier.recipe.sections import GenerationSection

Chat = Callable[..., ChatEncoder]


def test_what_the_recipe_says_wins(chat_encoder: Chat) -> None:
    section = GenerationSection(max_new_tokens=5, temperature=0.5, stop=["###"])
    settled = settle_generation(section, chat_encoder("qwen2.5"), ["x" * 500])
    assert settled == section.model_dump(mode="json") and settled["max_new_tokens"] == 5


@pytest.mark.parametrize(
    ("golds", "max_length", "wanted"),
    [
        (["x" * 15], 4000, 24),  # 16 with the end of turn, a quarter more is 20, in steps of eight
        (["x"] * 300 + ["x" * 2000], 4000, 8),
        (["x" * 2000] * 3, 1000, 500),
        ([], 4000, 8),
        (["", ""], 4000, 8),
        (["x" * 100], 10, 8),
    ],
    ids=["one", "an outlier", "half of the room", "no answers", "empty ones", "hardly any room"],
)
def test_a_little_above_the_longest(chat_encoder: Chat, golds: list[str], max_length: int, wanted: int) -> None:
    encoder = chat_encoder("zephyr", max_length)
    assert encoder.count("x" * 15) == 16 and encoder.count("x") == 2  # with the space before
    settled = settle_generation(GenerationSection(), encoder, golds)
    assert settled["max_new_tokens"] == wanted
