"""The plan in `metier check`, as sentences and rows: time, memory, money, energy, other ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metier.cli.tables import aligned
from metier.report import formats

if TYPE_CHECKING:
    from metier.planning.outlook import Plan, Span


def time_sentence(plan: Plan) -> str:
    """How long the run may take, and where the interval comes from."""
    return f"Time: about {about(plan.seconds)}, {about(plan.low)} to {about(plan.high)}; {plan.interval}."


def memory_sentence(plan: Plan) -> str:
    """Memory at the fullest moment, by what it holds."""
    from metier.planning.outlook import MEMORY_PARTS

    sizes = [(words, int(getattr(plan.memory, name))) for name, words in MEMORY_PARTS.items()]
    parts = ", ".join(f"{words} {formats.megabytes(size)}" for words, size in sizes if size)
    free = f" of {gigabytes(plan.memory_available)} free" if plan.memory_available is not None else ""
    between = ""
    if plan.memory_high > plan.memory_low:
        between = f", {gigabytes(plan.memory_low)} to {gigabytes(plan.memory_high)}"
    return (
        f"Memory: about {gigabytes(plan.memory_bytes)}{between}{free}, fullest during {plan.memory.moment} ({parts})."
    )


def disk_sentence(plan: Plan, folder: str) -> str:
    """What is written, and where."""
    cache, disk = formats.megabytes(plan.cache_bytes), formats.megabytes(plan.disk_bytes)
    return f"Disk: about {cache} in the cache, {disk} in {folder}."


def money_sentences(plan: Plan) -> list[str]:
    """What the run may cost, and the energy that it may take; unknown is said, never zero."""
    cost = "Cost: not known; hardware.price_per_hour tells it."
    if plan.cost is not None:
        cost = f"Cost: about {_span(plan.cost, plan.currency)} at the price of the recipe."
    energy = "Energy: not known; hardware.watts tells it."
    if plan.watt_hours is not None:
        energy = f"Energy: about {_span(plan.watt_hours, 'Wh')} ({plan.power})."
    return [cost, energy]


def stage_rows(plan: Plan) -> list[tuple[str, ...]]:
    """The rows of the table of stages."""
    rows: list[tuple[str, ...]] = []
    before = ""
    for stage in plan.stages:
        tokens = f"{stage.tokens:,}" if stage.tokens else ""
        single = f"{stage.logical_tokens:,}" if stage.logical_tokens else ""
        named = stage.stage if stage.stage != before else ""
        rows.append((named, stage.what, tokens, single, about(stage.seconds)))
        before = stage.stage
    return rows


def alternatives_table(plan: Plan) -> str:
    """Every way side by side: what it needs, and whether that fits."""
    priced = plan.cost is not None
    rows = []
    for each in plan.alternatives:
        fits = "not known" if each.fits is None else "yes" if each.fits else "NO"
        cost = [f"{each.cost or 0:,.2f} {plan.currency}"] if priced else []
        told = f"{each.name} *" if not each.measured else each.name
        how = " ".join(f"--set {name}={_quoted(value)}" for name, value in each.settings.items())
        rows.append((told, gigabytes(each.memory_bytes), fits, about(each.seconds), *cost, how))
    table = aligned(("Way", "Memory", "Fits", "Time", *(["Cost"] if priced else []), "How"), rows)
    if all(each.measured for each in plan.alternatives):
        return table
    return f"{table}\n* not measured itself: from the recipe's own passes and the number of operations"


def about(seconds: float) -> str:
    """A duration for a person."""
    return "< 1 s" if seconds < 1 else formats.duration(seconds) if seconds >= 10 else f"{seconds:.0f} s"


def gigabytes(value: int) -> str:
    """Bytes for a person."""
    return f"{value / 1e9:,.1f} GB"


def _span(span: Span, unit: str) -> str:
    digits = 2 if span.value < 10 else 0
    return f"{span.value:,.{digits}f} {unit}, {span.low:,.{digits}f} to {span.high:,.{digits}f}"


def _quoted(value: str) -> str:
    return f'"{value}"' if " " in value else value
