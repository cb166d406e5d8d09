"""Wrong written answers: the same question answered differently, and answers that a model finds hard to believe.

The second sign is instruction-following difficulty (Li et al., "From quantity to quality", arXiv 2308.12032): the
loss of an answer after its prompt over its loss alone. From 1 on the prompt does not help: the two may not belong
together. Where only losses after the prompt are given, those far above the others are named.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metier.data.cleaning.folds import joined, minimum_hashes
from metier.data.cleaning.ngrams import Bools, Codes, Ints, Tokens, mixed, read_tokens, row_batches
from metier.data.cleaning.rows import Doubt, Finding, Rows
from metier.data.table import counted, rows_at

STEP = "wrong_answers"
VERSION = 1
CONTRADICTION = "another answer to the same question"
NEAR = "another answer to nearly the same question"
UNHELPED = "answer that its prompt does not help"
HARD = "answer that is hard to believe"
BANDS, HASHES = 16, 4
"""Texts with four fifths of their words in common share one of 16 bands of 4 minimum hashes in 99.9 % of cases."""
SURE = 0.8
"""Share of equal minimum hashes, of 64, from which on two inputs are nearly the same. Of inputs with nine tenths of
their words in common 99 % reach it, of those with seven tenths 5 %."""
_PUNCTUATION = ". , ; : ! ? ' \" … ... !! ?? ?! ‘ ’ “ ” 。 、 ？ ！"
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
"""The comma of 1,000, which is the same number without it."""
_TO_SIGMA = 1.4826

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class WrongAnswerSettings:
    """What counts as doubtful."""

    splits: tuple[str, ...] = ("train", "validation", "test", "unsplit")
    """Splits in which contradictions are sought; by loss no row of test is named."""
    contradictions: bool = True
    """Whether contradictions are sought; False where another step does that already."""
    near: bool = True
    """Whether nearly the same inputs count as the same; those whose numbers differ never do."""
    near_words: int = 12
    """Different words of an input from which on it can be nearly the same as another: in a short one the word that
    differs is what is asked."""
    ifd: float = 1.0
    """Loss after the prompt over loss alone from which on an answer is doubted."""
    far: float = 3.5
    """Robust standard deviations above the median of ln(loss), or of ln(IFD), from which on an answer is doubted."""
    most_doubts: int = 20_000
    """Doubts by loss given at most, the surest; the rest is only counted."""
    others: int = 20
    """Contradicting rows that a doubt names at most."""


def screen_wrong_answers(
    rows: Rows,
    settings: WrongAnswerSettings | None = None,
    *,
    clusters: npt.NDArray[np.integer] | None = None,
    losses: Mapping[int, float] | None = None,
    alone: Mapping[int, float] | None = None,
) -> Finding:
    """Doubt written answers.

    Args:
        rows: All rows; those with labels are left to `wrong_labels`.
        settings: What counts.
        clusters: Near duplicates of the inputs by key, as another step found them. None: found here.
        losses: Mean negative log-likelihood of each answer's tokens after its prompt, in nats, by key.
        alone: The same without the prompt.
    """
    settings = settings or WrongAnswerSettings()
    started = time.perf_counter()
    facts = _read(rows, settings, clusters is None and settings.near and settings.contradictions)
    doubts: list[Doubt] = []
    counts: dict[str, int] = {}
    if settings.contradictions:
        doubts = _contradictions(facts, _clusters(facts, clusters, settings), settings)
        counts = {reason: sum(doubt.reason == reason for doubt in doubts) for reason in (CONTRADICTION, NEAR)}
    notes = [f"{counted(len(rows) - int(facts.keep.sum()), 'row')} with labels or without an answer not looked at"]
    if losses is None:
        notes.append("answers were not ranked by loss: no model's losses were given")
    else:
        named, more = _by_loss(facts, losses, alone or {}, settings)
        doubts += [doubt for doubt in named if doubt.key not in {other.key for other in doubts}]
        notes += more
        counts |= {reason: sum(doubt.reason == reason for doubt in named) for reason in (UNHELPED, HARD)}
    return Finding(
        step=STEP,
        version=VERSION,
        looked_at=int(facts.keep.sum()),
        doubts=tuple(sorted(doubts, key=lambda doubt: doubt.key)),
        counts=counts,
        notes=tuple(notes),
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What one pass leaves of the rows; arrays by key."""

    keep: Bools
    test: Bools
    question: Codes
    answer: Codes
    bands: Codes
    """Shape (rows, BANDS), or no rows where near inputs are not sought."""
    sketch: npt.NDArray[np.uint16]
    """Shape (rows, BANDS * HASHES)."""
    source: npt.NDArray[np.int32]
    row: npt.NDArray[np.int64]
    sources: list[str]


def _read(rows: Rows, settings: WrongAnswerSettings, near: bool) -> _Facts:
    count = len(rows)
    facts = _Facts(
        keep=np.zeros(count, dtype=np.bool_),
        test=np.zeros(count, dtype=np.bool_),
        question=np.zeros(count, dtype=np.uint64),
        answer=np.zeros(count, dtype=np.uint64),
        bands=np.zeros((count if near else 0, BANDS), dtype=np.uint64),
        sketch=np.zeros((count if near else 0, BANDS * HASHES), dtype=np.uint16),
        source=np.zeros(count, dtype=np.int32),
        row=np.zeros(count, dtype=np.int64),
        sources=[],
    )
    sources: dict[str, int] = {}
    # Two conversations may differ in their last words only: all of a text counts.
    for batch in row_batches(rows, most=1 << 30):
        here = [row for row in batch if not row.labelled and row.answer and row.split in settings.splits]
        if not here:
            continue
        keys = np.array([row.key for row in here])
        facts.keep[keys] = True
        facts.test[keys] = [row.split == "test" for row in here]
        facts.source[keys] = [sources.setdefault(row.source, len(sources)) for row in here]
        facts.row[keys] = [row.row for row in here]
        asked = _unpunctuated(read_tokens([_THOUSANDS.sub("", row.text) for row in here]))
        facts.question[keys] = in_order(asked)
        facts.answer[keys] = in_order(_unpunctuated(read_tokens([_THOUSANDS.sub("", row.answer) for row in here])))
        if near:
            signature = minimum_hashes(asked, BANDS * HASHES)
            facts.sketch[keys] = (mixed(signature) & np.uint64(0xFFFF)).astype(np.uint16)
            facts.bands[keys] = _bands(signature, asked.only(asked.number).bags())
            pair = np.unique(np.stack((asked.row.astype(np.uint64), asked.code)), axis=1)[0].astype(np.int64)
            short = np.bincount(pair, minlength=asked.rows) < settings.near_words
            # A number that no other row has: a short input is like no other.
            facts.bands[keys[short]] = mixed(keys[short].astype(np.uint64) + np.uint64(1 << 41))[:, None]
    facts.sources.extend(sources)
    return facts


def in_order(tokens: Tokens) -> Codes:
    """One number a text: equal for texts with the same tokens in the same order."""
    if not len(tokens.code):
        return np.zeros(tokens.rows, dtype=np.uint64)
    place = (np.arange(len(tokens.row)) - np.searchsorted(tokens.row, tokens.row)).astype(np.uint64)
    code = mixed(tokens.code ^ mixed(place + np.uint64(1)))
    return Tokens(code, tokens.row, tokens.symbol, tokens.number, tokens.rows).bags()


def _unpunctuated(tokens: Tokens) -> Tokens:
    # Other symbols stay: `3 + 4` and `3 - 4` are two questions.
    return tokens.only(~np.isin(tokens.code, read_tokens([_PUNCTUATION]).code))


def _bands(signature: Codes, numbers: Codes) -> Codes:
    keys = np.empty((len(signature), BANDS), dtype=np.uint64)
    for band in range(BANDS):
        key = mixed(numbers + np.uint64(band + 1))
        for place in range(band * HASHES, (band + 1) * HASHES):
            key = mixed(key ^ signature[:, place])
        keys[:, band] = key
    return keys


def _clusters(
    facts: _Facts, clusters: npt.NDArray[np.integer] | None, settings: WrongAnswerSettings
) -> npt.NDArray[np.int32]:
    """Equal for rows with the same question, or nearly the same."""
    count = len(facts.keep)
    lone = mixed(np.arange(count, dtype=np.uint64) + np.uint64(1 << 40))
    codes = [np.where(facts.keep, facts.question, lone)]
    if clusters is not None:
        codes.append(np.where(facts.keep, mixed(np.asarray(clusters).astype(np.uint64)), lone))
    elif settings.near:
        for band in range(BANDS):
            codes.append(np.where(facts.keep, _verified(facts.bands[:, band], facts.sketch), lone))
    return joined(count, codes)


def _verified(band: Codes, sketch: npt.NDArray[np.uint16]) -> Codes:
    """The band's codes, but a code of its own for every row that is not nearly the same as the first row with it."""
    order = np.argsort(band, kind="stable")
    starts = np.append(True, band[order][1:] != band[order][:-1])
    first = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
    alike = np.mean(sketch[order] == sketch[first], axis=1) >= SURE
    codes = band.copy()
    apart = order[~alike]
    codes[apart] = mixed(band[apart] ^ mixed(apart.astype(np.uint64) + np.uint64(7)))
    return codes


def _contradictions(facts: _Facts, cluster: npt.NDArray[np.int32], settings: WrongAnswerSettings) -> list[Doubt]:
    doubts = []
    for keys in _torn(facts, cluster):
        answers, place, sizes = np.unique(facts.answer[keys], return_inverse=True, return_counts=True)
        for at, key in enumerate(keys):
            reason, against = _against(facts, int(key), keys[place != place[at]])
            if not len(against):
                continue  # like it only by a chain of others
            named = against[: settings.others]
            question = "the same input" if reason == CONTRADICTION else "nearly the same input"
            doubts.append(
                Doubt(
                    key=int(key),
                    step=STEP,
                    reason=reason,
                    detail=f"{question} has another answer in {_places(facts, named)}; {len(answers)} answers in all",
                    score=round(1 - float(sizes[place[at]]) / len(keys), 4),
                    others=tuple(int(other) for other in named),
                )
            )
    return doubts


def _against(facts: _Facts, key: int, others: Ints) -> tuple[str, Ints]:
    """Those of the others that ask the same, or else nearly the same."""
    same = others[facts.question[others] == facts.question[key]]
    if len(same):
        return CONTRADICTION, same
    if len(facts.sketch):
        others = others[np.mean(facts.sketch[others] == facts.sketch[key], axis=1) >= SURE]
    return NEAR, others


def _places(facts: _Facts, keys: Ints) -> str:
    """Where rows are: `rows 3, 4 of a.jsonl, row 1 of b.jsonl`."""
    sources = np.unique(facts.source[keys])
    return ", ".join(
        f"{rows_at(facts.row[keys[facts.source[keys] == source]].tolist())} of {facts.sources[source]}"
        for source in sources
    )


def _torn(facts: _Facts, cluster: npt.NDArray[np.int32]) -> Iterator[Ints]:
    """Keys of every cluster that has more than one answer."""
    kept = np.flatnonzero(facts.keep)
    order = kept[np.lexsort((facts.answer[kept], cluster[kept]))]
    same = cluster[order][1:] == cluster[order][:-1]
    torn = np.unique(cluster[order][1:][same & (facts.answer[order][1:] != facts.answer[order][:-1])])
    starts = np.searchsorted(cluster[order], torn)
    ends = np.searchsorted(cluster[order], torn, side="right")
    for start, end in zip(starts, ends, strict=True):
        yield np.sort(order[start:end])


def _by_loss(
    facts: _Facts, losses: Mapping[int, float], alone: Mapping[int, float], settings: WrongAnswerSettings
) -> tuple[list[Doubt], list[str]]:
    """Doubts about the answers that a model finds hardest, and what was not ranked."""
    keys, ratio = instruction_difficulty(losses, alone)
    known = np.array([key for key in sorted(losses) if np.isfinite(losses[key]) and losses[key] > 0], dtype=np.int64)
    by_ratio = np.isin(known, keys)
    values = np.array([losses[int(key)] for key in known], dtype=np.float64)
    values[by_ratio] = ratio[np.isin(keys, known)]
    doubts: list[tuple[float, Doubt]] = []
    for part, name in ((by_ratio, "IFD"), (~by_ratio, "loss")):
        beyond = _beyond(np.log(values[part]))
        for key, value, far in zip(known[part], values[part], beyond, strict=True):
            unhelped = name == "IFD" and value >= settings.ifd
            if facts.test[key] or not facts.keep[key] or not (unhelped or far >= settings.far):
                continue
            detail = f"{name} {value:.2f}, {far:.1f} robust standard deviations above the median"
            reason = UNHELPED if unhelped else HARD
            score = round(float(1 / (1 + np.exp(-far / 2))), 4)
            doubts.append((-far, Doubt(key=int(key), step=STEP, reason=reason, detail=detail, score=score)))
    doubts.sort(key=lambda pair: (pair[0], pair[1].key))
    notes = ["a hard answer is not a wrong one: look at the surest first"]
    missing = int(facts.keep.sum()) - int(facts.keep[known].sum())
    if missing:
        notes.append(f"{counted(missing, 'row')} without a loss not ranked")
    if len(doubts) > settings.most_doubts:
        beyond_most = counted(len(doubts) - settings.most_doubts, "doubt")
        notes.append(f"{beyond_most} by loss beyond the surest {settings.most_doubts:,} left out")
    return [doubt for _, doubt in doubts[: settings.most_doubts]], notes


def instruction_difficulty(losses: Mapping[int, float], alone: Mapping[int, float]) -> tuple[Ints, Floats]:
    """Keys, ascending, of the rows that have both losses, and their ratio (IFD); larger is more doubtful.

    Args:
        losses: Of answers after their prompts, by key.
        alone: Of answers alone, by key.
    """
    keys = np.array(
        [key for key in sorted(losses) if key in alone and 0 < alone[key] < np.inf and 0 < losses[key] < np.inf],
        dtype=np.int64,
    )
    return keys, np.array([losses[int(key)] / alone[int(key)] for key in keys], dtype=np.float64)


def _beyond(values: Floats) -> Floats:
    if not len(values):
        return values
    median = np.median(values)
    result: Floats = (values - median) / max(_TO_SIGMA * float(np.median(np.abs(values - median))), 1e-3)
    return result
