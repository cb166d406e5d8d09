"""Eight settings, three epochs each, over one trunk, beside eight TRL runs in a row with the model kept loaded.

metier does all of it. TRL's time is its rate on the same layers times the same steps: the steps are the same
arithmetic, as the parity check shows, so the winner is the same.
"""

from __future__ import annotations

from typing import Any

from bench.context import ALPHA, RANK, Context
from bench.data import BATCH, save, stream
from bench.rows.lora import MINE_FIRST, parity, workers
from bench.rows.target import QUALITY, TOP, classification, speed

SETTINGS = [{"learning_rate": rate, "r": rank} for rate in (2e-4, 4e-4, 8e-4, 1.6e-3) for rank in (8, 16)]
EPOCHS = 3


def run(context: Context, name: str) -> dict[str, Any]:
    """The row `sweep`."""
    content = classification(context)
    count = len(content["examples"])
    tokens = save(context.place.work / "tokens-sweep.json", {**content, "texts": None, "order": stream(count)})
    steps = 2 if context.budget.tiny else max(1, round(EPOCHS * count / BATCH))
    settings = SETTINGS[: context.budget.few(len(SETTINGS), 2)]
    begins = {"top": workers(context, tokens, top=TOP), "all": workers(context, tokens)}
    same = parity(begins["top"], context)
    print(f"  {name}: losses {same['metier']} and {same['peer']}", flush=True)
    job = {
        "kind": "sweep", "tokens": str(tokens), "model": context.model, "rank": RANK, "alpha": ALPHA, "steps": steps,
        "top": TOP, "settings": settings, "learning_rate": None,
    }  # fmt: skip
    repeats = []
    with context.start("metier-sweep", QUALITY, context.found("lora-short", "metier", MINE_FIRST), job) as side:
        repeats.append(side.ask(do="measure"))
    print(f"    all settings in {repeats[0]['seconds']:.1f} s: {repeats[0]['found']}", flush=True)
    speeds = {way: speed(context, begin) for way, begin in begins.items()}
    winner = max(repeats[0]["found"], key=lambda each: float(each["accuracy"]))
    whole = len(settings) * steps
    mine = [each["seconds"] for each in repeats]
    return {
        "row": name, "unit": "seconds", "parity": same, "gemm": context.gemm(), "speeds": speeds,
        "times": {
            "same layers": {"metier": mine, "peer": [whole * step for step in speeds["top"]["peer"]["step"]]},
            "all layers": {"metier": mine, "peer": [whole * step for step in speeds["all"]["peer"]["step"]]},
        },
        "data": {"examples": count, "settings": len(settings), "steps": steps},
        "beside": repeats[0]["found"],
        "notes": [
            f"metier: everything done once, the cache of the trunk filled within it, judging left out. The winner has "
            f"accuracy {winner['accuracy']:.4g} (learning rate {winner['learning_rate']:g}, rank {winner['r']})."
        ],
    }  # fmt: skip
