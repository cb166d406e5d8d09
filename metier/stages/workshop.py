"""What all stages of one run share: recipe, hardware, data, folder, caches, and base models loaded once."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from metier.data.bias.weights import record_weights
from metier.data.instruction import with_instruction
from metier.data.prepared import PreparedData
from metier.data.privacy.strict import TextPolicy
from metier.data.privacy.strict_run import StrictRun
from metier.data.record.findings import read_steps
from metier.data.records import Record
from metier.device import Hardware, choose_hardware, release_freed_memory
from metier.engine.features import FeatureStore
from metier.engine.generate import Decoding
from metier.engine.trunk import TrunkCache, TrunkIdentity
from metier.errors import ModelError
from metier.evaluation.answering.answer_store import AnswerStore
from metier.evaluation.answering.score_store import ScoreStore
from metier.evaluation.answering.writers import decoding_of
from metier.evaluation.beside import Beside
from metier.evaluation.evaluate import RecordSet, evaluate_system
from metier.evaluation.hidden import without_texts
from metier.evaluation.results import Evaluation
from metier.evaluation.systems import System
from metier.evaluation.written.similarity import Embed, text_embedder
from metier.events import Notice, Observer, tell
from metier.model.adapt import has_head
from metier.model.base import BaseModel, load_base_model, model_kind, weights_fingerprint
from metier.model.chat_encode import ChatEncoder
from metier.model.chat_prompt import ChatPrompt, make_chat_prompt
from metier.model.encode import Encoder, cut_policy
from metier.model.generation import settle_generation
from metier.model.prompt import PromptFormat, make_prompt_format
from metier.model.quantized import check_quantization
from metier.recipe.sections import EvaluationSection, ModelSection, Recipe
from metier.recipe.tasks import ASKED_TO_WRITE, LISTS, WRITES
from metier.store.cache import cache_folder
from metier.store.files import read_json
from metier.store.fingerprint import fingerprint
from metier.store.run_folder import RunFolder
from metier.team import Team
from metier.training.optimizer import check_optimizer

if TYPE_CHECKING:
    from metier.stages.attempt import Attempt

SIMILARITY_MODEL = "minilm"
"""The packaged encoder whose vectors say how alike two texts are."""


@dataclass(eq=False)
class Workshop:
    """The shared ground of a run."""

    recipe: Recipe
    candidates: dict[str, Recipe]
    folder: RunFolder
    data: PreparedData
    observers: Sequence[Observer] = ()
    batch_processes: int = 1
    """Processes that an optimiser step's batch is counted for: what the run began with."""
    strict: StrictRun | None = None
    """What a run under `privacy: strict` writes with; None: it is not."""
    _bases: dict[ModelSection, BaseModel] = field(default_factory=dict, init=False, repr=False)
    _weights: dict[tuple[str, str | None], str] = field(default_factory=dict, init=False, repr=False)
    _trunks: dict[TrunkIdentity, TrunkCache] = field(default_factory=dict, init=False, repr=False)
    without_model: dict[str, System] = field(default_factory=dict, init=False, repr=False)
    """Baselines that hold no language model, set up once a run."""

    @cached_property
    def hardware(self) -> Hardware:
        """Device, dtype and threads, decided once."""
        return choose_hardware(self.recipe.hardware)

    @property
    def policy(self) -> TextPolicy:
        """What of a text may be written where."""
        return TextPolicy() if self.strict is None else self.strict.policy

    @property
    def team(self) -> Team:
        """The processes that do this run."""
        return self.hardware.team

    @cached_property
    def train(self) -> list[Record]:
        """All training records."""
        return list(self.data.train.records())

    @cached_property
    def taught(self) -> list[Record]:
        """What is trained on: train, then the counterfactual copies of its records, where there are any."""
        copies = self.data.copies
        return self.train if copies is None else [*self.train, *copies.records()]

    @cached_property
    def own_weights(self) -> list[float] | None:
        """What each record of `taught` weighs by itself. None: all the same, as nothing asks for more."""
        section = self.recipe.data.bias
        if not section.reweight:
            return None
        found = record_weights(self.taught, section, read_steps(self.folder.data).steps)
        if found is None:
            message = "data.bias.reweight: no label goes with a group so that it is flagged: all rows weigh the same"
            tell(self.observers, Notice(topic="bias", message=message))
        return None if found is None else [float(weight) for weight in found]

    @property
    def remedies(self) -> list[str]:
        """What is trained on besides train as it is (copies, weights), as fingerprints; empty where nothing is."""
        copies = [] if self.data.copies is None else [self.data.copies.fingerprint]
        return [*copies, *([] if self.own_weights is None else [fingerprint(self.own_weights)])]

    @cached_property
    def validation(self) -> list[Record]:
        """All validation records, in an order that is a function of their ids: its first N are a fair sample."""
        return sorted(self.data.validation.records(), key=lambda record: record.id)

    @property
    def judged_validation(self) -> list[Record]:
        """What candidates are judged on: all of validation; of written answers the sample that baselines see."""
        if self.recipe.task in WRITES or (self.recipe.task in LISTS and self.writes):
            return self.validation[: self.recipe.evaluation.selection_examples]
        return self.validation

    @property
    def writes(self) -> bool:
        """Whether a candidate, or a baseline of the recipe, is a language model that writes its answers."""
        if {"zero_shot", "few_shot"} & set(self.recipe.evaluation.systems):
            return True
        kinds = (has_head(each.adaptation, model_kind(each.model, self.observers)) for each in self.candidates.values())
        return not all(kinds)

    def record_set(self, name: str, records: Sequence[Record]) -> RecordSet:
        """Some records of this run as systems are judged on them; their groups go into files, by the policy."""
        member = self.policy.member
        if self.strict is not None:
            records = [replace(record, group=member(record.group)) for record in records]
        return RecordSet(name=name, records=records, task=self.recipe.task, labels=self.data.labels)

    def judged(self, system: System, name: str, records: Sequence[Record], section: EvaluationSection) -> Evaluation:
        """A system on some records of this run, its answers as they may be written.

        Args:
            system: Anything that answers.
            name: Of the set.
            records: Of this run.
            section: How it is judged.
        """
        asked = self.record_set(name, records)
        return without_texts(self.measured(system, asked, section), self.policy)

    def measured(self, system: System, asked: RecordSet, section: EvaluationSection) -> Evaluation:
        """A system on some records of this run, with its texts: not to be written down before `without_texts`."""
        return evaluate_system(
            system, asked, section=section, seed=self.recipe.seed, observers=self.observers, beside=self.beside
        )

    @cached_property
    def beside(self) -> Beside:
        """What the recipe wants counted beside its task's own metrics."""
        section, labels = self.recipe.evaluation, self.data.labels if self.recipe.task == "classification" else ()
        return Beside.of(
            section, self.recipe.task, labels, embed=self._embed, encoder=SIMILARITY_MODEL, observers=self.observers
        )

    def _embed(self) -> Embed:
        base = self.base(ModelSection(name=SIMILARITY_MODEL))
        return text_embedder(self.features(base), Encoder(base.tokenizer, base.context))

    def weights(self, section: ModelSection) -> str:
        """Hash of the weights of a base model, without loading them; a model that cannot be used is told here."""
        key = (section.name, section.revision)
        if key not in self._weights:
            self._weights[key] = weights_fingerprint(section, self.observers)
        return self._weights[key]

    def refuse_unfit(self) -> None:
        """Tell a model that cannot do the task, or what cannot be had here, before hours go into others.

        Raises:
            ModelError: A candidate that should write is an encoder.
            LackingEnvironment: A quantisation or an optimiser does not run here, or its package is missing.
        """
        for recipe in self.candidates.values():
            check_quantization(recipe.model.quantization, self.hardware.device)
            check_optimizer(recipe.training.optim, self.hardware.device)
        if self.recipe.task in ("classification", "multilabel"):
            return
        for name, recipe in self.candidates.items():
            if model_kind(recipe.model, self.observers) != "decoder":
                raise ModelError(
                    f"{name}: model", f"{recipe.model.name} is an encoder, which cannot write", "a language model",
                    f"Choose one for `task: {recipe.task}`, such as smollm2-135m.",
                )  # fmt: skip

    def base(self, section: ModelSection) -> BaseModel:
        """A base model that nothing is attached to; encoders in float32, which they are small enough for."""
        if section not in self._bases:
            base = load_base_model(section, self.hardware, self.observers)
            self._bases[section] = base.fresh(torch.float32) if base.kind == "encoder" else base
        return self._bases[section]

    def consumed(self, section: ModelSection) -> BaseModel:
        """A base model whose weights may be changed, in float32: nobody else holds it."""
        base = self.base(section)
        del self._bases[section]
        return base if base.kind == "encoder" else base.fresh(torch.float32)

    def release_models(self) -> None:
        """Let the base models go, and their memory: one that is asked for again is read again."""
        self._bases.clear()
        gc.collect()
        release_freed_memory()

    def encoder(self, base: BaseModel, recipe: Recipe) -> Encoder:
        """How text becomes tokens for one model and candidate."""
        return Encoder(base.tokenizer, min(recipe.training.max_length, base.context), cut_policy(recipe.data.too_long))

    def asked(self, recipe: Recipe) -> PromptFormat | ChatPrompt | None:
        """How a record is put before a language model; None where it only reads."""
        if recipe.task == "classification":
            return self.prompt(recipe)
        return self.chat_prompt(recipe) if recipe.task in ASKED_TO_WRITE else None

    def prompt(self, recipe: Recipe) -> PromptFormat:
        """How a record is put before a language model that answers with a label."""
        return make_prompt_format(recipe.prompt, self.data.labels, self.data.card.label_column)

    def chat_prompt(self, recipe: Recipe) -> ChatPrompt:
        """How a record is put before a language model that writes."""
        return make_chat_prompt(with_instruction(recipe.prompt, self.data.card))

    def generation(self, recipe: Recipe, encoder: ChatEncoder) -> dict[str, Any]:
        """The generation section as plain values, the longest answer settled by the training answers."""
        return settle_generation(recipe.generation, encoder, [record.gold for record in self.train])

    def decoding(self, recipe: Recipe, encoder: ChatEncoder) -> Decoding:
        """The same as the engine takes it."""
        return decoding_of(self.generation(recipe, encoder), encoder, seed=recipe.seed)

    def trunk(self, base: BaseModel, depth: int, *, causal: bool) -> TrunkCache:
        """Stored boundary states of the lowest `depth` blocks of a base model; opened once a run."""
        identity = TrunkIdentity(weights_sha256=base.weights_sha256, depth=depth, dtype=base.precision, causal=causal)
        if identity not in self._trunks:
            self._trunks[identity] = TrunkCache(cache_folder("trunk"), identity, self.observers)
        return self._trunks[identity]

    def features(self, base: BaseModel, depth: int | None = None) -> FeatureStore:
        """Stored pooled features of a base model, after some of its blocks or after all."""
        folder = cache_folder("features")
        weights = "/".join(filter(None, (base.weights_sha256, base.quantization)))
        return FeatureStore(folder, base.network, base.kind, weights, self.observers, depth=depth)

    def scores(self, base: BaseModel) -> ScoreStore:
        """Stored label scores of a base model."""
        identity = f"{base.weights_sha256}/{base.precision}"
        return ScoreStore(cache_folder("scores") / f"{base.weights_sha256[:24]}.jsonl", identity, self.observers)

    def answers(self, base: BaseModel) -> AnswerStore:
        """Stored answers of a base model."""
        identity = f"{base.weights_sha256}/{base.precision}"
        return AnswerStore(cache_folder("answers") / f"{base.weights_sha256[:24]}.jsonl", identity, self.observers)

    def over(self, data: PreparedData) -> Workshop:
        """The same ground over other data, without remedies against bias; models, trunks and hardware are shared."""
        bias = self.recipe.data.bias.model_copy(update={"reweight": False, "augment": False})
        section = self.recipe.data.model_copy(update={"bias": bias})
        other = replace(self, data=data, recipe=self.recipe.model_copy(update={"data": section}))
        other._bases, other._weights, other._trunks = self._bases, self._weights, self._trunks
        vars(other)["hardware"] = self.hardware
        return other

    def model_size(self, attempt: Attempt) -> int:
        """Parameters of an attempt's model."""
        path = self.folder.attempt(attempt.number).summary
        return int(read_json(path, format="model")["parameters"])
