"""metier's side of the rows that train to a quality: learning curves, several settings over one trunk, baselines.

`curve`: one training, validated every so many steps. `sweep`: several trainings over one trunk. `judge`: the quality of
adapters that a peer left. `baselines`: n-grams, and logistic regression on features of the packaged encoder.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file

from bench.data import Example, example, training
from bench.metier_worker import adapt, load, objective_of, trunk_of
from bench.protocol import Channel, Reply, job, peak_bytes, serve
from metier.data.records import Choice, Input
from metier.device import choose_hardware
from metier.engine.features import FeatureStore
from metier.engine.forward import TreeRunner
from metier.engine.score import score_labels, target_log_probabilities
from metier.engine.trunk import TrunkCache
from metier.evaluation.answering.baselines import TfidfSystem
from metier.evaluation.answering.language_model import store_label_trees
from metier.evaluation.systems import AnswerOptions
from metier.events import Event, StepEnded
from metier.model.adapt import AdaptedModel
from metier.model.base import load_base_model
from metier.model.encode import Encoder
from metier.model.head import choose_head
from metier.recipe.sections import HardwareSection, ModelSection
from metier.training.train import train_model

Judge = Callable[[], Mapping[str, float]]


class Task:
    """What a token file asks for: examples to learn, and how well it was learned."""

    def __init__(self, mine: Mapping[str, Any]) -> None:
        """Read the token file of a job."""
        content = json.loads(Path(mine["tokens"]).read_text(encoding="utf-8"))
        self.examples = [example(each) for each in content["examples"]]
        self.held_out: list[Example] = [example(each) for each in content.get("held_out", [])]
        self.prompts = [np.array(ids, dtype=np.int64) for ids in content.get("prompts", [])]
        self.labels = [np.array(ids, dtype=np.int64) for ids in content.get("labels", [])]
        self.gold: list[int] = content.get("gold", [])

    def store(self, runner: TreeRunner) -> None:
        """Fill the cache of the trunk with what the judge will read."""
        if runner.trunk is None:
            return
        if self.labels:
            store_label_trees(runner, self.prompts, self.labels, "trunk of held-out data")
        else:
            runner.trunk.build(runner.network, [each.sequence for each in self.held_out])

    def judge(self, runner: TreeRunner) -> dict[str, float]:
        """Accuracy by the sum of log-probabilities, or the loss of a held-out token."""
        if self.labels:
            sums, _ = score_labels(runner, self.prompts, self.labels, budget=2048)
            return {"accuracy": float((sums.argmax(1) == np.array(self.gold)).mean())}
        rows = target_log_probabilities(runner, [each.sequence for each in self.held_out], budget=2048)
        return {"loss": -sum(value for value, _ in rows) / sum(count for _, count in rows)}


def learn(mine: Mapping[str, Any], task: Task, model: AdaptedModel, trunk: TrunkCache | None, folder: Path) -> Reply:
    """Train once: seconds of training alone, of filling the cache of the trunk, and the curve."""
    started = time.perf_counter()
    objective = objective_of(model, task.examples, trunk)
    built = time.perf_counter() - started
    task.store(objective.runner)
    spent, curve = 0.0, []

    def stepped(event: Event) -> None:
        nonlocal spent
        if isinstance(event, StepEnded):
            spent += event.seconds

    def validate() -> Mapping[str, float]:
        found = task.judge(objective.runner)
        curve.append({"seconds": spent, **found})
        return found

    section = training(
        mine["steps"], learning_rate=mine["learning_rate"], eval_steps=mine["eval_steps"],
        tokens_per_microbatch=mine["setting"]["tokens_per_microbatch"],
    )  # fmt: skip
    train_model(section, model, objective, seed=0, folder=folder, validate=validate, observers=(stepped,))
    for place, point in enumerate(curve):
        point["step"] = min(mine["steps"], (place + 1) * mine["eval_steps"])
    return {"built": built, "seconds": spent, "curve": curve}


def curve(mine: dict[str, Any], channel: Channel) -> None:
    """One training with validations."""
    task, base = Task(mine), load(mine)

    def measure(command: Reply) -> Reply:
        with tempfile.TemporaryDirectory() as folder:
            model = adapt(mine, base)
            found = learn(mine, task, model, trunk_of(model, Path(folder) / "trunk"), Path(folder) / "run")
            return {**found, "peak": peak_bytes()}

    serve(channel, {"measure": measure})


def sweep(mine: dict[str, Any], channel: Channel) -> None:
    """Several settings, one trunk: what one user would do to find the best."""
    task, base = Task(mine), load(mine)

    def measure(command: Reply) -> Reply:
        started, judging, found = time.perf_counter(), 0.0, []
        with tempfile.TemporaryDirectory() as folder:
            trunk: TrunkCache | None = None
            for number, setting in enumerate(mine["settings"]):
                model = adapt(mine, base, r=setting["r"], lora_alpha=2.0 * setting["r"])
                trunk = trunk or trunk_of(model, Path(folder) / "trunk")
                objective = objective_of(model, task.examples, trunk)
                section = training(
                    mine["steps"], learning_rate=setting["learning_rate"],
                    tokens_per_microbatch=mine["setting"]["tokens_per_microbatch"],
                )  # fmt: skip
                train_model(section, model, objective, seed=0, folder=Path(folder) / f"run-{number}")
                before = time.perf_counter()
                task.store(objective.runner)
                quality = task.judge(objective.runner)
                judging += time.perf_counter() - before
                found.append({**setting, **quality})
                model.detach()
        return {"seconds": time.perf_counter() - started - judging, "judging": judging, "found": found}

    serve(channel, {"measure": measure})


def judge(mine: dict[str, Any], channel: Channel) -> None:
    """The quality of adapters that a peer trained."""
    task, base = Task(mine), load(mine)

    def measure(command: Reply) -> Reply:
        model = adapt(mine, base)
        model.load_state(load_file(command["adapters"]))
        return task.judge(TreeRunner(model.network, autocast=model.autocast))

    serve(channel, {"measure": measure})


def baselines(mine: dict[str, Any], channel: Channel) -> None:
    """What needs no language model: seconds and accuracy."""
    content = json.loads(Path(mine["texts"]).read_text(encoding="utf-8"))
    labels = sorted({row[1] for row in content["train"]})
    gold = [row[1] for row in content["test"]]

    def tfidf(command: Reply) -> Reply:
        started = time.perf_counter()
        rows = [Choice(id=str(n), row=n, text=text, label=label) for n, (text, label) in enumerate(content["train"])]
        system = TfidfSystem(rows, [], labels)
        seconds = time.perf_counter() - started
        inputs = [Input(id=str(n), text=text) for n, (text, _) in enumerate(content["test"])]
        answers = [answer.label for answer in system.answer(inputs, AnswerOptions())]
        return {"seconds": seconds, "accuracy": share(answers, gold)}

    def probe(command: Reply) -> Reply:
        started = time.perf_counter()
        base = load_base_model(
            ModelSection(name="minilm"), choose_hardware(HardwareSection(dtype="float32", threads=mine["threads"]))
        )
        encoder = Encoder(base.tokenizer, 256)
        with tempfile.TemporaryDirectory() as folder:
            store = FeatureStore(Path(folder), base.network, base.kind, base.weights_sha256)
            train = store.features([encoder.text(text).ids for text, _ in content["train"]])
            # Its strength is chosen on a fifth of train, the rest it is fitted on; then on all of it.
            classes = [labels.index(label) for _, label in content["train"]]
            cut = len(train) // 5
            found = choose_head((train[cut:], classes[cut:]), (train[:cut], classes[:cut]), len(labels))
            seconds = time.perf_counter() - started
            test = store.features([encoder.text(text).ids for text, _ in content["test"]])
        answers = [labels[int(place)] for place in found.head.log_probabilities(test).argmax(1)]
        return {"seconds": seconds, "accuracy": share(answers, gold)}

    serve(channel, {"tfidf": tfidf, "probe": probe})


def share(answers: list[Any], gold: list[Any]) -> float:
    """The share of right answers."""
    return sum(a == b for a, b in zip(answers, gold, strict=True)) / len(gold)


KINDS = {"curve": curve, "sweep": sweep, "judge": judge, "baselines": baselines}

if __name__ == "__main__":
    channel = Channel()
    mine = job()
    KINDS[mine["kind"]](mine, channel)
