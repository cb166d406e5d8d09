"""The door: who is named how often, and which labels or tones go with whom.

It gives no doubts about rows: an association belongs to no single row. What to do about one is a person's decision;
`remedies.py` has what a recipe can switch on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from metier.data.bias.associations import Association, AssociationSettings, associate, outcomes_of
from metier.data.bias.groups import load_group_words
from metier.data.bias.mentions import Coded, Gathered, gather, length_buckets, share_table
from metier.data.bias.remedies import collection
from metier.data.bias.shares import wilson
from metier.data.cleaning.rows import Finding, Rows
from metier.data.table import counted
from metier.errors import DataError

STEP, VERSION = "bias", 1
MOST_SHOWN = 50
"""Associations in the table; all flagged ones are, beyond that number too."""


@dataclass(frozen=True, kw_only=True)
class BiasSettings:
    """What the screen looks for."""

    dimensions: tuple[str, ...] | None = None
    """Dimensions of the word lists (`gender`, `religion`, …); None: all."""
    words: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    """The user's own group words: dimension -> group -> words."""
    without: tuple[str, ...] = ()
    """Listed words that mean something else in this data."""
    names: bool = True
    """Whether common first names count for a gender."""
    associations: AssociationSettings = field(default_factory=AssociationSettings)


def screen_bias(
    rows: Rows,
    settings: BiasSettings = BiasSettings(),
    *,
    columns: Sequence[Coded] = (),
    language_of: Callable[[str], str | None] | None = None,
) -> Finding:
    """Count who is named, and compare labels and tones between groups.

    Args:
        rows: All rows, test rows among them: those are counted, never compared.
        settings: What to look for.
        columns: The user's own columns that divide people, by key (`mentions.coded_column`).
        language_of: The language of a text, None where it cannot be told.

    Raises:
        DataError: The settings name an unknown dimension or word, or a column is not as long as the rows.
    """
    return look(rows, settings, columns=columns, language_of=language_of)[0]


def look(
    rows: Rows,
    settings: BiasSettings,
    *,
    columns: Sequence[Coded] = (),
    language_of: Callable[[str], str | None] | None = None,
) -> tuple[Finding, Gathered, list[Association]]:
    """As `screen_bias`, with what the remedies need: everything gathered, and every association looked at."""
    started = time.perf_counter()
    words = load_group_words(
        dimensions=settings.dimensions, more=settings.words, without=settings.without, names=settings.names
    )
    found = gather(rows, words, language_of)
    count = found.asked.rows
    for column in columns:
        if len(column.codes) != count:
            raise DataError(f"column {column.name}", f"has {len(column.codes)} values", f"{count}, one a row")
    divided = [found.asked.coded(dimension) for dimension in words.dimensions]
    divided += [*columns, *([found.languages] if found.languages is not None else [])]
    learned = ~found.tested
    outcomes = outcomes_of(found, learned)
    among = [(found.labels.codes >= 0 if one.kind == "label" else found.written) & learned for one in outcomes]
    associations = associate(divided, outcomes, settings.associations, among=among, clusters=found.clusters)
    flagged = [one for one in associations if one.flagged]
    finding = Finding(
        step=STEP,
        version=VERSION,
        looked_at=count,
        counts={
            "rows that name a group": len(np.unique(found.asked.keys)),
            "comparisons": len(associations),
            "associations": len(flagged),
        },
        tables={
            "groups": _group_table(found),
            "columns": [*_column_table([*columns, length_buckets(found.lengths)], found), *_languages(found)],
            "associations": [_association_row(one) for one in flagged]
            + [_association_row(one) for one in associations if not one.flagged][: max(0, MOST_SHOWN - len(flagged))],
            "suggestions": collection(flagged),
        },
        notes=tuple(_notes(found, associations, settings, divided)),
        seconds=time.perf_counter() - started,
    )
    return finding, found, associations


def _group_table(found: Gathered) -> list[dict[str, object]]:
    everywhere = found.asked.per_group()
    tested = found.asked.per_group(found.tested)
    answered = found.answered.per_group()
    low, high = wilson(everywhere, np.full(len(everywhere), found.asked.rows))
    return [
        {
            "dimension": group.dimension,
            "group": group.name,
            "rows": int(everywhere[place]),
            "share": int(everywhere[place]) / found.asked.rows,
            "low": float(low[place]),
            "high": float(high[place]),
            "test rows": int(tested[place]),
            "answers": int(answered[place]),
        }
        for place, group in enumerate(found.asked.groups)
        if everywhere[place] or answered[place]
    ]


def _column_table(columns: Sequence[Coded], found: Gathered) -> list[dict[str, object]]:
    return [
        {
            "column": column.name,
            "value": value,
            "rows": rows,
            "share": rows / found.asked.rows,
            "test rows": share_table(column, found.tested).get(value, 0),
        }
        for column in columns
        for value, rows in share_table(column).items()
    ]


def _languages(found: Gathered) -> list[dict[str, object]]:
    return _column_table([found.languages], found) if found.languages is not None else []


def _association_row(one: Association) -> dict[str, object]:
    return {
        "dimension": one.dimension,
        "group": one.group,
        "compared with": ", ".join(one.others[:5])
        + (f" and {len(one.others) - 5} more" if len(one.others) > 5 else ""),
        "kind": one.kind,
        "outcome": one.outcome,
        "rows": one.rows,
        "share": one.share,
        "other rows": one.other_rows,
        "other share": one.other_share,
        "difference": one.difference,
        "low": one.low,
        "high": one.high,
        "odds ratio": one.odds_ratio,
        "odds low": one.odds_low,
        "odds high": one.odds_high,
        "p": one.p_value,
        "adjusted p": one.adjusted,
        "flagged": one.flagged,
    }


def _notes(
    found: Gathered, associations: Sequence[Association], settings: BiasSettings, divided: Sequence[Coded]
) -> Iterator[str]:
    limits = settings.associations
    yield (
        "The word lists are English, are looked for in texts that read as English, and prefer missing a mention to "
        "inventing one: counts are lower bounds. They name words, not what is meant; `they` is never counted."
    )
    if settings.names and (settings.dimensions is None or "gender" in settings.dimensions):
        yield "Common first names count for the sex that they are mostly given to: a guess about each person."
    if found.languages is not None:
        english = (
            np.isin(found.languages.codes, [found.languages.values.index("en")])
            if "en" in found.languages.values
            else None
        )
        others = found.asked.rows - int(english.sum()) if english is not None else found.asked.rows
        if others:
            yield f"{counted(others, 'row')} not in English: group words in them are mostly not seen."
    if associations:
        yield (
            f"{counted(len(associations), 'comparison')}; flagged where Holm's correction over all of them leaves "
            f"{limits.level:.0%} or less and the shares differ by {limits.smallest_gap * 100:.0f} points or more. "
            "Intervals are 95 % each, not corrected. An association is no proof of unfairness, and none found is no "
            "proof of its absence."
        )
    if found.written.any():
        yield "Tones of answers are a screen on words: irony, quotation and other languages pass by it."
    if len(np.unique(found.clusters)) < len(found.clusters):
        yield "Rows of one group of the recipe's count together: ten messages of one writer are not ten witnesses."
    thin = [
        column.name
        for column in divided
        if (np.bincount(column.codes[(column.codes >= 0) & ~found.tested]) >= limits.fewest_rows).sum() < 2
    ]
    if thin:
        yield (
            f"Not compared, because fewer than two groups are named in {limits.fewest_rows} rows or more: "
            f"{', '.join(thin)}."
        )
    if found.tested.any():
        yield f"{counted(int(found.tested.sum()), 'row')} of the test split counted, not compared."
