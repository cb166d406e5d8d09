"""How items fall into slices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from metier.evaluation.closer.slice_kinds import MOST_SLICES, SLICES, Sliced, cluster_vectors, slices_of
from metier.evaluation.results import Item

Make = Callable[..., list[Item]]


def test_every_kind_of_slice(make_items: Make) -> None:
    n = 60
    items = make_items(["yes", "no"] * 30, ["yes"] * n, [str(place // 6) for place in range(n)])
    vectors = np.repeat(np.eye(3), 20, axis=0) + np.random.default_rng(1).normal(0, 0.01, (n, 3))
    found = slices_of(
        Sliced(
            items=items,
            lengths=list(range(1, n + 1)),
            languages=["de", "en"] * 30,
            features=vectors,
            columns={"channel": ["mail", "phone", None] * 20},
        )
    )
    assert set(found) == {*SLICES, "channel"} - {"source"}  # one file only: no slices
    assert found["label"][:2] == ["yes", "no"]
    assert found["length"][0] == "1 to 15 words" and found["length"][-1] == "46 to 60 words"
    assert found["channel"][2] is None
    assert [len(set(found["cluster"][start : start + 20])) for start in (0, 20, 40)] == [1, 1, 1]
    assert len(set(found["cluster"])) == 3


def test_what_is_not_known_is_no_kind(make_items: Make) -> None:
    items = make_items(["yes", "no"] * 5, ["yes"] * 10)
    assert set(slices_of(Sliced(items=items))) == {"label"}
    assert slices_of(Sliced(items=items), kinds=["source"]) == {}


def test_equal_lengths_share_a_slice(make_items: Make) -> None:
    items = make_items(["yes"] * 40, ["yes"] * 40)
    found = slices_of(Sliced(items=items, lengths=[3] * 30 + [8] * 10, length_unit="tokens"))
    assert found["length"] == ["3 tokens"] * 30 + ["8 tokens"] * 10


def test_rare_names_are_not_looked_at_alone(make_items: Make) -> None:
    items = make_items(["yes"] * 200, ["yes"] * 200)
    names: list[str | None] = [f"s{place // 2}" for place in range(200)]
    found = slices_of(Sliced(items=items, columns={"shop": names}))["shop"]
    assert len({name for name in found if name is not None}) == MOST_SLICES


def test_clusters_are_those_that_were_planted_and_repeat() -> None:
    generator = np.random.default_rng(4)
    centres = generator.normal(0, 1, (4, 16))
    truth = np.repeat(np.arange(4), 30)
    vectors = centres[truth] * generator.uniform(1, 9, (120, 1)) + generator.normal(0, 0.05, (120, 16))
    found = cluster_vectors(vectors, 4, seed=1)
    assert all(len(set(found[truth == each])) == 1 for each in range(4))
    assert np.array_equal(found, cluster_vectors(vectors, 4, seed=1))


@pytest.mark.parametrize("clusters", [1, 5])
def test_fewer_points_than_clusters(clusters: int) -> None:
    assert set(cluster_vectors(np.ones((6, 3)), clusters, seed=0).tolist()) == {0}
