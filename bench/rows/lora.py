"""LoRA on all linear layers: speed and peak memory beside TRL with PEFT, on data with and without shared prompts."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.context import ALPHA, METIER, RANK, RATE, Context, Tried, best_of, search
from bench.data import (
    BATCH,
    MAX_LENGTH,
    STREAM,
    Example,
    about,
    banking,
    chat_examples,
    label_examples,
    prompt_for,
    save,
    stream,
)
from bench.limit import training_flops
from bench.protocol import Reply
from bench.side import Side
from bench.spread import interleave

TRL = ("huggingface", "bench.peers.trl_worker")
MINE_FIRST = {"precision": "bfloat16", "tokens_per_microbatch": 2048, "malloc": "large"}
MINE: Mapping[str, Sequence[Any]] = {
    "tokens_per_microbatch": [512, 1024, 4096],
    "precision": ["float32"],
    "malloc": ["default"],
}
PEER_FIRST = {
    "precision": "bfloat16, float32 adapters", "loss_type": "nll", "batch": 16, "grouping": "by length",
    "malloc": "large",
}  # fmt: skip
PEER: Mapping[str, Sequence[Any]] = {
    "precision": ["bfloat16", "bfloat16 autocast, float32 adapters", "float32"],
    "loss_type": ["chunked_nll"],
    "batch": [8, 4, 2, 1],
    "grouping": ["padding-free", "packing"],
    "malloc": ["default"],
}
WITHOUT_COMPILE = (
    "torch.compile is not in the grid, on either side, and was not measured: lengths differ from batch to batch, so it "
    "compiles again and again."
)
PEER_LONG: Mapping[str, Sequence[Any]] = {
    "batch": [16, 8, 4, 2, 1],
    "loss_type": ["nll", "chunked_nll"],
    "precision": ["bfloat16", "bfloat16, float32 adapters", "float32"],
}
"""Where a step takes a quarter of a minute: from the best setting of the short row on."""
PARITY_STEPS = 3
FIRST_LOSS, LATER_LOSS = 1e-4, 1e-3
"""Largest relative difference of float32 losses: of the first step, and of those after updates."""


def data_of(context: Context, name: str, *, listed: bool = False) -> list[Example]:
    """The examples of a row."""
    if name == "chat":
        longest = context.budget.few(MAX_LENGTH, 64)
        return [each for each in chat_examples(context.data, context.encoder) if len(each.ids) <= longest]
    rows = banking(context.data, "train")[: context.budget.few(3000, 64)]
    labels = sorted({row.label for row in banking(context.data, "train")})
    return label_examples(rows, prompt_for(labels, listed=listed), context.encoder)


def token_file(context: Context, name: str, examples: Sequence[Example]) -> Path:
    """The examples and their order, for both sides."""
    order = stream(len(examples))
    return save(
        context.place.work / f"tokens-{name}.json",
        {"examples": [each.plain() for each in examples], "order": order},
    )


def job_for(context: Context, tokens: Path, mine: bool, **more: Any) -> dict[str, Any]:
    """What all settings of a side share."""
    return {
        "kind": "train", "model": context.model if mine else str(context.model_folder), "tokens": str(tokens),
        "rank": RANK, "alpha": ALPHA, "batch": BATCH, "steps": STREAM, "learning_rate": RATE,
        "max_length": MAX_LENGTH, "output": str(context.place.work / "trl"), **more,
    }  # fmt: skip


def workers(context: Context, tokens: Path, **more: Any) -> tuple[Any, Any]:
    """Two functions that start metier's and the peer's worker with a setting."""
    return (
        lambda setting, **extra: context.start(
            "metier", METIER, setting, job_for(context, tokens, True, **more, **extra)
        ),
        lambda setting, **extra: context.start("trl", TRL, setting, job_for(context, tokens, False, **more, **extra)),
    )


def parity(begin: tuple[Any, Any], context: Context) -> dict[str, Any]:
    """Losses of the first steps in float32, from equal adapters over the same batches in the same order."""
    path = str(context.place.work / f"adapters-{os.getpid()}.safetensors")
    losses = []
    precise = {"precision": "float32", "malloc": "large"}
    for who, setting, extra in (
        (0, {**MINE_FIRST, **precise}, {"adapters_to": path}),
        # Small batches: in float32 the logits of sixteen long texts and their gradients are several gigabytes.
        (1, {**PEER_FIRST, **precise, "grouping": "in order", "batch": 4}, {"adapters": path}),
    ):
        with begin[who](setting, **extra) as side:
            losses.append(side.ask(do="measure", steps=context.budget.few(PARITY_STEPS, 2))["losses"])
    apart = [abs(a - b) / abs(b) for a, b in zip(*losses, strict=True)]
    return {
        "metier": losses[0], "peer": losses[1], "apart": apart,
        "equal": apart[0] <= FIRST_LOSS and max(apart) <= LATER_LOSS,
    }  # fmt: skip


def rate_of(reply: Reply, unit: str) -> float:
    """Tokens or examples a second."""
    return float(reply[unit] / reply["seconds"])


def trial(begin: Any, unit: str, seconds: float, setting: Mapping[str, Any]) -> float:
    """The rate of one setting after one step of warm-up; of that step itself where it takes long enough."""
    with begin(setting) as side:
        first = side.ask(do="measure", steps=1)
        if first["seconds"] > 1.5 * seconds:
            return rate_of(first, unit)
        steps = max(1, math.ceil(seconds / first["seconds"]))
        return rate_of(side.ask(do="measure", steps=steps), unit)


def grids(context: Context, name: str) -> tuple[tuple[Mapping[str, Any], Mapping[str, Sequence[Any]]], ...]:
    """Where both sides' grids begin, and what they vary: metier's, then the peer's."""
    if context.budget.tiny:
        return ((MINE_FIRST, {}), (PEER_FIRST, {}))
    if name == "lora-labels":
        first = context.found("lora-short", "peer", PEER_FIRST)
        return ((context.found("lora-short", "metier", MINE_FIRST), MINE), (first, PEER_LONG))
    return ((MINE_FIRST, MINE), (PEER_FIRST, PEER))


def measure(context: Context, name: str, unit: str, begin: tuple[Any, Any]) -> dict[str, Any]:
    """Choose settings, check parity, measure in turn, and take peak memory in processes of its own.

    Args:
        context: The ground.
        name: Of the row.
        unit: `tokens` or `examples`.
        begin: Starts metier's and the peer's worker with a setting.
    """
    budget = context.budget
    same = parity(begin, context)
    print(f"  {name}: losses {same['metier']} and {same['peer']}", flush=True)
    seconds = budget.trial_seconds
    settings = [
        search(first, factors, partial(trial, begin[who], unit, seconds))
        for who, (first, factors) in enumerate(grids(context, name))
    ]
    mine, theirs = best_of(settings[0]).setting, best_of(settings[1]).setting
    gemm = context.gemm()
    with begin[0](mine) as left, begin[1](theirs) as right:
        slow = max(side.ask(do="measure", steps=1)["seconds"] for side in (left, right))
        steps = max(1, math.ceil(budget.seconds / slow))

        def one(side: Side, other: Side, _: int) -> Reply:
            other.check_idle(0.2)
            return side.ask(do="measure", steps=steps)

        found = interleave(budget.repeats, partial(one, left, right), partial(one, right, left))
        idle = {"metier": left.idle, "peer": right.idle}
    return {
        "row": name, "unit": unit, "parity": same, "steps": steps, "idle": idle, "gemm": gemm,
        "metier": {"setting": dict(mine), "tried": [each.plain() for each in settings[0]], "repeats": found[0]},
        "peer": {
            "name": "TRL + PEFT", "setting": dict(theirs), "tried": [each.plain() for each in settings[1]],
            "repeats": found[1],
        },
        "memory": memory(begin, thrifty(settings[0], "tokens_per_microbatch"), thrifty(settings[1], "batch")),
    }  # fmt: skip


def memory(begin: tuple[Any, Any], mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, list[float]]:
    """Peak resident bytes of fresh processes under either handling of memory."""
    found: dict[str, list[float]] = {"metier": [], "peer": []}
    for who, name, setting in ((0, "metier", mine), (1, "peer", theirs)):
        for malloc in ("large", "default"):
            with begin[who]({**setting, "malloc": malloc}) as side:
                found[name].append(side.ask(do="measure", steps=2)["peak"])
    return found


def thrifty(tried: Sequence[Tried], size: str) -> Mapping[str, Any]:
    """Of the settings within a tenth of the fastest, the one with the smallest micro-batch: it needs least memory.

    Args:
        tried: The grid of a side.
        size: The factor that is the size of a micro-batch.
    """
    fastest = best_of(tried).rate or 0.0
    near = [each for each in tried if each.rate is not None and each.rate >= 0.9 * fastest]
    return min(near, key=lambda each: (each.setting[size], -(each.rate or 0.0))).setting


def run(context: Context, name: str) -> dict[str, Any]:
    """One of `lora-chat`, `lora-short`, `lora-labels`."""
    kind = name.removeprefix("lora-")
    examples = data_of(context, "chat" if kind == "chat" else "banking", listed=kind == "labels")
    tokens = token_file(context, kind, examples)
    unit = "tokens" if kind == "chat" else "examples"
    result = measure(context, name, unit, workers(context, tokens))
    result["notes"] = [WITHOUT_COMPILE]
    order = json.loads(tokens.read_text(encoding="utf-8"))["order"]
    sizes = about(examples, order)
    result["data"] = dict(sizes)
    result["flops"] = {
        "metier": flops(context, sizes, "distinct", context.shape.layers),
        "peer": flops(context, sizes, "tokens", context.shape.layers),
    }
    if kind == "labels":
        result["variant"] = without_list(context, result)
    return result


def flops(context: Context, sizes: Mapping[str, float], tokens: str, learning: int) -> float:
    """Operations that an example needs: all its tokens, or only those that are distinct within a step."""
    return training_flops(
        context.shape, rank=RANK, tokens=1000 * int(sizes[tokens]), targets=int(1000 * sizes["targets"]),
        length=sizes["attended"], learning=learning,
    ) / 1000  # fmt: skip


def without_list(context: Context, result: Mapping[str, Any]) -> dict[str, Any]:
    """The peer without the list of labels in its prompt, as its user might do: another task, shown beside."""
    tokens = token_file(context, "labels-short", data_of(context, "banking"))
    begin = workers(context, tokens)[1]
    with begin(result["peer"]["setting"]) as side:
        side.ask(do="measure", steps=1)
        steps = max(1, result["steps"])
        repeats = [side.ask(do="measure", steps=steps) for _ in range(context.budget.few(3, 1))]
    return {"name": "TRL + PEFT without the list of labels", "repeats": repeats}
