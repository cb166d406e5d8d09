"""The tuned model as a system: in words or with a head, from memory after training or from disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metier.engine.forward import TreeRunner
from metier.engine.trunk import TrunkCache
from metier.evaluation.heads import TunedHead
from metier.evaluation.language_model import LabelScorer
from metier.evaluation.scoring import Rule
from metier.events import Observer
from metier.model.adapt import AdaptedModel
from metier.model.encode import Encoder
from metier.model.prompt import PromptFormat

METHODS = {
    "lora": "LoRA", "full": "all layers trained", "freeze": "upper layers trained", "head": "head on frozen features",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class HowAsked:
    """How a tuned model is asked."""

    encoder: Encoder
    """How text becomes tokens."""
    prompt: PromptFormat
    """The words of the prompt, and the labels."""
    rule: Mapping[str, Any] | None
    """The scoring rule as `Rule.to_plain` wrote it; None for a head."""


def tuned_system(
    model: AdaptedModel,
    asked: HowAsked,
    *,
    trained_on: str,
    trunk: TrunkCache | None = None,
    observers: Sequence[Observer] = (),
    settings: Mapping[str, Any] | None = None,
) -> LabelScorer | TunedHead:
    """The system `tuned`.

    Args:
        model: The trained model; with a head it answers with that, else in words.
        asked: How it is asked.
        trained_on: What it saw, e.g. `561 examples`.
        trunk: Stored boundary states of the lower blocks, for a model that answers in words.
        observers: Told about progress.
        settings: What results say about it.
    """
    summary = model.summary()
    kind = f"{model.base.name}, {METHODS[model.section.method]}"
    about = dict(settings or {})
    if model.head is not None:
        return TunedHead(
            name="tuned", kind=kind, model=model, encoder=asked.encoder, parameters=summary.parameters,
            bytes=summary.bytes,            trained_on=trained_on, settings=about, observers=observers,
        )  # fmt: skip
    assert asked.rule is not None
    runner = TreeRunner(model.network, trunk, observers, autocast=model.autocast)
    about |= {"prompt_hash": asked.prompt.hash, "rule": asked.rule["name"]}
    return LabelScorer(
        name="tuned", kind=kind, runner=runner, encoder=asked.encoder, prompt=asked.prompt,
        rule=Rule.from_plain(asked.rule),
        parameters=summary.parameters, bytes=summary.bytes, trained_on=trained_on, settings=about, observers=observers,
    )  # fmt: skip
