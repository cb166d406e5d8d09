"""The prompts on which an export is proven, and what metier itself answers to them.

They come from the run's validation split: never from its test set, which is opened once. A model
without its run gets a few plain texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from metier.data.privacy.by_recipe import is_strict
from metier.data.records import Choice, Conversation, Input, Passage, Record, as_input
from metier.data.splits import Split
from metier.engine.forward import TreeRunner
from metier.engine.generate import Decoding, generate
from metier.errors import DataError, RunFolderError
from metier.evaluation.answering.scoring import Rule
from metier.evaluation.answering.tuned import HowAsked, tuned_system
from metier.evaluation.systems import AnswerOptions
from metier.model.chat_encode import ChatEncoder
from metier.model.chat_prompt import ChatPrompt
from metier.model.encode import TEMPLATE_DATE, Encoder, Ints
from metier.model.prompt import PromptFormat
from metier.model.saved import Saved
from metier.serving.receiver import measure
from metier.store.run_folder import RunFolder

PROBES = 24
"""Prompts, where the validation split has as many."""
WRITTEN = 32
"""Tokens that are written greedily on both sides."""
ANSWER = 64
"""Positions of one answer that are compared."""
ENDED = -1
"""Stands for the token that ended an answer."""
FALLBACK = (
    "Where is my parcel?", "Please cancel the order that I placed yesterday.", "The invoice is wrong: 1,204.50 €.",
    "How do I change my password?", "Thank you, that solved it!", "I was charged twice for the same thing.",
    "Summarise the agreement in two sentences.", "What does the first clause oblige the tenant to do?",
    "List all files that are larger than 10 MB.", "The patient reports a mild headache since Monday.",
    "Who may terminate the contract, and when?", "Can you send it to another address?",
    "Rates were left unchanged at today's meeting.", "Translate this into plain English.",
    "My screen stays black after the update.", "Is there a discount for students?",
)  # fmt: skip
"""Texts for a model that comes without its run."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """One prompt, and how it was made."""

    prompt: Ints
    answer: Ints
    """What follows: the right answer, else what the model writes itself. For a head empty."""
    choices: tuple[Ints, ...] = ()
    """All answers among which the model chooses."""
    chat: Sequence[Mapping[str, Any]] | None = None
    """What was given to the chat template."""
    tools: Sequence[Any] | None = None
    text: str | None = None
    """What was tokenised, where there is no chat template. Both None: not to be made again (it was cut)."""
    cut: bool = False
    asked: Input | None = None
    gold: str | None = None

    def as_item(self) -> dict[str, Any]:
        """As JSON, for the receiving process."""
        return {
            "prompt": self.prompt.tolist(), "answer": self.answer.tolist(),
            "choices": [ids.tolist() for ids in self.choices], "messages": self.chat, "tools": self.tools,
            "text": self.text, "date": TEMPLATE_DATE,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """What one side says to all probes."""

    rows: Sequence[Tensor]
    """Logits at the answer's positions by probe, of a head the scores of its classes."""
    written: Sequence[Sequence[int]]
    """Greedy tokens by probe, `ENDED` where the answer came to its end; empty for a head."""
    said: Sequence[str]
    """The label, or the written text, by probe."""


@dataclass(eq=False)
class _Recording(Encoder):
    """An encoder that remembers what it last gave to the chat template to ask with."""

    chat: Sequence[Mapping[str, Any]] = field(default=(), init=False)
    tools: Sequence[Any] | None = field(default=None, init=False)
    rendered: str = field(default="", init=False)

    def apply_template(
        self, chat: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None = None, *, ask: bool = False
    ) -> str:
        """As the encoder does."""
        if ask:
            self.chat, self.tools = chat, tools
        return super().apply_template(chat, tools, ask=ask)

    def rendered_ids(self, rendered: str) -> Sequence[int]:
        """As the encoder does."""
        self.rendered = rendered
        return super().rendered_ids(rendered)


def own_encoder(saved: Saved) -> Encoder:
    """How the model's prompts become ids."""
    return HowAsked.of(saved).encoder


def stop_ids(saved: Saved) -> tuple[int, ...]:
    """The tokens that end an answer of a model that writes."""
    return tuple(sorted(ChatEncoder(own_encoder(saved)).stop_ids))


def choose_probes(saved: Saved, run: RunFolder | None, runner: TreeRunner) -> tuple[list[Probe], bool]:
    """The probes, and whether they come from the run's validation split.

    Args:
        saved: The model.
        run: Its run; None for a model that comes without.
        runner: Runs the model, where it must write an answer itself.
    """
    records = _validation(run)
    encoder = _Recording(saved.model.base.tokenizer, saved.max_length, saved.too_long)
    given = records or [Passage(id=str(number), text=text) for number, text in enumerate(FALLBACK)]
    probes = []
    for record in given:
        try:
            probes.append(_probe(saved, encoder, record))
        except DataError:  # this one cannot be asked; evaluation counts such records, a proof needs none
            continue
    return _answered(saved, probes, runner), bool(records)


def own_answers(saved: Saved, probes: Sequence[Probe], runner: TreeRunner) -> Answers:
    """What metier itself answers, by its own engine."""
    model, stops = saved.model, [] if saved.model.head else list(stop_ids(saved))
    items = [{**probe.as_item(), "choices": []} for probe in probes]
    job = {"items": items, "tokens": 0, "stop_ids": stops, "pooling": pooling(saved)}
    if model.head is not None:
        body = model.network.base_model
        rows = measure(body, job, {name: tensor.cpu() for name, tensor in model.head.state_dict().items()})["rows"]
        return Answers(rows=rows, written=[], said=_labels(saved, probes))
    rows = measure(model.network, job)["rows"]
    written = _write(saved, probes, runner)
    said = _labels(saved, probes) if saved.rule is not None else read(saved, [each.ids.tolist() for each in written])
    ended = [[*each.ids.tolist(), *([ENDED] if each.stop == "end of turn" else [])] for each in written]
    return Answers(rows=rows, written=ended, said=said)


def their_answers(saved: Saved, found: Mapping[str, Any], rows: Sequence[Tensor]) -> Answers:
    """What the receiving process found, in the same terms."""
    if saved.model.head is not None:
        best = [saved.model.labels[int(row[0].argmax())] for row in rows]
        return Answers(rows=rows, written=[], said=best)
    stops = stop_ids(saved)
    # Which of the tokens that end an answer it was is nobody's business; that it ended is.
    ended = [[*ids[:-1], ENDED] if ids and ids[-1] in stops else ids for ids in found["written"]]
    if isinstance(saved.prompt, PromptFormat) and saved.rule is not None:
        scores = Rule.from_plain(saved.rule).log_probabilities(np.array(found["sums"]))
        said = [saved.prompt.labels[int(number)] for number in scores.argmax(axis=1)]
        return Answers(rows=rows, written=ended, said=said)
    return Answers(rows=rows, written=ended, said=read(saved, found["written"]))


def written_tokens(saved: Saved) -> int:
    """How many tokens are written greedily on both sides."""
    longest = int(saved.generation["max_new_tokens"]) if saved.generation else WRITTEN
    return min(WRITTEN, longest)


def read(saved: Saved, written: Sequence[Sequence[int]]) -> list[str]:
    """Written tokens as texts."""
    encoder = ChatEncoder(own_encoder(saved))
    return [encoder.read(ids) for ids in written]


def pooling(saved: Saved) -> str:
    """How a head's vector is made of a text's tokens: encoders by the mean, decoders by the last."""
    return "mean" if saved.model.base.kind == "encoder" else "last"


def _validation(run: RunFolder | None) -> list[Record]:
    """Records spread evenly over the validation split; none where there is none, or where nothing of it may leave."""
    if run is None or is_strict(run) or not run.split("validation").is_file():
        return []
    split = Split(name="validation", path=run.split("validation"), fingerprint="")
    try:
        count = len(split)
        places: Sequence[int] | Ints = (
            np.linspace(0, count - 1, min(PROBES, count)).round().astype(int) if count else []
        )
        return list(split.take(sorted({int(place) for place in places})))
    except RunFolderError:
        return []


def _probe(saved: Saved, encoder: _Recording, record: Record) -> Probe:
    given = as_input(record)
    if saved.model.head is not None:
        encoded = encoder.text(record.text)
        text = None if encoded.cut else encoder.harmless(record.text)
        gold = record.gold or None
        return Probe(prompt=encoded.ids, answer=encoded.ids[:0], text=text, asked=given, gold=gold)
    if isinstance(saved.prompt, PromptFormat):
        encoded = encoder.prompt(saved.prompt, record.text)
        gold = record.gold if isinstance(record, Choice) and record.gold in saved.prompt.labels else None
        place = saved.prompt.labels.index(gold) if gold is not None else 0
        choices = tuple(encoder.answers(saved.prompt))
        return Probe(
            prompt=encoded.ids, answer=choices[place], choices=choices, **_made(encoder), cut=encoded.cut, asked=given,
            gold=gold,
        )  # fmt: skip
    if isinstance(saved.prompt, ChatPrompt):
        return _written_probe(saved, encoder, record)
    ids = encoder.passage(record.text)[:-1][: saved.max_length]
    middle = max(1, min(len(ids) // 2, 256))
    return Probe(prompt=ids[:middle], answer=ids[middle : middle + ANSWER])


def _written_probe(saved: Saved, encoder: _Recording, record: Record) -> Probe:
    assert isinstance(saved.prompt, ChatPrompt) and saved.generation is not None
    chat = ChatEncoder(encoder)
    given, room = as_input(record), int(saved.generation["max_new_tokens"])
    answer: Ints = np.array([], dtype=np.int64)
    gold = None
    if isinstance(record, Conversation):
        answer = chat.answer(saved.prompt, record.messages, record.tools)[:ANSWER]
        gold = record.gold
    encoded = chat.prompt(saved.prompt, given.turns, given.tools, room=room)
    return Probe(prompt=encoded.ids, answer=answer, **_made(encoder), cut=encoded.cut, asked=given, gold=gold)


def _made(encoder: _Recording) -> dict[str, Any]:
    """How a receiver makes the prompt: by the chat template, or of a plain text."""
    if not encoder.is_chat:
        return {"text": encoder.rendered}
    return {"chat": [dict(turn) for turn in encoder.chat], "tools": encoder.tools}


def _answered(saved: Saved, probes: list[Probe], runner: TreeRunner) -> list[Probe]:
    """The probes; where one has no right answer, what the model writes itself takes its place."""
    open_ones = [] if saved.model.head else [place for place, probe in enumerate(probes) if not len(probe.answer)]
    written = _write(saved, [probes[place] for place in open_ones], runner) if open_ones else []
    for place, each in zip(open_ones, written, strict=True):
        # A model that ends at once still has one position to compare: the one that ends it.
        answer = each.ids if len(each.ids) else np.array(stop_ids(saved)[:1], dtype=np.int64)
        probes[place] = replace(probes[place], answer=answer)
    return probes


def _write(saved: Saved, probes: Sequence[Probe], runner: TreeRunner) -> list[Any]:
    decoding = Decoding(max_new_tokens=written_tokens(saved), stop_ids=frozenset(stop_ids(saved)))
    return list(generate(runner, [probe.prompt for probe in probes], decoding))


def _labels(saved: Saved, probes: Sequence[Probe]) -> list[str]:
    system = tuned_system(saved.model, HowAsked.of(saved), trained_on="")
    inputs = [probe.asked for probe in probes if probe.asked is not None]
    return [answer.label or "" for answer in system.answer(inputs, AnswerOptions())]
