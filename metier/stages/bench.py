"""What the steps of one attempt share, and what learning leaves: the ground of `labelling` and `writing`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metier.engine.trunk import TrunkCache
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
        """The primary metric."""
        return self.recipe.evaluation.primary_metric


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What learning leaves besides the weights."""

    history: History
    rule: Mapping[str, Any] | None = None
    """The scoring rule that validation chose, of a model that answers with labels in words."""
    generation: Mapping[str, Any] | None = None
    """How answers are written, the longest answer settled, of a model that writes."""


def train(bench: Bench, objective: Objective, validate: Validate) -> History:
    """Train the bench's model; a training that was killed goes on."""
    return train_model(
        bench.recipe.training, bench.model, objective, seed=bench.recipe.seed, folder=bench.folder.checkpoints,
        validate=validate, observers=bench.shop.observers,
    )  # fmt: skip


def fitting_records(bench: Bench, cut: Sequence[bool]) -> list[int]:
    """Places of the training records that are used, by the policy for long texts, which is told with row numbers.

    Args:
        bench: The attempt.
        cut: Whether each training record is too long.

    Raises:
        DataError: the policy rejects every record.
    """
    shop, policy = bench.shop, bench.recipe.data.too_long
    long = [record for record, is_long in zip(shop.train, cut, strict=True) if is_long]
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
