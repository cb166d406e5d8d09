from __future__ import annotations

import statistics

from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.examples import Example
from metier.data.records import Choice
from metier.data.splitting import draw_split, keep_most, keep_per_label, unit_hash


def example(number: int, label: str, group: str | None = None, key: str | None = None) -> Example:
    key = key or f"text{number}"
    record = Choice(id=f"{key}-{number}", text=key, label=label, group=group, source="f", row=number)
    return Example(record=record, key=key, content={})


examples_of_any_kind = st.lists(
    st.tuples(st.sampled_from("abc"), st.none() | st.sampled_from("GHIJ"), st.integers(0, 30)), min_size=1, max_size=60
).map(lambda rows: [example(i, label, group, f"k{key}") for i, (label, group, key) in enumerate(rows)])


@settings(deadline=None)
@given(examples_of_any_kind, st.integers(0, 3))
def test_no_cluster_is_in_two_splits_and_nothing_is_lost(examples: list[Example], seed: int) -> None:
    draw = draw_split(examples, share=0.3, seed=seed, name="test")
    assert not {e.cluster for e in draw.rest} & {e.cluster for e in draw.drawn}
    assert sorted(e.record.row for e in [*draw.rest, *draw.drawn]) == list(range(len(examples)))
    assert [e.record.row for e in draw.rest] == sorted(e.record.row for e in draw.rest)


@settings(deadline=None)
@given(examples_of_any_kind, st.integers(0, 3))
def test_every_label_stays_in_the_rest_and_frequent_ones_are_drawn(examples: list[Example], seed: int) -> None:
    draw = draw_split(examples, share=0.3, seed=seed, name="test")
    labels = {e.record.label for e in examples}
    assert {e.record.label for e in draw.rest} == labels
    ungrouped = [e for e in examples if e.record.group is None]
    if ungrouped == examples and len({e.key: e for e in examples}) == len(examples):
        frequent = {label for label in labels if sum(e.record.label == label for e in examples) >= 3}
        assert frequent <= {e.record.label for e in draw.drawn}


@settings(deadline=None)
@given(st.integers(0, 5), st.integers(1, 80), st.integers(0, 80))
def test_adding_rows_never_moves_an_old_row(seed: int, before: int, more: int) -> None:
    examples = [example(i, "ab"[i % 2]) for i in range(before + more)]
    old = draw_split(examples[:before], share=0.25, seed=seed, name="test")
    new = draw_split(examples, share=0.25, seed=seed, name="test")
    if old.given or old.kept or new.given or new.kept:
        return  # the repair is the stated exception
    assert {e.cluster for e in old.drawn} == {e.cluster for e in new.drawn} & {e.cluster for e in examples[:before]}


def test_the_share_is_met_and_names_draw_on_their_own() -> None:
    examples = [example(i, "ab"[i % 2]) for i in range(4000)]
    test = draw_split(examples, share=0.2, seed=1, name="test").drawn
    validation = draw_split(examples, share=0.2, seed=1, name="validation").drawn
    assert 0.18 < len(test) / 4000 < 0.22
    both = {e.key for e in test} & {e.key for e in validation}
    assert 0.02 < len(both) / 4000 < 0.06


def test_hashes_are_even_and_fixed() -> None:
    values = [unit_hash(17, "test", str(i)) for i in range(3000)]
    assert abs(statistics.mean(values) - 0.5) < 0.02
    assert unit_hash(17, "test", "text abc") == 0.8578120726692615
    assert unit_hash(17, "test", "a") != unit_hash(18, "test", "a")


def test_repairs_are_named() -> None:
    examples = [example(i, "often") for i in range(200)] + [example(1000 + i, "seldom") for i in range(3)]
    draw = draw_split(examples, share=0.001, seed=3, name="test")
    assert "seldom" in draw.given
    drawn = [e for e in draw.drawn if e.record.label == "seldom"]
    assert [unit_hash(3, "test", e.cluster) for e in drawn] == [
        min(unit_hash(3, "test", e.cluster) for e in examples[200:])
    ]
    draw = draw_split(examples, share=0.999, seed=3, name="test")
    assert "seldom" in draw.kept


def test_limits_keep_the_smallest_hashes_in_the_old_order() -> None:
    examples = [example(i, "ab"[i % 2]) for i in range(40)]
    kept, rejected = keep_per_label(examples, 3, seed=5)
    assert [sum(e.record.label == label for e in kept) for label in "ab"] == [3, 3]
    assert {row.reason for row in rejected} == {"over examples_per_label"}
    fewer, _ = keep_per_label(examples, 2, seed=5)
    assert {e.key for e in fewer} < {e.key for e in kept}
    most, rejected = keep_most(examples, 7, seed=5, field="max_examples")
    assert len(most) == 7
    assert [e.record.row for e in most] == sorted(e.record.row for e in most)
    assert rejected[0].reason == "over max_examples"
