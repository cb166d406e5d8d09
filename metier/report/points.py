"""Drawings of named numbers: one row each, a dot for the value, a line for the interval, the number at the right.

Takes names and estimates; gives a sheet. What is unknown is written, not drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metier.evaluation.results import Estimate
from metier.report import canvas, formats
from metier.report.canvas import Sheet, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.ticker import MaxNLocator

ROW = 34
LONGEST_NAME, WIDEST_NAME = 24, 176


@dataclass(frozen=True)
class Point:
    """A named estimate and the colour in which it is drawn."""

    label: str
    estimate: Estimate | None
    colour: str
    strong: bool = False
    beside: Estimate | None = None
    """What it is compared with: a ring below the dot; None draws none."""


def draw_points(
    points: Sequence[Point], *, with_sign: bool = False, band: float | None = None, line: float | None = None
) -> Sheet:
    """One row a point.

    Args:
        points: From top to bottom.
        with_sign: Whether numbers are differences.
        band: A band from 0 to here, and a line at 0. None: neither.
        line: A value that is marked by a broken line. None: none.
    """
    names = [formats.shortened(point.label, LONGEST_NAME) for point in points]
    sheet = Sheet(height=ROW * max(1, len(points)) + 34)
    axes = sheet.axes(left=canvas.label_width(names, most=WIDEST_NAME), right=68, top=4, bottom=30)
    marks = (*(() if band is None else (0.0, band)), *(() if line is None else (line,)))
    low, high = _range(points, must_show=marks)
    axes.set_xlim(low, high)
    axes.set_ylim(len(points) - 0.5, -0.5)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(few_ticks())
    axes.grid(axis="x", color=canvas.LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    if band is not None:
        axes.axvspan(0, band, color=canvas.LINE, alpha=0.55, linewidth=0)
        axes.axvline(0, color=canvas.INK, linewidth=1)
    if line is not None:
        axes.axvline(line, color=canvas.MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for number, (point, name) in enumerate(zip(points, names, strict=True)):
        _draw_point(axes, number, point, name, with_sign=with_sign)
    return sheet


def read_aloud(points: Sequence[Point], *, with_sign: bool = False) -> str:
    """The points in words, in their order.

    Args:
        points: What was drawn.
        with_sign: Whether numbers are differences.
    """
    form = formats.signed if with_sign else formats.score
    parts = []
    for point in points:
        if point.estimate is None or point.estimate.value is None:
            parts.append(f"{point.label} unknown")
        else:
            between = formats.interval(point.estimate, with_sign=with_sign)
            parts.append(f"{point.label} {form(point.estimate.value)} ({between})")
    return "; ".join(parts)


def few_ticks() -> MaxNLocator:
    """Up to five round numbers along an axis."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10])


def _draw_point(axes: Axes, number: int, point: Point, name: str, *, with_sign: bool) -> None:
    weight = "bold" if point.strong and not with_sign else "normal"
    side: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "fontweight": weight}
    write(axes, -0.03, number, name, ha="right", **side)
    if point.beside is not None and point.beside.value is not None:
        _draw_ring(axes, number + 0.3, point.beside, point.beside.value)
    value = None if point.estimate is None else point.estimate.value
    if point.estimate is None or value is None:
        write(axes, 1.04, number, "unknown", ha="left", colour=canvas.MUTED, **{**side, "fontsize": 12})
        return
    if point.estimate.low is not None and point.estimate.high is not None:
        ends = (point.estimate.low, point.estimate.high)
        axes.plot(ends, (number, number), color=point.colour, linewidth=3, alpha=0.45, solid_capstyle="round")
    axes.plot([value], [number], "o", color=point.colour, markersize=8, markeredgecolor=canvas.PAPER)
    text = formats.signed(value) if with_sign else formats.score(value)
    write(axes, 1.04, number, text, ha="left", **side)


def _draw_ring(axes: Axes, height: float, estimate: Estimate, value: float) -> None:
    if estimate.low is not None and estimate.high is not None:
        axes.plot((estimate.low, estimate.high), (height, height), color=canvas.MUTED, linewidth=1.5, alpha=0.6)
    axes.plot([value], [height], "o", markersize=5, markerfacecolor=canvas.PAPER, markeredgecolor=canvas.MUTED)


def _range(points: Sequence[Point], *, must_show: Sequence[float]) -> tuple[float, float]:
    """Limits that hold every interval with some air."""
    numbers = list(must_show)
    for estimate in (each for point in points for each in (point.estimate, point.beside)):
        if estimate is not None:
            found = (estimate.value, estimate.low, estimate.high)
            numbers += [number for number in found if number is not None]
    if not numbers:
        return 0.0, 1.0
    low, high = min(numbers), max(numbers)
    air = max(0.06 * (high - low), 0.01)
    return low - air, high + air
