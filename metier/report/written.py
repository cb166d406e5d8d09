"""The tables of written answers and of passages: fields, length and ending, loss, documents, signatures.

Takes the values of a run; gives tables. As in `tables.py`, nothing is calculated here but counts of answers.
"""

from __future__ import annotations

from collections import Counter

from metier.evaluation.results import Evaluation
from metier.report import formats, picks
from metier.report.sentences import is_strict
from metier.report.summary import Document, RunSummary, WrittenExample
from metier.report.tables import Cell, Column, Row, Table, cost_cells, estimate_cell, known_cell

FAMILIES = {"rouge": "ROUGE"}
"""Signatures that stand for several metrics, by their name."""
LENGTH_METRICS = ("length_ratio", "unfinished", "repetition", "copy_rate")
LENGTH_WORDS = (
    "Length ratio: words of all answers by words of the gold answers, 1 when they are as long. Unfinished: the share "
    "that ran into the limit of tokens. Repetition: four words in a row that stood in the answer before. Copy rate: "
    "four words in a row that stand in what was asked; neither high nor low is good by itself."
)


def is_candidate(summary: RunSummary, system: Evaluation) -> bool:
    """Whether a system is the promoted one."""
    return system.system == summary.comparison.candidate


def costs_table(summary: RunSummary) -> Table:
    """What each system is, how large, how fast, and what it saw."""
    columns = (
        Column("System"), Column("Size", numeric=True), Column("Time for 1,000", numeric=True), Column("Trained on"),
    )  # fmt: skip
    rows = tuple(
        Row((Cell(system.system, system.kind), *cost_cells(system)), strong=is_candidate(summary, system))
        for system in summary.test
    )
    return Table("What each system is and costs.", columns, rows)


def fields_table(summary: RunSummary) -> Table | None:
    """How alike each field of JSON answers is to the gold one; None where answers are no JSON."""
    names = list(dict.fromkeys(name for system in summary.test for name in system.per_field))
    if not names:
        return None
    systems = [system for system in summary.test if system.per_field]
    rows = []
    for name in names:
        found = [system.per_field.get(name) for system in systems]
        sizes = sorted({estimate.n for estimate in found if estimate is not None})
        size = Cell(" or ".join(formats.count(n) for n in sizes))
        rows.append(Row((Cell(name), *(estimate_cell(estimate) for estimate in found), size)))
    columns = (
        Column("Field"), *(Column(system.system, numeric=True) for system in systems), Column("Records", numeric=True),
    )  # fmt: skip
    caption = (
        "Each field of the JSON answers, with 95 % intervals. A value of up to ten words is right or wrong, a longer "
        "one is compared word by word (token F1); a field that is not there, or an answer that is no JSON, counts 0."
    )
    return Table(caption, columns, tuple(rows))


def length_table(summary: RunSummary) -> Table:
    """How long answers are, how they ended, and how much of them is repeated or copied."""
    columns = (
        Column("System"),
        *(Column(formats.metric_heading(name), numeric=True) for name in LENGTH_METRICS),
        Column("No answer", numeric=True),
        Column("Input cut", numeric=True),
    )
    rows = tuple(
        Row(
            (
                Cell(system.system),
                *(estimate_cell(system.metrics.get(name)) for name in LENGTH_METRICS),
                _no_answer(system),
                _cut(system),
            ),
            strong=is_candidate(summary, system),
        )
        for system in summary.test
    )
    return Table("Length of answers and how they ended, with 95 % intervals.", columns, rows)


def _no_answer(system: Evaluation) -> Cell:
    if not system.items:
        return known_cell(formats.UNKNOWN)
    missing = [item for item in system.items if item.answer is None]
    reasons = Counter(item.reason or "no reason was recorded" for item in missing)
    return Cell(formats.count(len(missing)), "; ".join(f"{why} ({n:,})" for why, n in reasons.most_common(3)))


def _cut(system: Evaluation) -> Cell:
    if not system.items:
        return known_cell(formats.UNKNOWN)
    return Cell(formats.count(sum(item.reason == "cut" for item in system.items)))


def has_loss(system: Evaluation) -> bool:
    """Whether a system gives probabilities of gold answers."""
    found = system.metrics.get("loss")
    return found is not None and found.value is not None


def loss_table(summary: RunSummary) -> Table | None:
    """Loss of the gold answers, base against tuned; None where no system has one."""
    systems = [system for system in summary.test if has_loss(system)]
    if not systems:
        return None
    rows = tuple(
        Row(
            (
                Cell(system.system, system.kind), estimate_cell(system.metrics["loss"]),
                Cell(formats.count(system.metrics["loss"].n)),
                known_cell(formats.count(_tokens(system))),
            ),
            strong=is_candidate(summary, system),
        )
        for system in systems
    )  # fmt: skip
    columns = (
        Column("System"), Column(formats.metric_heading("loss"), numeric=True), Column("Records", numeric=True),
        Column("Tokens", numeric=True),
    )  # fmt: skip
    silent = [system.system for system in summary.test if not has_loss(system)]
    others = f" Without probabilities, so not measured: {', '.join(silent)}." if silent else ""
    return Table(
        f"Loss of the gold answers in nats a token, end of turn included, with 95 % intervals.{others}", columns, rows
    )


def _tokens(system: Evaluation) -> int | None:
    """Tokens that were scored; None where the items do not say."""
    counts = [item.counts.get("loss") for item in system.items]
    known = [pair[1] for pair in counts if pair is not None]
    return round(sum(known)) if known and len(known) == len(counts) else None


def documents_table(summary: RunSummary) -> Table | None:
    """The primary metric by document, the largest gain first; None where there is none."""
    if not summary.documents:
        return None
    metric = summary.comparison.primary_metric
    names = [system.system for system in summary.test]
    baseline = summary.comparison.best_baseline
    marked = any(document.why for document in summary.documents)
    columns = (
        Column("Document"), Column("Bytes", numeric=True), *(Column(name, numeric=True) for name in names),
        Column("Gain", numeric=True), *((Column("Shown because"),) if marked else ()),
    )  # fmt: skip
    rows = tuple(
        Row((
            Cell(document.name), Cell(formats.count(document.size)),
            *(known_cell(formats.score(document.scores.get(name))) for name in names),
            known_cell(formats.signed(document.gain)), *((Cell(_because(document)),) if marked else ()),
        ))
        for document in summary.documents
    )  # fmt: skip
    which = (
        f"Of all test documents {picks.FIRST} by the order of their hashes, the {picks.EXTREMES} best and the "
        f"{picks.EXTREMES} worst"
        if marked
        else "Every test document"
    )
    return Table(
        f"{which}, the largest gain over {baseline or 'the baseline'} first. {formats.metric_heading(metric)}; "
        "a positive gain is better. One document has no interval.",
        columns, rows,
    )  # fmt: skip


def named_table(summary: RunSummary) -> Table | None:
    """Test records by file, row and hash with the score of each answer, where texts may not be shown; else None."""
    if not is_strict(summary.recipe) or not summary.written:
        return None
    names = [answer.system for answer in summary.written[0].answers]
    columns = (
        Column("Record"), Column("Gold answer"), *(Column(name, numeric=True) for name in names),
        Column("Gain", numeric=True), Column("Shown because"),
    )  # fmt: skip
    rows = []
    for record in summary.written:
        scores = {answer.system: answer.score for answer in record.answers}
        cells = (
            Cell(f"{record.source} row {record.row:,}", record.id), Cell(record.gold, "", "code"),
            *(known_cell(formats.score(scores.get(name))) for name in names),
            known_cell(formats.signed(record.gain)), Cell(_because(record)),
        )  # fmt: skip
        rows.append(Row(cells))
    metric = formats.metric_heading(summary.comparison.primary_metric)
    return Table(f"{metric} of single answers; hashes stand for what was asked and written.", columns, tuple(rows))


def _because(shown: Document | WrittenExample) -> str:
    words = {picks.BY_HASH: "order of hashes", picks.BEST: "among the best", picks.WORST: "among the worst"}
    return ", ".join(words[why] for why in shown.why)


def signature_lines(summary: RunSummary) -> tuple[tuple[str, str], ...]:
    """How metrics that have many variants were made, as name and signature; empty where nothing was recorded."""
    found: dict[str, str] = {}
    for system in summary.test:
        signatures = system.settings.get("signatures")
        if isinstance(signatures, dict):
            found.update({str(name): str(value) for name, value in signatures.items()})
    return tuple((FAMILIES.get(name, formats.metric_title(name)), value) for name, value in found.items())
