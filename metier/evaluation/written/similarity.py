"""How near an answer is to the gold one in meaning: cosine of their vectors by the packaged sentence encoder.

What each item adds goes into `Item.counts` as `embedding_similarity`; an item without an answer adds 0. Near is not
right: two answers that contradict each other can be near, so this metric stands beside others, never alone. This
file needs numpy only; `text_embedder` makes vectors with the engine's feature store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from metier.errors import MetierError
from metier.evaluation.results import Item
from metier.evaluation.written.text_metrics import Counts

if TYPE_CHECKING:
    from metier.engine.features import FeatureStore
    from metier.model.encode import Encoder

Floats = npt.NDArray[np.float64]
Embed = Callable[[Sequence[str]], npt.NDArray[Any]]
"""From N texts to vectors of shape (N, D)."""


def with_similarity(items: Sequence[Item], embed: Embed) -> list[Item]:
    """The items with what they add to `embedding_similarity`.

    Args:
        items: Answered records whose answers are texts.
        embed: Makes vectors; it is called once, with every different text.

    Raises:
        MetierError: The vectors are not one for each text, or not finite.
    """
    rows = similarities([item.gold for item in items], [item.answer for item in items], embed)
    return [
        replace(item, counts={**item.counts, "embedding_similarity": row})
        for item, row in zip(items, rows, strict=True)
    ]


def similarities(golds: Sequence[str], answers: Sequence[str | None], embed: Embed) -> list[Counts]:
    """What every item adds: (cosine, 1); (0, 1) without an answer. Arguments and errors as `with_similarity`."""
    texts = list(dict.fromkeys([*golds, *(answer for answer in answers if answer is not None and answer.strip())]))
    if not texts:
        return []
    place = {text: number for number, text in enumerate(texts)}
    vectors = _units(embed(texts), len(texts))
    rows: list[Counts] = []
    for gold, answer in zip(golds, answers, strict=True):
        if answer is None or not answer.strip():
            rows.append((0.0, 1.0))
            continue
        cosine = float(vectors[place[gold]] @ vectors[place[answer]])
        rows.append((min(1.0, max(-1.0, cosine)), 1.0))
    return rows


def text_embedder(store: FeatureStore, encoder: Encoder) -> Embed:
    """Vectors of the frozen encoder whose features the store holds; what is stored is not computed again.

    Args:
        store: Features of a loaded encoder (`engine.features`).
        encoder: How text becomes its tokens.
    """

    def embed(texts: Sequence[str]) -> npt.NDArray[Any]:
        return store.features([encoder.text(text).ids for text in texts], "similarity")

    return embed


def _units(vectors: npt.NDArray[Any], n: int) -> Floats:
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2 or len(rows) != n or not np.isfinite(rows).all():
        raise MetierError("embedding similarity", f"vectors of shape {rows.shape}", f"{n} finite vectors")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units: Floats = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return units
