"""Beside every wrong answer the nearest training rows, and the rows to check first: `errors.json`. Only numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from metier.data.records import Record
from metier.evaluation.closer.neighbours import (
    DOUBTED,
    DOUBTS,
    REASONS,
    TAUGHT,
    explain_errors,
    reason_of,
    rows_to_check,
)
from metier.evaluation.evidence import ErrorReport, Explained, RowToCheck
from metier.evaluation.results import Evaluation
from metier.store.fingerprint import fingerprint
from metier.store.values import to_plain

Vectors = npt.NDArray[np.floating]
MOST_ROWS = 100
"""Rows to check that are kept: an afternoon's work."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Nearby:
    """Training rows, and what "near" is measured in."""

    words: str
    """What the vectors are: `features of minilm`, `the model's own states`."""
    train: Sequence[Record]
    train_vectors: Vectors
    """Shape (len(train), D)."""
    vectors: Vectors
    """One for each item, in the order of the items, shape (items, D)."""
    doubted: frozenset[str] = frozenset()
    """Ids of training records whose label is doubted, beside those that are flagged so."""


def report_errors(candidate: Evaluation, near: Nearby, most: int) -> ErrorReport:
    """The first `most` wrong answers with the training rows near them.

    Args:
        candidate: The promoted system, with labels as answers.
        near: Vectors of its items and of train.
        most: Wrong answers that are explained, at least 1.
    """
    wrong = [place for place, item in enumerate(candidate.items) if item.answer != item.gold]
    chosen = wrong[:most]
    explained = explain_errors(
        [candidate.items[place] for place in chosen], near.vectors[chosen], near.train, near.train_vectors,
        doubted=near.doubted,
    )  # fmt: skip
    doubted = sum(record.id in near.doubted or bool(DOUBTS & set(record.flags)) for record in near.train)
    report = ErrorReport(
        system=candidate.system, vectors=near.words, explained=explained, rows=(), doubted=doubted, sentence="",
        wrong=len(wrong), train=len(near.train),
    )  # fmt: skip
    return _told(replace(report, from_train_sha256=from_train_hash(report)), candidate)


def report_again(candidate: Evaluation, reported: ErrorReport) -> ErrorReport:
    """The report as the items and the reported neighbours give it; what only train knows is held by its hash.

    Args:
        candidate: The promoted system.
        reported: As it was read.
    """
    if reported.reason is not None:
        return unexplained(candidate, reported.reason)
    wrong = [item for item in candidate.items if item.answer != item.gold]
    known = {each.id: each.neighbours for each in reported.explained if each.neighbours}
    chosen = [item for item in wrong[: len(reported.explained)] if item.id in known]
    usual = float(np.median([np.float32(known[item.id][0].similarity) for item in chosen])) if chosen else 0.0
    explained = [
        Explained(
            id=item.id, source=item.source, row=item.row, gold=item.gold, answer=item.answer,
            neighbours=known[item.id], reason=reason_of(item, known[item.id], usual),
        )
        for item in chosen
    ]  # fmt: skip
    order = {reason: at for at, reason in enumerate(REASONS)}
    explained.sort(key=lambda each: order[each.reason])
    again = replace(
        reported, system=candidate.system, explained=tuple(explained), wrong=len(wrong),
        from_train_sha256=from_train_hash(reported),
    )  # fmt: skip
    return _told(again, candidate)


def _told(report: ErrorReport, candidate: Evaluation) -> ErrorReport:
    """The report with the rows to check and its sentence."""
    rows = rows_to_check(report.explained)[:MOST_ROWS]
    sentence = errors_sentence(candidate.n, report.wrong, report.explained, rows)
    return replace(report, rows=rows, sentence=sentence)


def unexplained(candidate: Evaluation, reason: str) -> ErrorReport:
    """A report that says why nothing is explained.

    Args:
        candidate: The promoted system.
        reason: In words.
    """
    return ErrorReport(
        system=candidate.system, vectors="", explained=(), rows=(), doubted=0,
        sentence=f"Wrong answers are not explained: {reason}.", reason=reason,
    )  # fmt: skip


def from_train_hash(report: ErrorReport) -> str:
    """Hash of what items do not hold: which rows lie how near to which answer, in what, and how many there are.

    Args:
        report: With the neighbours of wrong answers.
    """
    near = [[each.id, to_plain(each.neighbours)] for each in sorted(report.explained, key=lambda each: each.id)]
    return fingerprint([report.vectors, report.doubted, report.train, near])


def errors_sentence(n: int, wrong: int, explained: Sequence[Explained], rows: Sequence[RowToCheck]) -> str:
    """What the errors have in common, and where to begin.

    Args:
        n: Items.
        wrong: Wrong answers among them.
        explained: Those that are explained.
        rows: Rows to check, first ones first.
    """
    if not wrong:
        return f"None of {n:,} answers is wrong."
    found = {reason: sum(each.reason == reason for each in explained) for reason in REASONS}
    parts = [f"{found[DOUBTED]:,} lie near a training row whose label is doubted"] if found[DOUBTED] else []
    parts += [f"{found[TAUGHT]:,} lie among rows with the label that was answered"] if found[TAUGHT] else []
    looked = f"{wrong:,} of {n:,} answers are wrong"
    looked += f" (the first {len(explained):,} are explained)" if len(explained) < wrong else ""
    if not rows:
        return f"{looked}; no training row near them has the label that was answered."
    first = rows[0]
    lead = f"Check first: {first.source} row {first.row}, labelled {first.label}, near {first.errors:,} of them."
    return f"{looked}; {' and '.join(parts)}. {lead}" if parts else f"{looked}. {lead}"
