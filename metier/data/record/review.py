"""The review: doubtful rows out to a person as a spreadsheet, decisions back in, all or none of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from metier.data.card import DataCard
from metier.data.input_rules import InputRules
from metier.data.prepare import load_prepared
from metier.data.record.decisions import DECISIONS, ON_TEST_ROWS, Decision, load_decisions, write_decisions
from metier.data.record.findings import Doubted
from metier.data.record.near_errors import review_doubts
from metier.data.record.sheet import MOST_LINES, SheetRow, check_format, cut, read_sheet, same_cell, write_sheet
from metier.data.record.texts import RowText, texts_of
from metier.data.table import counted
from metier.errors import ArgumentError, DataError
from metier.store.fingerprint import file_sha256

EDITABLE = ("classification", "text")
"""Tasks whose records are one text, which a cell can replace."""
_MOST_FAULTS = 10
_SORTED_APART = "its id belongs to another row (were some columns sorted without the others?)"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One doubt as the sheet shows it."""

    doubt: Doubted
    said: RowText | None
    """None: texts are not shown, or not stored."""

    @property
    def cells(self) -> dict[str, str]:
        """By column."""
        doubt, place = self.doubt, self.doubt.place
        return {
            "id": doubt.id,
            "file": place.source,
            "row": str(place.row),
            "split": place.split if self.said is None or self.said.split else f"rejected from {place.split}",
            "text": f"row {place.row} (hash {place.content})" if self.said is None else self.said.text,
            "answer": "" if self.said is None else self.said.answer,
            "suspected": doubt.reason,
            "why": doubt.detail,
            "sure": "" if doubt.score is None else f"{doubt.score:.3f}",
            "see also": ", ".join(f"{other.source} row {other.row}" for other in doubt.others),
            "suggestion": doubt.suggestion or "",
        }


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export wrote."""

    path: Path
    doubts: int
    rows: int
    """Different rows among them."""
    without_text: int
    """Doubts whose text is not stored (or not shown)."""
    cut: int
    """Doubts whose text is longer than a cell."""


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What taking over a sheet did."""

    path: Path
    decisions: Mapping[str, int]
    """Rows by decision."""
    undecided: int
    """Lines without a decision."""
    already: int
    """Rows that were taken over from the same sheet before."""


def export_review(
    folder: Path,
    sheet: Path,
    *,
    texts: bool = True,
    reasons: Collection[str] = (),
    label_names: Mapping[str, str] | None = None,
) -> Exported:
    """Write the doubtful rows of a run as a spreadsheet, one line a doubt.

    Args:
        folder: The run's data folder.
        sheet: Where it goes; `.xlsx` or `.csv`.
        texts: Whether texts and answers are shown. False: rows by number and hash only.
        reasons: Only these, or all reasons of these steps. Empty: all.
        label_names: `data.label_names` of the run's recipe.

    Raises:
        ArgumentError: The name ends otherwise, the file is there already, or a reason does not occur.
        DataError: The run has no doubts.
        RunFolderError: A file of the run is missing or damaged.
    """
    check_format(sheet)
    if sheet.exists():
        raise ArgumentError(str(sheet), "is there already", "a new file", "It may hold decisions: choose another name.")
    doubts = list(review_doubts(folder))
    if not doubts:
        raise DataError(str(folder), "holds no doubts: there is nothing to review", "a run whose data steps found some")
    known = [*sorted({doubt.reason for doubt in doubts}), *sorted({doubt.step for doubt in doubts})]
    for reason in reasons:
        if reason not in known:
            raise ArgumentError("--only", f"`{reason}` was not suspected of any row", f"one of {', '.join(known)}")
    chosen = [doubt for doubt in doubts if not reasons or {doubt.reason, doubt.step} & {*reasons}]
    if len(chosen) > MOST_LINES:
        found = f"{len(chosen):,} doubts are more than a sheet holds"
        raise ArgumentError("--only", found, f"at most {MOST_LINES:,}", f"Choose among {', '.join(known)}.")
    lines = _lines(folder, chosen, texts=texts, label_names=label_names)
    write_sheet((line.cells for line in lines), sheet)
    return Exported(
        path=sheet,
        doubts=len(lines),
        rows=len({(line.doubt.place.source, line.doubt.place.id) for line in lines}),
        without_text=sum(line.said is None for line in lines),
        cut=sum(line.said is not None and cut(line.said.text)[1] for line in lines),
    )


def apply_review(
    folder: Path,
    sheet: Path,
    out: Path,
    *,
    by: str,
    at: str,
    label_names: Mapping[str, str] | None = None,
) -> Applied:
    """Take the decisions of a sheet over into a file that `data.decisions` can name; all of them or none.

    Decisions that the file already holds stay; a later one about the same row counts. Applying the same
    sheet again changes nothing.

    Args:
        folder: The data folder of the run that the sheet is about.
        sheet: What a person gave back.
        out: The file of decisions, added to where it exists.
        by: Who decided.
        at: When, in ISO 8601.
        label_names: `data.label_names` of the run's recipe.

    Raises:
        DataError: The sheet cannot be read, or lines of it cannot be taken over: each is named by its row in
            the spreadsheet, and nothing was written.
    """
    rows = read_sheet(sheet)
    doubts = {doubt.id: doubt for doubt in review_doubts(folder)}
    prepared = load_prepared(folder)
    wanted = [doubts[row.cell("id")] for row in rows if row.cell("id") in doubts]
    lines = {line.doubt.id: line for line in _lines(folder, wanted, texts=True, label_names=label_names)}
    stamp = Decision(
        source="", row=0, id="", content="", split="", decision="keep",
        by=by, at=at, sheet=sheet.name, sheet_sha256=file_sha256(sheet),
    )  # fmt: skip
    reader = _Reader(lines=lines, card=prepared.card, rules=prepared.rules, stamp=stamp)
    decided = reader.decide(rows)
    if reader.faults:
        shown = "; ".join(reader.faults[:_MOST_FAULTS])
        more = len(reader.faults) - _MOST_FAULTS
        found = f"{counted(len(reader.faults), 'line')} cannot be taken over: {shown}"
        found += f"; and {more:,} more" if more > 0 else ""
        raise DataError(sheet.name, found, "", "Correct them and apply the sheet again; nothing was written.")
    earlier = load_decisions(out).lines if out.exists() else ()
    same = {(one.key, one.decision, one.value) for one in earlier if one.sheet_sha256 == stamp.sheet_sha256}
    new = [one for one in decided if (one.key, one.decision, one.value) not in same]
    if new or not out.exists():
        write_decisions(out, [*earlier, *new])
    counts = {kind: sum(one.decision == kind for one in new) for kind in DECISIONS}
    return Applied(
        path=out,
        decisions={kind: count for kind, count in counts.items() if count},
        undecided=reader.undecided,
        already=len(decided) - len(new),
    )


def _lines(
    folder: Path, doubts: Sequence[Doubted], *, texts: bool, label_names: Mapping[str, str] | None
) -> list[Line]:
    said = texts_of(folder, (doubt.place for doubt in doubts), label_names=label_names) if texts else {}
    return [Line(doubt=doubt, said=said.get((doubt.place.source, doubt.place.id))) for doubt in doubts]


class _Reader:
    """Reads decisions line by line and gathers every fault; no message quotes a cell, which may hold anything."""

    def __init__(self, *, lines: Mapping[str, Line], card: DataCard, rules: InputRules, stamp: Decision) -> None:
        self.lines, self.card, self.rules, self.stamp = lines, card, rules, stamp
        self.faults: list[str] = []
        self.undecided = 0

    def decide(self, rows: Sequence[SheetRow]) -> list[Decision]:
        """One decision for each row of data that was decided about, in the order of the sheet."""
        met: dict[str, int] = {}
        decided: dict[tuple[str, str], tuple[Decision, int]] = {}
        for row in rows:
            told = row.cell("decision").strip() or row.cell("new value").strip()
            if not told and row.cell("id") not in self.lines:  # of a doubt that is settled since
                self.undecided += 1
                continue
            try:
                line = self._line(row, met)
                decision = self._decision(row, line)
                if decision is None:
                    self.undecided += 1
                    continue
                name = (decision.source, decision.id)
                before, at = decided.get(name, (decision, row.number))
                if (before.decision, before.value) != (decision.decision, decision.value):
                    raise _FaultError(
                        f"decides otherwise than row {at}, which is about the same row of {before.source}"
                    )
                reasons = tuple(dict.fromkeys((*before.reasons, *decision.reasons)))
                decided[name] = replace(before, reasons=reasons, note=before.note or decision.note), at
            except _FaultError as fault:
                self.faults.append(f"row {row.number} {fault}")
        return [decision for decision, _ in decided.values()]

    def _line(self, row: SheetRow, met: dict[str, int]) -> Line:
        """The doubt that a line is about, once it is sure that it is about that one."""
        id = row.cell("id")
        if not id:
            raise _FaultError("has no id")
        if id not in self.lines:
            raise _FaultError("has an id that this run does not have")
        if id in met:
            raise _FaultError(f"has the id of row {met[id]}")
        met[id] = row.number
        line = self.lines[id]
        shown = line.cells
        for column in ("file", "row"):
            if column in row.cells and not same_cell(shown[column], row.cells[column]):
                raise _FaultError(f"has another {column} than its id: {_SORTED_APART}")
        for column in ("text", "answer"):
            if column in row.cells and not self._says_the_same(line, column, row.cells[column]):
                fix = "edit" if column == "text" else "relabel"
                raise _FaultError(
                    f"has another {column} than it had: write it into `new value`, with decision {fix} "
                    "(if the program rewrote it, use the .xlsx form)"
                )
        return line

    @staticmethod
    def _says_the_same(line: Line, column: str, read: str) -> bool:
        hidden = replace(line, said=None).cells[column]  # of a sheet that was exported without texts
        return same_cell(cut(line.cells[column])[0], read) or same_cell(hidden, read)

    def _decision(self, row: SheetRow, line: Line) -> Decision | None:
        word, value = row.cell("decision").strip().lower(), row.cell("new value").strip()
        if not word:
            if value:
                raise _FaultError("has a new value and no decision")
            return None
        if word not in DECISIONS:
            near = difflib.get_close_matches(word, DECISIONS, n=1)
            meant = f" (is {near[0]} meant?)" if near else ""
            raise _FaultError(f"has an unknown decision{meant}; there are {', '.join(DECISIONS)}")
        doubt, place = line.doubt, line.doubt.place
        if "test" in (place.split, line.said.split if line.said else None) and word not in ON_TEST_ROWS:
            raise _FaultError(f"is of the test set, which stays as it is: {' or '.join(ON_TEST_ROWS)}, not {word}")
        if value and word not in _VALUES:
            raise _FaultError(f"has a new value, which {word} does not use")
        return replace(
            self.stamp,
            source=place.source,
            row=place.row,
            id=place.id,
            content=place.content,
            split=place.split,
            decision=word,
            value=_VALUES[word](self, line, value) if word in _VALUES else None,
            reasons=(f"{doubt.step}, version {doubt.version}: {doubt.reason}",),
            note=row.cell("note").strip() or None,
        )

    def _new_answer(self, line: Line, value: str) -> str:
        if self.card.task == "text":
            raise _FaultError("has no answer that relabel could change")
        if not self.card.labels:
            if not value:
                raise _FaultError("has no new value: the right answer")
            return self.rules.clean(value)
        named = value or (line.doubt.suggestion or "")
        label = next((label for label in self.card.labels if same_cell(label, named)), None)
        if label is None:
            near = difflib.get_close_matches(named, self.card.labels, n=1)
            meant = f" (is `{near[0]}` meant?)" if near else ""
            wrong = (
                "a new value that is no label of this data" if value else "no new value, and its suggestion is no label"
            )
            raise _FaultError(f"has {wrong}{meant}")
        if line.said is not None and line.said.answer == label:
            raise _FaultError("has the answer that it would get: keep is meant")
        return label

    def _new_text(self, line: Line, value: str) -> str:
        if self.card.task not in EDITABLE:
            raise _FaultError("is a conversation, which a cell cannot replace: change it in its file")
        if line.said is not None and cut(line.said.text)[1]:
            raise _FaultError("has a text that is longer than a cell: change it in its file")
        text = self.rules.clean(value)
        if not text:
            raise _FaultError("has no new value: the new text")
        if line.said is not None and text == line.said.text:
            raise _FaultError("has the text that it would get: keep is meant")
        return text


_VALUES: Mapping[str, Callable[[_Reader, Line, str], str]] = {
    "relabel": _Reader._new_answer,
    "edit": _Reader._new_text,
}
"""Decision -> how its new value is read."""


class _FaultError(Exception):
    """A line that cannot be taken over; says why, to be read after `row 12 `."""
