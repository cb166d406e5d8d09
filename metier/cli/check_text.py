"""What `metier check` prints: the report as text that reads the same with and without colour."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from metier.cli.check_plan import (
    alternatives_table,
    disk_sentence,
    memory_sentence,
    money_sentences,
    stage_rows,
    time_sentence,
)
from metier.cli.check_words import (
    learned_sentences,
    lengths_table,
    piece_said,
    place_said,
    places_said,
    seal_sentence,
    text_facts,
    visible,
)
from metier.cli.tables import aligned
from metier.report import formats

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from metier.planning.outlook import Plan
    from metier.planning.results import (
        CandidateFindings,
        CheckReport,
        DataFindings,
        Learning,
        PieceView,
        ShownToken,
        TokenView,
    )

HEAD, TAIL = 60, 40
"""Tokens that are shown of a long record, from its beginning and from its end."""
PIECES = 4
"""Pieces that are shown of a long conversation, from its beginning and from its end."""
TRAINED_STYLE = "bold green"
METHODS = {
    "lora": "LoRA adapters", "full": "every layer", "freeze": "the chosen layers", "head": "a head on frozen features",
}  # fmt: skip
WIDTH = 110
SOURCES_SHOWN = 6
"""Files that are named; a folder may hold hundreds."""


def draw(report: CheckReport) -> None:
    """Print a report on standard output, in colour where that is a terminal."""
    from rich.console import Console

    width = min(WIDTH, shutil.get_terminal_size().columns) if sys.stdout.isatty() else WIDTH
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False, width=width)
    for block in _blocks(report, width):
        for line in _lines(console, block):
            # Printing joins texts anew and forgets what they say about wrapping.
            console.print(line, no_wrap=line.no_wrap, overflow=line.overflow, crop=False)


def _lines(console: Console, block: Text) -> Iterator[Text]:
    """The block as lines that fit; those that go on below the first one keep its indent."""
    bare = block.plain.lstrip("\n")
    if block.no_wrap or not bare:
        yield block
        return
    above, indent = len(block.plain) - len(bare), len(bare) - len(bare.lstrip(" "))
    yield from (_line("") for _ in range(above))
    for line in block[above + indent :].wrap(console, console.width - indent):
        line.rstrip()
        if line:
            line.pad_left(indent)
        yield line


def _blocks(report: CheckReport, width: int) -> Iterator[Text]:
    labels = f" of {len(report.data.labels):,} labels" if report.data.labels else ""
    yield _title(f"{report.name}: {report.task}{labels}")
    yield from _data(report.data)
    if (seal := seal_sentence(report.judged, report.openings)) is not None:
        yield _line(f"\n  {seal}", "yellow" if report.openings else "")
    for candidate in report.candidates:
        yield from _candidate(candidate)
    if report.plan is not None:
        yield from _plan(report, report.plan, width)
        yield from _paying(report)
    yield from _end(report)


def _data(data: DataFindings) -> Iterator[Text]:
    yield _title("\nData")
    more = len(data.sources) - SOURCES_SHOWN
    yield _line(f"  {', '.join(data.sources[:SOURCES_SHOWN])}{f' and {more:,} more' if more > 0 else ''}")
    yield _line(f"  {_columns(data)}")
    for sentence in text_facts(data.texts) if data.texts is not None else ():
        yield _line(f"  {sentence}")
    yield _line("")
    yield _table(_splits(data))
    if data.rejected:
        total = sum(rejected.count for rejected in data.rejected)
        yield _line(f"\n  {formats.counted(total, 'row')} will not be used:")
        for rejected in data.rejected:
            yield _line(f"    {rejected.count:,} {rejected.reason}: {places_said(rejected.first, rejected.count)}")
        yield _line(f"  All of them, with their content, will be in {data.rejected_file}")
    if data.steps:
        yield _line("\n  Found in the rows, step by step (`metier data report` shows which, after a run):")
    for sentence in data.steps:
        yield _line(f"    {sentence}")
    if data.notices:
        yield _line("")
    for notice in data.notices:
        yield _line(f"  note: {notice}", "yellow")


def _columns(data: DataFindings) -> str:
    """Where the records' parts lie."""
    guessed = f" ({' and '.join(data.found_by_itself)} found by itself)" if data.found_by_itself else ""
    text = data.template or ", ".join(data.text_columns)
    parts = [f"text: {text}"] if text and data.shape != "documents" else []
    if data.shape != "columns":
        parts.insert(0, f"read as {data.shape}")
    if data.label_column:
        parts.append(f"label: {data.label_column}")
    if data.answer_column:
        parts.append(f"answer: {data.answer_column}")
    if data.group_column:
        parts.append(f"groups: {data.group_column}")
    return f"{'   '.join(parts)}{guessed}"


def _splits(data: DataFindings) -> str:
    """The table of splits; of the test set nothing but its size is told."""
    origins = ["", *("own file" if split.official else "drawn by metier" for split in data.splits[1:])]
    if data.labels:
        labels = ["sealed" if split.labels is None else f"{split.labels:,}" for split in data.splits]
        rows = [(s.name, f"{s.rows:,}", *more) for s, *more in zip(data.splits, labels, origins, strict=True)]
        return aligned(("Split", "Records", "Labels", ""), rows)
    origins[-1] += ", sealed"
    bare = [(split.name, f"{split.rows:,}", origin) for split, origin in zip(data.splits, origins, strict=True)]
    return aligned(("Split", "Records", ""), bare)


def _candidate(candidate: CandidateFindings) -> Iterator[Text]:
    learning = candidate.learning
    yield _title(f"\nCandidate {candidate.name}: {candidate.model}, {METHODS.get(learning.method, learning.method)}")
    yield _line(f"  {_what_learns(learning)}")
    if learning.trunk_layers:
        yield _line(f"  {_trunk(learning)}")
    yield _line(f"  {_steps(learning)}")
    for sentence in learned_sentences(candidate.learned) if candidate.learned is not None else ():
        yield _line(f"  {sentence}")
    for notice in candidate.notices:
        yield _line(f"  note: {notice}", "yellow")
    for fault in candidate.faults:
        yield _line(f"  FAULT: {fault}", "bold red")
    yield from (_pieces(candidate) if candidate.learned is not None else _tokens(candidate))
    yield _line("")
    yield _table(lengths_table(candidate.lengths))
    for each in candidate.lengths:
        if each.cut:
            yield _line(f"  cut in {each.split}: {places_said(each.cut_first, each.cut)}")


def _tokens(candidate: CandidateFindings) -> Iterator[Text]:
    """Records of a classification, token by token."""
    if not candidate.views:
        return
    how = "Token by token, with what is trained in [brackets]." if candidate.in_words else "Token by token."
    yield _line(f"\n  {how} {candidate.trained_part}".rstrip())
    for view in candidate.views:
        label = f", {view.label}" if view.label is not None else ""
        yield _line(f"\n  {place_said(view.place)}{label}")
        yield _view(view)


def _pieces(candidate: CandidateFindings) -> Iterator[Text]:
    """Records whose answers are written, or passages, as the model reads them."""
    if not candidate.pieces or candidate.learned is None:
        return
    end = "end of turn" if candidate.learned.max_new_tokens is not None else "end of text"
    yield _line(f"\n  As the model reads it, with what is learned in [brackets]. {candidate.trained_part}".rstrip())
    for view in candidate.pieces:
        about = f", {view.about}" if view.about else ""
        yield _line(f"\n  {place_said(view.place)}{about}")
        yield _piece_view(view, end)


def _piece_view(view: PieceView, end: str) -> Text:
    from rich.text import Text

    text = Text("    ")
    pieces, hidden = view.pieces[:PIECES], view.pieces[PIECES:-PIECES]
    for piece in (*pieces, *(view.pieces[max(PIECES, len(view.pieces) - PIECES) :])):
        if hidden and piece is view.pieces[-PIECES]:
            learned = sum(each.tokens for each in hidden if each.learned)
            left_out = f"{sum(each.tokens for each in hidden):,} more tokens, {learned:,} of them learned"
            text.append(f" …({left_out})… ", style="dim")
        shown = piece_said(piece)
        if piece.learned:
            text.append(f"[{shown}{f' = {end}' if piece.end else ''}]", style=TRAINED_STYLE)
        else:
            text.append(shown, style="dim" if piece.text is None else "")
    return text


def _what_learns(learning: Learning) -> str:
    share = formats.share(learning.trainable, learning.parameters)
    groups = list(learning.groups.items())
    where = f"{groups[0][0]} to {groups[-1][0]}" if len(groups) > 3 else ", ".join(name for name, _ in groups)
    return (
        f"{formats.parameters(learning.trainable)} of {formats.parameters(learning.parameters)} parameters learn "
        f"({share}), in {where}."
    )


def _trunk(learning: Learning) -> str:
    if learning.trunk_layers >= learning.layers:
        return f"All {learning.layers} blocks stay as they are and are computed once for each text."
    return f"The lower {learning.trunk_layers} of {learning.layers} blocks never change and are computed once."


def _steps(learning: Learning) -> str:
    if not learning.steps:
        return "The head is solved in closed form: no optimiser steps."
    return (
        f"At most {formats.counted(learning.steps, 'step')} and {formats.counted(learning.validations, 'validation')}; "
        f"learning rate {learning.learning_rate:g}."
    )


def _view(view: TokenView) -> Text:
    from rich.text import Text

    text = Text("    ")
    # Tokens of a model that answers in words carry their own spaces.
    between = "" if view.target_class is None and view.label is not None else " "
    shown = view.tokens
    left_out = len(shown) - HEAD - TAIL
    if left_out > 0:
        _add_tokens(text, shown[:HEAD], between)
        trained = sum(token.trained for token in shown[HEAD:-TAIL])
        text.append(f" …({left_out:,} more tokens, {trained or 'none'} of them trained)… ", style="dim")
        shown = shown[-TAIL:]
    _add_tokens(text, shown, between)
    if view.target_class is not None:
        text.append("  → ")
        name = view.label if view.label is not None else ""
        text.append(f"class {view.target_class} {name}".rstrip(), style=TRAINED_STYLE)
    return text


def _add_tokens(text: Text, tokens: Sequence[ShownToken], between: str) -> None:
    """Tokens side by side; without texts their ids."""
    for place, token in enumerate(tokens):
        text.append(between if place else "")
        shown = visible(token.text) if token.text is not None else str(token.id)
        if token.trained:
            shown = shown or "·"  # the rest of a character that the token before shows
            text.append(f"[{shown}{' = end of turn' if token.end_of_turn else ''}]", style=TRAINED_STYLE)
        else:
            text.append(shown, style="dim" if token.text is None else "")


def _plan(report: CheckReport, plan: Plan, width: int) -> Iterator[Text]:
    yield _title("\nPlan")
    yield _line(f"  {time_sentence(plan)}\n")
    yield _stages(plan, width)
    yield _line("")
    for sentence in (memory_sentence(plan), disk_sentence(plan, report.folder), *money_sentences(plan)):
        yield _line(f"  {sentence}")
    yield _line(
        f"  Machine: {report.device}, {report.dtype} ({report.hardware_reason}), "
        f"{formats.counted(report.threads, 'thread')}; {plan.flops_per_second / 1e9:,.0f} GFLOP/s in this model's "
        "matrix products."
    )
    yield _line(f"  Assumed: {'; '.join(plan.assumptions)}.")
    if plan.alternatives:
        yield _line("\n  Other ways, estimated on this machine:\n")
        yield _table(alternatives_table(plan))


def _stages(plan: Plan, width: int) -> Text:
    """The table of stages; on a narrow terminal without the columns that can be missed."""
    columns = ("Stage", "Work", "Tokens", "Without sharing", "Time")
    rows = stage_rows(plan)
    kept = [(0, 1, 2, 3, 4), (0, 1, 2, 4), (0, 1, 4)]
    tables = [_table(aligned([columns[i] for i in some], [[row[i] for i in some] for row in rows])) for some in kept]
    return next((table for table in tables if max(map(len, table.plain.splitlines())) <= width), tables[-1])


def _paying(report: CheckReport) -> Iterator[Text]:
    yield _title("\nCan training pay?")
    if report.paying is not None:
        yield _line(f"  {report.paying.sentence}")
    else:
        yield _line(f"  Not known: {report.paying_reason or 'it was not asked for.'}")
    for sentence in report.retraining:
        yield _line(f"  {sentence}")


def _end(report: CheckReport) -> Iterator[Text]:
    for warning in report.warnings:
        yield _line(f"\nwarning: {warning}", "bold yellow")
    if report.faults:
        yield _line(
            f"\nThis recipe cannot work: {formats.counted(len(report.faults), 'fault')}, named above.", "bold red"
        )


def _title(text: str) -> Text:
    return _line(text, "bold")


def _table(text: str) -> Text:
    styled = _line("\n".join(f"  {line}" for line in text.splitlines()))
    styled.no_wrap = True
    styled.overflow = "ignore"
    return styled


def _line(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(text, style=style)
