"""The tables of the closer looks: trust, slices, gaps, wording, errors.

Takes the values of a run; gives tables. As in `tables.py`, nothing is calculated here: every number stands in a file
of the run. Each drawing of these looks has its table here, for those who cannot see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metier.evaluation.evidence import Calibration, Drop, Explained, Gap, ReliabilityBin, SliceReport, SliceScore, Trust
from metier.evaluation.results import Estimate
from metier.report import formats
from metier.report.summary import RunSummary
from metier.report.tables import Cell, Column, Row, Table, estimate_cell, known_cell

FEW_SLICES, MOST_SLICES = 15, 150
"""Slices that are seen at once, and that are in the page at all."""
MOST_ROWS = 25
"""Training rows to check that are seen; all of them are in `errors.json`."""
NEAREST = 3
"""Neighbours that are shown of each wrong answer."""
COVERAGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Coverages of the table that stands for the curve."""
TONES = {"weak": "bad", "strong": "good", "hurts": "bad", "holds": "good", "cannot tell": "doubt"}
REASONS = {
    "doubted": "a training row near it has a doubted label",
    "taught": "most training rows near it have the answered label",
    "alone": "no training row is near it",
    "against": "the training rows near it have the right label, or several labels",
}
"""What the neighbours of a wrong answer suggest, in words."""


def _number(title: str) -> Column:
    return Column(title, numeric=True)


def _p_cell(value: float | None) -> Cell:
    return known_cell(formats.p_value(value))


def trust_table(trust: Trust | None) -> Table | None:
    """Calibration of every system with probabilities, the promoted one before and after its temperature.

    Args:
        trust: None where nobody looked.
    """
    states = calibrations(trust)
    if trust is None or not states:
        return None
    rows = tuple(_calibration_row(name, found, strong=strong) for name, found, strong in states)
    columns = (
        Column("Probabilities of"), _number("Calibration error"), _number("By chance alone"), _number("Claimed"),
        _number("Right"), _number("Brier score"), _number("Log loss"), _number("Records"),
    )  # fmt: skip
    return Table(
        "How far probabilities can be believed, with 95 % intervals. Calibration error: how far claimed and true lie "
        "apart on average, 0 is best. By chance alone: what perfectly calibrated answers would show on as many "
        "records. Claimed above right: too sure of itself.",
        columns, rows,
    )  # fmt: skip


def calibrations(trust: Trust | None) -> tuple[tuple[str, Calibration, bool], ...]:
    """Name, probabilities and whether it is what the model ships with, in the order of tables and drawings.

    Args:
        trust: None where nobody looked.
    """
    if trust is None:
        return ()
    others = [(name, found, False) for name, found in trust.calibration.items() if name != trust.system]
    own = trust.calibration.get(trust.system)
    states = [*others, *([(trust.system, own, trust.tempered is None)] if own is not None else [])]
    if trust.tempered is not None:
        states.append((f"{trust.system}, temperature {trust.temperature.value:.3g}", trust.tempered, True))
    return tuple((name, found, strong) for name, found, strong in states if found.n)


def _calibration_row(name: str, found: Calibration, *, strong: bool) -> Row:
    chance = "" if found.chance_p is None else f"p {formats.p_value(found.chance_p)}"
    left = f"{found.without:,} without" if found.without else ""
    cells = (
        Cell(name), estimate_cell(found.ece), known_cell(formats.score(found.ece_by_chance), numeric_note=chance),
        known_cell(formats.score(found.mean_confidence)), known_cell(formats.score(found.accuracy)),
        estimate_cell(found.brier), estimate_cell(found.log_loss), Cell(formats.count(found.n), left),
    )  # fmt: skip
    return Row(cells, strong=strong)


def reliability_table(name: str, found: Calibration) -> Table | None:
    """Claimed and true, bin by bin; None without bins.

    Args:
        name: Whose probabilities.
        found: They.
    """
    if not found.bins:
        return None
    columns = (Column("Probability"), _number("Records"), _number("Claimed"), _number("Right"))
    return Table(
        f"{name}: answers of like probability, what they claim and what is true, with 95 % intervals.",
        columns, tuple(_bin_row(each) for each in found.bins),
    )  # fmt: skip


def _bin_row(each: ReliabilityBin) -> Row:
    between = f"{formats.score(each.low)} to {formats.score(each.high)}"
    right = f"{formats.score(each.accuracy_low)} to {formats.score(each.accuracy_high)}"
    cells = (
        Cell(between), Cell(formats.count(each.n)), Cell(formats.score(each.confidence)),
        Cell(formats.score(each.accuracy), right),
    )  # fmt: skip
    return Row(cells)


def promise_table(trust: Trust | None) -> Table | None:
    """The promise from validation, and what it gave on records that had no part in it; None without one.

    Args:
        trust: None where nobody looked.
    """
    if trust is None or trust.alone is None or trust.alone.promise.threshold is None:
        return None
    found, promise = trust.alone, trust.alone.promise
    sure = formats.percent(promise.confidence)
    columns = (
        Column("Set"), _number("Answers by itself"), _number("Right among them"), _number(f"At least, {sure} sure"),
        _number("Answered"), _number("Records"),
    )  # fmt: skip
    rows = (
        Row((
            Cell("validation", "the threshold was chosen here"), Cell(formats.percent(promise.coverage)),
            known_cell(formats.percent(promise.accuracy)),
            known_cell(formats.percent(promise.at_least)), Cell(formats.count(promise.answered)),
            Cell(formats.count(promise.n)),
        )),
        Row((
            Cell(formats.set_words(found.set), "had no part in it"), _share_cell(found.coverage),
            _share_cell(found.accuracy), known_cell(formats.percent(found.at_least)),
            Cell(formats.count(found.accuracy.n)), Cell(formats.count(found.coverage.n)),
        ), strong=True),
    )  # fmt: skip
    return Table(
        f"What it answers by itself where it is at least {formats.score(promise.threshold)} sure, promised: "
        f"{formats.percent(promise.target)} right. Without handing anything over "
        f"{formats.percent(found.accuracy_all)} are right.",
        columns, rows,
    )  # fmt: skip


def _share_cell(estimate: Estimate) -> Cell:
    if estimate.value is None:
        return estimate_cell(estimate)
    ends = [formats.percent(end) for end in (estimate.low, estimate.high) if end is not None]
    return Cell(formats.percent(estimate.value), " to ".join(ends) if len(ends) == 2 else "")


def coverage_table(trust: Trust | None) -> Table | None:
    """The risk-coverage curve at a few coverages; None without one.

    Args:
        trust: None where nobody looked.
    """
    if trust is None or trust.curve is None or not trust.curve.coverage:
        return None
    curve = trust.curve
    places = {next((at for at, part in enumerate(curve.coverage) if part >= wanted - 1e-9), len(curve.coverage) - 1): 0
              for wanted in COVERAGES}  # fmt: skip
    rows = tuple(
        Row((
            Cell(formats.percent(curve.coverage[at])), Cell(formats.percent(1 - curve.risk[at])),
            Cell(formats.percent(1 - curve.coverage[at])), Cell(formats.score(curve.threshold[at])),
        ))
        for at in places
    )  # fmt: skip
    columns = (
        Column("Answers by itself"), _number("Right among them"), _number("Hands to a person"), _number("Threshold"),
    )  # fmt: skip
    area = f" Area under the risk: {formats.score(curve.aurc.value)} ({formats.interval(curve.aurc)})."
    return Table(f"The surest answers of {curve.n:,} records, at several thresholds.{area}", columns, rows)


def slices_tables(summary: RunSummary) -> tuple[Table | None, Table | None]:
    """The worst slices, and the others; None where there are none."""
    found = summary.looks.slices
    if found is None or not found.slices:
        return None, None
    against = f" Gain: over {found.against}, on the same records." if found.against else ""
    first, others = found.slices[:FEW_SLICES], found.slices[FEW_SLICES:MOST_SLICES]
    gone = len(found.slices) - FEW_SLICES - len(others)
    left = f" {formats.counted(gone, 'more slice')} are in the file slices.json alone." if gone > 0 else ""
    caption = (
        f"{_capital(found.metric)} of {found.system} by slice, the worst first, with 95 % intervals. Weak or strong: "
        "unlike all other records even after Benjamini and Hochberg's correction for how many slices were looked at."
        f"{against}"
    )
    worst = _slices_table(caption, first, gains=found.against is not None)
    if not others:
        return worst, None
    return worst, _slices_table(f"The other slices.{left}", others, gains=found.against is not None)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _slices_table(caption: str, slices: Sequence[SliceScore], *, gains: bool) -> Table:
    columns = (
        Column("Slice"), _number("Score"), _number("Against the rest"), _number("p (corrected)"),
        *((_number("Gain"),) if gains else ()), _number("Records"), Column("Found"),
    )  # fmt: skip
    rows = tuple(
        Row((
            Cell(each.name, each.kind.replace("_", " ")), estimate_cell(each.score),
            estimate_cell(each.against_rest, with_sign=True), _p_cell(each.p_corrected),
            *((estimate_cell(each.gain, with_sign=True),) if gains else ()), Cell(formats.count(each.n)),
            Cell(each.verdict, "", TONES.get(each.verdict, "")),
        ))
        for each in slices
    )  # fmt: skip
    return Table(caption, columns, rows)


def gaps_table(summary: RunSummary) -> Table | None:
    """How unequal the slices of each kind are, before and after; None where no kind has two slices."""
    found = summary.looks.slices
    if found is None or not found.gaps:
        return None
    before = found.against is not None
    columns = (
        Column("Kind"), Column("Worst"), Column("Best"), _number("Gap"), _number("By chance alone"),
        *((_number(f"Gap of {found.against}"), _number("Change")) if before else ()),
    )  # fmt: skip
    rows = tuple(_gap_row(gap, before=before) for gap in found.gaps)
    change = f" Change: above 0, its slices are less equal than those of {found.against}." if before else ""
    return Table(
        f"The best slice of each kind minus the worst, with 95 % intervals.{change} Slices with few records are "
        "left out.",
        columns, rows,
    )  # fmt: skip


def _gap_row(gap: Gap, *, before: bool) -> Row:
    chance = "" if gap.chance_p is None else f"p {formats.p_value(gap.chance_p)}"
    cells = (
        Cell(gap.kind.replace("_", " "), formats.counted(gap.slices, "slice")),
        Cell(gap.worst, formats.score(gap.worst_score)), Cell(gap.best, formats.score(gap.best_score)),
        estimate_cell(gap.value), known_cell(formats.score(gap.by_chance), numeric_note=chance),
        *((estimate_cell(gap.baseline), estimate_cell(gap.change, with_sign=True)) if before else ()),
    )  # fmt: skip
    return Row(cells)


def left_out_lines(left_out: Mapping[str, str]) -> tuple[str, ...]:
    """Kinds of slice that were asked for and are not here, each with its reason.

    Args:
        left_out: Kind to reason.
    """
    return tuple(f"{kind.replace('_', ' ')}: {reason}" for kind, reason in left_out.items())


def robustness_table(summary: RunSummary) -> Table | None:
    """What each change of wording costs; None where nothing was changed."""
    found = summary.looks.robustness
    if found is None or not found.drops:
        return None
    columns = (
        Column("Change"), _number("Right as it is"), _number("Right when changed"), _number("Loss"),
        _number("p (Holm)"), _number("Other answers"), _number("Records"), Column("Found"),
    )  # fmt: skip
    return Table(
        f"{found.system} asked the same records as they are and changed: the loss in right answers, paired, with "
        f"95 % intervals. Holds: surely less than {formats.score(found.tolerated)} is lost.",
        columns, tuple(_drop_row(drop) for drop in found.drops),
    )  # fmt: skip


def _drop_row(drop: Drop) -> Row:
    cells = (
        Cell(drop.change.replace("_", " ")), Cell(formats.score(drop.before)), Cell(formats.score(drop.after)),
        estimate_cell(drop.drop, with_sign=True), _p_cell(drop.p_holm), estimate_cell(drop.flips),
        Cell(formats.count(drop.n)), Cell(drop.verdict, "", TONES.get(drop.verdict, "")),
    )  # fmt: skip
    return Row(cells)


def rows_table(summary: RunSummary) -> Table | None:
    """Training rows to check first; None where no error points to one."""
    found = summary.looks.errors
    if found is None or not found.rows:
        return None
    shown = found.rows[:MOST_ROWS]
    more = f" The first {MOST_ROWS} of {len(found.rows):,}." if len(found.rows) > MOST_ROWS else ""
    columns = (Column("Training row"), Column("Its label"), _number("Wrong answers near it"), Column("Label"))
    rows = tuple(
        Row((
            Cell(_place(row.source, row.row), row.id[:12]), Cell(row.label), Cell(formats.count(row.errors)),
            Cell("doubted", "", "doubt") if row.doubted else Cell("not doubted"),
        ))
        for row in shown
    )  # fmt: skip
    caption = "Check these rows first: wrong answers have their label and lie near them; doubted labels come first."
    return Table(f"{caption}{more}", columns, rows)


def explained_table(summary: RunSummary) -> Table | None:
    """Wrong answers with the training rows nearest to them; None where none was looked at."""
    found = summary.looks.errors
    if found is None or not found.explained:
        return None
    columns = (
        Column("Record"), Column("Right answer"), Column("Given answer"), Column("Nearest training rows"),
        Column("What they suggest"),
    )  # fmt: skip
    first = f"The first {len(found.explained):,} of {found.wrong:,} wrong answers"
    return Table(
        f"{first if found.wrong > len(found.explained) else 'Wrong answers'}, each with the {NEAREST} training rows "
        f"that are nearest to it in {found.vectors}; in brackets how near, 1 is the same.",
        columns, tuple(_explained_row(each) for each in found.explained),
    )  # fmt: skip


def _explained_row(each: Explained) -> Row:
    near = "; ".join(
        f"{_place(row.source, row.row)} ({row.similarity:.2f}) {row.label}{', doubted' if row.doubted else ''}"
        for row in each.neighbours[:NEAREST]
    )
    cells = (
        Cell(_place(each.source, each.row), each.id[:12]), Cell(each.gold),
        Cell(each.answer) if each.answer is not None else Cell("(none)"), Cell(near or "none"),
        Cell(REASONS.get(each.reason, each.reason)),
    )  # fmt: skip
    return Row(cells)


def _place(source: str, row: int) -> str:
    return f"{source} row {row:,}" if source else f"row {row:,}"


def probabilities(summary: RunSummary) -> Trust | None:
    """What is known of probabilities; None where no system has any."""
    trust = summary.looks.trust
    if trust is None or not (calibrations(trust) or trust.alone is not None or trust.curve is not None):
        return None
    return trust


def slices_shown(summary: RunSummary) -> SliceReport | None:
    """What is known of slices; None where the recipe asks for none."""
    found = summary.looks.slices
    return found if found is not None and (found.slices or found.left_out) else None
