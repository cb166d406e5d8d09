"""A model that was made elsewhere as a system: a folder or hub id, with or without a PEFT adapter on it.

It is asked exactly as metier's own untrained systems are: the same prompt, and for labels the scoring rule that
validation chooses from the same table (`language_model.build_zero_shot`). What such a model was trained with is
not known, so a prompt of its own can be named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from metier.device import Hardware
from metier.engine.forward import TreeRunner
from metier.errors import ArgumentError, ModelError
from metier.evaluation.answering.answer_store import AnswerStore
from metier.evaluation.answering.language_model import Ground, build_zero_shot
from metier.evaluation.answering.listing import as_task_reads
from metier.evaluation.answering.score_store import ScoreStore
from metier.evaluation.answering.writers import WritingGround, decoding_of
from metier.evaluation.answering.writers import build_zero_shot as build_writer
from metier.evaluation.elsewhere.adapter_folder import ADAPTER, read_adapter_config
from metier.evaluation.systems import Material, System
from metier.events import Notice, Observer, tell
from metier.model.base import BaseModel, load_base_model
from metier.model.chat_encode import ChatEncoder
from metier.model.chat_prompt import ChatPrompt
from metier.model.encode import Encoder, cut_policy
from metier.model.generation import settle_generation
from metier.model.prompt import PromptFormat
from metier.model.quiet import quiet_transformers
from metier.recipe.sections import GenerationSection, ModelSection
from metier.store.cache import cache_folder
from metier.store.fingerprint import file_sha256


@dataclass(frozen=True, kw_only=True)
class OutsideModel:
    """A model that was made elsewhere."""

    model: ModelSection
    adapter: Path | None = None
    """Folder of a PEFT adapter; None: the model alone."""


@dataclass(frozen=True, kw_only=True)
class AskedHow:
    """How a model that was made elsewhere is asked."""

    prompt: PromptFormat | ChatPrompt
    list_labels: bool | None = None
    """Whether the prompt names the labels; None: both are tried on validation."""
    max_length: int = 1024
    too_long: str = "cut_end"
    generation: GenerationSection = field(default_factory=GenerationSection)
    budget: int = 2048
    """Distinct tokens of one forward pass; changes memory, not answers."""


def build_outside(outside: OutsideModel, asked: AskedHow, material: Material, hardware: Hardware, name: str) -> System:
    """Load the model and make it a system.

    Args:
        outside: The model.
        asked: How it is asked.
        material: Validation, labels, seed; what the scoring rule is chosen on.
        hardware: Device and dtype.
        name: Name of the system.

    Raises:
        ModelError: No such model, one that cannot be used, or an adapter that does not fit it.
        ArgumentError: The model cannot do the task.
    """
    base = load_base_model(outside.model, hardware, material.observers)
    if base.kind != "decoder":
        raise ArgumentError(
            f"system {name}", f"{base.name} is an encoder without a head", "a language model",
            "Record its answers in a file, and name that as `answers`.",
        )  # fmt: skip
    identity = f"{base.weights_sha256}/{base.precision}"
    kind = base.name
    if outside.adapter is not None:
        identity = f"{identity}/{attach_adapter(base, outside.adapter, material.observers)}"
        kind = f"{base.name} with the adapter {outside.adapter.name}"
    runner = TreeRunner(base.network, None, material.observers)
    encoder = Encoder(base.tokenizer, min(asked.max_length, base.context), cut_policy(asked.too_long))
    if isinstance(asked.prompt, PromptFormat):
        ground: Any = Ground(
            name=base.name, context=base.context, runner=runner, encoder=encoder, prompt=asked.prompt,
            list_labels=asked.list_labels, parameters=base.parameters, bytes=base.bytes, budget=asked.budget,
            store=ScoreStore(_file("scores", identity), identity, material.observers),
        )  # fmt: skip
        scorer = build_zero_shot(replace(material, extras={"ground": ground}))
        return replace(scorer, name=name, kind=kind, trained_on="unknown")
    chat = ChatEncoder(encoder)
    settled = settle_generation(asked.generation, chat, [record.gold for record in material.train])
    ground = WritingGround(
        name=base.name, context=base.context, runner=runner, encoder=chat, prompt=asked.prompt,
        decoding=decoding_of(settled, chat, seed=material.seed), parameters=base.parameters, bytes=base.bytes,
        budget=asked.budget, store=AnswerStore(_file("answers", identity), identity, material.observers),
    )  # fmt: skip
    writer = build_writer(replace(material, extras={"ground": ground}))
    writer = replace(writer, name=name, kind=kind, trained_on="unknown")
    return as_task_reads(writer, material.task, material.labels)


def attach_adapter(base: BaseModel, folder: Path, observers: Sequence[Observer] = ()) -> str:
    """Put a PEFT adapter on a base model, in place, ready to answer.

    Args:
        base: A base model that nothing is attached to.
        folder: What PEFT's `save_pretrained` wrote.
        observers: Told when the adapter names another base model.

    Returns:
        Hash of the adapter's weights.

    Raises:
        ModelError: There is no safetensors adapter, or it does not fit this model.
    """
    config = read_adapter_config(folder)
    named = str(config.get("base_model_name_or_path") or "")
    if named and Path(named).name.lower() != Path(base.name).name.lower():
        # Names alone prove nothing: the same weights lie under many paths. Shapes that differ are refused below.
        said = f"the adapter {folder.name} was trained on {Path(named).name}, and is put on {base.name}."
        tell(observers, Notice(topic="model", message=said))
    from peft import PeftModel

    try:
        with quiet_transformers():
            PeftModel.from_pretrained(base.network, str(folder), is_trainable=False)
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, TypeError) as fault:
        said = (str(fault).strip().splitlines() or [type(fault).__name__])[0][:200]
        raise ModelError(
            str(folder), f"the adapter does not fit {base.name} ({said})", "the base model that it was trained on"
        ) from fault
    base.network.eval()  # type: ignore[no-untyped-call]
    return file_sha256(folder / ADAPTER)


def _file(kind: str, identity: str) -> Path:
    """The store of what this model said before: its own file, whatever adapter is on the same base."""
    return cache_folder(kind) / f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}.jsonl"
