"""From the recipe's section to the screen's settings, and which dimensions it flagged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metier.data.bias.screen import BiasSettings
from metier.data.bias.settings import bias_settings, flagged_dimensions
from metier.data.cleaning.rows import Finding
from metier.recipe.sections import BiasSection


def test_the_recipes_defaults_are_the_screens() -> None:
    mine, usual = bias_settings(BiasSection()), BiasSettings()
    assert mine.associations.level == pytest.approx(usual.associations.level)
    assert replace(mine, associations=replace(mine.associations, level=usual.associations.level)) == usual


def test_every_field_reaches_the_screen() -> None:
    section = BiasSection(
        dimensions=["gender"], words={"role": {"nurse": ["sister"]}}, without=["black"], names=False, fewest_rows=7,
        fewest_outcomes=3, smallest_gap=0.2, level=0.01,
    )  # fmt: skip
    settings = bias_settings(section)
    assert (settings.dimensions, settings.without, settings.names) == (("gender",), ("black",), False)
    assert settings.words == {"role": {"nurse": ["sister"]}}
    limits = settings.associations
    assert (limits.fewest_rows, limits.fewest_outcomes, limits.smallest_gap, limits.level) == (7, 3, 0.2, 0.01)


def test_only_flagged_associations_count() -> None:
    rows = [
        {"dimension": "gender", "kind": "label", "flagged": True},
        {"dimension": "age", "kind": "label", "flagged": False},
        {"dimension": "religion", "kind": "tone", "flagged": True},
        {"dimension": "gender", "kind": "tone", "flagged": True},
    ]
    found = [
        Finding(step="bias", version=1, looked_at=9, tables={"associations": rows}),
        Finding(step="other", version=1, looked_at=9, tables={"associations": [{"dimension": "x", "flagged": True}]}),
    ]
    assert flagged_dimensions(found) == ("gender", "religion")
    assert flagged_dimensions(found, kind="label") == ("gender",)
    assert flagged_dimensions([]) == ()
