"""Chances equal those of transformers' logits processors, and draws follow them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from metier.engine.sampling import Decoding, choose, penalised, warped

DECODING = Decoding(max_new_tokens=1, stop_ids=frozenset(), temperature=0.7)


def logits(seed: int, rows: int = 4, vocabulary: int = 50) -> torch.Tensor:
    return torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed)) * 3


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000), temperature=st.floats(0.05, 5), top_p=st.floats(0.01, 1),
    top_k=st.none() | st.integers(1, 80), penalty=st.floats(0.3, 3), history=st.lists(st.integers(0, 49), min_size=1),
)  # fmt: skip
def test_equal_to_transformers(
    seed: int, temperature: float, top_p: float, top_k: int | None, penalty: float, history: list[int]
) -> None:
    scores, ids = logits(seed), np.array(history, dtype=np.int64)
    steps = [RepetitionPenaltyLogitsProcessor(penalty), TemperatureLogitsWarper(temperature)]
    steps += [TopKLogitsWarper(top_k)] if top_k is not None else []
    steps += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    wanted = LogitsProcessorList(steps)(torch.from_numpy(ids)[None].expand(4, -1), scores.clone())
    decoding = replace(DECODING, temperature=temperature, top_p=top_p, top_k=top_k)
    before = scores.clone()
    mine = warped(penalised(scores, [ids] * 4, penalty), decoding)
    torch.testing.assert_close(mine, wanted)
    assert torch.equal(scores, before), "the logits are not changed"


def test_draws_follow_the_chances() -> None:
    decoding = replace(DECODING, top_p=0.9)
    scores = logits(1, rows=1, vocabulary=12)
    chances = torch.softmax(warped(scores, decoding), dim=-1)[0].double().numpy()
    count = 20_000
    generators = [np.random.default_rng(number) for number in range(count)]
    drawn = choose(scores.expand(count, -1), [], generators, decoding)
    shares = np.bincount(drawn, minlength=12) / count
    assert (shares[chances == 0] == 0).all() and (chances == 0).any()
    assert np.abs(shares - chances).max() < 4 * np.sqrt(0.25 / count)


@pytest.mark.parametrize("draw", [0.0, float(np.nextafter(1.0, 0.0))], ids=["lowest", "highest"])
def test_what_has_no_chance_is_never_drawn(draw: float) -> None:
    class Fixed:
        def random(self) -> float:
            return draw

    scores = torch.full((1, 9), -torch.inf)
    scores[0, 3:6] = 1.0
    generator: np.random.Generator = Fixed()  # type: ignore[assignment]
    assert choose(scores, [], [generator], replace(DECODING, top_p=1.0))[0] in (3, 5)


def test_greedy_reads_no_random_numbers() -> None:
    greedy = replace(DECODING, temperature=0.0)
    assert greedy.generator(3) is None
    scores = logits(2)
    assert choose(scores, [], [None] * 4, greedy) == scores.argmax(dim=1).tolist()
    assert choose(scores.bfloat16(), [], [None] * 4, greedy) == scores.bfloat16().float().argmax(dim=1).tolist()


def test_each_answer_has_its_own_numbers() -> None:
    first, same, other = (DECODING.generator(number) for number in (1, 1, 2))
    assert first is not None and same is not None and other is not None
    assert first.random() == same.random() != other.random()
