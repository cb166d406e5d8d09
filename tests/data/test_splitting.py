from __future__ import annotations

import statistics

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.records import Choice
from metier.data.roster import Roster, RosterBuilder
from metier.data.splitting import draw_split, keep_most, keep_per_label, unit_hash
from metier.store.fingerprint import text_sha256

Row = tuple[str, str | None, int]
"""Label, group, and the number of its text."""


def roster_of(rows: list[Row]) -> Roster:
    builder = RosterBuilder()
    for row, (label, group, text) in enumerate(rows):
        record = Choice(id="", text=f"text{text}", label=label, group=group, source="f", row=row)
        builder.add(record, text_sha256(f"text{text}")[:16], 0)
    return builder.roster()


def places(roster: Roster) -> np.ndarray:
    return np.arange(len(roster), dtype=np.int64)


def names(roster: Roster, some: np.ndarray) -> set[str]:
    return {roster.cluster_name(place) for place in some.tolist()}


rows_of_any_kind = st.lists(
    st.tuples(st.sampled_from("abc"), st.none() | st.sampled_from("GHIJ"), st.integers(0, 30)), min_size=1, max_size=60
)


@settings(deadline=None)
@given(rows_of_any_kind, st.integers(0, 3))
def test_no_cluster_is_in_two_splits_and_nothing_is_lost(rows: list[Row], seed: int) -> None:
    roster = roster_of(rows)
    draw = draw_split(roster, places(roster), share=0.3, seed=seed, name="test")
    assert not names(roster, draw.rest) & names(roster, draw.drawn)
    assert sorted([*draw.rest, *draw.drawn]) == list(range(len(rows)))
    assert list(draw.rest) == sorted(draw.rest) and list(draw.drawn) == sorted(draw.drawn)


@settings(deadline=None)
@given(rows_of_any_kind, st.integers(0, 3))
def test_every_label_stays_in_the_rest_and_frequent_ones_are_drawn(rows: list[Row], seed: int) -> None:
    roster = roster_of(rows)
    draw = draw_split(roster, places(roster), share=0.3, seed=seed, name="test")
    labels = {label for label, _, _ in rows}
    assert set(roster.label_counts(draw.rest)) == labels
    if all(group is None for _, group, _ in rows) and len({text for _, _, text in rows}) == len(rows):
        frequent = {label for label in labels if sum(row[0] == label for row in rows) >= 3}
        assert frequent <= set(roster.label_counts(draw.drawn))


@settings(deadline=None)
@given(rows_of_any_kind, st.integers(0, 3), st.floats(0.05, 0.95))
def test_a_cluster_goes_where_its_hash_says(rows: list[Row], seed: int, share: float) -> None:
    roster = roster_of(rows)
    draw = draw_split(roster, places(roster), share=share, seed=seed, name="test")
    if draw.given or draw.kept:
        return
    wanted = {name for name in names(roster, places(roster)) if unit_hash(seed, "test", name) < share}
    assert names(roster, draw.drawn) == wanted


@settings(deadline=None)
@given(st.integers(0, 5), st.integers(1, 80), st.integers(0, 80))
def test_adding_rows_never_moves_an_old_row(seed: int, before: int, more: int) -> None:
    roster = roster_of([("ab"[i % 2], None, i) for i in range(before + more)])
    old = draw_split(roster, np.arange(before), share=0.25, seed=seed, name="test")
    new = draw_split(roster, places(roster), share=0.25, seed=seed, name="test")
    if old.given or old.kept or new.given or new.kept:
        return  # the repair is the stated exception
    assert set(old.drawn) == set(new.drawn) & set(range(before))


def test_the_share_is_met_and_names_draw_on_their_own() -> None:
    roster = roster_of([("ab"[i % 2], None, i) for i in range(4000)])
    test = draw_split(roster, places(roster), share=0.2, seed=1, name="test").drawn
    validation = draw_split(roster, places(roster), share=0.2, seed=1, name="validation").drawn
    assert 0.18 < len(test) / 4000 < 0.22
    assert 0.02 < len(set(test) & set(validation)) / 4000 < 0.06


def test_hashes_are_even_and_fixed() -> None:
    values = [unit_hash(17, "test", str(i)) for i in range(3000)]
    assert abs(statistics.mean(values) - 0.5) < 0.02
    assert unit_hash(17, "test", "text abc") == 0.8578120726692615
    assert unit_hash(17, "test", "a") != unit_hash(18, "test", "a")


def test_repairs_are_named() -> None:
    roster = roster_of([("often", None, i) for i in range(200)] + [("seldom", None, 1000 + i) for i in range(3)])
    draw = draw_split(roster, places(roster), share=0.001, seed=3, name="test")
    assert "seldom" in draw.given
    hashes = {place: unit_hash(3, "test", roster.cluster_name(place)) for place in range(200, 203)}
    assert [place for place in draw.drawn if place >= 200] == [min(hashes, key=hashes.__getitem__)]
    draw = draw_split(roster, places(roster), share=0.999, seed=3, name="test")
    assert "seldom" in draw.kept


def test_limits_keep_the_smallest_hashes_in_the_old_order() -> None:
    roster = roster_of([("ab"[i % 2], None, i) for i in range(40)])
    kept, dropped = keep_per_label(roster, places(roster), 3, seed=5)
    assert roster.label_counts(kept) == {"a": 3, "b": 3}
    assert {each.reason for each in dropped} == {"over examples_per_label"}
    assert sorted([*kept, *(each.place for each in dropped)]) == list(range(40))
    fewer, _ = keep_per_label(roster, places(roster), 2, seed=5)
    assert set(fewer) < set(kept)
    most, dropped = keep_most(roster, places(roster), 7, seed=5, field="max_examples")
    hashes = sorted(range(40), key=lambda place: unit_hash(5, "keep", roster.id_of(place)))
    assert list(most) == sorted(hashes[:7])
    assert dropped[0].reason == "over max_examples"
