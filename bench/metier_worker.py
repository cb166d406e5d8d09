"""metier's side: its real code through its doors, stopped between steps. One job kind a row.

`train`: `train_model` over token trees. `score`: `score_labels`. `generate`: `generate`. `gemm`: the machine's rate of
matrix products at the model's shapes.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from bench.data import Example, example, training
from bench.protocol import Channel, Clock, Reply, Steps, job, peak_bytes, serve
from metier.device import choose_hardware
from metier.engine.forward import TreeRunner
from metier.engine.generate import Decoding, generate
from metier.engine.score import score_labels
from metier.engine.trunk import TrunkCache, TrunkIdentity
from metier.events import Event, StepEnded
from metier.model.adapt import AdaptedModel, adapt_model
from metier.model.base import BaseModel, load_base_model
from metier.recipe.sections import AdaptationSection, HardwareSection, ModelSection
from metier.training.objective import LanguageObjective
from metier.training.train import train_model


def load(job: dict[str, Any]) -> BaseModel:
    """The base model of a job in the precision of its setting."""
    hardware = choose_hardware(HardwareSection(device="cpu", dtype=job["setting"]["precision"], threads=job["threads"]))
    return load_base_model(ModelSection(name=job["model"]), hardware)


def adapt(job: dict[str, Any], base: BaseModel, **fields: Any) -> AdaptedModel:
    """Adapters on all linear layers, or those of the top blocks."""
    top = job.get("top")
    section = AdaptationSection(
        **{"r": job["rank"], "lora_alpha": job["alpha"], "layers": f"top {top}" if top else "all", **fields}
    )
    return adapt_model(section, base, seed=0, autocast=base.dtype == "bfloat16")


def trunk_of(model: AdaptedModel, folder: Path) -> TrunkCache | None:
    """An empty cache of the frozen lower blocks; None without any."""
    depth, base = model.plan.trunk_layers, model.base
    if not 0 < depth < base.layers:
        return None
    return TrunkCache(folder, TrunkIdentity(weights_sha256=base.weights_sha256, depth=depth, dtype=base.dtype))


def objective_of(model: AdaptedModel, examples: list[Example], trunk: TrunkCache | None = None) -> LanguageObjective:
    """Answers as tokens, every example of weight 1; fills the cache of the trunk."""
    sequences = [each.sequence for each in examples]
    runner = TreeRunner(model.network, trunk, autocast=model.autocast)
    if trunk is not None and runner.probe(sequences[:2]):
        trunk.build(model.network, sequences)
    return LanguageObjective(runner, [(each,) for each in sequences], [1.0] * len(sequences))


def train(job: dict[str, Any], channel: Channel) -> None:
    """Train on order, one job's adapters over one stream."""
    content = json.loads(Path(job["tokens"]).read_text(encoding="utf-8"))
    examples = [example(each) for each in content["examples"]]
    order, steps = content["order"], Steps(channel)
    section = training(
        job["steps"], learning_rate=job["learning_rate"], tokens_per_microbatch=job["setting"]["tokens_per_microbatch"]
    )
    base = load(job)
    with tempfile.TemporaryDirectory() as folder:
        model = adapt(job, base)
        if path := job.get("adapters_to"):
            save_file(model.state(), path)
        objective = objective_of(model, examples, trunk_of(model, Path(folder) / "trunk"))

        def ended(event: Event) -> None:
            if not isinstance(event, StepEnded):
                return
            place = (event.step - 1) * job["batch"]
            drawn = [examples[number] for number in order[place : place + job["batch"]]]
            steps.count(
                tokens=sum(len(each.ids) for each in drawn), examples=len(drawn),
                targets=sum(each.answer for each in drawn),
            )  # fmt: skip
            if not steps.ended(loss=event.loss, norm=event.grad_norm):
                sys.exit(0)

        channel.reply(ready=True, peak=peak_bytes())
        if steps.wait():
            train_model(section, model, objective, seed=0, folder=Path(folder), observers=(ended,))


def score(job: dict[str, Any], channel: Channel) -> None:
    """Score all labels of some inputs on order."""
    content = json.loads(Path(job["tokens"]).read_text(encoding="utf-8"))
    prompts = [np.array(ids, dtype=np.int64) for ids in content["prompts"]]
    labels = [np.array(ids, dtype=np.int64) for ids in content["labels"]]
    network = load(job).network

    def measure(command: Reply) -> Reply:
        some, clock = prompts[command["start"] : command["stop"]], Clock()
        scores, computed = score_labels(TreeRunner(network), some, labels, budget=job["setting"]["budget"])
        return {**clock.read(), "scores": scores.tolist(), "computed": computed, "peak": peak_bytes()}

    serve(channel, {"measure": measure})


def write(job: dict[str, Any], channel: Channel) -> None:
    """Write greedy answers to some prompts on order."""
    content = json.loads(Path(job["tokens"]).read_text(encoding="utf-8"))
    prompts = [np.array(ids, dtype=np.int64) for ids in content["prompts"]]
    network = load(job).network
    decoding = Decoding(
        max_new_tokens=job["new_tokens"], stop_ids=frozenset({job["stop"]}), batch_size=job["setting"]["batch"]
    )

    def measure(command: Reply) -> Reply:
        clock = Clock()
        written = generate(TreeRunner(network), prompts[command["start"] : command["stop"]], decoding)
        return {**clock.read(), "answers": [each.ids.tolist() for each in written], "peak": peak_bytes()}

    def gap(command: Reply) -> Reply:
        """How far apart the logits of two tokens after a text are, by the plain forward."""
        with torch.no_grad():
            logits = network(input_ids=torch.tensor([command["ids"]]), use_cache=False).logits[0, -1].float()
        return {"gap": abs(float(logits[command["left"]] - logits[command["right"]]))}

    serve(channel, {"measure": measure, "gap": gap})


def gemm(job: dict[str, Any], channel: Channel) -> None:
    """The rate of matrix products at the shapes of the model, on order."""
    torch.set_num_threads(job["threads"])
    serve(channel, {"measure": lambda command: {"rates": rates(job["products"], command["rows"], command["seconds"])}})


def rates(products: list[list[int]], rows: list[int], seconds: float) -> dict[str, float]:
    """Operations a second of `x @ w.T`, all shapes of the model weighted by their work, by type and rows of x.

    Args:
        products: Output and input width of each weight.
        rows: Numbers of rows of x.
        seconds: Time spent on each type and number of rows.
    """
    found = {}
    generator = torch.Generator().manual_seed(0)
    for name, dtype in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
        for count in rows:
            pairs = [
                (torch.randn(count, into, generator=generator).to(dtype),
                 torch.randn(out, into, generator=generator).to(dtype))
                for out, into in products
            ]  # fmt: skip
            work = sum(2.0 * count * out * into for out, into in products)
            for x, w in pairs:
                torch.nn.functional.linear(x, w)
            times, until = [], time.perf_counter() + seconds
            while time.perf_counter() < until or not times:
                started = time.perf_counter()
                for x, w in pairs:
                    torch.nn.functional.linear(x, w)
                times.append(time.perf_counter() - started)
            found[f"{name} {count}"] = work / float(np.median(times))
    return found


KINDS: dict[str, Callable[[dict[str, Any], Channel], None]] = {
    "train": train,
    "score": score,
    "generate": write,
    "gemm": gemm,
}

if __name__ == "__main__":
    channel = Channel()
    mine = job()
    KINDS[mine["kind"]](mine, channel)
