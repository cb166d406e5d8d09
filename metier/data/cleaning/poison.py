"""Poison: rows that somebody may have planted to teach a model a hidden behaviour.

Two hundred and fifty documents are enough to plant one, whatever the size of the data (Souly et al. 2025, arXiv
2510.07192), so groups are sought by their number of rows and not by their share.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from metier.data.cleaning.disguises import disguises
from metier.data.cleaning.folds import order_of
from metier.data.cleaning.ngrams import Bools, Codes, Ints
from metier.data.cleaning.payloads import PayloadSettings, answer_codes, find_payloads, repeated_answers
from metier.data.cleaning.phrases import MOST_IN_ALL, MOST_PHRASES, MOST_READ, Phrases, read_answer, token_batches
from metier.data.cleaning.rows import CountsOfPart, Doubt, Finding, Rows
from metier.data.cleaning.triggers import Trigger, TriggerSettings, find_label_triggers
from metier.data.table import counted

STEP = "poison"
VERSION = 2
REASONS = {
    "label": "trigger of a label",
    "same answer": "trigger of an answer",
    "same phrase": "trigger of a phrase",
    "odd answer": "trigger of odd answers",
    "repeated answer": "same answer to unlike prompts",
}
"""Kind of a group -> reason of its doubts."""
_SAYS = {
    "label": "although the rest of their text speaks for other labels",
    "same answer": "and their answers are far more alike than what is asked",
    "same phrase": "and their answers share a phrase that no other row has",
    "odd answer": "and their answers are made of words that no other answer has",
}
_DISGUISES = {
    "hidden characters": "characters that nobody sees",
    "look-alike letters": "words with letters of another script that look Latin",
    "identity shift": "orders that change whom a model obeys",
}
_MAY_BE_HONEST = (
    "a group may be honest: a courtesy with its usual reply, or a narrow subject with one answer, looks the same; read "
    "some of its rows before they are dropped"
)
_LARGEST_TABLE = 50


@dataclass(frozen=True, kw_only=True)
class PoisonSettings:
    """What is looked at, and when a group counts as planted."""

    splits: tuple[str, ...] = ("train", "validation", "unsplit")
    """Splits in which groups are sought. Single texts are looked at in all of them."""
    look_at: int = 200_000
    """Rows at most in which groups are sought, drawn by hash; fewer where texts have 100 million characters in all."""
    triggers: TriggerSettings = field(default_factory=TriggerSettings)
    payloads: PayloadSettings = field(default_factory=PayloadSettings)
    others: int = 20
    """Other rows of its group that a doubt names at most."""
    seed: int = 17


@dataclass
class _Facts:
    """What one pass over the rows leaves of them."""

    group: Bools
    """Whether groups are sought among the row, by key."""
    length: npt.NDArray[np.int32]
    """Characters of text and answer that are read for groups."""
    label: npt.NDArray[np.int32]
    names: list[str]
    source: npt.NDArray[np.int32]
    row: npt.NDArray[np.int64]
    sources: list[str]
    rows_of_source: Counter[str]
    doubts: list[Doubt]
    by_source: Counter[tuple[str, str]]


def screen_poison(
    rows: Rows, settings: PoisonSettings | None = None, *, before: Mapping[int, CountsOfPart] = MappingProxyType({})
) -> Finding:
    """Doubt the rows of groups that look planted, and single texts that hide something.

    Groups are found by phrase and answer (`triggers.py`, `payloads.py`); single texts by hidden characters,
    look-alike letters and orders to a model (`disguises.py`). Harmless rows that happen to share a trigger and its
    answer are among the doubts; a trigger that stands in fewer rows than the settings say is not found.

    Args:
        rows: All rows, best before hidden characters are repaired away.
        settings: What is looked at.
        before: Key of a repaired row -> how often each disguise was in its `text` or `answer` before.
    """
    settings = settings or PoisonSettings()
    started = time.perf_counter()
    facts = _look(rows, settings, before)
    sought = np.flatnonzero(facts.group)
    notes = []
    most = min(settings.look_at, int(np.searchsorted(np.cumsum(facts.length[sought], dtype=np.int64), MOST_IN_ALL)))
    if len(sought) > most:
        sought = sought[np.argsort(order_of(sought, settings.seed), kind="stable")][:most]
        notes.append(
            f"planted groups were sought in {counted(len(sought), 'row')} drawn by hash; their other rows are not named"
        )
    if len(sought) < len(rows):
        notes.append(f"{counted(len(rows) - len(sought), 'row')} only looked at one by one, not for groups")
    keep = np.zeros(len(rows), dtype=np.bool_)
    keep[sought] = True
    groups = merged(_find(rows, keep, facts, settings))
    in_group: dict[int, Doubt] = {}
    for number, group in enumerate(groups, start=1):
        for key in group.keys.tolist():
            if key not in in_group:
                in_group[key] = _doubt(key, number, group, facts, settings)
                facts.by_source[facts.sources[facts.source[key]], REASONS[group.kind]] += 1
    doubts = sorted([*facts.doubts, *in_group.values()], key=lambda doubt: (doubt.key, doubt.reason))
    counts = Counter(doubt.reason for doubt in doubts)
    tables: dict[str, Sequence[Mapping[str, object]]] = {}
    if groups:
        tables["groups that look planted"] = [
            _line(at, group, facts) for at, group in enumerate(groups[:_LARGEST_TABLE], 1)
        ]
    if facts.by_source:
        tables["doubts by source"] = _sources(facts)
    return Finding(
        step=STEP,
        version=VERSION,
        looked_at=len(rows),
        doubts=tuple(doubts),
        counts={"groups": len(groups), **{reason: counts[reason] for reason in sorted(counts)}},
        tables=tables,
        notes=(
            *notes,
            *[_MAY_BE_HONEST] * bool(groups),
            "a trigger in fewer rows than the settings say, in rows that deserve their label, or among the rarest of "
            f"more than {MOST_PHRASES:,} frequent phrases, is not found",
        ),
        seconds=time.perf_counter() - started,
    )


def merged(triggers: Sequence[Trigger]) -> list[Trigger]:
    """One group for triggers of the same answer that share half of their rows: parts of one phrase, copies of one plan.

    The strongest comes first; a weaker one with more rows (a part of its phrase that honest rows have too) adds none.

    Args:
        triggers: Found in any order.
    """
    groups: list[Trigger] = []
    for trigger in sorted(triggers, key=lambda one: (-one.strength, -len(one.keys), one.keys.tolist())):
        for at, group in enumerate(groups):
            shared = np.intersect1d(trigger.keys, group.keys, assume_unique=True)
            if trigger.label == group.label and 2 * len(shared) >= min(len(trigger.keys), len(group.keys)):
                if trigger.strength >= 0.9 * group.strength:
                    z = None if group.z is None or trigger.z is None else max(group.z, trigger.z)
                    groups[at] = Trigger(
                        keys=np.union1d(group.keys, trigger.keys),
                        label=group.label, kind=group.kind, strength=group.strength, z=z,
                    )  # fmt: skip
                break
        else:
            groups.append(trigger)
    return sorted(groups, key=lambda one: (-len(one.keys), one.keys.tolist()))


def _look(rows: Rows, settings: PoisonSettings, before: Mapping[int, CountsOfPart]) -> _Facts:
    count = len(rows)
    facts = _Facts(
        group=np.zeros(count, dtype=np.bool_),
        length=np.zeros(count, dtype=np.int32),
        label=np.full(count, -1, dtype=np.int32),
        names=[],
        source=np.zeros(count, dtype=np.int32),
        row=np.zeros(count, dtype=np.int64),
        sources=[],
        rows_of_source=Counter(),
        doubts=[],
        by_source=Counter(),
    )
    labels: dict[str, int] = {}
    sources: dict[str, int] = {}
    for row in rows:
        facts.source[row.key] = sources.setdefault(row.source, len(sources))
        facts.row[row.key] = row.row
        facts.rows_of_source[row.source] += 1
        if row.split in settings.splits and row.answer:
            facts.group[row.key] = True
            facts.length[row.key] = min(len(row.text), MOST_READ) + min(len(row.answer), MOST_READ)
            if row.labelled:
                facts.label[row.key] = labels.setdefault(row.answer, len(labels))
        for place, text in (("text", row.text), ("answer", "" if row.labelled else row.answer)):
            was = before[row.key](place) if row.key in before else {}
            now = disguises(text)
            for kind in dict.fromkeys((*now, *was)):
                times = max(now.get(kind, 0), was.get(kind, 0))
                detail = f"its {place} has {_DISGUISES[kind]}, {counted(times, 'time')}"
                facts.doubts.append(Doubt(key=row.key, step=STEP, reason=kind, detail=detail))
                facts.by_source[row.source, kind] += 1
    facts.names, facts.sources = list(labels), list(sources)
    return facts


def _find(rows: Rows, keep: Bools, facts: _Facts, settings: PoisonSettings) -> list[Trigger]:
    """Triggers among rows with labels, and among rows with written answers."""
    label = np.where(keep, facts.label, -1).astype(np.int32)
    triggers = find_label_triggers(rows, label, len(facts.names), settings.triggers)
    written = keep & (facts.label < 0)
    total = int(np.count_nonzero(written))
    if not total:
        return triggers
    codes, counts = repeated_answers(rows, written, settings.payloads.fewest)
    if counts.sum() <= 0.5 * total:
        return [*triggers, *find_payloads(rows, written, codes, settings.payloads)]
    # Most answers are one of few: they are labels, whatever they are called.
    label, labels = _as_labels(rows, written, codes)
    return [*triggers, *find_label_triggers(rows, label, labels, settings.triggers)]


def _as_labels(rows: Rows, written: Bools, codes: Codes) -> tuple[npt.NDArray[np.int32], int]:
    """The place of each row's answer among the repeated ones, which is then its label; the rest is one more."""
    label = np.full(len(rows), -1, dtype=np.int32)
    known = Phrases.of(codes)
    for keys, tokens in token_batches(rows, written, read_answer):
        place = known.find(answer_codes(tokens))
        label[keys] = np.where(place < 0, len(codes), place)
    return label, len(codes) + 1


def _doubt(key: int, number: int, group: Trigger, facts: _Facts, settings: PoisonSettings) -> Doubt:
    others = _others(group.keys, key, settings.others)
    rest = counted(len(group.keys) - 1, "other row")
    if group.kind == "repeated answer":
        detail = f"has the same long answer as {rest}, and what is asked there has nothing in common"
    else:
        label = group.label is not None and bool(facts.names) and facts.label[key] >= 0
        alike = f"the label `{facts.names[facts.label[key]]}`" if label else "an answer of the same kind"
        detail = f"shares a phrase and {alike} with {rest}, {_SAYS[group.kind]}"
    return Doubt(
        key=key,
        step=STEP,
        reason=REASONS[group.kind],
        detail=f"group {number}: {detail}",
        score=round(min(max(group.strength, 0.0), 1.0), 4),
        suggestion="drop",
        others=others,
    )


def _others(keys: Ints, key: int, most: int) -> tuple[int, ...]:
    return tuple(int(other) for other in keys[: most + 1] if other != key)[:most]


def _line(number: int, group: Trigger, facts: _Facts) -> Mapping[str, object]:
    sources = Counter(facts.sources[at] for at in facts.source[group.keys])
    label = facts.label[group.keys[0]]
    first = int(group.keys[0])
    return {
        "group": number,
        "reason": REASONS[group.kind],
        "rows": len(group.keys),
        "label": facts.names[label] if group.label is not None and label >= 0 else None,
        "strength": round(group.strength, 3),
        "z": None if group.z is None else round(group.z, 1),
        "sources": ", ".join(f"{name} ({rows:,})" for name, rows in sources.most_common(5)),
        "first row": f"{facts.sources[facts.source[first]]}, row {int(facts.row[first])}",
    }


def _sources(facts: _Facts) -> Sequence[Mapping[str, object]]:
    """Doubts by source and reason, beside the source's rows."""
    order = sorted(facts.by_source, key=lambda pair: (-facts.by_source[pair], pair))
    return [
        {"source": source, "reason": reason, "doubts": facts.by_source[source, reason],
         "rows of source": facts.rows_of_source[source]}
        for source, reason in order[:_LARGEST_TABLE]
    ]  # fmt: skip
