"""Which test records the page shows, and what stands beside them: one row of `PICKS` for each task.

Takes the items of every system; gives values. Nobody picks the nice ones: the order is that of the
data, or of the records' ids, which are hashes; what is picked for its score is marked as that. Texts
are read from `test.parquet` only where the recipe allows texts in the report.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metier.data.records import Message
from metier.errors import RunFolderError
from metier.evaluation.results import Comparison, Evaluation, Item
from metier.report.summary import Document, Example, Shown, WrittenAnswer, WrittenExample

BY_HASH, BEST, WORST = "first by hash", "best", "worst"
WHY = (BY_HASH, BEST, WORST)
"""Why a record is shown: nobody chose it, or its score beside the best baseline's did."""
FIRST, EXTREMES = 10, 3
"""Records in the order of their hashes; best and worst records against the best baseline, each."""
COPY = "copy_input"
"""The system that repeats the question."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What picking needs to know of a run."""

    task: str
    test: Sequence[Evaluation]
    comparison: Comparison
    options: Mapping[str, Any]
    """The recipe's section `report`."""
    records: tuple[Path, ...]
    """The splits in which the answered records lie."""
    strict: bool = False
    """Whether records are named by file, row and hash alone: texts are not there."""

    @property
    def most(self) -> int:
        """`report.max_examples`."""
        return int(self.options.get("max_examples", 12))

    @property
    def texts(self) -> bool:
        """`report.examples`; never under `privacy: strict`."""
        return self.options.get("examples", True) is True and not self.strict

    @property
    def candidate(self) -> Evaluation | None:
        """The promoted system."""
        return self.system(self.comparison.candidate)

    def system(self, name: str | None) -> Evaluation | None:
        """A system by its name."""
        return next((system for system in self.test if system.system == name), None)


def pick(asked: Asked) -> Shown:
    """The records that the page shows."""
    return PICKS.get(asked.task, _choices)(asked)


def _choices(asked: Asked) -> Shown:
    """Some wrong and some right answers of the candidate; first those on which the best baseline differs.

    The order after that is the items' own, which is fixed by the data.
    """
    candidate = asked.candidate
    if candidate is None:
        return Shown()
    answers = {system.system: {item.id: item.answer for item in system.items} for system in asked.test}
    rival = answers.get(asked.comparison.best_baseline or "", {})
    wrong = [item for item in candidate.items if item.answer != item.gold]
    right = [item for item in candidate.items if item.answer == item.gold]
    wrong.sort(key=lambda item: rival.get(item.id) != item.gold)
    right.sort(key=lambda item: rival.get(item.id) == item.gold)
    items = [*wrong[: asked.most], *right[: asked.most]]
    rows = _read_rows(asked.records, [item.id for item in items]) if asked.texts and items else {}
    return Shown(examples=tuple(_example(item, rows.get(item.id, {}).get("text"), answers) for item in items))


def _example(item: Item, text: str | None, answers: Mapping[str, Mapping[str, str | None]]) -> Example:
    return Example(
        id=item.id,
        source=item.source,
        row=item.row,
        text=text,
        gold=item.gold,
        answers={system: by_id[item.id] for system, by_id in answers.items() if item.id in by_id},
    )


def _answers(asked: Asked) -> Shown:
    """Records with what every system wrote; none where the recipe keeps texts out of the report.

    Under `privacy: strict` hashes stand for what was written, and what was asked is left out.
    """
    candidate = asked.candidate
    if candidate is None or not (asked.texts or asked.strict):
        return Shown()
    scores = _score_by_id(asked)
    gains = _gains(asked, scores)
    why = _chosen(sorted(item.id for item in candidate.items), gains, first=min(FIRST, asked.most), most=asked.most)
    rows = _read_rows(asked.records, list(why)) if why and asked.texts else {}
    items = {item.id: item for item in candidate.items}
    order = _order(asked)
    by_id = {system.system: {item.id: item for item in system.items} for system in order}
    written = []
    for id, reasons in why.items():
        item, row = items[id], rows.get(id, {})
        answers = [
            _answer(system.system, by_id[system.system][id], scores[system.system].get(id))
            for system in order
            if id in by_id[system.system]
        ]
        written.append(
            WrittenExample(
                id=id, source=item.source, row=item.row, turns=_turns(row), gold=item.gold, answers=tuple(answers),
                gain=gains.get(id), tools=row.get("tools"), why=reasons,
            )
        )  # fmt: skip
    return Shown(written=tuple(written))


def _order(asked: Asked) -> list[Evaluation]:
    """The systems whose answers are shown: the candidate first, then those with most to say.

    What repeats the question is left out, unless it is the best baseline.
    """
    own, best = asked.comparison.candidate, asked.comparison.best_baseline
    shown = [system for system in asked.test if system.system != COPY or best == COPY]
    rank = {own: 0, "few_shot": 1, "zero_shot": 2, "nearest_answer": 3}
    return sorted(shown, key=lambda system: rank.get(system.system, len(rank)))


def _answer(system: str, item: Item, score: float | None) -> WrittenAnswer:
    valid = item.counts.get("json_valid")
    return WrittenAnswer(
        system=system, text=item.answer, score=score, stop=item.stop, reason=item.reason,
        is_json=None if valid is None else valid[0] > 0,
    )  # fmt: skip


def _turns(row: Mapping[str, Any]) -> tuple[Message, ...]:
    """What was asked; a record without turns is one turn of the user."""
    if row.get("messages"):
        return tuple(Message(**turn) for turn in json.loads(row["messages"]))[:-1]
    return (Message(role="user", content=row["text"]),) if row.get("text") else ()


def _documents(asked: Asked) -> Shown:
    """Documents by their gain, the largest first: all of them, or the first by hash and both ends."""
    candidate, metric = asked.candidate, asked.comparison.primary_metric
    if candidate is None:
        return Shown()
    units: dict[str, list[Item]] = {}
    for item in candidate.items:
        units.setdefault(item.group if item.group is not None else f"\0{item.id}", []).append(item)
    names = {item.id: unit for unit, items in units.items() for item in items}
    scores = {}
    for system in asked.test:
        parts: dict[str, list[tuple[float, ...]]] = {unit: [] for unit in units}
        for item in system.items:
            if item.id in names:
                parts[names[item.id]].append(item.counts.get(metric, ()))
        scores[system.system] = dict(zip(parts, _values(metric, parts.values()), strict=True))
    gains = _gains(asked, scores)
    ids = sorted(units, key=lambda unit: min(item.id for item in units[unit]))
    few = len(ids) <= FIRST + 2 * EXTREMES
    why = _chosen(ids, gains, first=len(ids) if few else FIRST, most=EXTREMES)
    shown = [
        Document(
            name=_place(units[unit]), size=_bytes(units[unit]), gain=gains.get(unit), why=() if few else reasons,
            scores={system: by_unit[unit] for system, by_unit in scores.items()},
        )
        for unit, reasons in why.items()
    ]  # fmt: skip
    return Shown(documents=tuple(sorted(shown, key=lambda document: -math.inf if document.gain is None
                                        else document.gain, reverse=True)))  # fmt: skip


def _place(items: Sequence[Item]) -> str:
    """File and rows of a document; never its name, which may be somebody's."""
    rows = sorted(item.row for item in items)
    where = ", ".join(dict.fromkeys(item.source for item in items if item.source)) or items[0].id
    return f"{where}, row {rows[0]:,}" if len(rows) == 1 else f"{where}, rows {rows[0]:,} to {rows[-1]:,}"


def _bytes(items: Sequence[Item]) -> int:
    return round(sum(item.counts["bits_per_byte"][1] for item in items if "bits_per_byte" in item.counts))


def _score_by_id(asked: Asked) -> dict[str, dict[str, float | None]]:
    """The primary metric of every answer alone, by system and record."""
    metric = asked.comparison.primary_metric
    scores = {}
    for system in asked.test:
        values = _values(metric, ([item.counts.get(metric, ())] for item in system.items))
        scores[system.system] = dict(zip((item.id for item in system.items), values, strict=True))
    return scores


def _values(metric: str, units: Iterable[Sequence[tuple[float, ...]]]) -> list[float | None]:
    """A metric of each unit from what its items add; None where that is unknown or undefined."""
    import numpy as np

    from metier.evaluation.written.text_metrics import TEXT_METRICS

    found = TEXT_METRICS.get(metric)
    rows = list(units)
    if found is None:
        return [None for _ in rows]
    known = [bool(parts) and all(len(part) == found.features for part in parts) for parts in rows]
    nothing = np.zeros(found.features)
    sums = [np.sum(parts, axis=0) if whole else nothing for parts, whole in zip(rows, known, strict=True)]
    values = found.value(np.array(sums, dtype=np.float64).reshape(len(rows), found.features))
    return [float(value) if whole and np.isfinite(value) else None for value, whole in zip(values, known, strict=True)]


def _gains(asked: Asked, scores: Mapping[str, Mapping[str, float | None]]) -> dict[str, float]:
    """How much better the candidate is than the best baseline, record by record, where both are known."""
    from metier.evaluation.written.text_metrics import sign

    own = scores.get(asked.comparison.candidate, {})
    rival = scores.get(asked.comparison.best_baseline or "", {})
    better = sign(asked.comparison.primary_metric)
    pairs = ((id, value, rival.get(id)) for id, value in own.items())
    return {id: better * (value - other) for id, value, other in pairs if value is not None and other is not None}


def _chosen(ids: Sequence[str], gains: Mapping[str, float], *, first: int, most: int) -> dict[str, tuple[str, ...]]:
    """The first by hash, then the best and the worst against the best baseline, each with why.

    The best and the worst may be among the first; no record is both.
    """
    known = sorted((id for id in ids if id in gains), key=lambda id: -gains[id])
    ends = min(EXTREMES, most, len(known) // 2)
    reasons: dict[str, list[str]] = {id: [BY_HASH] for id in ids[:first]}
    for name, places in ((BEST, known[:ends]), (WORST, known[::-1][:ends])):
        for id in places:
            reasons.setdefault(id, []).append(name)
    return {id: tuple(why) for id, why in reasons.items()}


def _read_rows(paths: Sequence[Path], ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Text and turns of these records, and of no others."""
    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        found |= _rows_of(path, ids)
    return found


def _rows_of(path: Path, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Text and turns of these records, and of no others."""
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    if not path.exists():
        raise RunFolderError(
            str(path), "is missing", "a run that reached its comparison", "Continue it: metier run RECIPE --resume."
        )
    try:
        there = pq.read_schema(path).names
        columns = [name for name in ("id", "text", "messages", "tools") if name in there]
        table = pq.read_table(path, columns=columns, filters=[("id", "in", list(ids))])
        return {row["id"]: row for row in table.to_pylist()}
    except (pa.ArrowInvalid, KeyError) as error:
        raise RunFolderError(str(path), "is damaged: no readable Parquet", "", "Run the recipe again.") from error


def _label_sets(asked: Asked) -> Shown:
    """As `_choices`, with labels one after the other."""

    def said(answer: str) -> str:
        try:
            return ", ".join(json.loads(answer)) or "no label"
        except ValueError:
            return answer  # it was no list

    shown = _choices(asked)
    return replace(shown, examples=tuple(_said(example, said) for example in shown.examples))


def _pieces(asked: Asked) -> Shown:
    """As `_choices`, with pieces as words where texts may be shown; otherwise they are character offsets."""
    shown = _choices(asked)
    return replace(shown, examples=tuple(map(_in_words, shown.examples)))


def _in_words(example: Example) -> Example:
    """An example whose pieces are named by their words, `Ada Lovelace (PERSON)`."""
    text = example.text
    if text is None:
        return example

    def said(answer: str) -> str:
        if not answer:
            return "no list that can be read"
        try:
            rows = json.loads(answer)
        except ValueError:
            return answer  # it was no list
        return "; ".join(f"{text[start:end] or 'not in the text'} ({label})" for start, end, label in rows) or "nothing"

    return _said(example, said)


def _said(example: Example, said: Callable[[str], str]) -> Example:
    """An example with the right answer and all others in words."""
    answers = {name: None if answer is None else said(answer) for name, answer in example.answers.items()}
    return replace(example, gold=said(example.gold), answers=answers)


PICKS: Mapping[str, Callable[[Asked], Shown]] = {
    "classification": _choices, "generation": _answers, "chat": _answers, "text": _documents,
    "multilabel": _label_sets, "extraction": _pieces,
}  # fmt: skip
"""Task -> the records that the page shows."""
