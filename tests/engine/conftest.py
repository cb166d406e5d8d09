"""Token sequences as domain data has them: a shared beginning, some shared middles, several answers to one text."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from metier.engine.tree import TokenSequence
from metier.events import Event, Notice


@pytest.fixture(scope="session")
def domain_sequences() -> Callable[..., list[TokenSequence]]:
    """`domain_sequences(count, seed=0, shared=9)`: with a beginning of `shared` tokens that all have in common."""

    def make(count: int, seed: int = 0, shared: int = 9) -> list[TokenSequence]:
        rng = np.random.default_rng(seed)
        start = rng.integers(3, 250, shared)
        middles = [rng.integers(3, 250, rng.integers(2, 9)) for _ in range(max(1, count // 2))]
        answers = [rng.integers(3, 250, length) for length in (1, 2, 4)]
        sequences = []
        for number in range(count):
            prompt = np.concatenate([start, middles[number % len(middles)]])
            sequences.append(TokenSequence.of(prompt.tolist(), answers[number % len(answers)].tolist()))
        return sequences

    return make


class Notices:
    """An observer that keeps what a person would be told."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def __call__(self, event: Event) -> None:
        """Keep notices; let progress pass."""
        if isinstance(event, Notice):
            self.messages.append(event.message)


@pytest.fixture
def notices() -> Notices:
    """What was said; `notices.messages`."""
    return Notices()
