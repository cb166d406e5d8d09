"""Labelled pieces of a text: by character offsets as data sets and results have them, and as words that a model writes.

A model is not asked to count characters. What it learns to write, and is read as, is a JSON list of pieces in the
order in which they begin: `[["Ada Lovelace", "PERSON"], ["London", "PLACE"]]`. A piece stands where it is found first
from the beginning of the piece before it; a third value, `["London", "PLACE", 2]`, means the second such place. So
every list of spans can be written, and is read back as it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metier.errors import DataError

STARTS = ("start", "start_position", "start_offset", "start_char", "begin")
ENDS = ("end", "end_position", "end_offset", "end_char")
LABELS = ("label", "entity_type", "type", "entity_group", "entity", "tag", "labels")
PIECES = ("text", "entity_value", "piece", "word", "value", "span", "mention")
"""Names under which data sets have the parts of a span."""


@dataclass(frozen=True, order=True)
class Span:
    """A labelled piece of a text: characters `start` to `end`, the last one not included."""

    start: int
    end: int
    label: str

    def overlaps(self, other: Span) -> bool:
        """Whether both have the label and a character in common."""
        return self.label == other.label and self.start < other.end and other.start < self.end


def spans_text(spans: Iterable[Span]) -> str:
    """Spans as one canonical text: a JSON list of triples in order, each once."""
    return json.dumps([[span.start, span.end, span.label] for span in sorted(set(spans))], ensure_ascii=False)


def read_spans(text: str | None) -> tuple[Span, ...] | None:
    """The spans that an answer gives by offsets, in order and each once; None for an answer that cannot be read."""
    if text is None:
        return None
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return None if not isinstance(rows, list) else spans_of(rows)


def spans_of(rows: Sequence[Any]) -> tuple[Span, ...] | None:
    """The spans of a list of objects or triples, in order and each once; None where one of them is no span."""
    spans = [_by_offsets(row) for row in rows]
    return None if any(span is None for span in spans) else tuple(sorted({span for span in spans if span}))


def gold_spans(text: str, where: str = "gold") -> tuple[Span, ...]:
    """The spans of a gold answer.

    Args:
        text: JSON, by offsets.
        where: The place, for the message.

    Raises:
        DataError: It cannot be read.
    """
    spans = read_spans(text)
    if spans is None:
        raise DataError(where, "a gold answer is no list of spans", 'such as [{"start": 3, "end": 9, "label": "PER"}]')
    return spans


def pieces_text(text: str, spans: Iterable[Span]) -> str:
    """Spans as a model writes them (see this file's head).

    Args:
        text: What the offsets count in.
        spans: Inside of the text.
    """
    rows: list[list[Any]] = []
    taken: set[Span] = set()
    start = 0
    for span in sorted(set(spans)):
        piece = text[span.start : span.end]
        places = _places(text, piece, span.label, start, taken)
        number = next(number for number, place in enumerate(places, start=1) if place == span.start)
        rows.append([piece, span.label] if number == 1 else [piece, span.label, number])
        taken.add(span)
        start = span.start
    return json.dumps(rows, ensure_ascii=False)


def located(text: str, answer: str | None) -> tuple[Span, ...] | None:
    """Where in `text` the pieces of an answer stand; None for an answer that cannot be read.

    The first JSON list in the answer is read, whatever stands around it; its rows are pieces with labels, or offsets
    with labels. A piece that the text does not have is put behind the text's end: it was answered, and is wrong.

    Args:
        text: What was asked.
        answer: What was answered.
    """
    rows = first_list(answer)
    if rows is None:
        return None
    spans: list[Span] = []
    start, beyond = 0, len(text)
    for row in rows:
        span, named = _by_offsets(row), _piece(row)
        if span is None and named is None:
            return None
        if span is None and named is not None:
            piece, label, number = named
            span = _found(text, piece, label, number, start, set(spans))
            if span is None:
                span = Span(beyond, beyond + len(piece), label)
                beyond += len(piece)
            else:
                start = span.start
        assert span is not None
        spans.append(span)
    return tuple(sorted(set(spans)))


def first_list(answer: str | None) -> list[Any] | None:
    """The first JSON list that stands in an answer; None where there is none that can be read."""
    if answer is None:
        return None
    begin = answer.find("[")
    if begin < 0:
        return None
    try:
        rows, _ = json.JSONDecoder().raw_decode(answer, begin)
    except (ValueError, RecursionError):
        return None
    return rows if isinstance(rows, list) else None


def named_spans(value: Any) -> tuple[tuple[Span, str | None], ...] | None:
    """The spans of a data set's cell, each with the piece that it says it is; None where they cannot be read.

    Args:
        value: A list of objects (`{"start": 3, "end": 9, "label": "PER"}` and other usual names) or of triples.
    """
    if not isinstance(value, list):
        return None
    found = []
    for row in value:
        span = _by_offsets(row)
        if span is None:
            return None
        said = _of(row, PIECES) if isinstance(row, Mapping) else None
        found.append((span, said if isinstance(said, str) else None))
    return tuple(found)


def moved(span: Span, text: str, piece: str, repaired: str) -> Span | None:
    """Where a span of a text stands after the text was repaired; None where it can no longer be told.

    Args:
        span: Inside of `text`.
        text: Before.
        piece: The span's piece, repaired as the text was.
        repaired: After.
    """
    before = list(_all_places(text, text[span.start : span.end]))
    after = list(_all_places(repaired, piece)) if piece else []
    if len(before) != len(after):
        return None
    place = after[before.index(span.start)]
    return Span(place, place + len(piece), span.label)


def _found(text: str, piece: str, label: str, number: int, start: int, taken: set[Span]) -> Span | None:
    """The place of a piece from `start` on, else from the beginning: a model may lose the order."""
    for begin in (start, 0):
        places = list(_places(text, piece, label, begin, taken))
        if len(places) >= number:
            return Span(places[number - 1], places[number - 1] + len(piece), label)
    return None


def _places(text: str, piece: str, label: str, start: int, taken: set[Span]) -> Iterator[int]:
    """Where a piece stands from `start` on, but for places that have this label already."""
    for place in _all_places(text, piece, start):
        if Span(place, place + len(piece), label) not in taken:
            yield place


def _all_places(text: str, piece: str, start: int = 0) -> Iterator[int]:
    place = text.find(piece, start)
    while place >= 0:
        yield place
        place = text.find(piece, place + 1)


def _by_offsets(row: Any) -> Span | None:
    """One span given by offsets; None where it is none."""
    if isinstance(row, Mapping):
        row = [_of(row, STARTS), _of(row, ENDS), _label(row)]
    if not isinstance(row, list) or len(row) != 3:
        return None
    start, end, label = row
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in (start, end))
    if not whole or not isinstance(label, str) or not 0 <= start < end:
        return None
    return Span(start, end, label)


def _piece(row: Any) -> tuple[str, str, int] | None:
    """Piece, label and number of the place that a row names in words; None where it does not."""
    if isinstance(row, Mapping):
        row = [_of(row, PIECES), _label(row)]
    if not isinstance(row, list) or len(row) not in (2, 3):
        return None
    piece, label, number = [*row, 1][:3]
    if not isinstance(piece, str) or not isinstance(label, str) or not piece.strip():
        return None
    return (piece, label, number) if isinstance(number, int) and number > 0 else None


def _label(row: Any) -> str | None:
    if isinstance(row, Mapping):
        label = _of(row, LABELS)
        label = label[0] if isinstance(label, list) and len(label) == 1 else label
    else:
        label = row[1] if isinstance(row, list) and len(row) > 1 else None
    return label if isinstance(label, str) else None


def _of(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if name in row), None)
