"""The tables of the evidence, as frozen values that the page and the card both print.

Takes the values of a run; gives text in cells. A cell is filled from a result as it stands: nothing
is calculated here, and what is unknown carries its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from metier.evaluation.results import Difference, Estimate, Evaluation
from metier.report import formats
from metier.report.kinds import KINDS
from metier.report.summary import RunSummary

VERDICT_TONES = {"improved": "good", "regressed": "bad", "not worse": "calm"}
"""Colour of a verdict; every other verdict says that we do not know enough, and is drawn as a doubt."""
FEW_METRICS = 3
"""Up to so many metrics, each is told with how its interval was made."""


@dataclass(frozen=True)
class Cell:
    """One cell: text, a smaller note under it, a tone (`good`, `bad`, `calm`, `doubt`, `unknown`, `code`), a bar."""

    text: str
    note: str = ""
    tone: str = ""
    bar: float | None = None
    """Length of a bar beside the text, 0 to 1; None draws none."""


@dataclass(frozen=True)
class Column:
    """A column's title, and whether it holds numbers (which are aligned to the right)."""

    title: str
    numeric: bool = False


@dataclass(frozen=True)
class Row:
    """Cells, the first of which names the row; the promoted system's row is `strong`."""

    cells: tuple[Cell, ...]
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """A caption, columns and rows."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def tone_of(verdict: str) -> str:
    """The tone in which a verdict is drawn."""
    return VERDICT_TONES.get(verdict, "doubt")


def estimate_cell(estimate: Estimate | None, *, with_sign: bool = False) -> Cell:
    """A value over its interval; `unknown` over the reason where there is no value."""
    if estimate is None:
        return Cell(formats.UNKNOWN, "not measured", "unknown")
    if estimate.value is None:
        return Cell(formats.UNKNOWN, formats.interval(estimate), "unknown")
    text = formats.signed(estimate.value) if with_sign else formats.score(estimate.value)
    return Cell(text, formats.interval(estimate, with_sign=with_sign))


def known_cell(text: str, *, numeric_note: str = "") -> Cell:
    """A cell that greys itself when its text is `unknown`."""
    return Cell(text, numeric_note, "unknown" if text == formats.UNKNOWN else "")


def shown_metrics(summary: RunSummary) -> tuple[str, ...]:
    """The metrics of the main table, primary first, each once."""
    return formats.table_metrics(summary.test, summary.comparison.primary_metric)


def estimate_of(system: Evaluation, metric: str, usual_n: int) -> Cell:
    """A system's value of a metric, which says of how many records where it is not all of them."""
    found = system.metrics.get(metric)
    cell = estimate_cell(found)
    if found is None or found.n == usual_n or found.value is None:
        return cell
    return replace(cell, note=f"{cell.note}, n = {found.n:,}")


def systems_table(summary: RunSummary) -> Table:
    """Every system on the test set: scores with intervals and, where there is room, what each costs."""
    metrics = shown_metrics(summary)
    costs = not KINDS[summary.task].costs_apart
    titles = (Column("Size", numeric=True), Column("Time for 1,000", numeric=True), Column("Trained on"))
    columns = (
        Column("System"),
        *(Column(formats.metric_heading(name), numeric=True) for name in metrics),
        *(titles if costs else ()),
    )
    rows = []
    for system in summary.test:
        cells = (
            Cell(system.system, system.kind if costs else ""),
            *(estimate_of(system, name, summary.comparison.n) for name in metrics),
            *(cost_cells(system) if costs else ()),
        )
        rows.append(Row(cells, strong=system.system == summary.comparison.candidate))
    caption = (
        f"Every system on the same {formats.counted(summary.comparison.n, f'{_set(summary)} record')}, "
        f"with 95 % intervals ({_methods(summary.test, metrics)})."
    )
    return Table(caption, columns, tuple(rows))


def cost_cells(system: Evaluation) -> tuple[Cell, ...]:
    """How large a system is, how fast, and what it saw."""
    note = "" if system.parameters is None else f"{formats.parameters(system.parameters)} parameters"
    return (
        known_cell(formats.megabytes(system.bytes), numeric_note=note),
        known_cell(formats.duration(system.seconds_per_thousand)),
        known_cell(system.trained_on or formats.UNKNOWN),
    )


def _methods(systems: Sequence[Evaluation], metrics: Sequence[str]) -> str:
    """How the intervals of each metric were made: `accuracy: wilson; macro F1: bca bootstrap (2000)`.

    Many metrics are told by method.
    """
    parts = []
    by_method: dict[str, list[str]] = {}
    for name in metrics:
        estimates = [system.metrics[name] for system in systems if name in system.metrics]
        methods = sorted({estimate.method for estimate in estimates if estimate.method not in ("", "none")})
        if methods:
            parts.append(f"{formats.metric_words(name)}: {', '.join(methods)}")
            by_method.setdefault(", ".join(methods), []).append(formats.metric_words(name))
    if len(parts) > FEW_METRICS:
        parts = [f"{', '.join(names)}: {method}" for method, names in by_method.items()]
    return "; ".join(parts) or "no method was recorded"


def clean_table(summary: RunSummary) -> Table | None:
    """The same scores on test records without doubts; None where no system has them."""
    systems = [system for system in summary.test if system.clean_metrics]
    if not systems:
        return None
    metrics = shown_metrics(summary)
    sizes = sorted({estimate.n for system in systems for estimate in system.clean_metrics.values()})
    rows = tuple(
        Row(
            (Cell(system.system), *(estimate_cell(system.clean_metrics.get(name)) for name in metrics)),
            strong=system.system == summary.comparison.candidate,
        )
        for system in systems
    )
    columns = (Column("System"), *(Column(formats.metric_heading(name), numeric=True) for name in metrics))
    records = " or ".join(formats.counted(size, "record") for size in sizes)
    return Table(f"Only the {records} of the {_set(summary)} set that carry no doubt.", columns, rows)


def _set(summary: RunSummary) -> str:
    return formats.set_words(summary.comparison.set)


def all_metrics_table(summary: RunSummary) -> Table:
    """Every metric of every system, for those who look for another than the main table shows."""
    names = list(dict.fromkeys(name for system in summary.test for name in system.metrics))
    rows = tuple(
        Row((Cell(formats.metric_heading(name)), *(estimate_cell(system.metrics.get(name)) for system in summary.test)))
        for name in names
    )
    columns = (Column("Metric"), *(Column(system.system, numeric=True) for system in summary.test))
    return Table(f"Every metric of every system on the {_set(summary)} set, with 95 % intervals.", columns, rows)


def differences_table(summary: RunSummary, differences: Sequence[Difference]) -> Table:
    """The candidate against each baseline on the same records; positive is better."""
    gained, openings = KINDS[summary.task].gained, summary.comparison.openings or 1
    again = openings > 1 and any(found.after_openings is not None for found in differences)
    columns = (
        Column("Baseline"),
        Column("Difference", numeric=True),
        *((Column(f"At {100 - 5 / openings:.4g} %", numeric=True),) if again else ()),
        Column("p", numeric=True),
        Column("p (Holm)", numeric=True),
        *((Column("Gained", numeric=True), Column("Lost", numeric=True)) if gained else ()),
        Column("Detectable", numeric=True),
        Column("Verdict"),
    )
    rows = []
    for found in differences:
        baseline = f"{formats.score(found.candidate_value)} against {formats.score(found.baseline_value)}"
        cells = (
            Cell(found.baseline, baseline),
            estimate_cell(found.difference, with_sign=True),
            *((_after_cell(found),) if again else ()),
            known_cell(formats.p_value(found.p_value)),
            known_cell(formats.p_value(found.p_holm)),
            *((Cell(formats.count(found.gained)), Cell(formats.count(found.lost))) if gained else ()),
            known_cell(formats.score(found.smallest_detectable), numeric_note=_needed(found)),
            Cell(found.verdict, "", tone_of(found.verdict)),
        )
        rows.append(Row(cells))
    metric = differences[0].metric if differences else ""
    caption = (
        f"{minus_baseline(metric, summary.comparison.candidate)}, record by record, with the paired 95 % "
        f"interval. {_shared(openings) if again else ''}{gained}"
    )
    return Table(caption.rstrip(), columns, tuple(rows))


def _shared(openings: int) -> str:
    return (
        f"The test set was opened {formats.times(openings)}: at {100 - 5 / openings:.4g} % all openings together may "
        "be wrong one time in twenty. "
    )


def _after_cell(found: Difference) -> Cell:
    """The interval that is left after several openings."""
    if found.after_openings is None:
        return known_cell(formats.UNKNOWN)
    return known_cell(formats.interval(found.after_openings, with_sign=True))


def minus_baseline(metric: str, candidate: str) -> str:
    """What a difference is, in words: turned round where lower values are better."""
    if metric and formats.lower_is_better(metric):
        return f"{formats.metric_title(metric)} of each baseline minus that of {candidate} (positive is better)"
    return f"{formats.metric_title(metric) if metric else 'Metric'} of {candidate} minus each baseline"


def _needed(found: Difference) -> str:
    """How many records it would take, where this many could not tell."""
    if found.items_needed is None or found.verdict not in ("underpowered", "no evidence", "not worse"):
        return ""
    return f"{found.items_needed:,} records needed"


def gates_table(summary: RunSummary) -> Table | None:
    """The recipe's gates; None where it declares none."""
    if not summary.comparison.gates:
        return None
    rows = tuple(
        Row((
            Cell(gate.gate), Cell("passed" if gate.passed else "failed", "", "good" if gate.passed else "bad"),
            Cell(gate.wanted), Cell(gate.found),
        ))
        for gate in summary.comparison.gates
    )  # fmt: skip
    columns = (Column("Gate"), Column("Result"), Column("Wanted"), Column("Found"))
    return Table("Gates that the recipe declares. One that fails ends the command with exit code 3.", columns, rows)


def candidates_table(summary: RunSummary) -> Table:
    """Every candidate on validation: what learned, how it did, what it cost."""
    beside = KINDS[summary.task].beside
    metrics = tuple(dict.fromkeys((summary.comparison.primary_metric, *((beside,) if beside else ()))))
    columns = (
        Column("Candidate"),
        *(Column(formats.metric_heading(name), numeric=True) for name in metrics),
        Column("Base model"),
        Column("Method"),
        Column("Learned", numeric=True),
        Column("Size", numeric=True),
        Column("Training", numeric=True),
        Column("Ended"),
    )
    rows = []
    for attempt in summary.attempts:
        model, history = attempt.model, attempt.history
        trunk = f"{model.trunk_layers} of {model.layers} layers frozen" if model.trunk_layers else ""
        cells = (
            Cell(attempt.name, "promoted" if attempt.promoted else ""),
            *(estimate_cell(attempt.validation.metrics.get(name)) for name in metrics),
            Cell(model.name, f"{model.kind}, {formats.parameters(model.parameters)} parameters"),
            Cell(model.method, trunk),
            Cell(
                formats.parameters(model.trainable_parameters),
                formats.share(model.trainable_parameters, model.parameters),
            ),
            Cell(formats.megabytes(model.bytes)),
            known_cell(
                formats.duration(history.seconds or None), numeric_note=_steps(len(history.steps), history.best_step)
            ),
            Cell(history.stopped),
        )
        rows.append(Row(cells, strong=attempt.promoted))
    sizes = " or ".join(str(size) for size in sorted({attempt.validation.n for attempt in summary.attempts}))
    return Table(f"Every candidate on validation (n = {sizes}), with 95 % intervals.", columns, tuple(rows))


def _steps(steps: int, best: int) -> str:
    return f"best at step {best:,}" if steps else ""


def overfitting_table(summary: RunSummary) -> Table | None:
    """The promoted system on train, validation and test; None where that was not measured."""
    if summary.overfitting is None:
        return None
    rows = tuple(
        Row((Cell(name), estimate_cell(estimate), Cell(formats.count(estimate.n))))
        for name, estimate in summary.overfitting.values.items()
    )
    metric = formats.metric_heading(summary.overfitting.metric)
    return Table(
        f"{metric} of {summary.comparison.candidate} on what it learned from and on what it did not see.",
        (Column("Set"), Column(metric, numeric=True), Column("Records", numeric=True)),
        rows,
    )


def per_class_table(system: Evaluation) -> Table:
    """Precision, recall and F1 of each label, the weakest first; what a model made up instead of a label in one row."""
    pieces = system.task == "extraction"
    invented = [
        found.predicted for label, found in system.per_class.items()
        if pieces and found.support == 0 and label not in system.labels
    ]  # fmt: skip
    known = [pair for pair in system.per_class.items() if not pieces or pair[1].support or pair[0] in system.labels]
    ranked = sorted(
        known, key=lambda pair: (pair[1].f1 is None, pair[1].f1 if pair[1].f1 is not None else 0.0, pair[0])
    )
    why = "no such test piece" if pieces else "no such test record"
    rows = [
        Row((
            Cell(label),
            _plain_score(found.f1, found.support, bar=True, why=why),
            _plain_score(found.precision, found.predicted, why="never answered"),
            _plain_score(found.recall, found.support, why=why),
            Cell(formats.count(found.support)),
            Cell(formats.count(found.predicted)),
        ))
        for label, found in ranked
    ]  # fmt: skip
    if invented:
        none = Cell(formats.UNKNOWN, why, "unknown")
        words = f"({formats.counted(len(invented), 'name')} that {'is' if len(invented) == 1 else 'are'} no label)"
        zero = Cell(formats.score(0.0))
        rows.append(Row((Cell(words), none, zero, none, Cell("0"), Cell(formats.count(sum(invented))))))
    columns = (
        Column("Label"), Column("F1", numeric=True), Column("Precision", numeric=True),
        Column("Recall", numeric=True), Column("Pieces" if pieces else "Records", numeric=True),
        Column("Answered", numeric=True),
    )  # fmt: skip
    few = "pieces" if pieces else "records"
    return Table(
        f"Each label as {system.system} answers it, the weakest first. Labels with few {few} vary a lot.",
        columns, tuple(rows),
    )  # fmt: skip


def _plain_score(value: float | None, base: int, *, why: str, bar: bool = False) -> Cell:
    if value is None:
        return Cell(formats.UNKNOWN, why if base == 0 else "", "unknown")
    return Cell(formats.score(value), bar=value if bar else None)


def confused_pairs_table(system: Evaluation, *, limit: int = 20) -> Table | None:
    """The pairs of labels that are mixed up most often; None where nothing is."""
    pairs = sorted(
        ((times, gold, answer) for gold, answer, times in _errors(system.confusion)),
        key=lambda pair: (-pair[0], pair[1], pair[2]),
    )
    if not pairs:
        return None
    rows = tuple(
        Row((
            Cell(gold), Cell(answer), Cell(formats.count(times)),
            Cell(formats.count(sum(system.confusion[gold].values()))),
        ))
        for times, gold, answer in pairs[:limit]
    )  # fmt: skip
    columns = (
        Column("Right answer"), Column("Given answer"),
        Column("Times", numeric=True), Column("Of records", numeric=True),
    )  # fmt: skip
    shown = f"The {limit} most frequent of {len(pairs):,} kinds of mistake" if len(pairs) > limit else "Every mistake"
    return Table(f"{shown}, by right and given answer.", columns, rows)


def _errors(confusion: Mapping[str, Mapping[str, int]]) -> Iterable[tuple[str, str, int]]:
    for gold, answers in confusion.items():
        for answer, times in answers.items():
            if answer != gold and times:
                yield gold, answer, times
