"""The tables of what stands beside one training: other seeds, folds, and a judge model's opinion.

Takes values; gives tables. As in `tables.py`, nothing is calculated here.
"""

from __future__ import annotations

from collections.abc import Iterable

from metier.evaluation.evidence import SeedStatement
from metier.evaluation.results import FoldReport
from metier.evaluation.standings import JudgedPair, JudgeReport
from metier.report import formats
from metier.report.tables import Cell, Column, Row, Table, estimate_cell, known_cell


def seeds_table(found: SeedStatement | None) -> Table | None:
    """The score of each seed's model, and what that says of the recipe; None where there was one training.

    Args:
        found: None where the recipe asks for one.
    """
    if found is None:
        return None
    metric = formats.metric_heading(found.metric)
    seeds = found.seeds if len(found.seeds) == len(found.values) else ()
    names = [f"seed {seed}" for seed in seeds] or [f"model {number + 1}" for number in range(len(found.values))]
    gain = found.gain if found.against is not None else None
    shown: Iterable[tuple[str, Cell, bool]] = (
        *((name, Cell(formats.score(value)), False) for name, value in zip(names, found.values, strict=True)),
        ("mean, for more seeds on these records", estimate_cell(found.same_items), True),
        ("mean, for more seeds and more records", estimate_cell(found.new_items), True),
        *(() if gain is None else ((f"mean gain over {found.against}", estimate_cell(gain, with_sign=True), True),)),
        ("standard deviation between models", known_cell(formats.score(found.spread)), False),
        *(() if found.components is None else (
            ("of it between seeds alone", Cell(formats.score(found.components.seed_spread)), False),
        )),
    )  # fmt: skip
    rows = tuple(Row((Cell(name), cell), strong=strong) for name, cell, strong in shown)
    count = formats.counted(len(found.values), "training")
    caption = f"{metric} of {count} of the same recipe, each with a seed of its own, with 95 % intervals."
    return Table(caption, (Column("What"), Column(metric, numeric=True)), rows)


def folds_table(found: FoldReport | None) -> Table | None:
    """Every system within each fold; None without folds.

    Args:
        found: None where there is a test set.
    """
    if found is None:
        return None
    systems = list(found.values)
    columns = (
        Column("Fold"), Column("Records", numeric=True), *(Column(name, numeric=True) for name in systems),
        Column("Promoted"),
    )  # fmt: skip
    rows = tuple(
        Row((
            Cell(f"fold {number + 1}"), Cell(formats.count(size)),
            *(known_cell(formats.score(found.values[name][number])) for name in systems),
            Cell(found.chosen[number] if number < len(found.chosen) else formats.UNKNOWN),
        ))
        for number, size in enumerate(found.sizes)
    )  # fmt: skip
    metric = formats.metric_heading(found.metric)
    return Table(
        f"{metric} within each fold, answered by models that were trained without it. One fold has no interval; the "
        "verdict is about all of them together.",
        columns, rows,
    )  # fmt: skip


def judge_table(found: JudgeReport | None) -> Table | None:
    """What a judge model says of each pair of systems, and what that is worth; None without a judge.

    Args:
        found: None where the recipe names none.
    """
    if found is None or not found.pairs:
        return None
    columns = (
        Column("Pair"), Column("Wins", numeric=True), Column("At equal length", numeric=True),
        Column("First place wins by", numeric=True), Column("Same in both orders", numeric=True),
        Column("Agreement with people", numeric=True), Column("Pairs", numeric=True), Column("May be quoted"),
    )  # fmt: skip
    return Table(
        "What the judge says: how often the first answer of a pair wins, a tie counting half, each pair judged in "
        "both orders, with 95 % intervals. Agreement with people is Cohen's kappa.",
        columns, tuple(_judge_row(pair) for pair in found.pairs),
    )  # fmt: skip


def _judge_row(pair: JudgedPair) -> Row:
    audit = pair.audit
    unread = f"{audit.unread:,} could not be read" if audit.unread else ""
    quoted = Cell("yes", "", "good") if audit.headline is not None else Cell("no", audit.withheld or "", "doubt")
    cells = (
        Cell(f"{pair.ours} against {pair.theirs}"), estimate_cell(audit.win_rate),
        estimate_cell(audit.win_rate_equal_length), estimate_cell(audit.position_bias, with_sign=True),
        estimate_cell(audit.consistent), estimate_cell(audit.kappa), Cell(formats.count(audit.n), unread), quoted,
    )  # fmt: skip
    return Row(cells)
