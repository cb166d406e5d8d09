"""What the steps of one attempt share, and what learning leaves: the ground of `labelling` and `writing`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metier.engine.trunk import TrunkCache
from metier.engine.trunk_memory import trunk_out_of_memory
from metier.errors import DataError
from metier.events import Notice, tell
from metier.model.adapt import AdaptedModel
from metier.model.chat_prompt import ChatPrompt
from metier.model.encode import Encoder
from metier.model.prompt import PromptFormat
from metier.recipe.sections import Recipe
from metier.stages.workshop import Workshop
from metier.store.run_folder import AttemptFolder
from metier.training.history import History
from metier.training.objective import Objective
from metier.training.train import Validate, train_model

SHOWN_ROWS = 10
"""Row numbers that a notice names."""


@dataclass(eq=False)
class Bench:
    """What the steps of one attempt share."""

    shop: Workshop
    name: str
    recipe: Recipe
    folder: AttemptFolder
    model: AdaptedModel
    encoder: Encoder
    prompt: PromptFormat | ChatPrompt | None
    """How the model is asked; None where it only reads."""
    trunk: TrunkCache | None

    @property
    def metric(self) -> str:
        """What validation looks at during training: the primary metric, or what stands in for it."""
        return self.recipe.evaluation.for_choices().primary_metric

    def weighed(self, weights: Sequence[float], places: Sequence[int]) -> list[float]:
        """Weights of some records, each times what its record weighs by itself (`data.bias.reweight`).

        Args:
            weights: By label.
            places: Of the records among those that are trained on.
        """
        own = self.shop.own_weights
        return list(weights) if own is None else [w * own[place] for w, place in zip(weights, places, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What learning leaves besides the weights."""

    history: History
    rule: Mapping[str, Any] | None = None
    """The scoring rule that validation chose, of a model that answers with labels in words."""
    generation: Mapping[str, Any] | None = None
    """How answers are written, the longest answer settled, of a model that writes."""


def train(bench: Bench, objective: Objective, validate: Validate, stored: TrunkCache | None) -> History:
    """Train the bench's model; a training that was killed goes on.

    Args:
        bench: The attempt.
        objective: The examples and their loss.
        validate: What is looked at in between.
        stored: Holds the boundary states of all that `objective` and `validate` read: the weights below are out of
            memory meanwhile. None: everything is computed.
    """
    section, processes = bench.recipe.training, bench.shop.batch_processes
    # A step's examples are those of all processes that the run began with, however many there are now.
    whole = {"gradient_accumulation_steps": section.gradient_accumulation_steps * processes}
    bench.model.spread = _spreads(bench)
    with trunk_out_of_memory(bench.model.base, stored, bench.shop.observers):
        return train_model(
            section.model_copy(update=whole), bench.model, objective, seed=bench.recipe.seed,
            folder=bench.folder.checkpoints, validate=validate, observers=bench.shop.observers,
        )  # fmt: skip


def _spreads(bench: Bench) -> bool:
    """Whether the processes each keep a part of the weights that learn; said when they do."""
    team, recipe = bench.shop.team, bench.recipe
    wanted = recipe.hardware.shard
    own = bool(bench.model.plan.weights) and recipe.training.optim == "adamw_torch"
    spread = team.size > 1 and (wanted == "full" or (wanted == "auto" and own))
    if spread:
        message = (
            f"{bench.name}: the blocks that learn, their gradients and moments are spread over {team.size} processes "
            "(FSDP2, hardware.shard)."
        )
        tell(bench.shop.observers, Notice(topic="processes", message=message))
    return spread


def fitting_records(bench: Bench, cut: Sequence[bool]) -> list[int]:
    """Places of the training records that are used, by the policy for long texts, which is told with row numbers.

    Args:
        bench: The attempt.
        cut: Whether each training record is too long.

    Raises:
        DataError: the policy rejects every record.
    """
    shop, policy = bench.shop, bench.recipe.data.too_long
    long = [record for record, is_long in zip(shop.taught, cut, strict=True) if is_long]
    if not long:
        return list(range(len(cut)))
    done = "were left out" if policy == "reject" else "were cut"
    message = (
        f"{bench.name}: {len(long)} of {len(cut)} training texts are longer than {bench.encoder.max_length} tokens "
        f"allow and {done} (data.too_long: {policy}; rows {shown_rows([record.row for record in long])})."
    )
    tell(shop.observers, Notice(topic="length", message=message))
    places = [place for place, is_long in enumerate(cut) if policy != "reject" or not is_long]
    if not places:
        raise DataError(
            "data.too_long", f"reject leaves none of {len(long)} training texts", "texts that fit",
            f"Raise training.max_length (now {bench.recipe.training.max_length}), or cut them.",
        )  # fmt: skip
    return places


def shown_rows(rows: Sequence[int]) -> str:
    """Row numbers for a notice: the first few."""
    return ", ".join(map(str, rows[:SHOWN_ROWS])) + (", …" if len(rows) > SHOWN_ROWS else "")
