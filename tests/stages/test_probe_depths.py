"""The depths that a recipe names as shares are whole blocks, each once; the top is what other stages store too."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from metier.recipe.sections import EvaluationSection
from metier.stages.baselines import _probe_stores


@pytest.mark.parametrize(
    ("shares", "wanted"),
    [
        ([0.5, 1.0], {"2 of 4 blocks": 2, "all blocks": None}),
        ([1.0, 0.01, 0.2, 0.3], {"1 of 4 blocks": 1, "all blocks": None}),
        ([1.0], {"all blocks": None}),
        ([0.75], {"3 of 4 blocks": 3}),
    ],
)
@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_shares_become_blocks(
    kind: str, shares: list[float], wanted: dict[str, int | None], tiny_base: Callable[..., Any]
) -> None:
    section = EvaluationSection.model_validate({"probe_depths": shares})
    shop: Any = SimpleNamespace(recipe=SimpleNamespace(evaluation=section), features=lambda _base, depth: depth)
    found: dict[str, Any] = dict(_probe_stores(shop, tiny_base(kind, num_hidden_layers=4)))
    assert list(found.items()) == list(wanted.items())
