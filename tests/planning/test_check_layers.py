"""`layers: auto` is checked without being decided."""

from __future__ import annotations

from collections.abc import Callable

from metier.events import Event, Notice
from metier.planning.check import check_recipe
from metier.recipe.sections import Recipe


def test_auto_is_planned_with_half_of_the_blocks(make_recipe: Callable[..., Recipe]) -> None:
    events: list[Event] = []
    report = check_recipe(
        make_recipe(adaptation={"method": "lora", "layers": "auto", "r": 4}), observers=[events.append]
    )
    said = [event.message for event in events if isinstance(event, Notice) and event.topic == "layers"]
    assert said == ["adaptation.layers: auto is decided at the start of training; the plan counts with top 2 of 3."]
    assert report.candidates[0].learning.trunk_layers == 1
