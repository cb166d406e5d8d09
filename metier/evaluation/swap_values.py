"""Answers that change when records speak of another group, as frozen values: `swaps.json`."""

from __future__ import annotations

from dataclasses import dataclass

from metier.evaluation.results import Estimate

COPIES, BASE_COPIES = "copies-", "base-copies-"
"""How the names of the sets of copies begin, the promoted system's and the base's; the dimension follows."""
MOVED = "own_answer_moved"
"""Count of a written copy's item: what the log-probability of a token of the system's own answer moved, in nats. Item
rows of labels hold log-probabilities themselves."""


@dataclass(frozen=True, kw_only=True)
class SwapChange:
    """How answers change when records speak of another group, in one dimension: the promoted system, and the base."""

    dimension: str
    """`gender`, `religion`, …"""
    n: int
    """Copies that the promoted system was asked."""
    changed: Estimate
    """Share of its answers that are not those to the originals."""
    moved: Estimate
    """Mean of |log-probability of its own answer after the copy minus after the original| in nats; of written answers
    a token's mean."""
    base_changed: Estimate | None
    """The same share of the base; None where no base was asked."""
    base_moved: Estimate | None
    change: Estimate | None
    """Share of the promoted system minus that of the base, on copies that both were asked: above 0, training made
    answers depend more on the group."""
    p_value: float | None
    """Of "no change from the base"."""
    p_holm: float | None
    """Corrected over the dimensions (Holm)."""
    moved_change: Estimate | None
    """`moved` minus that of the base, paired."""
    verdict: str
    """`more`: depends more on the group than the base (Holm at 5 %); `less`; `no evidence`; `not compared`."""


@dataclass(frozen=True, kw_only=True)
class SwapReport:
    """`swaps.json`: what changes when records of the set speak of another group, as a change from the base."""

    system: str
    """The promoted one."""
    base: str | None
    """What it is compared with; None where nothing was asked."""
    dimensions: tuple[SwapChange, ...]
    sentence: str
    reason: str | None = None
    """Why there is no base beside it."""
