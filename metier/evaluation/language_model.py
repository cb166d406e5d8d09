"""Systems that answer in words: the base model without examples and with a few, and the tuned model.

All three score every label under the prompt (`engine.score`) and choose their scoring rule on
validation; the base systems also choose whether the prompt names the labels, and which examples.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np

from metier.data.records import Choice, Input, as_input
from metier.device import derive_seed
from metier.engine.forward import TreeRunner
from metier.engine.score import label_sequences, score_labels
from metier.engine.tree import Ints
from metier.evaluation.keyed_store import owner_of
from metier.evaluation.results import Answer
from metier.evaluation.score_store import ScoreStore
from metier.evaluation.scoring import ChosenRule, Floats, Rule, choose_rule, make_rule
from metier.evaluation.systems import AnswerOptions, Material
from metier.events import Observer, as_part
from metier.model.encode import EncodedPrompt, Encoder
from metier.model.prompt import PromptFormat
from metier.team import current_team

SLICE = 100
"""Inputs that are scored, and stored, together: what a kill can lose."""
TIMED = 16
"""Inputs on which speed is measured, once, where stored trunk states hide it."""
SHOT_TOKENS = 96
"""Few-shot examples are drawn among texts of at most this many tokens, where there are enough."""
TURN_TOKENS = 16
"""Room for an example's answer and for what a chat template puts around it."""


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
        encoded = [self.encoder.prompt(self.prompt, given.text) for given in inputs]
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


@dataclass(frozen=True, eq=False)
class _Attempted:
    """A prompt that was tried on validation."""

    prompt: PromptFormat
    chosen: ChosenRule
    about: str


def build_zero_shot(material: Material) -> LabelScorer:
    """The row `zero_shot` of `SYSTEMS`: the base model, asked without examples."""
    ground: Ground = material.extras["ground"]
    attempts = []
    for listed in _listings(ground):
        prompt = ground.prompt.with_choices(list_labels=listed)
        attempts.append(_attempt(material, ground, prompt, f"list_labels={str(listed).lower()}", "zero_shot"))
    return _best(material, ground, attempts, "zero_shot", "base model, no examples", "no examples")


def _listings(ground: Ground) -> tuple[bool, ...]:
    """Whether the prompt names the labels: as the recipe says, else both ways are tried."""
    return (False, True) if ground.list_labels is None else (ground.list_labels,)


def build_few_shot(material: Material) -> LabelScorer:
    """The row `few_shot` of `SYSTEMS`: the base model with examples in its prompt, chosen on validation."""
    ground: Ground = material.extras["ground"]
    attempts = []
    draws = range(material.section.few_shot.seeds)
    for k, draw, listed in product(material.section.few_shot.k, draws, _listings(ground)):
        drawn = draw_shots(material, ground.encoder, k, draw)
        shots = fit_shots(drawn, ground.encoder, ground.context // 2)
        prompt = ground.prompt.with_choices(list_labels=listed, shots=shots)
        about = f"k={len(shots)}, draw={draw}, list_labels={str(listed).lower()}"
        about += ", examples cut" if shots != drawn else ""
        attempts.append(_attempt(material, ground, prompt, about, "few_shot"))
    best = max(attempts, key=lambda attempt: attempt.chosen.score)
    count = len(best.prompt.shots)
    kind = f"base model, {count} examples in the prompt"
    return _best(material, ground, attempts, "few_shot", kind, f"{count} examples in the prompt")


def draw_shots(material: Material, encoder: Encoder, k: int, draw: int) -> list[tuple[str, str]]:
    """`k` training examples as text and label: labels in turn, in an order that is a function of the seed."""
    rng = np.random.default_rng(derive_seed(material.seed, "few_shot", k, draw))
    order = [material.train[int(number)] for number in rng.permutation(len(material.train))]
    short = [record for record in order if len(encoder.tokenizer(record.text)["input_ids"]) <= SHOT_TOKENS]
    pool = short if len(short) >= k else order
    labels = [material.labels[int(number)] for number in rng.permutation(len(material.labels))]
    by_label = {label: [record for record in pool if record.label == label] for label in labels}
    shots: list[tuple[str, str]] = []
    while len(shots) < k and any(by_label.values()):
        for label in labels:
            if by_label[label] and len(shots) < k:
                shots.append((by_label[label].pop().text, label))
    return shots


def fit_shots(shots: Sequence[tuple[str, str]], encoder: Encoder, room: int) -> list[tuple[str, str]]:
    """The examples, each cut to an equal share of `room` tokens where together they are longer than that."""
    lengths = [len(encoder.tokenizer(text)["input_ids"]) + TURN_TOKENS for text, _ in shots]
    if sum(lengths) <= room:
        return list(shots)
    share = max(1, room // len(shots) - TURN_TOKENS)
    return [(encoder.cut(text, share), label) for text, label in shots]


def _attempt(material: Material, ground: Ground, prompt: PromptFormat, about: str, title: str) -> _Attempted:
    """Score a prompt on validation and choose its rule."""
    records = list(material.validation)[: material.section.selection_examples]
    plain_sum = make_rule("sum", prompt.label_texts, np.zeros((1, len(prompt.labels))))
    scorer = _scorer(material, ground, prompt, plain_sum, name=title)
    golds = [record.label for record in records]
    section = material.section
    chosen = choose_rule(
        section.scoring_rules, prompt.label_texts, scorer.sums(records), golds, prompt.labels, section.primary_metric
    )
    return _Attempted(prompt, chosen, about)


def _best(
    material: Material, ground: Ground, attempts: Sequence[_Attempted], name: str, kind: str, trained_on: str
) -> LabelScorer:
    best = max(attempts, key=lambda attempt: attempt.chosen.score)
    n = min(len(material.validation), material.section.selection_examples)
    settings = {
        "model": ground.name,
        "prompt_hash": best.prompt.hash,
        "list_labels": best.prompt.list_labels,
        "rule": best.chosen.rule.name,
        "shots": len(best.prompt.shots),
        "chosen_on": f"validation {material.section.primary_metric}, n = {n}",
        "tried": {f"{a.about}, rule={rule}": scores for a in attempts for rule, scores in a.chosen.tried.items()},
    }
    scorer = _scorer(material, ground, best.prompt, best.chosen.rule, name=name)
    return replace(scorer, kind=kind, trained_on=trained_on, settings=settings)


def _scorer(material: Material, ground: Ground, prompt: PromptFormat, rule: Rule, *, name: str) -> LabelScorer:
    """The base model under one prompt. Examples and label names get room beside the record's text, if there is."""
    tokens = sum(len(ground.encoder.tokenizer(text)["input_ids"]) + TURN_TOKENS for text, _ in prompt.shots)
    tokens += 2 * sum(map(len, ground.encoder.answers(prompt))) if prompt.list_labels else 0
    encoder = replace(ground.encoder, max_length=min(ground.encoder.max_length + tokens, ground.context))
    # The trunk cache only where its entries are read again: under the prompt of the tuned model.
    shared = ground.runner.trunk is None or prompt.hash == ground.tuned_prompt_hash
    runner = ground.runner if shared else replace(ground.runner, trunk=None)
    return LabelScorer(
        name=name, kind="", runner=runner, encoder=encoder, prompt=prompt, rule=rule, parameters=ground.parameters,
        bytes=ground.bytes, trained_on="", settings={}, budget=ground.budget, observers=material.observers,
        store=ground.store,
    )  # fmt: skip
