"""How long an answer may become: as the recipe says, else a little above the longest training answers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from metier.model.chat_encode import ChatEncoder
from metier.recipe.sections import GenerationSection

LONGEST_SHARE, SPARE, STEP = 0.99, 1.25, 8
"""This share of the training answers is at most as long; then a quarter more, in steps of eight tokens."""


def settle_generation(section: GenerationSection, encoder: ChatEncoder, golds: Iterable[str]) -> dict[str, Any]:
    """The generation section as plain values, with `max_new_tokens` settled.

    Args:
        section: What the recipe says.
        encoder: Counts tokens; an answer takes at most half of its length.
        golds: Training answers.
    """
    settled = section.model_dump(mode="json")
    if section.max_new_tokens is None:
        lengths = sorted(encoder.count(gold) + 1 for gold in golds if gold)
        long = lengths[min(len(lengths) - 1, math.floor(LONGEST_SHARE * len(lengths)))] if lengths else 1
        room = max(STEP, encoder.max_length // 2)
        settled["max_new_tokens"] = min(room, STEP * math.ceil(SPARE * long / STEP))
    return settled
