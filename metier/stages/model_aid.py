"""`data.screening_model`: a model's features and losses for the cleaning steps, computed once for the same text.

Rank 0 alone prepares data, so the model works for it alone. It is loaded when the first text comes that is not in the
cache, and let go when the data is ready. Features are those that the baseline `probe` reads, where both name one model.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from metier.data.model_aid import AnswerLoss, ModelAid
from metier.data.records import Conversation, Message, as_input
from metier.errors import ModelError
from metier.events import Notice, Observer, tell
from metier.recipe.sections import ModelSection, Recipe
from metier.recipe.tasks import WRITES
from metier.store.cache import cache_folder
from metier.store.fingerprint import fingerprint
from metier.team import working_alone

if TYPE_CHECKING:
    from metier.engine.features import FeatureStore
    from metier.engine.forward import TreeRunner
    from metier.engine.tree import Ints, TokenSequence
    from metier.evaluation.answering.score_store import ScoreStore
    from metier.model.base import BaseModel
    from metier.model.chat_encode import ChatEncoder
    from metier.model.chat_prompt import ChatPrompt

VERSION = 1
"""Raise it when the same texts would get other numbers: prepared data is then not reused."""
SLICE = 128
"""Answers that are scored, and stored, together."""
NOTHING = (Message(role="user", content=""),)
"""What is asked where an answer stands alone."""


@contextmanager
def screening_model(recipe: Recipe, observers: Sequence[Observer] = ()) -> Iterator[ModelAid | None]:
    """The model that helps to find doubtful rows while the block runs, and then what it took, said; None for none.

    Args:
        recipe: Names it as `data.screening_model`.
        observers: Told about progress, downloads and time.

    Raises:
        ModelError: There is no such model, or answers are written and it is no language model.
    """
    reader = _reader(recipe, observers)
    if reader is None:
        yield None
        return
    with working_alone():
        yield reader.aid()
        reader.tell()
        reader.release()


def model_aid(recipe: Recipe, observers: Sequence[Observer] = ()) -> ModelAid | None:
    """The same for callers from Python, who hand it to `prepare_data`; None where the recipe names no model.

    Args:
        recipe: Names it as `data.screening_model`.
        observers: Told about progress and downloads.

    Raises:
        ModelError: There is no such model, or answers are written and it is no language model.
    """
    reader = _reader(recipe, observers)
    return None if reader is None else reader.aid()


def screening_identity(recipe: Recipe, observers: Sequence[Observer] = ()) -> str | None:
    """Fingerprint of all that the model's numbers depend on beside the texts; None where the recipe names no model.

    Args:
        recipe: Names it as `data.screening_model`.
        observers: Told about downloads.

    Raises:
        ModelError: There is no such model, or answers are written and it is no language model.
    """
    reader = _reader(recipe, observers)
    return None if reader is None else reader.identity


def _reader(recipe: Recipe, observers: Sequence[Observer]) -> _Reader | None:
    name = recipe.data.screening_model
    if name is None:
        return None
    from metier.model.base import model_kind

    section = ModelSection(name=name)
    if recipe.task in WRITES and model_kind(section, observers) != "decoder":
        found = f"{name} is an encoder, which cannot say how probable an answer is"
        fix = f"Choose one for `task: {recipe.task}`, such as smollm2-135m, or remove the field."
        raise ModelError("data.screening_model", found, "a language model", fix)
    return _Reader(recipe, section, observers)


@dataclass(eq=False)
class _Reader:
    """A base model, loaded when it is needed."""

    recipe: Recipe
    section: ModelSection
    observers: Sequence[Observer]
    seconds: float = field(default=0.0, init=False)
    """That computing took, what is stored left out."""
    computed: int = field(default=0, init=False)
    """Texts, or answers, that were not stored."""
    asked: int = field(default=0, init=False)

    def aid(self) -> ModelAid:
        """As the data room takes it."""
        return ModelAid(
            name=self.section.name, identity=self.identity, embed=self.embed, sequence_loss=self.sequence_loss
        )

    @cached_property
    def identity(self) -> str:
        """Found without loading the model."""
        from metier.device import choose_hardware
        from metier.model.base import weights_fingerprint

        weights = weights_fingerprint(self.section, self.observers)
        asked = [self.recipe.prompt.model_dump(mode="json"), self.recipe.training.max_length]
        hardware = choose_hardware(self.recipe.hardware)
        read = asked if self.recipe.task in WRITES else []
        return fingerprint([VERSION, weights, hardware.device, hardware.dtype, self.recipe.data.too_long, read])

    def embed(self, texts: Sequence[str]) -> Any:
        """Features, shape (N, hidden)."""
        encoded = [self._encoder.text(text).ids for text in texts]
        started, missing = time.perf_counter(), self._features.count_missing(encoded)
        found = self._features.features(encoded, f"data: features of {self.section.name}")
        self._took(started, missing, len(texts))
        return found

    def sequence_loss(self, records: Sequence[Conversation]) -> list[AnswerLoss | None]:
        """Losses of the last answers after their prompts and alone, in nats a token."""
        pairs = [self._pair(record) for record in records]
        owners = [_owner(record) for record in records]
        wanted: dict[str, tuple[Ints, Ints, str]] = {}
        keys: list[tuple[str, str] | None] = []
        for pair, owner in zip(pairs, owners, strict=True):
            if pair is None:
                keys.append(None)
                continue
            prompt, answer = pair
            after, alone = (next(self._scores.keys([before], [answer])) for before in (prompt, self._nothing))
            wanted |= {after: (prompt, answer, owner), alone: (self._nothing, answer, owner)}
            keys.append((after, alone))
        self._score(wanted)
        return [
            None if pair is None or both is None else self._loss(both, len(pair[1]))
            for pair, both in zip(pairs, keys, strict=True)
        ]

    def tell(self) -> None:
        """Say what it took."""
        if not self.asked:
            return
        name, stored = self.section.name, self.asked - self.computed
        what = "answers, after their prompts and alone" if self.recipe.task in WRITES else "texts"
        rate = f", {self.computed / self.seconds:,.0f} a second" if self.seconds > 0 and self.computed else ""
        message = (
            f"data.screening_model: {name} read {self.computed:,} {what}, in {self.seconds:.1f} s{rate}; "
            f"{stored:,} more were known (stored, or said before) and not read again."
        )
        tell(self.observers, Notice(topic="data", message=message))

    def release(self) -> None:
        """Let the model go, and its memory."""
        import gc

        from metier.device import release_freed_memory

        for name in ("_base", "_encoder", "_features", "_scores", "_runner", "_chat", "_nothing"):
            vars(self).pop(name, None)
        gc.collect()
        release_freed_memory()

    def _took(self, started: float, computed: int, asked: int) -> None:
        self.seconds += time.perf_counter() - started if computed else 0.0
        self.computed += computed
        self.asked += asked

    def _pair(self, record: Conversation) -> tuple[Ints, Ints] | None:
        """Prompt and last answer as ids; None where the answer cannot be asked for."""
        found = self._chat.turns(self._prompt, record, "last")
        last = len(record.messages) - 1
        return found.sequences[-1] if found.sequences and found.places[-1] == last else None

    def _score(self, wanted: dict[str, tuple[Ints, Ints, str]]) -> None:
        """Compute and store the sums that are not stored, a slice at a time."""
        import numpy as np

        from metier.engine.score import target_log_probabilities
        from metier.engine.tree import TokenSequence

        missing = [key for key in wanted if self._scores.find(key) is None]
        started = time.perf_counter()
        for start in range(0, len(missing), SLICE):
            some = missing[start : start + SLICE]
            sequences: list[TokenSequence] = []
            for key in some:
                prompt, answer, _ = wanted[key]
                sequences.append(TokenSequence.of(prompt.tolist(), answer.tolist()))
            before = time.perf_counter()
            sums = target_log_probabilities(
                self._runner, sequences, budget=self.recipe.training.tokens_per_microbatch, observers=self.observers,
                title=f"data: losses by {self.section.name}",
            )  # fmt: skip
            each = (time.perf_counter() - before) / len(some)
            for key, (total, _) in zip(some, sums, strict=True):
                self._scores.keep(key, np.array([total]), each, wanted[key][2])
        self._took(started, len(missing), len(wanted))

    def _loss(self, keys: tuple[str, str], tokens: int) -> AnswerLoss:
        sums = [self._scores.find(key) for key in keys]
        after, alone = (-float(found[0][0]) / tokens for found in sums if found is not None)
        return AnswerLoss(after=after, alone=alone)

    @cached_property
    def _base(self) -> BaseModel:
        import torch

        from metier.device import choose_hardware
        from metier.model.base import load_base_model

        base = load_base_model(self.section, choose_hardware(self.recipe.hardware), self.observers)
        return base.fresh(torch.float32) if base.kind == "encoder" else base

    @cached_property
    def _encoder(self) -> Any:
        from metier.model.encode import Encoder, cut_policy

        # Features of whole texts, as the probe reads them; answers with the room that training gives them.
        longest = self._base.context
        if self.recipe.task in WRITES:
            longest = min(longest, self.recipe.training.max_length)
        return Encoder(self._base.tokenizer, longest, cut_policy(self.recipe.data.too_long))

    @cached_property
    def _features(self) -> FeatureStore:
        from metier.engine.features import FeatureStore

        base = self._base
        weights = "/".join(filter(None, (base.weights_sha256, base.quantization)))
        return FeatureStore(cache_folder("features"), base.network, base.kind, weights, self.observers)

    @cached_property
    def _scores(self) -> ScoreStore:
        from metier.evaluation.answering.score_store import ScoreStore

        identity = f"{self._base.weights_sha256}/{self._base.precision}"
        return ScoreStore(cache_folder("scores") / f"{self._base.weights_sha256[:24]}.jsonl", identity, self.observers)

    @cached_property
    def _runner(self) -> TreeRunner:
        from metier.engine.forward import TreeRunner

        return TreeRunner(self._base.network, None, self.observers)

    @cached_property
    def _chat(self) -> ChatEncoder:
        from metier.model.chat_encode import ChatEncoder

        return ChatEncoder(self._encoder)

    @cached_property
    def _prompt(self) -> ChatPrompt:
        from metier.model.chat_prompt import make_chat_prompt

        return replace(make_chat_prompt(self.recipe.prompt), shots=())

    @cached_property
    def _nothing(self) -> Ints:
        """The prompt of an answer alone: as any other, with nothing asked."""
        return self._chat.prompt(self._prompt, NOTHING, room=0).ids


def _owner(record: Conversation) -> str:
    from metier.evaluation.answering.keyed_store import owner_of

    return owner_of(as_input(record))
