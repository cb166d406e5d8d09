"""The figures: systems with their intervals, differences, learning curves, confusion.

Takes the values of a run; gives drawings. Every point stands with its interval; what is unknown is
written, not drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from metier.evaluation.results import Difference, Evaluation
from metier.report import canvas, formats
from metier.report.canvas import Drawing, Sheet, write
from metier.report.closer_figures import CloserFigures, draw_closer
from metier.report.points import Point, draw_points, few_ticks, read_aloud
from metier.report.sentences import other_differences
from metier.report.summary import AttemptSummary, RunSummary
from metier.report.tables import minus_baseline, shown_metrics, tone_of
from metier.report.written import has_loss

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LABELS = 30
"""Above this a heat map cannot be read, and the page shows a table of pairs."""
MOST_POINTS = 500
TONES = {"good": canvas.GOOD, "bad": canvas.BAD, "calm": canvas.ACCENT, "doubt": canvas.DOUBT}


@dataclass(frozen=True, kw_only=True)
class Figures:
    """All drawings of a run, by the place in the page where they stand."""

    systems: tuple[Drawing, ...]
    differences: tuple[Drawing, ...]
    learning: dict[str, tuple[Drawing, ...]]
    """Candidate name to its loss and validation curves."""
    overfitting: tuple[Drawing, ...]
    confusion: tuple[Drawing, ...]
    loss: tuple[Drawing, ...] = ()
    """Loss of gold answers, of the systems that give probabilities."""
    closer: CloserFigures = field(default_factory=CloserFigures)
    """What was found when one looked closer."""

    def every(self) -> tuple[Drawing, ...]:
        """All of them, in the order of the page."""
        curves = tuple(drawing for drawings in self.learning.values() for drawing in drawings)
        first = (*self.systems, *self.differences, *self.closer.every(), *curves)
        return (*first, *self.overfitting, *self.confusion, *self.loss)


def draw_figures(summary: RunSummary) -> Figures:
    """Draw everything that the page shows."""
    candidate = summary.comparison.candidate
    found = next((system for system in summary.test if system.system == candidate), None)
    heat = draw_confusion(found) if found is not None else None
    metrics = shown_metrics(summary)[:2]
    return Figures(
        systems=tuple(draw_systems(summary, metric) for metric in metrics),
        differences=tuple(draw_differences(summary, part) for part in _difference_sets(summary)),
        learning={attempt.name: _curves(summary, attempt) for attempt in summary.attempts},
        overfitting=_overfitting(summary),
        confusion=() if heat is None else (heat,),
        loss=() if "loss" in metrics else _loss(summary),
        closer=draw_closer(summary),
    )


def _loss(summary: RunSummary) -> tuple[Drawing, ...]:
    """Loss of the systems that have one; nothing where fewer than two can be compared."""
    measured = tuple(system for system in summary.test if has_loss(system))
    return (draw_systems(replace(summary, test=measured), "loss"),) if len(measured) > 1 else ()


def _difference_sets(summary: RunSummary) -> list[tuple[Difference, ...]]:
    found = summary.comparison
    sets = [found.differences]
    if other := other_differences(summary):
        sets.append(other)
    return [part for part in sets if part]


def draw_systems(summary: RunSummary, metric: str) -> Drawing:
    """One metric of every system with its interval."""
    candidate = summary.comparison.candidate
    points = [
        Point(
            system.system, system.metrics.get(metric),
            canvas.ACCENT if system.system == candidate else canvas.MUTED, system.system == candidate,
        )
        for system in summary.test
    ]  # fmt: skip
    title = formats.metric_heading(metric)
    sheet = draw_points(points)
    return sheet.finish(
        name=f"systems-{metric}",
        caption=f"{title} on the {formats.set_words(summary.comparison.set)} set. A line is the 95 % interval.",
        alt=(
            f"{title} of every system on the {formats.set_words(summary.comparison.set)} set with 95 % intervals: "
            f"{read_aloud(points)}."
        ),
    )


def draw_differences(summary: RunSummary, differences: Sequence[Difference]) -> Drawing:
    """The candidate minus each baseline, with the paired interval, zero and the smallest useful gain."""
    metric, gain = differences[0].metric, summary.comparison.smallest_useful_gain
    points = [Point(d.baseline, d.difference, TONES[tone_of(d.verdict)], strong=True) for d in differences]
    sheet = draw_points(points, with_sign=True, band=gain)
    title = minus_baseline(metric, summary.comparison.candidate)
    aloud = read_aloud(points, with_sign=True)
    return sheet.finish(
        name=f"differences-{metric}",
        caption=(
            f"{title}. Right of the line it is better; "
            f"the band reaches to the smallest useful gain, {formats.score(gain)}."
        ),
        alt=f"{title} with paired 95 % intervals: {aloud}.",
    )


def _overfitting(summary: RunSummary) -> tuple[Drawing, ...]:
    found = summary.overfitting
    if found is None or not found.values:
        return ()
    points = [
        Point(name, estimate, canvas.ACCENT if name == "test" else canvas.MUTED, name == "test")
        for name, estimate in found.values.items()
    ]
    title = formats.metric_heading(found.metric)
    drawing = draw_points(points).finish(
        name="overfitting",
        caption=f"{title} of {summary.comparison.candidate} on each set, with 95 % intervals.",
        alt=f"{title} of {summary.comparison.candidate}: {read_aloud(points)}.",
    )
    return (drawing,)


def _curves(summary: RunSummary, attempt: AttemptSummary) -> tuple[Drawing, ...]:
    drawings = (draw_loss(attempt), draw_validation(attempt, summary.comparison.primary_metric))
    return tuple(drawing for drawing in drawings if drawing is not None)


def draw_loss(attempt: AttemptSummary) -> Drawing | None:
    """Training loss by step, with its running mean; None where there were no steps."""
    import numpy as np

    steps = attempt.history.steps
    if not steps:
        return None
    x = np.array([row.step for row in steps], dtype=float)
    y = np.array([row.loss for row in steps], dtype=float)
    half = len(y) // 40
    sums, places = np.cumsum(np.insert(y, 0, 0.0)), np.arange(len(y))
    starts, ends = np.maximum(places - half, 0), np.minimum(places + half + 1, len(y))
    smooth = (sums[ends] - sums[starts]) / (ends - starts)
    every = slice(None, None, max(1, len(y) // MOST_POINTS))
    sheet, axes = _curve_sheet()
    axes.plot(x[every], y[every], color=canvas.MUTED, linewidth=0.9, alpha=0.5)
    axes.plot(x[every], smooth[every], color=canvas.ACCENT, linewidth=2, solid_capstyle="round")
    axes.set_ylim(bottom=0, top=max(float(np.max(y)) * 1.05, 1e-6))
    mean = f", running mean over {2 * half + 1} rows in colour" if half else ""
    return sheet.finish(
        name=f"loss-{attempt.number:03d}",
        caption=f"{attempt.name}: training loss by step{mean}.",
        alt=(
            f"Training loss of {attempt.name} over {len(steps)} steps, from {formats.score(steps[0].loss)} "
            f"to {formats.score(steps[-1].loss)}."
        ),
    )


def draw_validation(attempt: AttemptSummary, primary: str) -> Drawing | None:
    """The primary metric on validation by step, the best one ringed; None below two validations."""
    rows = [row for row in attempt.history.validations if row.metrics]
    if len(rows) < 2:
        return None
    metric = primary if primary in rows[0].metrics else next(iter(rows[0].metrics))
    points = [(row.step, row.metrics[metric]) for row in rows if metric in row.metrics]
    sheet, axes = _curve_sheet()
    axes.plot(*zip(*points, strict=True), color=canvas.ACCENT, linewidth=2, marker="o", markersize=5)
    best = next((point for point in points if point[0] == attempt.history.best_step), None)
    aloud = f"from {formats.score(points[0][1])} to {formats.score(points[-1][1])}"
    if best is not None:
        axes.plot(*best, "o", markersize=12, markerfacecolor="none", markeredgecolor=canvas.ACCENT)
        aloud += f", best {formats.score(best[1])} at step {best[0]}"
    values = [value for _, value in points]
    air = max(0.15 * (max(values) - min(values)), 0.01)
    axes.set_ylim(min(values) - air, max(values) + air)
    title = formats.metric_words(metric) + (" (lower is better)" if formats.lower_is_better(metric) else "")
    return sheet.finish(
        name=f"validation-{attempt.number:03d}",
        caption=f"{attempt.name}: {title} on the validation sample by step; the best is ringed.",
        alt=f"{title} of {attempt.name} on the validation sample over {len(points)} validations, {aloud}.",
    )


def _curve_sheet() -> tuple[Sheet, Axes]:
    sheet = Sheet(height=240)
    axes = sheet.axes(left=46, right=14, top=10, bottom=46)
    axes.set_xlabel("optimiser step", color=canvas.MUTED, fontsize=canvas.SIZE, labelpad=6)
    axes.grid(axis="y", color=canvas.LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(few_ticks())
    axes.yaxis.set_major_locator(few_ticks())
    return sheet, axes


def draw_confusion(system: Evaluation) -> Drawing | None:
    """Right against given answers as a heat map; None above `MOST_LABELS` labels."""
    rows = [label for label in system.labels if any(system.confusion.get(label, {}).values())]
    rows += [gold for gold in system.confusion if gold not in rows and any(system.confusion[gold].values())]
    given = {answer for answers in system.confusion.values() for answer, times in answers.items() if times}
    columns = [label for label in rows if label in given or label in system.labels]
    columns += sorted(given - set(columns))
    if not rows or max(len(rows), len(columns)) > MOST_LABELS:
        return None
    cell = 44 if len(columns) <= 9 else 30 if len(columns) <= 16 else 24
    names = {label: formats.shortened(label, 24) for label in (*rows, *columns)}
    left = canvas.label_width([names[label] for label in rows], most=190)
    foot = canvas.label_width([names[label] for label in columns], most=190)
    sheet = Sheet(width=left + cell * len(columns) + 12, height=cell * len(rows) + foot + 12)
    axes = sheet.axes(left=left, right=12, top=8, bottom=foot + 4)
    _draw_cells(axes, system, rows, columns, size=canvas.SIZE if cell > 24 else 10.0)
    axes.set_xticks(range(len(columns)), [names[label] for label in columns], rotation=90, parse_math=False)
    axes.set_yticks(range(len(rows)), [names[label] for label in rows], parse_math=False)
    axes.spines["bottom"].set_visible(False)
    right = sum(system.confusion.get(label, {}).get(label, 0) for label in rows)
    return sheet.finish(
        name="confusion",
        caption=(
            "Rows are right answers, columns are given answers, numbers are records. "
            "Right ones lie on the diagonal; a stronger colour is a larger share of the row."
        ),
        alt=f"Confusion of {system.system} over {len(rows)} labels: {right} of {system.n} records on the diagonal.",
    )


def _draw_cells(axes: Axes, system: Evaluation, rows: Sequence[str], columns: Sequence[str], *, size: float) -> None:
    from matplotlib.patches import Rectangle

    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    for y, gold in enumerate(rows):
        answers = system.confusion.get(gold, {})
        total = sum(answers.values())
        for x, answer in enumerate(columns):
            times = answers.get(answer, 0)
            colour = canvas.ACCENT if gold == answer else canvas.BAD
            strength = (0.12 + 0.88 * times / total) if times else 0.0
            face = {"facecolor": colour, "alpha": strength} if times else {"facecolor": "none"}
            axes.add_patch(Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, linewidth=0, **face))
            if times:
                tint = canvas.PAPER if strength > 0.55 else canvas.INK
                write(axes, x, y, f"{times:,}", colour=tint, ha="center", va="center", fontsize=size)
            else:
                frame = Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, facecolor=canvas.LINE, alpha=0.3, linewidth=0)
                axes.add_patch(frame)
