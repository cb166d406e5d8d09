"""How long the heads on frozen features take to be solved, measured on some records in the time of a blink.

Features of a sample are read from the model's lowest blocks alone. Solving steps as often for them as for those of all
blocks, more or less; each step's cost is a function of the features' shape. Two sizes are solved, and a line is drawn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from metier.data.records import Record
from metier.engine.texts import pooled, text_batches
from metier.engine.tree import Ints
from metier.model.base import BaseModel
from metier.model.head import STRENGTHS, fit_head
from metier.model.set_head import fit_set_head
from metier.planning.calibrate import FEW
from metier.planning.probes import FEATURE_BUDGET
from metier.planning.shorten import shorten

TRIED = (STRENGTHS[0], STRENGTHS[len(STRENGTHS) // 2], STRENGTHS[-1])
"""Strengths that are measured; the others lie between them."""
MOST_SECONDS = 3.0
"""Of measuring: the larger size is left out where the smaller one took this long."""


@dataclass(frozen=True, kw_only=True)
class Solving:
    """Seconds of solving a head at every strength: a line over the records that it learns from."""

    start: float
    each: float

    def seconds(self, records: int) -> float:
        """Of so many records."""
        return self.start + self.each * records


def measure_solving(
    base: BaseModel, texts: Sequence[Ints], records: Sequence[Record], labels: Sequence[str], *, sets: bool
) -> Solving:
    """Solve heads on some records, as many classes as a run has.

    Args:
        base: The model; nothing may be attached to it.
        texts: Some training texts as token ids.
        records: The same, with their labels.
        labels: All labels.
        sets: Whether a record may have several, each with a regression of its own.
    """
    features, place = _features(base, texts), {label: number for number, label in enumerate(labels)}
    if sets:
        gold = np.array([[float(label in record.labels) for label in labels] for record in records], dtype=np.float32)
        return _line(len(texts), lambda size, c: fit_set_head(features[:size], gold[:size], c))
    classes = [place[record.labels[0]] for record in records]
    return _line(len(texts), lambda size, c: fit_head(features[:size], classes[:size], len(labels), c))


def _line(count: int, solve: Callable[[int, float], object]) -> Solving:
    solve(min(count, 16), TRIED[0])  # what is loaded once
    half = max(2, count // 2)
    small = _seconds(half, solve)
    if half >= count or small > MOST_SECONDS:
        return Solving(start=0.0, each=small / half)
    large = _seconds(count, solve)
    each = max(0.0, large - small) / (count - half)
    return Solving(start=max(0.0, small - each * half), each=each)


def _seconds(size: int, solve: Callable[[int, float], object]) -> float:
    started = time.perf_counter()
    for strength in TRIED:
        solve(size, strength)
    return (time.perf_counter() - started) * len(STRENGTHS) / len(TRIED)


def _features(base: BaseModel, texts: Sequence[Ints]) -> np.ndarray[Any, np.dtype[np.float32]]:
    short = shorten(base, min(FEW, base.layers))
    hidden = int(base.network.config.get_text_config().hidden_size)
    found = np.zeros((len(texts), hidden), dtype=np.float32)
    with torch.no_grad():
        for batch in text_batches(texts, FEATURE_BUDGET):
            found[list(batch.numbers)] = pooled(short.network, batch, base.kind).float().cpu().numpy()
    return found
