"""Scoring all labels of an input, without and with examples in the prompt, beside lm-eval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.context import METIER, Context, best_of, search
from bench.data import banking, prompt_for, save
from bench.limit import forward_flops
from bench.protocol import Reply
from bench.side import Side
from bench.spread import interleave
from metier.model.encode import Encoder

LM_EVAL = ("huggingface", "bench.peers.lm_eval_worker")
MINE_FIRST = {"precision": "bfloat16", "budget": 2048, "malloc": "large"}
MINE: Mapping[str, Sequence[Any]] = {"precision": ["float32"], "budget": [1024, 4096], "malloc": ["default"]}
PEER_FIRST = {"precision": "bfloat16", "batch": "auto", "malloc": "large"}
PEER: Mapping[str, Sequence[Any]] = {"precision": ["float32"], "batch": [8, 16, 32], "malloc": ["default"]}
PEER_SHOTS_FIRST = {**PEER_FIRST, "batch": 64}
PEER_SHOTS: Mapping[str, Sequence[Any]] = {"precision": ["float32"], "batch": [8, 16], "malloc": ["default"]}
"""64 is where lm-eval's automatic batch size ends on a CPU, if memory is there; finding it out would take minutes."""
SHOTS, EVERY = 16, 6
"""With so many examples in the prompt the peer takes a minute an input: its rate is that of every sixth label, each a
row of its own, and is confirmed by one input with all of them."""
MAX_LENGTH = 2048
INPUTS = 400
LARGEST_DIFFERENCE = 1e-3
"""Of float32 log-probabilities of labels."""


@dataclass(frozen=True)
class Part:
    """Which labels the peer scores of each input."""

    every: int = 1
    share: float = 1.0
    """Of all labels."""


WHOLE = Part()


def token_file(context: Context, shots: int) -> tuple[str, Mapping[str, Any]]:
    """Prompts and labels, the same ids for both sides."""
    encoder = Encoder(context.tokenizer, MAX_LENGTH)
    train, test = banking(context.data, "train"), banking(context.data, "test")
    labels = sorted({row.label for row in train})[: context.budget.few(77, 3)]
    prompt = prompt_for(labels, listed=False)
    prompt = prompt.with_choices(
        list_labels=False, shots=[(row.text, row.label) for row in train if row.label in labels][:shots]
    )
    content = {
        "prompts": [encoder.prompt(prompt, row.text).ids.tolist() for row in test[:INPUTS]],
        "labels": [ids.tolist() for ids in encoder.answers(prompt)],
    }
    return str(save(context.place.work / f"tokens-score-{shots}.json", content)), content


def rate(side: Side, start: int, count: int, part: Part = WHOLE) -> tuple[float, Reply]:
    """Inputs a second, and the whole answer, in which `inputs` says how many that was."""
    reply = side.ask(do="measure", start=start, stop=start + count, every=part.every)
    reply["inputs"] = len(reply["scores"]) * part.share
    return reply["inputs"] / reply["seconds"], reply


def trial(begin: Any, seconds: float, part: Part, setting: Mapping[str, Any]) -> float:
    """The rate of one setting, over a few inputs after a first one; of that one where it takes long enough."""
    with begin(setting) as side:
        first, reply = rate(side, 0, 1, part)
        if reply["seconds"] > 1.5 * seconds:
            return first
        return rate(side, 0, min(INPUTS, max(1, math.ceil(seconds / reply["seconds"]))), part)[0]


def parity(begin: tuple[Any, Any], inputs: int, part: Part) -> tuple[dict[str, Any], list[list[float]]]:
    """Float32 scores of both sides over some inputs, and the peer's."""
    scores = []
    for which, first in ((0, MINE_FIRST), (1, {**PEER_FIRST, "batch": 8})):
        with begin[which]({**first, "precision": "float32"}) as side:
            found = side.ask(do="measure", start=0, stop=inputs, every=part.every)["scores"]
            scores.append(found if which else [row[:: part.every] for row in found])
    apart = max(abs(a - b) for one, two in zip(*scores, strict=True) for a, b in zip(one, two, strict=True))
    same = agreement(*scores)
    return {
        "inputs": inputs, "same_argmax": same, "largest_difference": apart,
        "equal": same == inputs and apart <= LARGEST_DIFFERENCE,
    }, scores[1]  # fmt: skip


def agreement(left: Sequence[Sequence[float]], right: Sequence[Sequence[float]]) -> int:
    """Inputs whose most likely label is the same."""
    return sum(
        max(range(len(a)), key=a.__getitem__) == max(range(len(b)), key=b.__getitem__)
        for a, b in zip(left, right, strict=False)
    )


def run(context: Context, name: str) -> dict[str, Any]:
    """One of `score-labels`, `score-shots`."""
    budget, shots = context.budget, SHOTS if name == "score-shots" else 0
    tokens, content = token_file(context, shots)
    shared = {"kind": "score", "tokens": tokens}
    begin = (
        lambda setting: context.start("metier", METIER, setting, {**shared, "model": context.model}),
        lambda setting: context.start("lm_eval", LM_EVAL, setting, {**shared, "model": str(context.model_folder)}),
    )
    inputs, labels = budget.few(1 if shots else 8, 1), content["labels"]
    part = Part(EVERY, len(labels[::EVERY]) / len(labels)) if shots else WHOLE
    parts = WHOLE, part
    same, exact = parity(begin, inputs, part)
    print(f"  {name}: {same}", flush=True)
    first, factors = (PEER_SHOTS_FIRST, PEER_SHOTS) if shots else (PEER_FIRST, PEER)
    first = {**first, "batch": 8} if budget.tiny else first
    settings = [
        search(begins, {} if budget.tiny else varied, partial(trial, begin[which], budget.trial_seconds, parts[which]))
        for which, begins, varied in ((0, MINE_FIRST, MINE), (1, first, factors))
    ]
    chosen = [best_of(each) for each in settings]
    gemm = context.gemm()
    # Each side scores as many inputs a repeat as it can in the time: an input is an input.
    counts = [
        min(INPUTS // 2, max(1, math.ceil(budget.seconds * (each.rate or 0) / part.share)))
        for each, part in zip(chosen, parts, strict=True)
    ]
    with begin[0](chosen[0].setting) as left, begin[1](chosen[1].setting) as right:
        mine = [row[:: part.every] for row in rate(left, 0, inputs)[1]["scores"]]
        agree = [agreement(each, exact) for each in (mine, rate(right, 0, inputs, part)[1]["scores"])]

        def one(which: int, number: int) -> Reply:
            side, other = (left, right) if which == 0 else (right, left)
            other.check_idle(0.2)
            start = (number * counts[which]) % (INPUTS - counts[which] + 1)
            _, reply = rate(side, start, counts[which], parts[which])
            del reply["scores"]
            return {**reply, "start": start}

        found = interleave(budget.repeats, partial(one, 0), partial(one, 1))
        idle = {"metier": left.idle, "peer": right.idle}
        notes = [confirmed(right, found[1], part)] if shots else []
    return {
        "row": name, "unit": "inputs", "parity": same, "idle": idle, "gemm": gemm, "notes": notes,
        "metier": side_of(settings[0], found[0]),
        "peer": {"name": "lm-eval (hf)", **side_of(settings[1], found[1])},
        "agreement": {"metier": agree[0], "peer": agree[1], "of": inputs},
        "data": {"labels": len(content["labels"]), "prompt_tokens": mean(map(len, content["prompts"])), "shots": shots},
        "flops": {
            "metier": flops(context, content, found[0][0]["computed"] / counts[0], shared=True),
            "peer": flops(context, content, rows_of(content), shared=False),
        },
    }  # fmt: skip


def confirmed(side: Side, repeats: Sequence[Reply], part: Part) -> str:
    """One input with all labels, beside what its part says."""
    seconds = rate(side, 0, 1)[1]["seconds"]
    each = sorted(reply["seconds"] / reply["inputs"] for reply in repeats)
    return (
        f"The peer's rate is that of every {part.every}th label. One input with all labels took {seconds:.0f} s, the "
        f"median of the repeats says {each[len(each) // 2]:.0f} s."
    )


def side_of(tried: Sequence[Any], repeats: Sequence[Reply]) -> dict[str, Any]:
    """What is kept of one side."""
    return {
        "setting": dict(best_of(tried).setting), "tried": [each.plain() for each in tried], "repeats": list(repeats)
    }  # fmt: skip


def mean(values: Any) -> float:
    """The mean of some numbers."""
    numbers = list(values)
    return sum(numbers) / len(numbers)


def rows_of(content: Mapping[str, Any]) -> float:
    """Tokens of one input where every label is a row of its own."""
    prompt = mean(map(len, content["prompts"]))
    return sum(prompt + len(label) - 1 for label in content["labels"])


def flops(context: Context, content: Mapping[str, Any], tokens: float, *, shared: bool) -> float:
    """Operations of one input: its tokens, and the head where a label's token is predicted.

    Args:
        context: The ground.
        content: The token file.
        tokens: Tokens that go through the blocks.
        shared: Whether the position before all labels needs the head once, or once a label.
    """
    prompt, labels = mean(map(len, content["prompts"])), content["labels"]
    targets = sum(map(len, labels)) - (len(labels) - 1 if shared else 0)
    return forward_flops(context.shape, tokens=int(tokens), targets=targets, length=2 * prompt if shared else prompt)
