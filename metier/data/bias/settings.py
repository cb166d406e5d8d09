"""From the recipe's `data.bias` to what the screen and the remedies take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from metier.data.bias.associations import AssociationSettings
from metier.data.bias.screen import STEP, BiasSettings
from metier.recipe.sections import BiasSection


class Told(Protocol):
    """What a step found: a `Finding`, or the same read back from disk."""

    @property
    def step(self) -> str:
        """Name of the step."""

    @property
    def tables(self) -> Mapping[str, Sequence[Mapping[str, object]]]:
        """Its small tables."""


def bias_settings(section: BiasSection) -> BiasSettings:
    """What the screen looks for.

    Args:
        section: The recipe's `data.bias`.
    """
    return BiasSettings(
        dimensions=None if section.dimensions is None else tuple(section.dimensions),
        words=section.words,
        without=tuple(section.without),
        names=section.names,
        associations=AssociationSettings(
            fewest_rows=section.fewest_rows,
            fewest_outcomes=section.fewest_outcomes,
            smallest_gap=section.smallest_gap,
            level=section.level,
        ),
    )


def flagged_dimensions(found: Iterable[Told], *, kind: str | None = None) -> tuple[str, ...]:
    """Dimensions in which the screen flagged an association, each once.

    Args:
        found: What the steps found.
        kind: `label` or `tone`. None: both.
    """
    rows = [row for step in found if step.step == STEP for row in step.tables.get("associations", ())]
    wanted = (row for row in rows if row["flagged"] and (kind is None or row["kind"] == kind))
    return tuple(dict.fromkeys(str(row["dimension"]) for row in wanted))
