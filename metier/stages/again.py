"""Training besides the attempts: done once, taken up after a kill, and kept for other runs of the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metier.recipe.sections import Recipe
from metier.stages.attempt import Attempt, train_into
from metier.stages.workshop import Workshop
from metier.store.files import read_json
from metier.store.fingerprint import fingerprint
from metier.store.run_folder import AttemptFolder
from metier.store.stages import keep_stage, take_stage
from metier.store.values import from_plain
from metier.training.history import History

STAGE_VERSION = 2
"""Raise it when the same recipe would give another model: stored ones are then not taken."""


def train_again(shop: Workshop, name: str, recipe: Recipe, folder: AttemptFolder, read: Sequence[Any]) -> None:
    """A model: read back, taken from the cache, or trained; a training that was killed goes on.

    Args:
        shop: The run, over the data that is learned from.
        name: What it is called in messages.
        recipe: How it is trained.
        folder: Where it goes.
        read: What else it depends on, as plain values: the attempt's key, the records.
    """
    parts = [recipe.training, recipe.adaptation, recipe.generation, recipe.evaluation]
    said = [part.model_dump(mode="json") for part in parts]
    key = fingerprint([STAGE_VERSION, "again", name, recipe.seed, list(read), said])
    team = shop.team
    if team.once(lambda: folder.summary.exists() or (not folder.path.exists() and take_stage(key, folder.path))):
        return
    train_into(shop, name, recipe, folder)
    team.once(lambda: keep_stage(key, folder.path))


def with_same_layers(shop: Workshop, chosen: Attempt) -> Recipe:
    """An attempt's recipe with `layers: auto` written out as what it became.

    Args:
        shop: The run.
        chosen: The attempt.
    """
    adaptation = chosen.recipe.adaptation
    if adaptation.layers != "auto":
        return chosen.recipe
    used = read_json(shop.folder.attempt(chosen.number).lock, format="attempt_lock")["layers"]["used"]
    return chosen.recipe.model_copy(update={"adaptation": adaptation.model_copy(update={"layers": used})})


def read_history(folder: AttemptFolder) -> History:
    """How a training went.

    Args:
        folder: The attempt.

    Raises:
        RunFolderError: It is missing or damaged.
    """
    path = folder.history_summary
    return from_plain(History, read_json(path, format="history"), where=str(path))


def promoted(shop: Workshop, attempts: Sequence[Attempt]) -> Attempt:
    """The attempt that was promoted.

    Args:
        shop: The run.
        attempts: Its candidates.
    """
    number = shop.team.once(lambda: int(read_json(shop.folder.chosen, format="chosen")["number"]))
    return next(attempt for attempt in attempts if attempt.number == number)
