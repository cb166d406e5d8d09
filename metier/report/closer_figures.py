"""The drawings of the closer looks: reliability, coverage, slices, gaps, wording, seeds.

Takes the values of a run; gives drawings, each of which has its table in `closer.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from metier.evaluation.evidence import Calibration, RiskCoverage, Selective
from metier.evaluation.results import Estimate
from metier.report import canvas, formats
from metier.report.canvas import Drawing, Sheet
from metier.report.closer import calibrations
from metier.report.points import Point, draw_points, few_ticks, read_aloud
from metier.report.summary import RunSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BEFORE = ("zero_shot", "few_shot")
"""What a tuned model's probabilities are drawn beside: those of the same model untrained, where there are some."""
MOST_SLICES = 12
MOST_SEEDS = 10
"""Rows that a drawing has room for."""
MOST_POINTS = 400
COLOURS = {
    "weak": canvas.BAD, "strong": canvas.GOOD, "hurts": canvas.BAD, "holds": canvas.GOOD, "cannot tell": canvas.DOUBT,
}  # fmt: skip
READ_AT = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Coverages that a curve's description names."""


@dataclass(frozen=True, kw_only=True)
class CloserFigures:
    """Drawings of the closer looks; empty where nobody looked."""

    reliability: tuple[Drawing, ...] = ()
    """Before training, after it, after it with a temperature."""
    coverage: tuple[Drawing, ...] = ()
    slices: tuple[Drawing, ...] = ()
    gaps: tuple[Drawing, ...] = ()
    robustness: tuple[Drawing, ...] = ()
    seeds: tuple[Drawing, ...] = ()

    def every(self) -> tuple[Drawing, ...]:
        """All of them, in the order of the page."""
        return tuple(drawing for field in fields(self) for drawing in getattr(self, field.name))


def draw_closer(summary: RunSummary) -> CloserFigures:
    """Draw what was found when one looked closer.

    Args:
        summary: A finished run.
    """
    return CloserFigures(
        reliability=_reliability(summary), coverage=_coverage(summary), slices=_slices(summary), gaps=_gaps(summary),
        robustness=_robustness(summary), seeds=_seeds(summary),
    )  # fmt: skip


def _reliability(summary: RunSummary) -> tuple[Drawing, ...]:
    """Before, after, and after with a temperature."""
    trust = summary.looks.trust
    states = calibrations(trust)
    if trust is None:
        return ()
    before = [state for wanted in BEFORE for state in states if state[0] == wanted][:1]
    after = [state for state in states if state[0] == trust.system or state[0].startswith(f"{trust.system},")]
    drawn = [(name, found) for name, found, _ in (*before, *after) if found.bins]
    return tuple(draw_reliability(name, found, number) for number, (name, found) in enumerate(drawn, 1))


def draw_reliability(name: str, found: Calibration, number: int) -> Drawing:
    """What answers claim against what is true, bin by bin.

    Args:
        name: Whose probabilities.
        found: They, with bins.
        number: Which of the drawings of this kind.
    """
    sheet = Sheet(width=340, height=300)
    axes = sheet.axes(left=52, right=14, top=10, bottom=50)
    _frame(axes, "claimed probability", "share right")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.plot((0, 1), (0, 1), color=canvas.MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for each in found.bins:
        axes.plot(
            (each.confidence, each.confidence), (each.accuracy_low, each.accuracy_high), color=canvas.ACCENT,
            linewidth=3, alpha=0.4, solid_capstyle="round",
        )  # fmt: skip
    x, y = [each.confidence for each in found.bins], [each.accuracy for each in found.bins]
    axes.plot(x, y, "o", color=canvas.ACCENT, markersize=7, markeredgecolor=canvas.PAPER)
    told = "; ".join(
        f"claims {formats.score(each.confidence)}, right {formats.score(each.accuracy)} of {each.n:,}"
        for each in found.bins
    )
    return sheet.finish(
        name=f"reliability-{number}",
        caption=(
            f"{name}: answers of like probability. On the broken line what is claimed is true; below it, the model is "
            f"too sure. Calibration error {formats.score(found.ece.value)} ({formats.interval(found.ece)}), "
            f"n = {found.n:,}."
        ),
        alt=f"Reliability of {name}: {told}.",
    )


def _coverage(summary: RunSummary) -> tuple[Drawing, ...]:
    trust = summary.looks.trust
    if trust is None or trust.curve is None or len(trust.curve.coverage) < 2:
        return ()
    return (draw_coverage(trust.system, trust.curve, trust.alone),)


def draw_coverage(system: str, curve: RiskCoverage, alone: Selective | None) -> Drawing:
    """Share of right answers among the surest, at every share that is answered.

    Args:
        system: Whose answers.
        curve: Risk and coverage.
        alone: The promise with what it gave, which is marked. None: nothing is marked.
    """
    every = slice(None, None, max(1, len(curve.coverage) // MOST_POINTS))
    x = [100 * part for part in (*curve.coverage[every], curve.coverage[-1])]
    y = [100 * (1 - part) for part in (*curve.risk[every], curve.risk[-1])]
    sheet = Sheet(height=280)
    axes = sheet.axes(left=52, right=18, top=14, bottom=50)
    _frame(axes, "% answered by itself", "% right among them")
    axes.plot(x, y, color=canvas.ACCENT, linewidth=2, solid_capstyle="round")
    lows = [*y]
    told = ""
    if alone is not None and alone.promise.threshold is not None:
        target = 100 * alone.promise.target
        axes.axhline(target, color=canvas.MUTED, linewidth=1, linestyle=(0, (4, 3)))
        lows.append(target)
        told = " The broken line is what was promised."
        if alone.coverage.value and alone.accuracy.value is not None:
            lows += _mark(axes, alone.coverage.value, alone.accuracy)
            told += " The dot is what the promised threshold gives here, with its 95 % interval."
    low = min(lows)
    air = max(0.06 * (100 - low), 0.2)
    axes.set_xlim(-1, 101)
    axes.set_ylim(low - air, 100 + air)
    named = {next((at for at, part in enumerate(curve.coverage) if part >= wanted - 1e-9), len(curve.coverage) - 1): 0
             for wanted in READ_AT}  # fmt: skip
    parts = [
        f"{formats.percent(curve.coverage[at])} answered, {formats.percent(1 - curve.risk[at])} right" for at in named
    ]
    return sheet.finish(
        name="coverage",
        caption=(
            f"{system}: the surest answers only, from the left to all of them. The further right the line stays high, "
            f"the more it can answer alone.{told}"
        ),
        alt=f"Right answers among the surest of {system}: {'; '.join(parts)}.",
    )


def _mark(axes: Axes, coverage: float, accuracy: Estimate) -> list[float]:
    """The promised threshold's point; gives the heights that have to be seen."""
    x, y = 100 * coverage, 100 * (accuracy.value or 0.0)
    ends = [100 * end for end in (accuracy.low, accuracy.high) if end is not None]
    if len(ends) == 2:
        axes.plot((x, x), ends, color=canvas.INK, linewidth=2, alpha=0.5)
    axes.plot([x], [y], "o", color=canvas.INK, markersize=8, markeredgecolor=canvas.PAPER)
    return [y, *ends]


def _frame(axes: Axes, across: str, up: str) -> None:
    axes.set_xlabel(across, color=canvas.MUTED, fontsize=canvas.SIZE, labelpad=6)
    axes.set_ylabel(up, color=canvas.MUTED, fontsize=canvas.SIZE, labelpad=4)
    axes.grid(color=canvas.LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(few_ticks())
    axes.yaxis.set_major_locator(few_ticks())


def _slices(summary: RunSummary) -> tuple[Drawing, ...]:
    """The worst slices of all kinds, beside the other system's."""
    found = summary.looks.slices
    shown = [each for each in found.slices if each.verdict != "too few"] if found is not None else []
    if found is None or not shown:
        return ()
    points = [
        Point(f"{each.kind}: {each.name}", each.score, COLOURS.get(each.verdict, canvas.ACCENT), beside=each.baseline)
        for each in shown[:MOST_SLICES]
    ]
    ring = f" The ring below it is {found.against}." if found.against else ""
    worst = f"The {len(points)} worst of {len(shown):,} slices" if len(shown) > len(points) else "Every slice"
    drawing = draw_points(points).finish(
        name="slices",
        caption=f"{worst} with enough records: {found.metric} of {found.system}, with 95 % intervals.{ring}",
        alt=f"{worst} of {found.system}, the worst first: {read_aloud(points)}.",
    )
    return (drawing,)


def _gaps(summary: RunSummary) -> tuple[Drawing, ...]:
    found = summary.looks.slices
    if found is None or not found.gaps:
        return ()
    points = [
        Point(gap.kind.replace("_", " "), gap.value, canvas.ACCENT, beside=gap.baseline)
        for gap in found.gaps[:MOST_SLICES]
    ]
    ring = f" The ring below it is the gap of {found.against}." if found.against else ""
    drawing = draw_points(points).finish(
        name="gaps",
        caption=f"Best slice minus worst slice of each kind, {found.system}, with 95 % intervals.{ring}",
        alt=f"Gap between best and worst slice of {found.system}: {read_aloud(points)}.",
    )
    return (drawing,)


def _robustness(summary: RunSummary) -> tuple[Drawing, ...]:
    found = summary.looks.robustness
    if found is None or not found.drops:
        return ()
    points = [
        Point(drop.change.replace("_", " "), drop.drop, COLOURS.get(drop.verdict, canvas.ACCENT), strong=True)
        for drop in found.drops
    ]
    drawing = draw_points(points, with_sign=True, band=found.tolerated).finish(
        name="robustness",
        caption=(
            f"Right answers of {found.system} that a change of wording costs, with paired 95 % intervals. Right of "
            f"the line it hurts; the band reaches to what is tolerated, {formats.score(found.tolerated)}."
        ),
        alt=f"Loss of right answers of {found.system} by change: {read_aloud(points, with_sign=True)}.",
    )
    return (drawing,)


def _seeds(summary: RunSummary) -> tuple[Drawing, ...]:
    found = summary.looks.seeds
    if found is None or len(found.values) < 2:
        return ()
    single = [Estimate(value=value, low=None, high=None, n=1, method="none") for value in found.values]
    seeds = found.seeds if len(found.seeds) == len(single) else ()
    names = [f"seed {seed}" for seed in seeds] or [f"model {number + 1}" for number in range(len(single))]
    shown = list(zip(names, single, strict=True))[:MOST_SEEDS]
    points = [Point(name, each, canvas.MUTED) for name, each in shown]
    known = found.new_items if found.new_items.low is not None else found.same_items
    points.append(Point("the recipe", known, canvas.ACCENT, strong=True))
    metric = formats.metric_heading(found.metric)
    drawing = draw_points(points).finish(
        name="seeds",
        caption=f"{metric} of each training of the same recipe, and what that says of the recipe.",
        alt=f"{metric} by training: {read_aloud(points)}.",
    )
    return (drawing,)
