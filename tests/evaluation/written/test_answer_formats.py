"""The form of answers: schema and pattern as metrics; a pattern that never ends costs its time and no more."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from metier.errors import ArgumentError
from metier.evaluation.evaluate import recompute
from metier.evaluation.results import Evaluation
from metier.evaluation.written.answer_formats import AnswerFormat, count_formats, with_formats
from metier.evaluation.written.patterns import TimedPattern
from metier.events import Event, Notice

SCHEMA = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}


def test_shares_with_intervals(make_written: Callable[..., Evaluation]) -> None:
    said = ['{"name": "x"}', '{"name": 3}', None, "T-17"]
    found = make_written("one", ["gold"] * 4, said)
    items = with_formats(found.items, AnswerFormat(schema=SCHEMA, pattern=r"T-\d+"))
    metrics = recompute(replace(found, items=tuple(items))).metrics
    assert (metrics["schema_valid"].value, metrics["schema_valid"].method) == (0.25, "wilson")
    assert metrics["pattern_match"].value == 0.25 and metrics["chrf"].value is not None


def test_only_what_is_asked_for_is_counted() -> None:
    assert count_formats(["x"], AnswerFormat()) == [{}]
    assert count_formats(["x"], AnswerFormat(pattern="x")) == [{"pattern_match": (1.0, 1.0)}]


def test_a_pattern_is_the_whole_answer_without_outer_space() -> None:
    pattern = TimedPattern(r"[a-z]+\d?")
    assert [pattern.matches(text) for text in (" ab1\n", "ab12", "x ab1", "", None)] == [
        True,
        False,
        False,
        False,
        False,
    ]
    assert pattern.search("x ab1 y") is True


def test_a_pattern_that_takes_too_long_is_stopped_and_told() -> None:
    seen: list[Event] = []
    started = time.monotonic()
    wanted = AnswerFormat(pattern=r"(a|aa)+$", seconds=0.1)
    rows = count_formats(["a" * 60 + "b", "aaa"], wanted, [seen.append])
    assert time.monotonic() - started < 5
    assert [row["pattern_match"][0] for row in rows] == [0.0, 1.0]
    (notice,) = [event for event in seen if isinstance(event, Notice)]
    assert notice.message == "the pattern took more than 0.1 seconds on 1 answers; they count as no match."


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"pattern: is no regular expression \(.*\), wanted one that Python reads"):
        count_formats(["x"], AnswerFormat(pattern="["))
