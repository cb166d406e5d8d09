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

from metier.data.records import Conversation, Input, Record, as_input
from metier.device import derive_seed
from metier.engine.forward import TreeRunner
from metier.engine.generate import Decoding, generate
from metier.engine.score import target_log_probabilities
from metier.engine.tree import TokenSequence
from metier.errors import DataError
from metier.evaluation.answering.answer_store import AnswerStore, StoredAnswer
from metier.evaluation.answering.keyed_store import owner_of
from metier.evaluation.answering.listing import as_task_reads
from metier.evaluation.answering.shots import TURN_TOKENS, Shots, ShotsFor, first_part, nearest_examples
from metier.evaluation.answering.text_index import NearestExamples
from metier.evaluation.evaluate import RecordSet, evaluate_system
from metier.evaluation.results import Answer, Evaluation
from metier.evaluation.systems import AnswerOptions, Material
from metier.evaluation.written.text_metrics import sign
from metier.events import Observer, as_part
from metier.model.chat_encode import ChatEncoder
from metier.model.chat_prompt import ChatPrompt
from metier.model.encode import EncodedPrompt
from metier.store.fingerprint import fingerprint
from metier.team import current_team

SLICE = 64
"""Inputs that are answered, and stored, together: what a kill can lose."""
SHOT_TOKENS = 256
"""Few-shot examples are drawn among those of at most this many tokens, or of the median length where that is more."""
NEXT_RECORD = "\n\n"
"""What stands between records where a model has no chat template (`chat_template.PlainTurns`)."""


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
    shots_for: ShotsFor | None = None
    """Examples that differ by input. None: those of the prompt, for all alike."""

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
        prompts = self._prompts([as_input(record) for record in records])
        for place, (record, prompt) in enumerate(zip(records, prompts, strict=True)):
            assert isinstance(record, Conversation)
            turns = self.encoder.turns(prompt, record, "last", room=self.decoding.max_new_tokens)
            if turns.sequences:
                asked, answer = turns.sequences[-1]
                sequences.append(TokenSequence.of(asked.tolist(), answer.tolist()))
                places.append(place)
        if sequences:
            scored = target_log_probabilities(
                self.runner, sequences, budget=self.budget, observers=self.observers, title=f"{self.name}: loss"
            )
            for place, pair in zip(places, scored, strict=True):
                found[place] = pair
        return found

    def _slice(self, inputs: Sequence[Input], start: int, watch: Observer) -> list[Answer]:
        encoded = [self._encode(*pair) for pair in zip(inputs, self._prompts(inputs), strict=True)]
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

    def _prompts(self, inputs: Sequence[Input]) -> list[ChatPrompt]:
        """The prompt of each input."""
        if self.shots_for is None:
            return [self.prompt] * len(inputs)
        return [self.prompt.with_shots(shots) for shots in self.shots_for(inputs)]

    def _encode(self, given: Input, prompt: ChatPrompt) -> EncodedPrompt | str:
        """The prompt's ids, or why there is none."""
        try:
            return self.encoder.prompt(prompt, given.turns, given.tools, room=self.decoding.max_new_tokens)
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
    writer = _writer(material, ground, ground.prompt, name="zero_shot", more={})
    return replace(writer, kind="base model, no examples", trained_on="no examples")


def build_few_shot(material: Material) -> Writer:
    """The base model with examples in its prompt; which, and how many, is chosen on validation.

    Random examples are tried in every number. Nearest ones, which are read for each input anew, are tried on a first
    part of the selection records; the best of them goes on to all.
    """
    ground: WritingGround = material.extras["ground"]
    section, records = material.section, _selection(material)
    random: dict[str, Writer] = {}
    if "random" in section.few_shot.selection:
        for k, draw in product(section.few_shot.k, range(section.few_shot.seeds)):
            shots = draw_examples(material, ground.encoder, k, draw, room=ground.context // 2)
            random[f"k={len(shots)}, draw={draw}"] = _with_random(material, ground, shots)
    nearest = _nearest_ways(material, ground) if "nearest" in section.few_shot.selection else {}
    tried: dict[str, float | None] = {}
    part = first_part(len(records), len(nearest))
    if part < len(records):
        scores = {about: _judged(each, records[:part], material) for about, each in nearest.items()}
        best = _winner(scores, section.primary_metric)
        tried = {f"{about}, first {part}": score for about, score in scores.items() if about != best}
        nearest = {best: nearest[best]}
    ways = {**random, **nearest}
    only_one = len(ways) + len(tried) == 1
    scores = {about: None if only_one else _judged(each, records, material) for about, each in ways.items()}
    chosen = ways[_winner(scores, section.primary_metric)]
    chosen_on = f"validation {section.primary_metric}, n = {len(records)}"
    more = {} if only_one else {"tried": {**scores, **tried}, "chosen_on": chosen_on}
    return replace(chosen, settings={**chosen.settings, **more})


def _selection(material: Material) -> list[Record]:
    """The validation records that choices are made on."""
    return list(material.validation)[: material.section.selection_examples]


def _winner(scores: Mapping[str, float | None], metric: str) -> str:
    """The best way; the first, which is the cheapest, of equals, and where nothing is known."""
    return max(scores, key=lambda about: -math.inf if (value := scores[about]) is None else sign(metric) * value)


def _with_random(material: Material, ground: WritingGround, shots: Shots) -> Writer:
    more = {"shots": len(shots), "selection": "random"}
    writer = _writer(material, ground, ground.prompt.with_shots(shots), name="few_shot", more=more)
    shown = f"{len(shots)} examples in the prompt"
    return replace(writer, kind=f"base model, {shown}", trained_on=shown)


def _nearest_ways(material: Material, ground: WritingGround) -> dict[str, Writer]:
    """A way for every k, with the examples nearest to each input; none where texts cannot be compared."""
    pool, lengths = showable(material.train, ground.encoder)
    examples = nearest_examples(material, pool)
    ways: dict[str, Writer] = {}
    for k in material.section.few_shot.k if examples is not None else ():
        assert examples is not None
        near = NearestWritten(examples, [lengths[record.id] for record in pool], k, ground.context // 2)
        more = {"shots": k, "selection": "nearest"}
        ways[f"k={k}, nearest"] = replace(
            _writer(material, ground, ground.prompt, name="few_shot", more=more, near=near),
            kind=f"base model, the {k} nearest examples in each prompt",
            trained_on=f"{len(material.train)} examples, the {k} nearest in each prompt",
        )
    return ways


@dataclass(frozen=True, eq=False)
class NearestWritten:
    """For each input its nearest training examples, as many of `k` as fit into `room` tokens."""

    examples: NearestExamples
    lengths: Sequence[int]
    """Tokens of each example, question and answer."""
    k: int
    room: int

    @property
    def most(self) -> int:
        """Tokens that the examples of one prompt can take."""
        return min(self.room, self.k * (max(self.lengths) + TURN_TOKENS))

    def __call__(self, inputs: Sequence[Input]) -> list[Shots]:
        """The examples of each input, the most alike last: next to the question."""
        return [self._fitting(places) for places in self.examples.places(inputs, self.k)]

    def _fitting(self, places: Sequence[int]) -> Shots:
        room, shown = self.room, []
        for place in places:
            needed = self.lengths[place] + TURN_TOKENS
            if needed <= room:
                room -= needed
                shown.append(self.examples.records[place])
        return tuple((record.text, record.gold) for record in reversed(shown))


def draw_examples(
    material: Material, encoder: ChatEncoder, k: int, draw: int, *, room: int
) -> tuple[tuple[str, str], ...]:
    """`k` training examples as question and answer, in a seeded order, within `room` tokens.

    Args:
        material: Train and the seed.
        encoder: Counts tokens.
        k: Examples; fewer where they do not fit.
        draw: Number of the draw.
        room: Tokens of all together.
    """
    rng = np.random.default_rng(derive_seed(material.seed, "few_shot", k, draw))
    order = [material.train[int(number)] for number in rng.permutation(len(material.train))]
    pool, lengths = showable(order, encoder)
    chosen: list[tuple[str, str]] = []
    for record in pool:
        needed = lengths[record.id] + TURN_TOKENS
        if len(chosen) < k and needed <= room:
            room -= needed
            chosen.append((record.text, record.gold))
    return tuple(chosen)


def showable(records: Sequence[Record], encoder: ChatEncoder) -> tuple[list[Record], dict[str, int]]:
    """Records that can be an example, in their order, and the tokens of each by id.

    Only the longer half is left out, and that only where examples are long at all: what is shown must be like
    what is asked for.

    Args:
        records: Of train.
        encoder: Counts tokens.
    """
    known = [record for record in records if record.text and record.gold]
    lengths = {record.id: encoder.count(record.text) + encoder.count(record.gold) for record in known}
    usual = max(SHOT_TOKENS, int(np.median(list(lengths.values()))) if lengths else 0)
    return [record for record in known if lengths[record.id] <= usual], lengths


def _judged(writer: Writer, records: Sequence[Record], material: Material) -> float | None:
    """The primary metric of a system on some validation records; None where they cannot give it."""
    return _judge(writer, records, material).metrics[material.section.primary_metric].value


def _judge(writer: Writer, records: Sequence[Record], material: Material) -> Evaluation:
    """A system on some validation records."""
    return evaluate_system(
        as_task_reads(replace(writer, name=f"{writer.name} (choosing)"), material.task, material.labels),
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
    more: Mapping[str, Any],
    near: NearestWritten | None = None,
) -> Writer:
    """The base model under one prompt. Examples get room beside what is asked, if there is."""
    tokens = sum(ground.encoder.count(text) + ground.encoder.count(said) + TURN_TOKENS for text, said in prompt.shots)
    tokens += 0 if near is None else near.most
    length = min(ground.encoder.max_length + tokens, ground.context)
    encoder = ChatEncoder(replace(ground.encoder.encoder, max_length=length))
    settings: dict[str, Any] = {
        "model": ground.name,
        "prompt_hash": prompt.hash if near is None else fingerprint([prompt.hash, "nearest", near.k])[:16],
        "max_new_tokens": ground.decoding.max_new_tokens,
    }
    decoding = ground.decoding
    if not encoder.encoder.is_chat and not any(NEXT_RECORD in record.gold for record in material.train):
        # Never taught to stop, it would go on with a question of its own, and be marked down for that.
        decoding = replace(decoding, stop_texts=(*decoding.stop_texts, NEXT_RECORD))
        settings["stop"] = list(decoding.stop_texts)
    return Writer(
        name=name, kind="", runner=ground.runner, encoder=encoder, prompt=prompt, decoding=decoding,
        parameters=ground.parameters, bytes=ground.bytes, trained_on="", settings={**settings, **more},
        budget=ground.budget, observers=material.observers, store=ground.store, shots_for=near,
    )  # fmt: skip


def decoding_of(generation: Mapping[str, Any], encoder: ChatEncoder, *, seed: int) -> Decoding:
    """Settled generation values (`model.generation.settle_generation`) as the engine takes them."""
    return Decoding(
        max_new_tokens=int(generation["max_new_tokens"]), stop_ids=encoder.stop_ids,
        temperature=float(generation["temperature"]), top_p=float(generation["top_p"]), top_k=generation["top_k"],
        repetition_penalty=float(generation["repetition_penalty"]), stop_texts=tuple(generation["stop"]), seed=seed,
        batch_size=int(generation["batch_size"]),
    )  # fmt: skip
