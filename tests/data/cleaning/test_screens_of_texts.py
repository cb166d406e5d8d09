"""What holds for every screen over texts, whatever the texts are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.cleaning.conflicts import screen_contradictions
from metier.data.cleaning.contamination import screen_contamination
from metier.data.cleaning.label_names import screen_label_names
from metier.data.cleaning.leakage import screen_leakage
from metier.data.cleaning.near_duplicates import screen_duplicates
from metier.data.cleaning.rows import SPLITS, Finding, Row, Rows

SCREENS: tuple[Callable[[Rows], Finding], ...] = (
    screen_duplicates, screen_contradictions, screen_leakage, screen_contamination, screen_label_names,
)  # fmt: skip
TEXT = st.one_of(
    st.text(max_size=20),
    st.lists(st.sampled_from(["card", "Card", "lost", "lost!", "is", "my", "不", "👍"]), max_size=14).map(" ".join),
)
ROW = st.tuples(
    TEXT, st.sampled_from(SPLITS), st.sampled_from(["", "a", "b", "A"]), st.booleans(), st.none() | st.just("g")
)


def make(parts: list[tuple[str, str, str, bool, str | None]]) -> list[Row]:
    return [
        Row(
            key=3 * at, split=split, text=text, answer=answer, labelled=labelled, group=group,
            source=f"{split}.csv", row=at + 1,
        )
        for at, (text, split, answer, labelled, group) in enumerate(parts)
    ]  # fmt: skip


@given(st.lists(ROW, max_size=12))
@settings(max_examples=60, deadline=None)
def test_doubts_are_of_rows_and_in_order(parts: list[tuple[str, str, str, bool, str | None]]) -> None:
    rows = make(parts)
    keys = {row.key for row in rows}
    for screen in SCREENS:
        finding = screen(rows)
        assert [doubt.key for doubt in finding.doubts] == sorted(doubt.key for doubt in finding.doubts)
        for doubt in finding.doubts:
            assert doubt.step == finding.step
            assert {doubt.key, *doubt.others} <= keys and doubt.key not in doubt.others
            assert doubt.score is None or 0 <= doubt.score <= 1
        assert all(isinstance(count, int) for count in finding.counts.values())
        assert finding.doubts == screen(rows).doubts


@given(st.lists(ROW, max_size=10))
@settings(max_examples=40, deadline=None)
def test_test_rows_are_never_to_be_dropped(
    parts: list[tuple[str, str, str, bool, str | None]],
) -> None:
    rows = make(parts)
    test = {row.key for row in rows if row.split == "test"}
    for screen in (screen_leakage, screen_contamination, screen_duplicates):
        assert not [doubt for doubt in screen(rows).doubts if doubt.key in test and doubt.suggestion]


@pytest.mark.parametrize("screen", SCREENS)
def test_no_text_of_a_row_is_told(screen: Callable[[Rows], Finding]) -> None:
    said = "xylophone quartz zephyr vortex sphinx jackdaw wizard buzzard gizmo puzzle"
    parts = [
        (said, "train", "a", True, "hospital9"),
        (said, "test", "b", True, "hospital9"),
        (f"{said}!", "train", "a", True, None),
    ]
    finding = screen(make(parts))
    told = f"{finding.doubts}{finding.tables}{finding.notes}{finding.counts}"
    assert not [word for word in [*said.split(), "hospital9"] if word in told]


def test_dropping_what_is_suggested_leaves_nothing_to_suggest() -> None:
    words = [f"w{at}" for at in range(40)]
    texts = [" ".join([*words[:at], "x", *words[at + 1 :]]) for at in range(0, 40, 4)]
    rows = make(
        [(text, split, "a", True, None) for text in texts for split in ("train", "test", "validation", "train", "test")]
    )
    screens = (screen_leakage, screen_duplicates)
    dropped = {doubt.key for screen in screens for doubt in screen(rows).doubts if doubt.suggestion == "drop"}
    left = [row for row in rows if row.key not in dropped]
    assert [row.split for row in left] == ["test"] * 20
    assert not [doubt for screen in screens for doubt in screen(left).doubts if doubt.suggestion]
