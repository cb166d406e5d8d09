"""When training does not pay: the system to use in its place, and what answers cost with each.

A system that needs no training is as good as the candidate where the paired interval rules out a gain of
`smallest_useful_gain` over it. Where that cannot be told yet, it is said that it cannot. Imports neither torch nor
scipy nor scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from metier.evaluation.results import Comparison, Difference, Evaluation
from metier.evaluation.systems import UNTRAINED
from metier.evaluation.written.text_metrics import sign

if TYPE_CHECKING:
    from metier.recipe.sections import HardwareSection

RULED_OUT = ("regressed", "no evidence")
"""Verdicts that rule out a useful gain, also where the bootstrap has no interval (no answer differs)."""
OPEN = ("underpowered", "not worse")
"""Verdicts that leave a useful gain possible and unproven."""
SECONDS_AN_HOUR = 3600


def needless(comparison: Comparison) -> Difference | None:
    """The system without training over which a useful gain is ruled out; the best where there are several.

    None where there is none, or where a baseline that learns is better still by a useful gain: that one is to be used.

    Args:
        comparison: With its differences and verdict.
    """
    known = [row for row in comparison.differences if row.baseline_value is not None]
    free = [row for row in known if row.baseline in UNTRAINED and _is_ruled_out(row, comparison)]
    if not free:
        return None
    best = max(free, key=_score)
    better = [row for row in known if row.baseline not in UNTRAINED and row.verdict in RULED_OUT]
    if any(_score(row) - _score(best) >= max(comparison.smallest_useful_gain, 1e-12) for row in better):
        return None
    return best


def unproven(comparison: Comparison) -> Difference | None:
    """The system without training over which a gain is neither proven nor a useful one ruled out; the best of several.

    None where the verdict rules out a useful gain over another system: it says already what to use instead.

    Args:
        comparison: With its differences and verdict.
    """
    if comparison.verdict in RULED_OUT:
        return None
    free = [
        row for row in comparison.differences
        if row.baseline in UNTRAINED and row.verdict in OPEN and row.difference.value is not None
    ]  # fmt: skip
    return max(free, key=_score, default=None)


def with_advice(
    comparison: Comparison,
    evaluations: Sequence[Evaluation],
    *,
    price_per_hour: float | None = None,
    currency: str = "",
) -> Comparison:
    """The comparison with its advice: whether training pays, and what 1,000 answers take and cost with each.

    Args:
        comparison: With its differences, verdict and sentence.
        evaluations: The systems that it is about; they say how long they take.
        price_per_hour: What an hour of the machine costs. None: not known, seconds alone are told.
        currency: Name of the money that the price is in.
    """
    said = replace(comparison, price_per_hour=price_per_hour, currency=currency)
    firm = needless(comparison)
    open_one = None if firm is not None else unproven(comparison)
    about = firm or open_one
    if about is None:
        return replace(said, advice="")
    by_name = {evaluation.system: evaluation for evaluation in evaluations}
    costs = [_cost(by_name.get(name), name, said) for name in (about.baseline, comparison.candidate)]
    first = _firm(about, said) if firm is not None else _open(about)
    return replace(said, advice=f"{first} 1,000 answers take {costs[0]} with {about.baseline}, {costs[1]} with "
                   f"{comparison.candidate}.")  # fmt: skip


def at_price(comparison: Comparison, evaluations: Sequence[Evaluation], hardware: HardwareSection) -> Comparison:
    """The comparison with its advice, in seconds and in the money of a recipe's machine.

    Args:
        comparison: With its differences, verdict and sentence.
        evaluations: The systems that it is about.
        hardware: The recipe's section, which may set a price.
    """
    if hardware.price_per_hour is None:
        return with_advice(comparison, evaluations)
    return with_advice(comparison, evaluations, price_per_hour=hardware.price_per_hour, currency=hardware.currency)


def _is_ruled_out(row: Difference, comparison: Comparison) -> bool:
    high = row.difference.high
    return row.verdict in RULED_OUT or (high is not None and high < comparison.smallest_useful_gain)


def _score(row: Difference) -> float:
    """The baseline's value, higher is better."""
    return sign(row.metric) * (row.baseline_value or 0.0)


def _firm(row: Difference, comparison: Comparison) -> str:
    high = row.difference.high
    worse = high is not None and high < 0
    why = (
        f"{comparison.candidate} is worse than it" if worse
        else f"a gain of {comparison.smallest_useful_gain:g} over it is ruled out"
    )  # fmt: skip
    return f"Do not train; use {row.baseline}: it needs no training, and {why}."


def _open(row: Difference) -> str:
    return f"It is not proven that training pays: {row.baseline} needs no training and may be as good."


def _cost(evaluation: Evaluation | None, name: str, comparison: Comparison) -> str:
    """`12 s (0.004 EUR)`; what an endpoint asked for is told in its own money's number."""
    seconds = None if evaluation is None else evaluation.seconds_per_thousand
    paid = None if evaluation is None else evaluation.settings.get("price_per_thousand")
    if isinstance(paid, int | float):
        money = f" (paid {paid:.3g})"
    elif seconds is not None and comparison.price_per_hour is not None:
        price = seconds / SECONDS_AN_HOUR * comparison.price_per_hour
        money = f" ({f'{price:.2g} {comparison.currency}'.strip()})"
    else:
        money = ""
    return f"{'an unknown time' if seconds is None else _seconds(seconds)}{money}"


def _seconds(seconds: float) -> str:
    """Two digits: a measured time is no better known than that."""
    return f"{seconds:.2g} s" if seconds < 100 else f"{seconds:,.0f} s"
