"""Rare labels: too few rows to learn or to measure; for each a suggestion to keep it, merge it or reject its rows."""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from metier.data.cleaning.out_of_fold import Chances
from metier.data.cleaning.rows import Doubt, Finding, Row, Rows
from metier.data.table import counted
from metier.recipe.sections import DataSection

STEP = "rare_labels"
VERSION = 1
REASON = "rare label"
_LARGEST_TABLE = 50
_MOST_NAMES = 2_000
"""Labels whose names are compared letter by letter; with more only their plain forms are."""


@dataclass(frozen=True, kw_only=True)
class RareLabelSettings:
    """What is rare, and what is suggested then."""

    rare: int = 5
    """A label with fewer rows than this, in train and in what is not split yet, is rare."""
    too_few: int = 2
    """With fewer rows than this, and no label to merge it into, its rows are suggested for rejection."""
    same_name: float = 0.85
    """Names at least this alike (0 to 1, difflib's ratio) are taken for the same label."""
    same_text: float = 0.6
    """Mean probability from which on another label's texts are taken for the same."""


def screen_rare_labels(
    rows: Rows, settings: RareLabelSettings | None = None, *, chances: Chances | None = None
) -> Finding:
    """Name every rare label's rows, and what might become of them.

    `merge into …`: a more frequent label has nearly the same name, or to models that do not know the rare label its
    rows read like that one. `reject`: too few rows even to have one to learn and one to measure. `keep`: the rest;
    more rows would help.

    Args:
        rows: All rows; those of validation and test are neither counted nor doubted.
        settings: What is rare.
        chances: Out-of-fold probabilities of the same rows. None: only names are compared, and a note says so.
    """
    settings = settings or RareLabelSettings()
    started = time.perf_counter()
    count: dict[str, int] = {}
    for row in rows:
        if _counts(row):
            count[row.answer] = count.get(row.answer, 0) + 1
    rare = {label for label, rows_with in count.items() if rows_with < settings.rare}
    found = _few(rows, rare) if rare else []
    likeness = _confusion(found, chances)
    advice = {
        label: _advise(label, count, rare, likeness.get(label), settings) for label in sorted(rare)
    }  # fmt: skip
    notes = [] if chances is not None or not rare else ["labels are compared by name only: no probabilities were made"]
    table = [
        {"label": label, "rows": count[label], "nearest": advice[label][1], "why": advice[label][2],
         "suggestion": advice[label][0]}
        for label in sorted(rare, key=lambda label: (count[label], label))[:_LARGEST_TABLE]
    ]  # fmt: skip
    kinds = [advice[row.answer][0].split(" ")[0] for row in found]
    return Finding(
        step=STEP,
        version=VERSION,
        looked_at=sum(count.values()),
        doubts=tuple(_doubt(row, count[row.answer], advice[row.answer]) for row in found),
        counts={REASON: len(found), "labels": len(count), "rare labels": len(rare)}
        | {f"suggested: {kind}": kinds.count(kind) for kind in ("keep", "merge", "reject") if kind in kinds},
        tables={"rare labels": table} if table else {},
        notes=tuple(notes),
        seconds=time.perf_counter() - started,
    )


def _counts(row: Row) -> bool:
    return row.labelled and row.answer != "" and row.split not in ("validation", "test")


@dataclass(frozen=True, slots=True)
class _Place:
    """A row without its text."""

    key: int
    answer: str


def _few(rows: Rows, rare: set[str]) -> list[_Place]:
    return [_Place(row.key, row.answer) for row in rows if _counts(row) and row.answer in rare]


def _confusion(found: list[_Place], chances: Chances | None) -> dict[str, tuple[str, float]]:
    """For each rare label the label that its rows read like most, and the mean probability of that."""
    if chances is None or not len(chances.key):
        return {}
    keys: dict[str, list[int]] = {}
    for row in found:
        keys.setdefault(row.answer, []).append(row.key)
    nearest = {}
    for label, mine in keys.items():
        places = np.searchsorted(chances.key, mine)
        places = places[(places < len(chances.key)) & np.isin(mine, chances.key)]
        if not len(places) or label in chances.names:
            continue
        total = np.bincount(chances.likely[places].ravel(), weights=chances.chance[places].ravel())
        nearest[label] = chances.names[int(np.argmax(total))], float(total.max() / len(places))
    return nearest


def _advise(
    label: str,
    count: Mapping[str, int],
    rare: set[str],
    likeness: tuple[str, float] | None,
    settings: RareLabelSettings,
) -> tuple[str, str | None, str]:
    """Suggestion, nearest label, and why."""
    named = _same_name(label, [other for other in count if other not in rare], settings.same_name)
    if named is not None:
        return f"merge into {named}", named, "nearly the same name"
    if likeness is not None and likeness[1] >= settings.same_text:
        return f"merge into {likeness[0]}", likeness[0], f"its rows read like it (mean probability {likeness[1]:.2f})"
    nearest = likeness[0] if likeness is not None else None
    if count[label] < settings.too_few:
        return "reject", nearest, f"fewer than {settings.too_few} rows, and no label to merge it into"
    return "keep", nearest, "like no other label: more rows would help"


def _same_name(label: str, others: list[str], least: float) -> str | None:
    """The frequent label whose name is nearest, if it is near enough."""
    forms = {other: _plain(other) for other in sorted(others)}
    plain = _plain(label)
    same = next((other for other, form in forms.items() if form == plain), None)
    if same is not None or len(forms) > _MOST_NAMES or not re.search(r"\D", plain):
        return same
    ratio = {other: difflib.SequenceMatcher(None, plain, form).ratio() for other, form in forms.items()}
    # Labels that differ in a number (`level 1`, `level 2`) differ on purpose.
    alike = [other for other in ratio if ratio[other] >= least and _numbers(forms[other]) == _numbers(plain)]
    return max(alike, key=lambda other: ratio[other], default=None)


def _plain(label: str) -> str:
    return re.sub(r"[\W_]+", " ", label.casefold()).strip()


def _numbers(label: str) -> list[str]:
    return re.findall(r"\d+", label)


def _doubt(row: _Place, count: int, advice: tuple[str, str | None, str]) -> Doubt:
    suggestion, _, why = advice
    return Doubt(
        key=row.key,
        step=STEP,
        reason=REASON,
        detail=f"`{row.answer}` has {counted(count, 'row')} to learn from; {why}",
        suggestion=suggestion,
    )


def rare_label_names(counts: Mapping[str, int], section: DataSection) -> dict[str, str]:
    """What rare labels are called from now on, before splits are drawn; empty unless the recipe merges them.

    Args:
        counts: Rows of each label, without those of a test file.
        section: `rare_labels`, `rare_below` and `rare_name`.
    """
    if section.rare_labels != "merge":
        return {}
    return {label: section.rare_name for label in _below(counts, section) if label != section.rare_name}


def rejected_labels(counts: Mapping[str, int], section: DataSection) -> tuple[str, ...]:
    """Rare labels whose rows leave train (`REASON`); none unless the recipe rejects them.

    Args:
        counts: Rows of each label, without those of a test file.
        section: `rare_labels` and `rare_below`.
    """
    return _below(counts, section) if section.rare_labels == "reject" else ()


def _below(counts: Mapping[str, int], section: DataSection) -> tuple[str, ...]:
    return tuple(sorted(label for label, rows in counts.items() if rows < section.rare_below))
