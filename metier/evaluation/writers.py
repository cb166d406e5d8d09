"""Systems that write their answers: the base model without examples and with a few, and the tuned model.

All of them read the same prompt and write under the same settings. The base systems keep what they
wrote, so that choosing on validation, a second candidate and a second run do not write it again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from metier.data.records import Conversation, Input, Record
from metier.device import derive_seed
from metier.engine.forward import TreeRunner
from metier.engine.generate import Decoding, generate
from metier.engine.score import target_log_probabilities
from metier.engine.tree import TokenSequence
from metier.errors import DataError
from metier.evaluation.answer_store import AnswerStore, StoredAnswer
from metier.evaluation.evaluate import RecordSet, evaluate_system
from metier.evaluation.keyed_store import owner_of
from metier.evaluation.measures import score_of
from metier.evaluation.results import Answer, Evaluation
from metier.evaluation.systems import AnswerOptions, Material
from metier.events import Observer, as_part
from metier.model.chat_encode import ChatEncoder
from metier.model.chat_prompt import ChatPrompt
from metier.model.encode import EncodedPrompt
from metier.team import current_team

SLICE = 64
"""Inputs that are answered, and stored, together: what a kill can lose."""
SHOT_TOKENS = 256
"""Few-shot examples are drawn among those of at most this many tokens, or of the median length where that is more."""
NEXT_RECORD = "\n\n"
"""What stands between records where a model has no chat template (`chat_template.PlainTurns`)."""
TURN_TOKENS = 16
"""Room for what a chat template puts around an example's two turns."""


@dataclass(eq=False)
class Writer:
    """A language model that writes its answer."""

    name: str
    kind: str
    runner: TreeRunner
    encoder: ChatEncoder
    prompt: ChatPrompt
    decoding: Decoding
    parameters: int | None
    bytes: int | None
    trained_on: str
    settings: Mapping[str, Any]
    budget: int = 2048
    observers: Sequence[Observer] = ()
    store: AnswerStore | None = None
    """What the same model wrote before; None for a model that is still being trained."""

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """One written answer for every input, in order; one that cannot be asked has a reason instead."""
        for start in range(0, len(inputs), SLICE):
            watch = as_part(self.observers, self.name, start, len(inputs))
            yield from self._slice(inputs[start : start + SLICE], options.first + start, watch)

    def target_logprobs(self, records: Sequence[Record]) -> list[tuple[float, int] | None]:
        """Log-probability of each gold answer and its tokens, end of turn included.

        None for a record whose answer this model cannot be asked for (no room, a turn that the template refuses).
        """
        found: list[tuple[float, int] | None] = [None] * len(records)
        sequences, places = [], []
        for place, record in enumerate(records):
            assert isinstance(record, Conversation)
            turns = self.encoder.turns(self.prompt, record, "last", room=self.decoding.max_new_tokens)
            if turns.sequences:
                prompt, answer = turns.sequences[-1]
                sequences.append(TokenSequence.of(prompt.tolist(), answer.tolist()))
                places.append(place)
        if sequences:
            scored = target_log_probabilities(
                self.runner, sequences, budget=self.budget, observers=self.observers, title=f"{self.name}: loss"
            )
            for place, pair in zip(places, scored, strict=True):
                found[place] = pair
        return found

    def _slice(self, inputs: Sequence[Input], start: int, watch: Observer) -> list[Answer]:
        encoded = [self._encode(given) for given in inputs]
        answers: list[Answer | None] = [
            Answer(id=given.id, label=None, stop="none", reason=each) if isinstance(each, str) else None
            for given, each in zip(inputs, encoded, strict=True)
        ]
        prompts = {place: each for place, each in enumerate(encoded) if not isinstance(each, str)}
        keys = {
            place: self.store.key(each.ids, self.decoding, start + place) if self.store else ""
            for place, each in prompts.items()
        }
        known = {place: self.store.find(key) for place, key in keys.items()} if self.store else {}
        lacking = current_team().any_of([known.get(place) is None for place in prompts])
        todo = [place for place, lacks in zip(prompts, lacking, strict=True) if lacks]
        written = self._write([prompts[place] for place in todo], [start + place for place in todo], watch)
        for place, fresh in zip(todo, written, strict=True):
            known[place] = fresh
            if self.store:
                self.store.keep(keys[place], fresh, owner_of(inputs[place]))
        for place, each in prompts.items():
            said = known[place]
            assert said is not None
            answers[place] = Answer(
                id=inputs[place].id, label=None, text=said.text, stop=said.stop, seconds=said.seconds,
                tokens=len(each.ids), reason="cut" if each.cut else None,
            )  # fmt: skip
        return [answer for answer in answers if answer is not None]

    def _encode(self, given: Input) -> EncodedPrompt | str:
        """The prompt's ids, or why there is none."""
        try:
            return self.encoder.prompt(self.prompt, given.turns, given.tools, room=self.decoding.max_new_tokens)
        except DataError as fault:
            return f"cannot be asked: {fault.found}"

    def _write(self, prompts: Sequence[EncodedPrompt], numbers: Sequence[int], watch: Observer) -> list[StoredAnswer]:
        if not prompts:
            return []
        written = generate(
            self.runner, [each.ids for each in prompts], self.decoding, read=self.encoder.read, budget=self.budget,
            observers=(watch,), numbers=numbers,
        )  # fmt: skip
        return [
            StoredAnswer(
                text=self.encoder.read(each.ids.tolist()) if each.text is None else each.text.strip(),
                stop=each.stop,
                seconds=each.seconds,
            )
            for each in written
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class WritingGround:
    """A base language model and how it is asked: what the base systems are built on."""

    name: str
    """As the recipe names it: with several candidates it need not be the tuned model's base."""
    context: int
    """Longest input in tokens."""
    runner: TreeRunner
    encoder: ChatEncoder
    prompt: ChatPrompt
    decoding: Decoding
    parameters: int
    bytes: int
    budget: int
    store: AnswerStore


def build_zero_shot(material: Material) -> Writer:
    """The base model, asked without examples."""
    ground: WritingGround = material.extras["ground"]
    return _writer(
        material, ground, ground.prompt, name="zero_shot", kind="base model, no examples", trained_on="no examples",
        more={},
    )  # fmt: skip


def build_few_shot(material: Material) -> Writer:
    """The base model with examples in its prompt; how many and which is chosen on validation."""
    ground: WritingGround = material.extras["ground"]
    section, records = material.section, list(material.validation)[: material.section.selection_examples]
    tried: dict[str, float | None] = {}
    best: tuple[float, Writer] | None = None
    for k, draw in product(section.few_shot.k, range(section.few_shot.seeds)):
        shots = draw_examples(material, ground.encoder, k, draw, room=ground.context // 2)
        kind = f"base model, {len(shots)} examples in the prompt"
        writer = _writer(
            material, ground, ground.prompt.with_shots(shots), name="few_shot", kind=kind,
            trained_on=f"{len(shots)} examples in the prompt", more={"shots": len(shots)},
        )  # fmt: skip
        about = f"k={len(shots)}, draw={draw}"
        only_one = len(section.few_shot.k) * section.few_shot.seeds == 1
        judged = None if only_one else _judge(writer, records, material)
        tried[about] = None if judged is None else judged.metrics[section.primary_metric].value
        score = -math.inf if judged is None else score_of(judged, section.primary_metric)
        if best is None or score > best[0]:
            best = (score, writer)
    assert best is not None
    chosen_on = f"validation {section.primary_metric}, n = {len(records)}"
    more = {"tried": tried, "chosen_on": chosen_on} if len(tried) > 1 else {}
    return replace(best[1], settings={**best[1].settings, **more})


def draw_examples(
    material: Material, encoder: ChatEncoder, k: int, draw: int, *, room: int
) -> tuple[tuple[str, str], ...]:
    """`k` training examples as question and answer, in a seeded order, within `room` tokens.

    Only the longer half is left out, and that only where examples are long at all: what is shown must be like
    what is asked for.
    """
    rng = np.random.default_rng(derive_seed(material.seed, "few_shot", k, draw))
    order = [material.train[int(number)] for number in rng.permutation(len(material.train))]
    order = [record for record in order if record.text and record.gold]
    lengths = {record.id: encoder.count(record.text) + encoder.count(record.gold) for record in order}
    usual = max(SHOT_TOKENS, int(np.median(list(lengths.values()))) if lengths else 0)
    pool = [record for record in order if lengths[record.id] <= usual]
    chosen: list[tuple[str, str]] = []
    for record in pool:
        needed = lengths[record.id] + TURN_TOKENS
        if len(chosen) < k and needed <= room:
            room -= needed
            chosen.append((record.text, record.gold))
    return tuple(chosen)


def _judge(writer: Writer, records: Sequence[Record], material: Material) -> Evaluation:
    """A system on some validation records."""
    return evaluate_system(
        replace(writer, name=f"{writer.name} (choosing)"),
        RecordSet(name="selection", records=records, task=material.task),
        section=material.section, seed=material.seed, observers=material.observers,
        losses=material.section.primary_metric == "loss",
    )  # fmt: skip


def _writer(
    material: Material,
    ground: WritingGround,
    prompt: ChatPrompt,
    *,
    name: str,
    kind: str,
    trained_on: str,
    more: Mapping[str, Any],
) -> Writer:
    """The base model under one prompt. Examples get room beside what is asked, if there is."""
    tokens = sum(ground.encoder.count(text) + ground.encoder.count(said) + TURN_TOKENS for text, said in prompt.shots)
    length = min(ground.encoder.max_length + tokens, ground.context)
    encoder = ChatEncoder(replace(ground.encoder.encoder, max_length=length))
    settings: dict[str, Any] = {
        "model": ground.name,
        "prompt_hash": prompt.hash,
        "max_new_tokens": ground.decoding.max_new_tokens,
    }
    decoding = ground.decoding
    if not encoder.encoder.is_chat and not any(NEXT_RECORD in record.gold for record in material.train):
        # Never taught to stop, it would go on with a question of its own, and be marked down for that.
        decoding = replace(decoding, stop_texts=(*decoding.stop_texts, NEXT_RECORD))
        settings["stop"] = list(decoding.stop_texts)
    return Writer(
        name=name, kind=kind, runner=ground.runner, encoder=encoder, prompt=prompt, decoding=decoding,
        parameters=ground.parameters, bytes=ground.bytes, trained_on=trained_on, settings={**settings, **more},
        budget=ground.budget, observers=material.observers, store=ground.store,
    )  # fmt: skip


def decoding_of(generation: Mapping[str, Any], encoder: ChatEncoder, *, seed: int) -> Decoding:
    """Settled generation values (`model.generation.settle_generation`) as the engine takes them."""
    return Decoding(
        max_new_tokens=int(generation["max_new_tokens"]), stop_ids=encoder.stop_ids,
        temperature=float(generation["temperature"]), top_p=float(generation["top_p"]), top_k=generation["top_k"],
        repetition_penalty=float(generation["repetition_penalty"]), stop_texts=tuple(generation["stop"]), seed=seed,
        batch_size=int(generation["batch_size"]),
    )  # fmt: skip
