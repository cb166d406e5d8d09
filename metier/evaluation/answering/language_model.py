"""Systems that answer in words: the base model without examples and with a few, and the tuned model.

All three score every label under the prompt (`engine.score`) and choose their scoring rule on
validation; the base systems also choose whether the prompt names the labels, and which examples, how many, drawn at
random or nearest to each input.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np

from metier.data.records import Choice, Input, as_input
from metier.engine.forward import TreeRunner
from metier.engine.score import label_sequences, score_labels
from metier.engine.tree import Ints
from metier.evaluation.answering.keyed_store import owner_of
from metier.evaluation.answering.score_store import ScoreStore
from metier.evaluation.answering.scoring import ChosenRule, Floats, Rule, choose_rule, make_rule
from metier.evaluation.answering.shots import (
    TURN_TOKENS,
    NearestLabelled,
    ShotsFor,
    draw_shots,
    first_part,
    fit_shots,
    nearest_examples,
    share_of,
)
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions, Material
from metier.events import Observer, as_part
from metier.model.encode import EncodedPrompt, Encoder
from metier.model.prompt import PromptFormat
from metier.store.fingerprint import fingerprint
from metier.team import current_team

SLICE = 100
"""Inputs that are scored, and stored, together: what a kill can lose."""
TIMED = 16
"""Inputs on which speed is measured, once, where stored trunk states hide it."""


@dataclass(frozen=True, eq=False)
class Scored:
    """One scored input: sums of shape (C,), whether its text was cut, seconds and tokens that it took."""

    sums: Floats
    cut: bool
    seconds: float
    tokens: int


@dataclass(eq=False)
class LabelScorer:
    """A language model that answers with the label that it finds most likely."""

    name: str
    kind: str
    runner: TreeRunner
    encoder: Encoder
    prompt: PromptFormat
    rule: Rule
    parameters: int | None
    bytes: int | None
    trained_on: str
    settings: Mapping[str, Any]
    budget: int = 2048
    observers: Sequence[Observer] = ()
    store: ScoreStore | None = None
    """Sums that the same model gave before; None for a model that is still being trained."""
    shots_for: ShotsFor | None = None
    """Examples that differ by input. None: those of the prompt, for all alike."""
    _seconds: float | None = field(default=None, init=False, repr=False)
    """Seconds of one input without stored trunk states, once they are measured."""

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """The most likely label of each input, with the log-probability of every label."""
        for given, scored in zip(inputs, self.score(inputs), strict=True):
            row = self.rule.log_probabilities(scored.sums[None])[0]
            yield Answer(
                id=given.id,
                label=self.prompt.labels[int(row.argmax())],
                label_logprobs=dict(zip(self.prompt.labels, map(float, row), strict=True)),
                seconds=scored.seconds,
                tokens=scored.tokens,
                reason="cut" if scored.cut else None,
            )

    def score(self, inputs: Sequence[Input]) -> list[Scored]:
        """Sums of token log-probabilities of every label for each input; what is stored is not computed again."""
        encoded = [
            self.encoder.prompt(prompt, given.text) for prompt, given in zip(self._prompts(inputs), inputs, strict=True)
        ]
        answers = self.encoder.answers(self.prompt)
        prompts = [each.ids for each in encoded]
        keys = list(self.store.keys(prompts, answers)) if self.store else [""] * len(prompts)
        found = [self.store.find(key) if self.store else None for key in keys]
        lacking = current_team().any_of([hit is None for hit in found])
        todo = [number for number, lacks in enumerate(lacking) if lacks]
        fresh: dict[int, Scored] = {}
        for start in range(0, len(todo), SLICE):
            some = todo[start : start + SLICE]
            watch = as_part(self.observers, self.name, start, len(todo))
            fresh |= dict(zip(some, self._compute([encoded[number] for number in some], answers, watch), strict=True))
            for number in some:
                if self.store:
                    sums, seconds = fresh[number].sums, fresh[number].seconds
                    self.store.keep(keys[number], sums, seconds, owner_of(inputs[number]))
        return [
            fresh[number] if number in fresh or hit is None else Scored(hit[0], encoded[number].cut, hit[1], 0)
            for number, hit in enumerate(found)
        ]

    def _prompts(self, inputs: Sequence[Input]) -> list[PromptFormat]:
        """The prompt of each input."""
        if self.shots_for is None:
            return [self.prompt] * len(inputs)
        return [replace(self.prompt, shots=shots) for shots in self.shots_for(inputs)]

    def sums(self, records: Sequence[Choice]) -> Floats:
        """Sums of token log-probabilities of every label, shape (N, C)."""
        return np.stack([scored.sums for scored in self.score([as_input(record) for record in records])])

    def _compute(self, encoded: Sequence[EncodedPrompt], answers: Sequence[Ints], watch: Observer) -> list[Scored]:
        started = time.perf_counter()
        prompts = [each.ids for each in encoded]
        store_label_trees(self.runner, prompts, answers, f"{self.name}: trunk")
        sums, tokens = score_labels(self.runner, prompts, answers, budget=self.budget, observers=(watch,))
        seconds, share = (time.perf_counter() - started) / len(prompts), tokens // len(prompts)
        if self.runner.trunk is not None:
            if self._seconds is None:
                self._seconds = self._seconds_without_trunk(prompts, answers)
            seconds = self._seconds
        return [Scored(row, each.cut, seconds, share) for row, each in zip(sums, encoded, strict=True)]

    def _seconds_without_trunk(self, prompts: Sequence[Ints], answers: Sequence[Ints]) -> float:
        """Seconds that one input takes when nothing is stored, measured on a few: what a user will wait for."""
        some = prompts[:TIMED]
        runner = replace(self.runner, trunk=None, checked=True)
        started = time.perf_counter()
        score_labels(runner, some, answers, budget=self.budget)
        return (time.perf_counter() - started) / len(some)


def store_label_trees(runner: TreeRunner, prompts: Sequence[Ints], answers: Sequence[Ints], title: str) -> None:
    """Make sure that the trunk cache holds the boundary states of every label under every prompt."""
    if runner.trunk is None or not prompts:
        return
    sequences = label_sequences(prompts, answers)
    if runner.probe(sequences[: len(answers)]) and runner.trunk is not None:
        runner.trunk.build(runner.network, sequences, title)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """A base language model and how it is asked: what the base systems are built on."""

    name: str
    """As the recipe names it: with several candidates it need not be the tuned model's base."""
    context: int
    """Longest input in tokens."""
    runner: TreeRunner
    encoder: Encoder
    prompt: PromptFormat
    list_labels: bool | None
    """What the recipe says about naming the labels; None: both are tried."""
    parameters: int
    bytes: int
    budget: int
    store: ScoreStore
    tuned_prompt_hash: str | None = None
    """The prompt under which a candidate trains: with the same prompt, the trunk is computed once for both."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Way:
    """A way to ask that can be tried."""

    prompt: PromptFormat
    about: str
    nearest: NearestLabelled | None = None
    """Examples that differ by input."""

    @property
    def shown(self) -> int:
        """Examples in each prompt."""
        return len(self.prompt.shots) if self.nearest is None else self.nearest.k


@dataclass(frozen=True, eq=False)
class _Attempted:
    """A way that was tried on validation."""

    way: _Way
    chosen: ChosenRule

    @property
    def tried(self) -> dict[str, Mapping[str, float]]:
        """How every scoring rule did."""
        return {f"{self.way.about}, rule={rule}": scores for rule, scores in self.chosen.tried.items()}


def build_zero_shot(material: Material) -> LabelScorer:
    """The row `zero_shot` of `SYSTEMS`: the base model, asked without examples."""
    ground: Ground = material.extras["ground"]
    ways = [
        _Way(prompt=ground.prompt.with_choices(list_labels=listed), about=f"list_labels={str(listed).lower()}")
        for listed in _listings(ground)
    ]
    attempts = [_attempt(material, ground, way, "zero_shot") for way in ways]
    scorer = _best(material, ground, attempts, "zero_shot")
    return replace(scorer, kind="base model, no examples", trained_on="no examples")


def _listings(ground: Ground) -> tuple[bool, ...]:
    """Whether the prompt names the labels: as the recipe says, else both ways are tried."""
    return (False, True) if ground.list_labels is None else (ground.list_labels,)


def build_few_shot(material: Material) -> LabelScorer:
    """The row `few_shot` of `SYSTEMS`: the base model with examples in its prompt, chosen on validation.

    Random examples are tried in every way. Nearest ones, which are computed for each input anew, are tried with the
    listing that did best so far, each k on a first part of the selection records; the best goes on to all of them.
    """
    ground: Ground = material.extras["ground"]
    section = material.section.few_shot
    attempts, losers = [], list[_Attempted]()
    if "random" in section.selection:
        attempts = [_attempt(material, ground, way, "few_shot") for way in _random_ways(material, ground)]
    if "nearest" in section.selection:
        listings = (_winner(attempts).way.prompt.list_labels,) if attempts else _listings(ground)
        ways, losers = _best_on_a_part(material, ground, _nearest_ways(material, ground, listings))
        attempts += [_attempt(material, ground, way, "few_shot") for way in ways]
    scorer = _best(material, ground, attempts, "few_shot", losers)
    count = scorer.settings["shots"]
    if scorer.shots_for is None:
        return replace(
            scorer, kind=f"base model, {count} examples in the prompt", trained_on=f"{count} examples in the prompt"
        )
    trained_on = f"{len(material.train)} examples, the {count} nearest in each prompt"
    return replace(scorer, kind=f"base model, the {count} nearest examples in each prompt", trained_on=trained_on)


def _random_ways(material: Material, ground: Ground) -> list[_Way]:
    """Every k, draw and listing, with the same examples for all inputs."""
    section, ways = material.section.few_shot, []
    for k, draw, listed in product(section.k, range(section.seeds), _listings(ground)):
        drawn = draw_shots(material, ground.encoder, k, draw)
        shots = fit_shots(drawn, ground.encoder, ground.context // 2)
        about = f"k={len(shots)}, draw={draw}, list_labels={str(listed).lower()}"
        about += ", examples cut" if shots != drawn else ""
        ways.append(_Way(prompt=ground.prompt.with_choices(list_labels=listed, shots=shots), about=about))
    return ways


def _nearest_ways(material: Material, ground: Ground, listings: Sequence[bool]) -> list[_Way]:
    """Every k and listing, with the examples nearest to each input; none where texts cannot be compared."""
    examples = nearest_examples(material, material.train)
    if examples is None:
        return []
    asked = [as_input(record) for record in _selection(material)]
    ways = []
    for k, listed in product(material.section.few_shot.k, listings):
        k = min(k, len(material.train))
        near = NearestLabelled(examples, ground.encoder, k, share_of(ground.context // 2, k))
        about = f"k={k}, nearest, list_labels={str(listed).lower()}" + (", examples cut" * near.cuts(asked))
        ways.append(_Way(prompt=ground.prompt.with_choices(list_labels=listed), about=about, nearest=near))
    return ways


def _best_on_a_part(material: Material, ground: Ground, ways: list[_Way]) -> tuple[list[_Way], list[_Attempted]]:
    """The best of costly ways on a first part of the selection records, and those that lost; all where that is all."""
    part = first_part(len(_selection(material)), len(ways))
    if part == len(_selection(material)):
        return ways, []
    tried = [_attempt(material, ground, way, "few_shot", part) for way in ways]
    best = _winner(tried)
    losers = [each for each in tried if each is not best]
    named = [replace(each, way=replace(each.way, about=f"{each.way.about}, first {part}")) for each in losers]
    return [best.way], named


def _selection(material: Material) -> list[Choice]:
    """The validation records that choices are made on."""
    return list(material.validation)[: material.section.selection_examples]


def _attempt(material: Material, ground: Ground, way: _Way, title: str, first: int | None = None) -> _Attempted:
    """Score a way on validation, or on its first few records, and choose its rule."""
    records = _selection(material)[:first]
    plain_sum = make_rule("sum", way.prompt.label_texts, np.zeros((1, len(way.prompt.labels))))
    scorer = _scorer(material, ground, way, plain_sum, name=title)
    golds = [record.label for record in records]
    section = material.section
    chosen = choose_rule(
        section.scoring_rules, way.prompt.label_texts, scorer.sums(records), golds, way.prompt.labels,
        section.primary_metric,
    )  # fmt: skip
    return _Attempted(way, chosen)


def _winner(attempts: Sequence[_Attempted]) -> _Attempted:
    """The best; the first, which is the cheapest, of equals."""
    return max(attempts, key=lambda attempt: attempt.chosen.score)


def _best(
    material: Material, ground: Ground, attempts: Sequence[_Attempted], name: str, losers: Sequence[_Attempted] = ()
) -> LabelScorer:
    """The system that the best of `attempts` makes; what lost before is in its settings."""
    best = _winner(attempts)
    way, rule = best.way, best.chosen.rule
    tried: dict[str, Mapping[str, float]] = {}
    for attempt in (*attempts, *losers):
        tried |= attempt.tried
    settings = {
        "model": ground.name,
        "prompt_hash": way.prompt.hash if way.nearest is None else _hash_of(way),
        "list_labels": way.prompt.list_labels,
        "rule": rule.name,
        "shots": way.shown,
        **({"selection": "random" if way.nearest is None else "nearest"} if way.shown else {}),
        "chosen_on": f"validation {material.section.primary_metric}, n = {len(_selection(material))}",
        "tried": tried,
    }
    return replace(_scorer(material, ground, way, rule, name=name), settings=settings)


def _hash_of(way: _Way) -> str:
    """Fingerprint of a prompt whose examples differ by input: what all have in common, and how many are shown."""
    assert way.nearest is not None
    return fingerprint([way.prompt.hash, "nearest", way.nearest.k, way.nearest.most])[:16]


def _scorer(material: Material, ground: Ground, way: _Way, rule: Rule, *, name: str) -> LabelScorer:
    """The base model asked one way. Examples and label names get room beside the record's text, if there is."""
    prompt, near = way.prompt, way.nearest
    tokens = sum(len(ground.encoder.tokenizer(text)["input_ids"]) + TURN_TOKENS for text, _ in prompt.shots)
    tokens += 0 if near is None else near.k * (near.most + TURN_TOKENS)
    tokens += 2 * sum(map(len, ground.encoder.answers(prompt))) if prompt.list_labels else 0
    encoder = replace(ground.encoder, max_length=min(ground.encoder.max_length + tokens, ground.context))
    # The trunk cache only where its entries are read again: under the prompt of the tuned model.
    shared = ground.runner.trunk is None or (near is None and prompt.hash == ground.tuned_prompt_hash)
    runner = ground.runner if shared else replace(ground.runner, trunk=None)
    return LabelScorer(
        name=name, kind="", runner=runner, encoder=encoder, prompt=prompt, rule=rule, parameters=ground.parameters,
        bytes=ground.bytes, trained_on="", settings={}, budget=ground.budget, observers=material.observers,
        store=ground.store, shots_for=near,
    )  # fmt: skip
