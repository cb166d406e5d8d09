"""Writing answers under one instruction, beside transformers' `generate` and its continuous batching."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from bench.context import METIER, Context, best_of, search
from bench.data import banking, save
from bench.protocol import Reply
from bench.rows.score import side_of
from bench.side import Side
from bench.spread import interleave

GENERATE = ("huggingface", "bench.peers.generate_worker")
MINE_FIRST = {"precision": "bfloat16", "batch": 32, "malloc": "large"}
MINE: Mapping[str, Sequence[Any]] = {"batch": [16, 64], "precision": ["float32"], "malloc": ["default"]}
PEER_FIRST = {"precision": "bfloat16", "way": "generate", "batch": 16, "malloc": "large"}
PEER: Mapping[str, Sequence[Any]] = {
    "batch": [32, 64], "precision": ["float32"], "malloc": ["default"], "way": ["continuous"],
}  # fmt: skip
INSTRUCTION = "Answer this customer of a bank in two sentences."
NEW_TOKENS = 48
ALL = 200
"""Inputs of the whole job, done once by each side."""
PART = 64
"""Inputs of one repeat."""
TIE = 1e-3
"""Two tokens whose float32 logits are nearer than this are a tie: rounding decides."""


def token_file(context: Context) -> tuple[str, list[list[int]]]:
    """Chat prompts with one instruction."""
    encoder, prompts = context.encoder, []
    for row in banking(context.data, "test")[:ALL]:
        turns = [{"role": "user", "content": f"{INSTRUCTION}\n\n{encoder.harmless(row.text)}"}]
        prompts.append(list(encoder.ids(encoder.apply_template(turns, ask=True))))
    return str(save(context.place.work / "tokens-write.json", {"prompts": prompts})), prompts


def write(side: Side, start: int, count: int) -> tuple[float, Reply]:
    """Tokens of finished answers a second, and the whole reply."""
    reply = side.ask(do="measure", start=start, stop=start + count)
    return sum(map(len, reply["answers"])) / reply["seconds"], reply


def unexplained(
    judge: Side, prompts: Sequence[list[int]], left: Sequence[list[int]], right: Sequence[list[int]]
) -> list[str]:
    """Answers that differ although the two tokens where they part are not a tie.

    Args:
        judge: A worker of metier in float32.
        prompts: What was asked.
        left: Answers of one side, without the end of turn.
        right: Answers of the other.
    """
    found = []
    for number, (one, two) in enumerate(zip(left, right, strict=True)):
        where = next((k for k, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), None)
        if where is None:
            if len(one) != len(two):
                found.append(f"answer {number}: one goes on where the other ends")
            continue
        gap = judge.ask(do="gap", ids=[*prompts[number], *one[:where]], left=one[where], right=two[where])["gap"]
        if gap > TIE:
            found.append(f"answer {number}: parts at token {where}, logits {gap:.2g} apart")
    return found


def parity(begin: tuple[Any, Any], prompts: Sequence[list[int]], count: int) -> dict[str, Any]:
    """Float32 answers of both sides, token by token."""
    with begin[1]({**PEER_FIRST, "precision": "float32"}) as side:
        theirs = write(side, 0, count)[1]["answers"]
    with begin[0]({**MINE_FIRST, "precision": "float32"}) as side:
        mine = write(side, 0, count)[1]["answers"]
        wrong = unexplained(side, prompts[:count], mine, theirs)
    same = sum(a == b for a, b in zip(mine, theirs, strict=True))
    return {"inputs": count, "same_answers": same, "unexplained": wrong, "equal": not wrong}


def trial(begin: Any, part: int, setting: Mapping[str, Any]) -> float:
    """The rate of one setting over one part, after a small warm-up."""
    with begin(setting) as side:
        write(side, 0, 2)
        return write(side, 0, part)[0]


def run(context: Context, name: str) -> dict[str, Any]:
    """The row `generation`."""
    budget = context.budget
    tokens, prompts = token_file(context)
    new_tokens, part = budget.few(NEW_TOKENS, 4), budget.few(PART, 4)
    shared = {"kind": "generate", "tokens": tokens, "new_tokens": new_tokens, "stop": context.encoder.end_of_turn}
    begin = (
        lambda setting: context.start("metier", METIER, setting, {**shared, "model": context.model}),
        lambda setting: context.start(
            "transformers", GENERATE, setting, {**shared, "model": str(context.model_folder)}
        ),
    )
    same = parity(begin, prompts, budget.few(32, 4))
    print(f"  {name}: {same}", flush=True)
    factors = {"way": ["continuous"]} if budget.tiny else PEER
    settings = [
        search(MINE_FIRST, {} if budget.tiny else MINE, partial(trial, begin[0], part)),
        search(PEER_FIRST, factors, partial(trial, begin[1], part)),
    ]
    with begin[0](best_of(settings[0]).setting) as left, begin[1](best_of(settings[1]).setting) as right:
        for side in (left, right):
            write(side, 0, 2)

        def one(side: Side, other: Side, number: int) -> Reply:
            other.check_idle(0.2)
            return counted(write(side, (number * part) % (len(prompts) - part + 1), part)[1])

        found = interleave(budget.repeats, partial(one, left, right), partial(one, right, left))
        whole = budget.few(ALL, 6)
        full = {"metier": counted(write(left, 0, whole)[1]), "peer": counted(write(right, 0, whole)[1])}
        idle = {"metier": left.idle, "peer": right.idle}
    return {
        "row": name, "unit": "tokens", "parity": same, "idle": idle, "gemm": context.gemm(),
        "metier": side_of(settings[0], found[0]),
        "peer": {"name": "transformers", **side_of(settings[1], found[1])},
        "confirmed": {"what": f"all {whole} inputs once", **full},
        "data": {"prompt_tokens": sum(map(len, prompts)) / len(prompts), "new_tokens": new_tokens, "inputs": whole},
    }  # fmt: skip


def counted(reply: Reply) -> Reply:
    """A reply with its answers counted, not kept."""
    answers = reply.pop("answers")
    return {**reply, "tokens": sum(map(len, answers)), "inputs": len(answers)}
