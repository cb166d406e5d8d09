"""What a run lends to the preparation of its data, beside the recipe."""

from __future__ import annotations

from dataclasses import dataclass

from metier.data.model_aid import ModelAid
from metier.data.privacy.strict_run import StrictRun


@dataclass(frozen=True, kw_only=True)
class Lent:
    """What somebody else has put up, for as long as the data is prepared."""

    strict: StrictRun | None = None
    """What a run under `privacy: strict` writes with. None: it is not."""
    aid: ModelAid | None = None
    """The model of `data.screening_model` (`metier.stages.model_aid`). None where the recipe names none."""


NOTHING = Lent()
