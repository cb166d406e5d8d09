"""The tuned model as a system: in labels, with a head, in written answers, or reading on; from memory or from disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metier.engine.forward import TreeRunner
from metier.engine.trunk import TrunkCache
from metier.evaluation.answering.heads import TunedHead
from metier.evaluation.answering.language_model import LabelScorer
from metier.evaluation.answering.listing import as_task_reads
from metier.evaluation.answering.readers import Reader
from metier.evaluation.answering.scoring import Rule
from metier.evaluation.answering.set_heads import TunedSets
from metier.evaluation.answering.set_rules import SetRule
from metier.evaluation.answering.writers import Writer, decoding_of
from metier.evaluation.systems import System
from metier.events import Observer
from metier.model.adapt import AdaptedModel
from metier.model.chat_encode import ChatEncoder
from metier.model.chat_prompt import ChatPrompt
from metier.model.encode import Encoder
from metier.model.prompt import PromptFormat
from metier.model.saved import Saved
from metier.model.summary import ModelSummary

METHODS = {
    "lora": "LoRA", "full": "all layers trained", "freeze": "upper layers trained", "head": "head on frozen features",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class HowAsked:
    """How a tuned model is asked."""

    encoder: Encoder
    """How text becomes tokens."""
    prompt: PromptFormat | ChatPrompt | None
    """The words of the prompt; None of a model that only reads."""
    rule: Mapping[str, Any] | None
    """The scoring rule as `Rule.to_plain` wrote it; None for a head, and for written answers."""
    generation: Mapping[str, Any] | None = None
    """How answers are written; None for labels."""
    seed: int = 17
    """Seed of sampling, where answers are sampled."""
    task: str = "classification"
    """The recipe's task: how what is written is read."""

    @staticmethod
    def of(saved: Saved) -> HowAsked:
        """How a model that was read from disk is asked."""
        encoder = Encoder(saved.model.base.tokenizer, saved.max_length, saved.too_long)
        return HowAsked(encoder, saved.prompt, saved.rule, saved.generation, task=saved.task)


@dataclass(frozen=True, eq=False)
class _Said:
    """What results say about a tuned model, whatever it answers."""

    kind: str
    summary: ModelSummary
    trained_on: str
    settings: Mapping[str, Any]
    observers: Sequence[Observer]


def tuned_system(
    model: AdaptedModel,
    asked: HowAsked,
    *,
    trained_on: str,
    trunk: TrunkCache | None = None,
    observers: Sequence[Observer] = (),
    settings: Mapping[str, Any] | None = None,
) -> System:
    """The system `tuned`.

    Args:
        model: The trained model; with a head it answers with that, else in words.
        asked: How it is asked.
        trained_on: What it saw, e.g. `561 examples`.
        trunk: Stored boundary states of the lower blocks, for a model that answers in words.
        observers: Told about progress.
        settings: What results say about it.
    """
    kind = f"{model.base.name}, {METHODS[model.section.method]}"
    said = _Said(kind, model.summary(), trained_on, dict(settings or {}), observers)
    if model.head is not None and asked.task == "multilabel":
        assert asked.rule is not None
        return TunedSets(
            name="tuned", kind=kind, model=model, encoder=asked.encoder, rule=SetRule.from_plain(asked.rule),
            parameters=said.summary.parameters, bytes=said.summary.bytes, trained_on=trained_on,
            settings={**said.settings, "rule": asked.rule["name"]}, observers=observers,
        )  # fmt: skip
    if model.head is not None:
        return TunedHead(
            name="tuned", kind=kind, model=model, encoder=asked.encoder, parameters=said.summary.parameters,
            bytes=said.summary.bytes, trained_on=trained_on, settings=said.settings, observers=observers,
        )  # fmt: skip
    runner = TreeRunner(model.network, trunk, observers, autocast=model.autocast)
    if isinstance(asked.prompt, PromptFormat):
        return _scorer(runner, asked.prompt, asked, said)
    if isinstance(asked.prompt, ChatPrompt):
        return as_task_reads(_writer(runner, asked.prompt, asked, said), asked.task, model.labels)
    return Reader(
        name="tuned", kind=kind, runner=runner, encoder=asked.encoder, parameters=said.summary.parameters,
        bytes=said.summary.bytes, trained_on=trained_on, settings=said.settings, observers=observers,
    )  # fmt: skip


def _scorer(runner: TreeRunner, prompt: PromptFormat, asked: HowAsked, said: _Said) -> LabelScorer:
    assert asked.rule is not None
    about = {**said.settings, "prompt_hash": prompt.hash, "rule": asked.rule["name"]}
    return LabelScorer(
        name="tuned", kind=said.kind, runner=runner, encoder=asked.encoder, prompt=prompt,
        rule=Rule.from_plain(asked.rule), parameters=said.summary.parameters, bytes=said.summary.bytes,
        trained_on=said.trained_on, settings=about, observers=said.observers,
    )  # fmt: skip


def _writer(runner: TreeRunner, prompt: ChatPrompt, asked: HowAsked, said: _Said) -> Writer:
    assert asked.generation is not None
    encoder = ChatEncoder(asked.encoder)
    about = {
        **said.settings, "prompt_hash": prompt.hash, "max_new_tokens": asked.generation["max_new_tokens"],
    }  # fmt: skip
    return Writer(
        name="tuned", kind=said.kind, runner=runner, encoder=encoder, prompt=prompt,
        decoding=decoding_of(asked.generation, encoder, seed=asked.seed), parameters=said.summary.parameters,
        bytes=said.summary.bytes, trained_on=said.trained_on, settings=about, observers=said.observers,
    )  # fmt: skip
