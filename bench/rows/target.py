"""Time to a target quality with frozen lower layers, beside TRL on all layers and on the same layers.

Both sides do the same arithmetic on the same batches (shown in float32 by the parity check), so a learning curve over
steps is the same whoever computes it: metier computes it, because that is faster. A side's time to a quality is its
start (process, libraries, model), its cache of the trunk where it has one, and its own seconds for the steps, measured
in turn. Validation is left out on both sides. One curve is confirmed by training with TRL to the step in question.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from bench.context import ALPHA, RANK, Context
from bench.data import (
    BATCH,
    INTENTS,
    MAX_LENGTH,
    Labelled,
    balanced,
    banking,
    command_examples,
    label_examples,
    prompt_for,
    save,
    stream,
)
from bench.protocol import Reply
from bench.rows.lora import MINE_FIRST, PEER_FIRST, parity, workers
from bench.side import Side, WorkerFailed
from bench.spread import interleave

QUALITY = ("metier", "bench.quality_worker")
SETFIT = ("setfit", "bench.peers.setfit_worker")
TOP = 10
WAYS: Mapping[str, int | None] = {"all": None, "top 20": 20, f"top {TOP}": TOP}
"""Layers that learn -> how many of the uppermost; None: all."""
GOALS = ("all", "top 10")
"""What the peer does; metier takes the way that is fastest to the peer's target."""
RATES: Mapping[str, Sequence[float]] = {
    "all": (5e-4, 1e-3, 2e-3), "top 20": (1e-3, 2e-3), "top 10": (8e-4, 1.6e-3, 3.2e-3),
}  # fmt: skip
"""Learning rates that are tried, on both sides."""
EPOCHS = 3
SLACK = {"accuracy": 0.005, "loss": 0.01}
"""The target is the peer's best less half a point, or a hundredth of a nat a token more."""
SETFIT_STEPS = 200
"""By default SetFit would take 3,300 steps here, an hour; these are about the time that TRL takes."""
LONGEST_CONFIRMATION = 240.0
"""Seconds that a confirmation may take."""
CURVES_AT = 4
"""Validations of a training."""


def classification(context: Context) -> dict[str, Any]:
    """Twelve intents of Banking77, 20 examples each, judged on official test rows."""
    budget, encoder = context.budget, context.encoder
    labels = INTENTS[: budget.few(12, 3)]
    train = balanced(banking(context.data, "train"), labels, budget.few(20, 6))
    test = balanced(banking(context.data, "test"), labels, budget.few(30, 1))
    prompt = prompt_for(labels, listed=False)
    return {
        "examples": [each.plain() for each in label_examples(train, prompt, encoder)],
        "prompts": [encoder.prompt(prompt, row.text).ids.tolist() for row in test],
        "labels": [ids.tolist() for ids in encoder.answers(prompt)],
        "gold": [prompt.labels.index(row.label) for row in test],
        "texts": {"train": pairs(train), "test": pairs(test)},
    }


def pairs(rows: Sequence[Labelled]) -> list[list[str]]:
    """Texts and labels for systems that read text."""
    return [[row.text, row.label] for row in rows]


def generation(context: Context) -> dict[str, Any]:
    """Commands of tldr pages, judged by the loss of held-out answers."""
    train = command_examples(context.data, context.encoder, "train")[: context.budget.few(200, 16)]
    test = command_examples(context.data, context.encoder, "test")[: context.budget.few(100, 4)]
    return {"examples": [each.plain() for each in train], "held_out": [each.plain() for each in test]}


def run(context: Context, name: str) -> dict[str, Any]:
    """One of `target-labels`, `target-writing`."""
    content = classification(context) if name == "target-labels" else generation(context)
    metric = "accuracy" if name == "target-labels" else "loss"
    count = len(content["examples"])
    tokens = save(
        context.place.work / f"tokens-{name}.json",
        {**content, "texts": None, "order": stream(count)},
    )
    steps = max(2, round(EPOCHS * count / BATCH)) if not context.budget.tiny else 2
    begins = {way: workers(context, tokens, **top_of(way)) for way in WAYS}
    same = parity(begins["top 10"], context)
    print(f"  {name}: losses {same['metier']} and {same['peer']}", flush=True)
    job = {"tokens": str(tokens), "steps": steps, "eval_steps": max(1, steps // CURVES_AT)}
    curves = learn(context, job)
    speeds = {way: speed(context, begins[way]) for way in begins}
    result = judged(curves, speeds, metric, steps)
    result |= {"row": name, "unit": "seconds", "parity": same, "gemm": context.gemm()}
    result["data"] = {"examples": count, "steps": steps}
    result["notes"].append(confirmed(context, begins["all"][1], job, result, metric))
    if metric == "accuracy":
        save(context.place.work / "texts.json", content["texts"])
        result["beside"] += beside(context)
    return result


def top_of(way: str) -> dict[str, int]:
    """The setting of a way; nothing where all layers learn."""
    top = WAYS[way]
    return {} if top is None else {"top": top}


def learn(context: Context, job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Learning curves of both ways at all learning rates."""
    found = []
    setting = context.found("lora-short", "metier", MINE_FIRST)
    for way, rates in RATES.items():
        for rate in rates[: context.budget.few(len(rates), 1)]:
            mine = {
                **job, "kind": "curve", "model": context.model, "rank": RANK, "alpha": ALPHA, "learning_rate": rate,
                "top": WAYS[way],
            }  # fmt: skip
            started = time.perf_counter()
            with context.start("metier-curve", QUALITY, setting, mine) as side:
                ready = time.perf_counter() - started
                reply = side.ask(do="measure")
            found.append({"way": way, "learning_rate": rate, "ready": ready, **reply})
            print(f"    {way} layers, {rate:g}: {[dict(point) for point in reply['curve']]}", flush=True)
    return found


def speed(context: Context, begin: tuple[Any, Any]) -> dict[str, Any]:
    """Seconds of a step and of the start of both sides, measured in turn."""
    budget = context.budget
    settings = (
        context.found("lora-short", "metier", MINE_FIRST),
        {**context.found("lora-short", "peer", PEER_FIRST), "grouping": "in order"},
    )
    started = time.perf_counter()
    with begin[0](settings[0]) as left:
        ready = [time.perf_counter() - started]
        started = time.perf_counter()
        with begin[1](settings[1]) as right:
            ready.append(time.perf_counter() - started)
            slow = max(side.ask(do="measure", steps=1)["seconds"] for side in (left, right))
            steps = max(1, round(budget.seconds / 2 / slow))

            def one(side: Side, _: int) -> Reply:
                return side.ask(do="measure", steps=steps)

            found = interleave(budget.repeats, partial(one, left), partial(one, right))
    return {
        name: {"ready": ready[which], "step": [each["seconds"] / steps for each in found[which]]}
        for which, name in enumerate(("metier", "peer"))
    }


def judged(curves: Sequence[Mapping[str, Any]], speeds: Mapping[str, Any], metric: str, steps: int) -> dict[str, Any]:
    """Times to target from curves over steps and seconds of a step.

    Args:
        curves: One for each way and learning rate, each point with `step` and the metric.
        speeds: By way and side: seconds until ready, and of a step, repeat by repeat.
        metric: `accuracy` or `loss`.
        steps: Of a whole training.
    """
    sign = 1 if metric == "accuracy" else -1
    times: dict[str, dict[str, list[float]]] = {}
    notes, reached = [], {}
    for goal in GOALS:
        best = max(sign * point[metric] for each in curves if each["way"] == goal for point in each["curve"])
        target = best - SLACK[metric]
        fastest = {way: first_step(curves, way, metric, sign, target) for way in WAYS}  # step and curve of each way
        theirs = fastest[goal]
        assert theirs is not None  # its own best reaches it
        peer = [speeds[goal]["peer"]["ready"] + theirs[0] * step for step in speeds[goal]["peer"]["step"]]
        options = {}
        for way, found in fastest.items():
            if found is not None:
                start = speeds[way]["metier"]["ready"]  # the cache of the trunk is filled within it
                options[way] = [start + found[0] * step for step in speeds[way]["metier"]["step"]]
        chosen = min(options, key=lambda way: sum(options[way]))
        mine = fastest[chosen]
        assert mine is not None
        times[f"{goal.split()[0]} layers"] = {"metier": options[chosen], "peer": peer}
        reached[goal] = {"target": sign * target, "steps": theirs[0], "learning_rate": theirs[1]["learning_rate"]}
        notes.append(
            f"Target against TRL on {said(goal)}: {metric} "
            f"{sign * target:.4g}. TRL reaches it after {theirs[0]} of {steps} steps (learning rate "
            f"{theirs[1]['learning_rate']:g}), metier with {said(chosen)} "
            f"after {mine[0]} (learning rate {mine[1]['learning_rate']:g})."
        )
    rows = [
        {
            "way": f"LoRA, {each['way']} layers",
            "learning rate": each["learning_rate"],
            f"best {metric}": sign * max(sign * point[metric] for point in each["curve"]),
            "seconds": each["built"] + each["seconds"],
        }
        for each in curves
    ]
    return {
        "times": times,
        "notes": notes,
        "beside": rows,
        "reached": reached,
        "curves": list(curves),
        "speeds": speeds,
    }


def said(way: str) -> str:
    """A way for a sentence."""
    return f"{'' if way == 'all' else 'the '}{way} layers"


def first_step(
    curves: Sequence[Mapping[str, Any]], way: str, metric: str, sign: int, target: float
) -> tuple[int, Mapping[str, Any]] | None:
    """The fewest steps after which a way is at the target, and the curve; None where it never is."""
    found = [
        (point["step"], each)
        for each in curves
        if each["way"] == way
        for point in each["curve"]
        if sign * point[metric] >= target - 1e-12
    ]
    return min(found, key=lambda pair: pair[0]) if found else None


def confirmed(context: Context, begin: Any, job: Mapping[str, Any], result: Mapping[str, Any], metric: str) -> str:
    """Train with TRL on all layers to the step at which it should reach its target, and judge what it left."""
    goal = result["reached"]["all"]
    steps = goal["steps"]
    expected = steps * sorted(result["speeds"]["all"]["peer"]["step"])[0]
    if expected > LONGEST_CONFIRMATION:
        return f"Not confirmed by a whole training with TRL, which would take {expected:.0f} seconds."
    left = context.place.work / "confirmed.safetensors"
    setting = {**context.found("lora-short", "peer", PEER_FIRST), "grouping": "in order"}
    with begin(setting, learning_rate=goal["learning_rate"], save_to=str(left)) as side:
        seconds = side.ask(do="measure", steps=steps)["seconds"]
    mine = {
        **job, "kind": "judge", "model": context.model, "rank": RANK, "alpha": ALPHA, "top": None,
        "learning_rate": goal["learning_rate"], "max_length": MAX_LENGTH,
    }  # fmt: skip
    with context.start("metier-judge", QUALITY, context.found("lora-short", "metier", MINE_FIRST), mine) as side:
        found = side.ask(do="measure", adapters=str(left))
    return (
        f"Confirmed by a whole training with TRL on all layers: {steps} steps in {seconds:.0f} seconds, {metric} "
        f"{found[metric]:.4g} where the curve says at least {goal['target']:.4g}."
        if metric == "accuracy" else
        f"Confirmed by a whole training with TRL on all layers: {steps} steps in {seconds:.0f} seconds, {metric} "
        f"{found[metric]:.4g} where the curve says at most {goal['target']:.4g}."
    )  # fmt: skip


def beside(context: Context) -> list[dict[str, Any]]:
    """What needs no language model, on the same rows: seconds with their start, and accuracy."""
    from metier.model.packaged import ensure_packaged

    texts = str(context.place.work / "texts.json")
    found = []
    with context.start("metier-baselines", QUALITY, {}, {"kind": "baselines", "texts": texts}) as side:
        for name in ("tfidf", "probe"):
            reply = side.ask(do=name)
            found.append({"way": name, "seconds": reply["seconds"], "accuracy": reply["accuracy"]})
    job = {
        "texts": texts, "model": str(ensure_packaged("minilm")), "output": str(context.place.work / "setfit")
    }  # fmt: skip
    try:
        with context.start("setfit", SETFIT, {"malloc": "large"}, job) as side:
            reply = side.ask(do="measure", steps=context.budget.few(SETFIT_STEPS, 2))
        found.append(
            {"way": f"SetFit, {reply['steps']} steps", "seconds": reply["seconds"], "accuracy": reply["accuracy"]}
        )
    except WorkerFailed as fault:
        found.append({"way": f"SetFit does not run: {str(fault).splitlines()[-1]}", "seconds": None, "accuracy": None})
    rename = {"tfidf": "TF-IDF, logistic regression", "probe": "MiniLM features, logistic regression"}
    return [
        {
            "way": rename.get(each["way"], each["way"]), "learning rate": None, "best accuracy": each["accuracy"],
            "seconds": each["seconds"],
        }
        for each in found
    ]  # fmt: skip
