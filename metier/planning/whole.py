"""A plan from its parts: sums, intervals, what it costs, and what earlier runs on this machine say about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from metier.planning.ablation import ASSUMED, ablation_stages
from metier.planning.outlook import MemoryEstimate, Plan, Span, StageEstimate
from metier.planning.rates import Rates
from metier.planning.ratios import Ratios
from metier.recipe.sections import Recipe


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was estimated of a run."""

    stages: tuple[StageEstimate, ...]
    moments: tuple[MemoryEstimate, ...]
    cache_bytes: int
    disk_bytes: int
    assumptions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What the machine says, before anything is estimated."""

    available: int | None = None
    """Free bytes of memory; None where they are not known."""
    ratios: Mapping[str, Ratios] = field(default_factory=dict)
    """Measured over predicted `seconds` and `memory` of earlier runs, where there were enough."""


def put_together(recipe: Recipe, found: Found, rates: Rates, ground: Ground) -> Plan:
    """The plan of a run.

    Args:
        recipe: Its price and power.
        found: What was estimated.
        rates: Of the first candidate.
        ground: What the machine says.
    """
    if recipe.data.ablation:
        found = replace(
            found, stages=(*found.stages, *ablation_stages(found.stages)), assumptions=(*found.assumptions, ASSUMED)
        )
    ratios = ground.ratios
    memory = max(found.moments, key=lambda moment: moment.total)
    seconds = Span(
        value=sum(stage.seconds for stage in found.stages), low=sum(stage.low for stage in found.stages),
        high=sum(stage.high for stage in found.stages),
    )  # fmt: skip
    seconds = corrected(seconds, ratios.get("seconds"))
    room = corrected(Span(value=memory.total, low=memory.total, high=memory.total), ratios.get("memory"))
    parts: dict[str, float] = {}
    for stage in found.stages:
        parts[stage.part] = parts.get(stage.part, 0.0) + stage.seconds
    watts, power = (
        recipe.hardware.watts,
        "" if recipe.hardware.watts is None else "hardware.watts of the recipe, assumed",
    )
    price = recipe.hardware.price_per_hour
    return Plan(
        stages=found.stages, seconds=seconds.value, low=seconds.low, high=seconds.high,
        interval=_interval(ratios.get("seconds"), rates.measured), memory=memory, moments=found.moments,
        memory_bytes=round(room.value), memory_low=round(room.low), memory_high=round(room.high),
        memory_available=ground.available, cache_bytes=found.cache_bytes, disk_bytes=found.disk_bytes,
        flops_per_second=rates.flops_per_second, assumptions=found.assumptions,
        cost=None if price is None else seconds.times(price / 3600), currency=recipe.hardware.currency,
        watt_hours=None if watts is None else seconds.times(watts / 3600), power=power, parts=parts,
    )  # fmt: skip


def corrected(span: Span, ratios: Ratios | None) -> Span:
    """A prediction as earlier runs say that it should have been.

    Args:
        span: As it was estimated.
        ratios: Of earlier runs; None leaves it as it is.
    """
    if ratios is None:
        return span
    value = span.value * ratios.middle
    return Span(value=value, low=min(span.value * ratios.low, value), high=max(span.value * ratios.high, value))


def _interval(ratios: Ratios | None, measured: bool) -> str:
    if ratios is None and not measured:
        return "the passes of this model were not measured, only the speed of its matrix products"
    if ratios is None:
        return "the interval is the spread of what was measured now; no three runs on this machine stand behind it yet"
    return (
        f"value and interval are corrected by {ratios.runs} earlier runs on this machine, which took "
        f"{ratios.low:.2f} to {ratios.high:.2f} times what was predicted"
    )
