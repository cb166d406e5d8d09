"""Similarity of meaning: cosine against scikit-learn, and the engine's own features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from metier.errors import MetierError
from metier.evaluation.evaluate import recompute
from metier.evaluation.results import Evaluation
from metier.evaluation.written.similarity import similarities, text_embedder, with_similarity


def _vector(text: str) -> np.ndarray:
    return np.random.default_rng(sum(map(ord, text))).normal(size=8)


def test_it_is_the_cosine_and_every_text_is_embedded_once() -> None:
    asked: list[str] = []

    def embed(texts: Sequence[str]) -> np.ndarray:
        asked.extend(texts)
        return np.stack([_vector(text) for text in texts])

    golds, answers = ["one", "two", "one", "three"], ["uno", "two", "one", "uno"]
    rows = similarities(golds, [*answers], embed)
    for gold, answer, (value, count) in zip(golds, answers, rows, strict=True):
        expected = cosine_similarity([_vector(gold)], [_vector(answer)])[0, 0]
        assert value == pytest.approx(expected) and count == 1.0
    assert sorted(asked) == ["one", "three", "two", "uno"]


def test_no_answer_has_nothing_in_common() -> None:
    embed = lambda texts: np.stack([_vector(text) for text in texts])  # noqa: E731
    assert similarities(["a", "b"], [None, "  "], embed) == [(0.0, 1.0), (0.0, 1.0)]
    assert similarities([], [], embed) == []


@pytest.mark.parametrize("vectors", [np.ones((1, 4)), np.full((2, 4), np.nan), np.ones(4)])
def test_vectors_that_cannot_be_are_refused(vectors: np.ndarray) -> None:
    with pytest.raises(MetierError, match=r"embedding similarity: vectors of shape .*, wanted 2 finite vectors"):
        similarities(["a"], ["b"], lambda texts: vectors)


def test_with_a_real_encoder(
    tmp_path: Path, tiny_base: Callable[..., Any], make_written: Callable[..., Evaluation]
) -> None:
    from metier.engine.features import FeatureStore
    from metier.model.encode import Encoder

    base = tiny_base("bert")
    store = FeatureStore(tmp_path, base.network, base.kind, base.weights_sha256)
    found = make_written("one", ["where is my order", "hello world"], ["where is my order", "refund"])
    items = with_similarity(found.items, text_embedder(store, Encoder(base.tokenizer, base.context)))
    assert items[0].counts["embedding_similarity"][0] == pytest.approx(1.0)
    metrics = recompute(replace(found, items=tuple(items))).metrics
    assert metrics["embedding_similarity"].value is not None and metrics["embedding_similarity"].value < 1.0
