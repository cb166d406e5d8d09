"""Labelled pieces: every list of spans can be written in words and is read back; what is wrong is never guessed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.text_spans import Span, first_list, located, moved, named_spans, pieces_text

TEXT = "Paris met Paris in Paris, Texas."


@st.composite
def marked_texts(draw: st.DrawFn) -> tuple[str, tuple[Span, ...]]:
    """A text of few letters, so that pieces come again, with spans that may overlap."""
    text = draw(st.text(alphabet="ab ", min_size=1, max_size=24))
    starts = draw(st.lists(st.integers(0, len(text) - 1), max_size=6))
    spans = []
    for start in starts:
        end = draw(st.integers(start + 1, len(text)))
        if text[start:end].strip():
            spans.append(Span(start, end, draw(st.sampled_from(("X", "Y")))))
    return text, tuple(sorted(set(spans)))


@given(case=marked_texts())
@settings(max_examples=300, deadline=None)
def test_what_is_written_in_words_is_read_back(case: tuple[str, tuple[Span, ...]]) -> None:
    text, spans = case
    assert located(text, pieces_text(text, spans)) == spans


def test_a_number_says_which_of_equal_pieces_is_meant() -> None:
    spans = (Span(10, 15, "PERSON"), Span(19, 31, "PLACE"))
    assert pieces_text(TEXT, spans) == '[["Paris", "PERSON", 2], ["Paris, Texas", "PLACE"]]'
    assert pieces_text(TEXT, [Span(0, 5, "A"), Span(10, 15, "A")]) == '[["Paris", "A"], ["Paris", "A"]]'


def test_a_piece_that_the_text_does_not_have_was_answered_and_is_wrong() -> None:
    found = located(TEXT, '[["Rome", "PLACE"], ["Paris", "PERSON"]]')
    assert found == (Span(0, 5, "PERSON"), Span(32, 36, "PLACE"))


def test_a_lost_order_is_forgiven() -> None:
    assert located(TEXT, '[["Texas", "PLACE"], ["met", "VERB"]]') == (Span(6, 9, "VERB"), Span(26, 31, "PLACE"))


@pytest.mark.parametrize(
    "answer", [None, "", "none", "{}", "[1", '["Paris"]', '[["Paris"]]', '[["", "A"]]', '[["Paris", "A", 0]]', "[[1]]"]
)
def test_what_cannot_be_read_is_none(answer: str | None) -> None:
    assert located(TEXT, answer) is None


def test_words_around_a_list_do_not_matter() -> None:
    assert first_list('Sure: ["a"] and ["b"]') == ["a"]
    assert located(TEXT, 'Here:\n```json\n[{"text": "Texas", "label": "PLACE"}]\n```') == (Span(26, 31, "PLACE"),)


@pytest.mark.parametrize(
    "row",
    [
        [3, 9, "P"], {"start": 3, "end": 9, "label": "P"}, {"start_position": 3, "end_position": 9, "entity_type": "P"},
        {"start_offset": 3, "end_offset": 9, "tag": "P"}, {"start": 3, "end": 9, "labels": ["P"]},
    ],
)  # fmt: skip
def test_the_usual_names_of_data_sets_are_known(row: object) -> None:
    assert named_spans([row]) == ((Span(3, 9, "P"), None),)


@pytest.mark.parametrize("value", [None, "x", {}, ["x"], [[9, 3, "P"]], [[True, 3, "P"]], [["a", "P"]]])
def test_other_cells_hold_no_spans(value: object) -> None:
    assert named_spans(value) is None


def test_a_span_moves_with_the_repairs_of_its_text() -> None:
    text, repaired = "a\u200bb  Ada and Ada", "ab Ada and Ada"
    second = Span(text.rindex("Ada"), len(text), "P")
    assert moved(second, text, "Ada", repaired) == Span(repaired.rindex("Ada"), len(repaired), "P")
    assert moved(second, text, "Bob", repaired) is None


def test_pieces_are_json_whatever_they_hold() -> None:
    text = 'he said "é\n" twice'
    assert json.loads(pieces_text(text, [Span(8, 12, "Q")])) == [['"é\n"', "Q"]]
