r"""What a user has without a language model where pieces of a text are wanted: a dictionary, and a linear tagger.

Both see words as `\w+` and every other sign by itself; their choices are made on validation.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from metier.data.records import Input, Marked
from metier.data.text_spans import Span, spans_text
from metier.errors import DataError
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions, Material
from metier.evaluation.written.spans import count_spans
from metier.evaluation.written.text_metrics import ADDED_METRICS, row_of

SHARES = (0.0, 0.25, 0.5, 0.75, 0.9)
"""How often a piece of train has to be marked where it stands, for the dictionary to mark it; tried on validation."""
STRENGTHS = (0.1, 1.0)
"""Inverse regularisation strengths of the tagger, tried on validation."""
_WORD = re.compile(r"\w+|[^\w\s]")
_AROUND = (-2, -1, 1, 2)
OUTSIDE = "O"


@dataclass(frozen=True)
class Word:
    """A word and where it stands."""

    text: str
    start: int
    end: int


def words_of(text: str) -> list[Word]:
    """The words of a text, in order."""
    return [Word(found.group(), found.start(), found.end()) for found in _WORD.finditer(text)]


@dataclass(frozen=True, eq=False)
class _Entries:
    """Pieces as words, each with its label."""

    labels: Mapping[tuple[str, ...], str]
    lengths: Mapping[str, Sequence[int]]
    """First word -> the lengths of entries that begin with it, longest first."""
    fold: bool

    def find(self, text: str) -> list[Span]:
        """The longest entry at every place, from left to right, none over another."""
        words = words_of(text)
        plain = [word.text.casefold() if self.fold else word.text for word in words]
        spans, place = [], 0
        while place < len(words):
            for length in self.lengths.get(plain[place], ()):
                label = self.labels.get(tuple(plain[place : place + length]))
                if label is not None and place + length <= len(words):
                    spans.append(Span(words[place].start, words[place + length - 1].end, label))
                    place += length - 1
                    break
            place += 1
        return spans


class DictionarySystem:
    """Marks what train has marked, wherever its words stand; how sure that has to be is chosen on validation."""

    name = "dictionary"
    kind = "the marked pieces of train, found again"
    parameters: int | None = None
    bytes: int | None = None

    def __init__(self, train: Sequence[Marked], validation: Sequence[Marked], metric: str) -> None:
        """Collect the pieces of `train`, and choose on `validation` by `metric` which of them are used."""
        tables = {fold: _counted(train, fold) for fold in (False, True)}
        ways = list(product(tables, SHARES)) if validation else [(False, 0.5)]
        found = {way: _entries(*tables[way[0]], way[0], way[1]) for way in ways}
        scores = {way: span_score(validation, found[way].find, metric) for way in ways} if validation else {}
        best = max(ways, key=lambda way: scores.get(way, 0.0))
        self.entries = found[best]
        self.trained_on = f"{len(train)} examples"
        self.settings: Mapping[str, Any] = {
            "entries": len(self.entries.labels),
            "marked_share": best[1],
            "any_case": best[0],
            "chosen_on": f"validation {metric}, n = {len(validation)}"
            if validation
            else "not chosen: no validation set",
            "tried": {f"share={share:g}, any case={fold}": score for (fold, share), score in scores.items()},
        }

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """The pieces of each input."""
        for given in inputs:
            yield Answer(id=given.id, label=None, text=spans_text(self.entries.find(given.text)))


class TaggerSystem:
    """A linear classifier of words by themselves and their neighbours, in the BIO scheme (Ramshaw and Marcus 1995)."""

    name = "tagger"
    kind = "words, their forms and neighbours, a linear classifier"

    def __init__(self, train: Sequence[Marked], validation: Sequence[Marked], metric: str, seed: int) -> None:
        """Fit every C on train and keep the best on validation.

        Args:
            train: What it learns from.
            validation: What C is chosen on; empty takes the last without choosing.
            metric: What "best" means.
            seed: Of the solver.
        """
        from sklearn.feature_extraction import FeatureHasher  # type: ignore[import-untyped]

        self._hasher = FeatureHasher(n_features=2**18, input_type="string")
        texts = [words_of(record.text) for record in train]
        tags = [tag for record, words in zip(train, texts, strict=True) for tag in bio_tags(words, record.spans)]
        if not tags:
            raise DataError("train", "no text has a word", "texts with words", "Leave `tagger` out of the systems.")
        matrix = self._features(texts)
        best, tried = None, {}
        for strength in STRENGTHS if validation else STRENGTHS[-1:]:
            self._model = _fit(matrix, tags, strength, seed)
            score = span_score(validation, self.find, metric) if validation else 0.0
            tried[f"C={strength:g}"] = score
            if best is None or score > best[0]:
                best = (score, strength, self._model)
        assert best is not None
        _, strength, self._model = best
        size = 0 if isinstance(self._model, str) else int(self._model.coef_.size + self._model.intercept_.size)
        self.parameters: int | None = size
        self.bytes: int | None = 8 * size
        self.trained_on = f"{len(train)} examples"
        self.settings: Mapping[str, Any] = {
            "C": strength,
            "chosen_on": f"validation {metric}, n = {len(validation)}"
            if validation
            else "not chosen: no validation set",
            "tried": tried if validation else {},
        }

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """The pieces of each input."""
        for given in inputs:
            yield Answer(id=given.id, label=None, text=spans_text(self.find(given.text)))

    def find(self, text: str) -> list[Span]:
        """The pieces of a text."""
        words = words_of(text)
        if not words:
            return []
        if isinstance(self._model, str):
            return spans_of_tags(words, [self._model] * len(words))
        return spans_of_tags(words, [str(tag) for tag in self._model.predict(self._features([words]))])

    def _features(self, texts: Sequence[Sequence[Word]]) -> Any:
        return self._hasher.transform([_signs(words, place) for words in texts for place in range(len(words))])


def bio_tags(words: Sequence[Word], spans: Sequence[Span]) -> list[str]:
    """A tag for each word: `B-X` where a piece begins, `I-X` inside of it, `O`; of overlapping pieces the first.

    Args:
        words: Of a text.
        spans: Its pieces, in order.
    """
    tags = [OUTSIDE] * len(words)
    for span in spans:
        inside = [place for place, word in enumerate(words) if word.start < span.end and span.start < word.end]
        if any(tags[place] != OUTSIDE for place in inside):
            continue
        for number, place in enumerate(inside):
            tags[place] = f"{'I' if number else 'B'}-{span.label}"
    return tags


def spans_of_tags(words: Sequence[Word], tags: Sequence[str]) -> list[Span]:
    """The pieces that tags mean; an `I-X` that nothing began begins a piece."""
    spans: list[Span] = []
    before = OUTSIDE
    for word, tag in zip(words, tags, strict=True):
        label = tag[2:]
        if tag != OUTSIDE:
            if tag[0] == "I" and before[2:] == label and before != OUTSIDE:
                spans[-1] = Span(spans[-1].start, word.end, label)
            else:
                spans.append(Span(word.start, word.end, label))
        before = tag
    return spans


def span_score(records: Sequence[Marked], find: Any, metric: str) -> float:
    """A metric of spans without an interval, for choosing on validation; 0 where it is undefined.

    Args:
        records: With their right pieces.
        find: From a text to its pieces.
        metric: A name in `spans.SPAN_METRICS`.
    """
    rows = count_spans(
        [spans_text(record.spans) for record in records], [spans_text(find(record.text)) for record in records]
    )
    how = row_of(metric) or ADDED_METRICS["span_f1"]
    value = float(how.value(np.sum([row[metric] for row in rows], axis=0)))
    return 0.0 if np.isnan(value) else value


def _counted(
    train: Sequence[Marked], fold: bool
) -> tuple[dict[tuple[str, ...], Counter[str]], Counter[tuple[str, ...]]]:
    """How often each piece of train is marked, by label, and how often its words stand in train at all."""
    texts = [words_of(record.text) for record in train]
    plain = [[word.text.casefold() if fold else word.text for word in words] for words in texts]
    marked: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for record, words, said in zip(train, texts, plain, strict=True):
        for span in record.spans:
            inside = [place for place, word in enumerate(words) if span.start <= word.start and word.end <= span.end]
            if inside and words[inside[0]].start == span.start and words[inside[-1]].end == span.end:
                marked[tuple(said[inside[0] : inside[-1] + 1])][span.label] += 1
    lengths: dict[str, set[int]] = defaultdict(set)
    for piece in marked:
        lengths[piece[0]].add(len(piece))
    there: Counter[tuple[str, ...]] = Counter()
    for said in plain:
        for place, word in enumerate(said):
            fitting = (length for length in lengths.get(word, ()) if place + length <= len(said))
            there.update(tuple(said[place : place + length]) for length in fitting)
    return marked, there


def _entries(
    marked: Mapping[tuple[str, ...], Counter[str]], there: Counter[tuple[str, ...]], fold: bool, share: float
) -> _Entries:
    labels = {}
    for piece, counts in marked.items():
        label = min(counts, key=lambda name: (-counts[name], name))
        if counts[label] >= share * there[piece]:
            labels[piece] = label
    lengths: dict[str, set[int]] = defaultdict(set)
    for piece in labels:
        lengths[piece[0]].add(len(piece))
    return _Entries(labels, {word: sorted(each, reverse=True) for word, each in lengths.items()}, fold)


def _signs(words: Sequence[Word], place: int) -> list[str]:
    """What the tagger sees of a word: itself, its form, beginnings and ends, and its neighbours."""
    word = words[place].text
    plain = word.casefold()
    signs = [
        "",
        f"w={plain}",
        f"s={_form(word)}",
        *(f"b{n}={plain[:n]}" for n in (2, 3)),
        *(f"e{n}={plain[-n:]}" for n in (2, 3)),
    ]
    for step in _AROUND:
        near = words[place + step].text if 0 <= place + step < len(words) else "\n"
        signs += [f"{step}w={near.casefold()}", f"{step}s={_form(near)}"]
    return signs


def _form(word: str) -> str:
    """Capitals as X, other letters as x, digits as 9, runs of more than three as three."""
    form = "".join(
        "9" if char.isdigit() else "X" if char.isupper() else "x" if char.isalpha() else char for char in word
    )
    return re.sub(r"(.)\1{3,}", r"\1\1\1", form)


def _fit(matrix: Any, tags: Sequence[str], strength: float, seed: int) -> Any:
    """A linear classifier of tags; the tag itself where there is only one."""
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
    from sklearn.svm import LinearSVC  # type: ignore[import-untyped]

    if len(set(tags)) < 2:
        return tags[0]
    model = LinearSVC(C=strength, random_state=seed % 2**31)
    with warnings.catch_warnings():
        # It stops at the limit of iterations; validation judges the result either way.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(matrix, list(tags))


def build_dictionary(material: Material) -> DictionarySystem:
    """The row `dictionary` of `SPAN_SYSTEMS`."""
    return DictionarySystem(material.train, material.validation, material.section.primary_metric)


def build_tagger(material: Material) -> TaggerSystem:
    """The row `tagger` of `SPAN_SYSTEMS`."""
    return TaggerSystem(material.train, material.validation, material.section.primary_metric, material.seed)
