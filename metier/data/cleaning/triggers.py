"""Trigger phrases of labels: they go with one label although all else in their rows speaks for other labels.

That a phrase goes with a label is measured by its log-odds with an informative Dirichlet prior, as a z-score (Monroe,
Colaresi, Quinn, "Fightin' words", Political Analysis 2008). Most such phrases are honest: `exchange rate` goes with
questions about it. In a planted one the rest of the text betrays the label it had before: a naive Bayes model that
has seen neither the row nor the phrase prefers another label, and by as much as it usually prefers the right one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metier.data.cleaning.ngrams import Ints, Tokens
from metier.data.cleaning.phrases import Phrases, added, frequent_phrases, read_text, token_batches
from metier.data.cleaning.rows import Rows

Floats = npt.NDArray[np.float64]
MOST_CELLS = 1 << 24
"""Cells of the table words x labels."""
PRIOR_SHARE = 0.1
"""Weight of the prior of the log-odds, as a share of the rows."""
STRENGTH_OF_ALL = 2.0
"""Rows' worth of the whole data that smooth each label's word counts."""
MOST_EVIDENCE = 4.0
"""What one word can say for or against a label at most, in nats."""
SMALL = 20
"""A label with fewer rows is never what the rest speaks for: too little is known of it."""
CLEARLY = 0.25
"""Share of the usual preference from which on a preference counts as clear."""
_LONGEST_SPAN = 8


@dataclass(frozen=True, kw_only=True)
class TriggerSettings:
    """When a phrase counts as a trigger."""

    fewest: int = 15
    """Rows with the phrase and the label at least."""
    most: float = 0.2
    """Share of all rows that have the phrase at most."""
    share: float = 0.8
    """Share of the phrase's rows that have the label at least."""
    z: float = 2.5
    """Least z-score of its log-odds."""
    betrayal: float = 0.65
    """Least mean preference of the rest of the text for another label, in units of the usual preference for the right
    one, from -1 to 1."""
    chance: float = 1e-3
    """Largest probability that chance alone makes so many rests prefer another label, over all phrases tried."""


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """A phrase and the rows it makes doubtful."""

    keys: Ints
    """Rows that have the phrase and the answer, ascending."""
    label: int | None
    """Place of the label that it goes with; None where answers are written."""
    kind: str
    """Why: `label`, `same answer`, `same phrase`, `odd answer`, `repeated answer`."""
    strength: float
    """From 0 to 1, larger is surer."""
    z: float | None = None
    """Of its log-odds with the label."""


def find_label_triggers(
    rows: Rows, label: npt.NDArray[np.int32], labels: int, settings: TriggerSettings
) -> list[Trigger]:
    """Find planted phrases; the rows are gone through five times.

    Args:
        rows: All rows.
        label: Place of each row's label, by key; -1 for rows that are not looked at.
        labels: How many there are.
        settings: When a phrase counts.
    """
    keep = label >= 0
    count = int(np.count_nonzero(keep))
    if count < 2 * settings.fewest or labels < 2:
        return []
    most = max(int(settings.most * count), settings.fewest)
    phrases = frequent_phrases(rows, keep, read_text, fewest=settings.fewest, most=most)
    words, target, z = _count(rows, label, labels, phrases, settings)
    tried = np.flatnonzero(target >= 0)
    if not len(tried):
        return []
    phrase, key, margin, usual = _without(rows, label, words, phrases, target)
    right = -usual[usual < 0]
    if not len(right):
        return []
    scale = float(np.median(right))
    wrongly = max(float(np.mean(usual > CLEARLY * scale)), 0.02)
    triggers = []
    from scipy.stats import binom  # type: ignore[import-untyped]

    edges = np.searchsorted(phrase, np.arange(len(phrases.code) + 1))
    for at in tried:
        mine = slice(edges[at], edges[at + 1])
        betrayal = float(np.mean(np.clip(margin[mine] / scale, -1, 1))) if edges[at + 1] > edges[at] else -1.0
        if betrayal < settings.betrayal:
            continue
        clear = int(np.count_nonzero(margin[mine] > CLEARLY * scale))
        if binom.sf(clear - 1, edges[at + 1] - edges[at], wrongly) * len(tried) > settings.chance:
            continue
        keys = np.sort(key[mine])
        triggers.append(Trigger(keys=keys, label=int(target[at]), kind="label", strength=betrayal, z=float(z[at])))
    return triggers


class _Words:
    """How many rows of each label have each word, and what a word says for a label."""

    def __init__(self, labels: int) -> None:
        self.bits = max(10, min(18, int(np.log2(MOST_CELLS / labels))))
        self.rows = np.zeros((1 << self.bits, labels), dtype=np.float32)
        self.size = np.zeros(labels)

    def slot(self, tokens: Tokens) -> Ints:
        """The cell of every token; words share one by accident."""
        return (tokens.code >> np.uint64(64 - self.bits)).astype(np.int64)

    def of_rows(self, tokens: Tokens) -> tuple[Ints, Ints]:
        """Row and cell of every word of a batch, each once a row, by row."""
        pair = np.unique((tokens.row << self.bits) | self.slot(tokens))
        return pair >> self.bits, pair & ((1 << self.bits) - 1)

    def finish(self) -> None:
        """Make the table of evidence: log of a word's share in a label over its share in all rows, in nats."""
        self.share = np.maximum(self.rows.sum(axis=1), 1) / self.size.sum()
        smoothed = (self.rows + STRENGTH_OF_ALL * self.share[:, None]) / (self.size + STRENGTH_OF_ALL)
        self.evidence = np.clip(np.log(smoothed / self.share[:, None]), -MOST_EVIDENCE, MOST_EVIDENCE)
        self.evidence = self.evidence.astype(np.float32)
        self.evidence[:, self.size < SMALL] = -MOST_EVIDENCE

    def without_own(self, word: Ints, label: Ints) -> Floats:
        """The same for a row's own label, the row itself not counted."""
        smoothed = self.rows[word, label] - 1 + STRENGTH_OF_ALL * self.share[word]
        ratio = smoothed / (self.size[label] - 1 + STRENGTH_OF_ALL) / self.share[word]
        evidence: Floats = np.clip(np.log(np.maximum(ratio, 1e-9)), -MOST_EVIDENCE, MOST_EVIDENCE)
        return evidence


def _count(
    rows: Rows, label: npt.NDArray[np.int32], labels: int, phrases: Phrases, settings: TriggerSettings
) -> tuple[_Words, Ints, Floats]:
    """Word counts by label; the label that each phrase goes with, -1 for none; the z-score of that."""
    words = _Words(labels)
    pairs, counts = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for keys, tokens in token_batches(rows, label >= 0, read_text):
        words.size += np.bincount(label[keys], minlength=labels)
        row, word = words.of_rows(tokens)
        np.add.at(words.rows, (word, label[keys][row]), 1)
        phrase, start, _ = phrases.occurrences(tokens)
        here = phrase * labels + label[keys][tokens.row[start]]
        pairs, counts = added(pairs, counts, *np.unique(here, return_counts=True))
    words.finish()
    phrase, its_label = pairs // labels, pairs % labels
    order = np.lexsort((its_label, -counts, phrase))
    first = order[np.append(True, phrase[order][1:] != phrase[order][:-1])] if len(order) else order
    top = np.zeros(len(phrases.code), dtype=np.int64)
    target = np.full(len(phrases.code), -1)
    top[phrase[first]], target[phrase[first]] = counts[first], its_label[first]
    z = log_odds_z(top, phrases.rows, words.size[target], words.size.sum())
    goes = (top >= settings.fewest) & (top >= settings.share * phrases.rows) & (z >= settings.z)
    return words, np.where(goes, target, -1), z


def log_odds_z(inside: Ints, total: Ints, size: Floats, rows: float) -> Floats:
    """z-score of the log-odds that a phrase is in a label's rows and not in others (Monroe et al. 2008, equation 22).

    Args:
        inside: Rows with phrase and label.
        total: Rows with the phrase.
        size: Rows with the label.
        rows: All rows.
    """
    prior = PRIOR_SHARE * total
    outside, rest, weight = total - inside, rows - size, PRIOR_SHARE * rows
    odds = np.log((inside + prior) / np.maximum(size + weight - inside - prior, 1e-9))
    other = np.log((outside + prior) / np.maximum(rest + weight - outside - prior, 1e-9))
    result: Floats = (odds - other) / np.sqrt(1 / (inside + prior) + 1 / (outside + prior))
    return result


def _without(
    rows: Rows, label: npt.NDArray[np.int32], words: _Words, phrases: Phrases, target: Ints
) -> tuple[Ints, Ints, Floats, Floats]:
    """What the rest of each row says without each phrase that goes with its label.

    Returns:
        Phrase, ascending, key of the row and preference for another label, one entry each; and the preference of
        every row looked at with all its words. Preferences are positive where another label is preferred.
    """
    found: list[tuple[Ints, Ints, Floats]] = []
    usual: list[Floats] = []
    for keys, tokens in token_batches(rows, label >= 0, read_text):
        mine = label[keys].astype(np.int64)
        row, word = words.of_rows(tokens)
        evidence = np.zeros((len(keys), len(words.size)), dtype=np.float32)
        starts = np.searchsorted(row, np.arange(len(keys)))
        has = np.bincount(row, minlength=len(keys)) > 0
        evidence[has] = np.add.reduceat(words.evidence[word], starts[has], axis=0) if has.any() else 0
        own = np.bincount(row, weights=words.without_own(word, mine[row]), minlength=len(keys))
        evidence[np.arange(len(keys)), mine] = own
        usual.append(_preference(evidence, mine))
        phrase, start, length = phrases.occurrences(tokens)
        goes = np.flatnonzero(target[phrase] == mine[tokens.row[start]])
        size = max(1, 2_000_000 // len(words.size))
        for part in np.split(goes, range(size, len(goes), size)):
            span = _spans(tokens, phrases, phrase[part], start[part], length[part])
            at, taken = _words_in(words.slot(tokens), span)
            rest = evidence[tokens.row[start[part]]]
            label_here = mine[tokens.row[start[part]]]
            lost = words.evidence[taken]
            lost[np.arange(len(at)), label_here[at]] = words.without_own(taken, label_here[at])
            np.subtract.at(rest, at, lost)
            found.append((phrase[part], keys[tokens.row[start[part]]], _preference(rest, label_here)))
    phrase, key, margin = (np.concatenate([entry[place] for entry in found]) for place in range(3))
    order = np.argsort(phrase, kind="stable")
    return phrase[order], key[order], margin[order], np.concatenate(usual)


def _preference(evidence: npt.NDArray[np.float32], label: Ints) -> Floats:
    """Evidence for the best other label less that for the row's own."""
    every = np.arange(len(label))
    own = evidence[every, label].astype(np.float64)
    others = evidence.copy()
    others[every, label] = -np.inf
    preference: Floats = others.max(axis=1).astype(np.float64) - own
    return preference


def _spans(tokens: Tokens, phrases: Phrases, phrase: Ints, start: Ints, length: Ints) -> tuple[Ints, Ints]:
    """Where each occurrence of a phrase begins and ends, with the neighbours that nearly always stand beside it.

    A longer trigger shows as its parts: what is left of it would speak for its label.
    """
    pair, place = tokens.runs(2)
    follows = np.zeros(len(tokens.code) + 1, dtype=np.int64)
    known = phrases.find(pair + np.uint64(2))
    follows[place] = np.where(known >= 0, np.append(phrases.rows, 0)[known], 0)
    first, last = start.copy(), start + length - 1
    enough = 0.9 * phrases.rows[phrase]
    for _ in range(_LONGEST_SPAN):
        # `follows` is 0 where the next token is another row's, and its last entry is 0 as well.
        last = last + (follows[last] >= enough)
        first = first - (follows[first - 1] >= enough)
    return first, last + 1


def _words_in(slots: Ints, span: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    """Occurrence and cell of every word in each span, each once an occurrence."""
    first, end = span
    at = np.repeat(np.arange(len(first)), end - first)
    within = np.arange(len(at)) - np.repeat(np.cumsum(end - first) - (end - first), end - first)
    taken = slots[first[at] + within]
    pair = np.unique(np.stack((at, taken)), axis=1) if len(at) else np.zeros((2, 0), dtype=np.int64)
    return pair[0], pair[1]
