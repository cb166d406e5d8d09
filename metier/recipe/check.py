"""Rules across sections: what each field allows by itself, but not together.

Only what can be known without reading data or loading a model. To add one: a function that yields
faults, and its name in `_SHARED` (data, evaluation, gates) or `_WAYS` (what candidates may override).
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Formatter

from metier.recipe.baseline_rules import baseline_rules
from metier.recipe.candidates import resolve_candidates
from metier.recipe.data_rules import data_rules
from metier.recipe.faults import Fault
from metier.recipe.judging_rules import judging_rules
from metier.recipe.look_rules import look_rules
from metier.recipe.methods import OPTIONS_READ, options_without_effect
from metier.recipe.privacy_rules import privacy_rules
from metier.recipe.retraining_rules import retraining_rules
from metier.recipe.sections import Recipe
from metier.recipe.task_rules import shared_rules, way_rules
from metier.recipe.tasks import LOWER_IS_BETTER, METRICS_OF, SYSTEMS_OF, WITHOUT_PROBABILITIES

_TOP = re.compile(r"^top +([0-9]+)$")


def check_recipe(recipe: Recipe) -> list[Fault]:
    """Every fault across sections, each once.

    A fault that all candidates inherit stands at the recipe's own path, one that a candidate brings at
    `candidates.NAME.…`.
    """
    faults = [fault for rule in _SHARED for fault in rule(recipe)]
    if not recipe.candidates:
        return [*faults, *(fault for rule in _WAYS for fault in rule(recipe))]
    ways = resolve_candidates(recipe)
    for name, way in ways.items():
        for fault in (fault for rule in _WAYS for fault in rule(way)):
            if _given(recipe.candidates[name], fault.path):
                fault = Fault(("candidates", name, *fault.path), fault.found, fault.wanted, fault.fix)
            if fault not in faults:
                faults.append(fault)
    return [*faults, *_read_by_none(recipe, list(ways.values())), *_same_candidates(ways)]


def layers_wanted(layers: str) -> int | None:
    """The N of `top N`; None for `all`.

    Raises:
        ValueError: It is neither.
    """
    if layers.strip() == "all":
        return None
    match = _TOP.match(layers.strip())
    if not match or int(match[1]) < 1:
        raise ValueError(layers)
    return int(match[1])


def _files(recipe: Recipe) -> Iterator[Fault]:
    files = {name: getattr(recipe.data, name) for name in ("train", "validation", "test")}
    for name, file in files.items():
        if file is not None and (not file.strip() or "\0" in file):
            yield Fault(("data", name), "is empty" if not file.strip() else "is no file name", "a file")
    places = {name: _real(file) for name, file in files.items() if file and "\0" not in file}
    for first, second in (("train", "test"), ("train", "validation"), ("validation", "test")):
        if first in places and places.get(second) == places[first]:
            fix = "What a model has seen cannot show what it has learned."
            yield Fault(("data", second), f"{first} and {second} are the same file", "", f"{fix} Remove one of them.")


def _real(file: str) -> str:
    try:
        return os.path.realpath(Path(os.path.expandvars(file)).expanduser())
    except (OSError, RuntimeError):  # no such user, a loop of links: reading it will say so
        return file


def _columns(recipe: Recipe) -> Iterator[Fault]:
    data = recipe.data
    text = data.text
    if text in ([], ""):
        yield Fault(("data", "text"), "names no column", "a column, several, or a template")
    columns = [text] if isinstance(text, str) else text or []
    if isinstance(text, str) and ("{" in text or "}" in text):
        try:
            columns = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
        except ValueError:
            columns = []
        if not columns or "" in columns:
            yield Fault(("data", "text"), "is no template", 'column names in braces, such as "{subject}: {body}"')
    for label in data.label if isinstance(data.label, list) else [data.label]:
        if label is not None and label in columns:
            yield Fault(("data", "text"), f"holds the label column '{label}'", "the input alone", "Remove it.")
    if data.delimiter is not None and len(data.delimiter) != 1:
        fix = 'Write "\\t" in double quotes for a tab.' if data.delimiter == "\\t" else ""
        yield Fault(("data", "delimiter"), f"is '{data.delimiter}'", "one character", fix)


def _labels(recipe: Recipe) -> Iterator[Fault]:
    data = recipe.data
    if data.labels is None:
        return
    if len(set(data.labels)) < 2:
        yield Fault(("data", "labels"), f"names {len(set(data.labels))} label", "two or more")
    yield from _twice(("data", "labels"), data.labels)
    for label in sorted(set(data.labels) & set(data.ignore_labels)):
        yield Fault(("data", "labels"), f"keeps '{label}', which `data.ignore_labels` rejects", "", "Keep it in one.")


def _evaluation(recipe: Recipe) -> Iterator[Fault]:
    evaluation = recipe.evaluation
    for name, values in (("systems", evaluation.systems), ("scoring_rules", evaluation.scoring_rules)):
        if not values:
            yield Fault(("evaluation", name), "is empty", "at least one")
        yield from _twice(("evaluation", name), values)
    if not evaluation.few_shot.k:
        fix = "Leave `few_shot` out of `evaluation.systems` to go without it."
        yield Fault(("evaluation", "few_shot", "k"), "is empty", "at least one number", fix)
    yield from _twice(("evaluation", "few_shot", "k"), [str(k) for k in evaluation.few_shot.k])


def _judged(recipe: Recipe) -> Iterator[Fault]:
    """Metrics and systems that do not fit the task."""
    fitting, answering = METRICS_OF.get(recipe.task), SYSTEMS_OF.get(recipe.task)
    if fitting is None or answering is None:  # a task that is not judged yet
        return
    metrics: list[tuple[tuple[str, ...], str]] = [
        (("evaluation", "primary_metric"), recipe.evaluation.primary_metric),
        *((("gates", "minimum", metric), metric) for metric in recipe.gates.minimum),
    ]
    for path, metric in metrics:
        if metric not in fitting:
            found = f"is '{metric}', which does not fit `task: {recipe.task}`"
            yield Fault(path, found, f"one of {', '.join(fitting)}")
    for name in dict.fromkeys(recipe.evaluation.systems):
        if name not in answering:
            found = f"has '{name}', which does not fit `task: {recipe.task}`"
            yield Fault(("evaluation", "systems"), found, f"among {', '.join(answering)}")
    silent = [name for name in recipe.evaluation.systems if name in WITHOUT_PROBABILITIES and name in answering]
    if recipe.evaluation.primary_metric == "loss" and silent:
        rest = [name for name in answering if name not in WITHOUT_PROBABILITIES]
        fix = f"Set `evaluation.systems: [{', '.join(rest)}]`, or choose another metric."
        yield Fault(("evaluation", "primary_metric"), f"is 'loss', which {' and '.join(silent)} do not have", "", fix)
    for metric in recipe.gates.minimum:
        if metric in LOWER_IS_BETTER:
            fix = "Lower values are better: a minimum would ask for worse. Use `gates.verdict`, or another metric."
            yield Fault(("gates", "minimum", metric), f"is a gate on {metric}", "", fix)


def _card(recipe: Recipe) -> Iterator[Fault]:
    if recipe.card.benchmark is None and recipe.card.benchmark_task != type(recipe.card)().benchmark_task:
        fix = "Set `card.benchmark` to the benchmark's id on the hub, or remove it."
        yield Fault(("card", "benchmark_task"), "has no effect without `card.benchmark`", "", fix)


def _gates(recipe: Recipe) -> Iterator[Fault]:
    for metric, bound in recipe.gates.minimum.items():
        if not 0.0 < bound < 1.0:
            yield Fault(("gates", "minimum", metric), f"is {bound:g}", "a number above 0 and below 1")
    if recipe.gates.verdict == "not_worse" and recipe.evaluation.not_worse_margin is None:
        fix = "Set `evaluation.not_worse_margin`: how much worse is still as good."
        yield Fault(("gates", "verdict"), "is not_worse without a margin", "", fix)


def _layers(recipe: Recipe) -> Iterator[Fault]:
    adaptation, path = recipe.adaptation, ("adaptation", "layers")
    if isinstance(adaptation.layers, list):
        if not adaptation.layers or not all(pattern.strip() for pattern in adaptation.layers):
            yield Fault(path, "names no layers", "name patterns such as `*.11.*`")
        return
    if adaptation.layers == "auto":
        return
    try:
        top = layers_wanted(adaptation.layers)
    except ValueError:
        wanted = "`all`, `auto`, `top N` with N of 1 or more, or a list of name patterns"
        number = re.search(r"[0-9]+", adaptation.layers)
        fix = f"Did you mean `top {number[0]}`?" if number and int(number[0]) else ""
        yield Fault(path, f"is '{adaptation.layers}'", wanted, fix)
        return
    if adaptation.method == "freeze" and top is None:
        fix = "Write `method: full`, or choose layers such as `top 2`."
        yield Fault(("adaptation", "method"), "is freeze with `layers: all`, which freezes nothing", "", fix)


def _method(recipe: Recipe) -> Iterator[Fault]:
    adaptation = recipe.adaptation
    if adaptation.method == "head" and adaptation.head is False:
        fix = "Remove `head: false`, or choose another method."
        yield Fault(("adaptation", "head"), "is false with `method: head`", "", fix)
    if adaptation.target_modules == []:
        yield Fault(("adaptation", "target_modules"), "is empty", "all-linear or a list of module names")
    for option in options_without_effect(adaptation.method):
        # `layers: all` is what the other methods do anyway.
        if option in adaptation.model_fields_set and (option, getattr(adaptation, option)) != ("layers", "all"):
            yield _unread(option, adaptation.method)


def _unread(option: str, method: str) -> Fault:
    reading = [name for name, read in OPTIONS_READ.items() if option in read]
    fix = f"Remove it, or choose {' or '.join(f'`method: {name}`' for name in reading)}."
    return Fault(("adaptation", option), f"has no effect with `method: {method}`", "", fix)


def _quantized(recipe: Recipe) -> Iterator[Fault]:
    name, method = recipe.model.quantization, recipe.adaptation.method
    if name is not None and method in ("full", "freeze"):
        found = f"is {name}, but with `method: {method}` the model's own weights learn, which {name} cannot"
        yield Fault(("model", "quantization"), found, "", "Choose `method: lora` or `head`, or remove it.")


def _spread(recipe: Recipe) -> Iterator[Fault]:
    if recipe.hardware.shard != "full":
        return
    path, wanted = ("hardware", "shard"), "auto or none"
    if recipe.training.optim != "adamw_torch":
        fix = "Set training.optim: adamw_torch, or leave the weights whole."
        yield Fault(path, f"is full with training.optim: {recipe.training.optim}", wanted, fix)
    if recipe.model.quantization is not None:
        yield Fault(path, f"is full with model.quantization: {recipe.model.quantization}", wanted)


def _training(recipe: Recipe) -> Iterator[Fault]:
    training = recipe.training
    warmup, path = training.warmup_steps, ("training", "warmup_steps")
    if warmup > 1 and not warmup.is_integer():
        yield Fault(path, f"is {warmup:g}", "a whole number of steps, or a share below 1")
    if warmup >= 1 and training.max_steps is not None and warmup >= training.max_steps:
        yield Fault(path, f"is {warmup:g} of {training.max_steps} steps", "fewer than `training.max_steps`")
    if isinstance(training.class_weights, dict):
        for label, weight in training.class_weights.items():
            if weight <= 0:
                yield Fault(("training", "class_weights", label), f"is {weight:g}", "a number above 0")
        yield from _unknown_labels(recipe, ("training", "class_weights"), list(training.class_weights))


def _prompt(recipe: Recipe) -> Iterator[Fault]:
    texts = recipe.prompt.label_texts
    for label, text in texts.items():
        if not text.strip():
            yield Fault(("prompt", "label_texts", label), "is empty", "the words that the model answers")
    yield from _twice(("prompt", "label_texts"), list(texts.values()))
    yield from _unknown_labels(recipe, ("prompt", "label_texts"), list(texts))


def _unknown_labels(recipe: Recipe, path: tuple[str, ...], labels: Sequence[str]) -> Iterator[Fault]:
    if recipe.data.labels is not None:
        for label in labels:
            if label not in recipe.data.labels:
                yield Fault((*path, label), "is none of `data.labels`", f"one of {', '.join(recipe.data.labels)}")


def _twice(path: tuple[str, ...], values: Sequence[str]) -> Iterator[Fault]:
    for value, count in Counter(values).items():
        if count > 1:
            yield Fault(path, f"has '{value}' {count} times", "each once")


def _given(overrides: object, path: tuple[str, ...]) -> bool:
    for step in path:
        if not isinstance(overrides, dict) or step not in overrides:
            return False
        overrides = overrides[step]
    return True


def _read_by_none(recipe: Recipe, ways: Sequence[Recipe]) -> Iterator[Fault]:
    # What a candidate's method does not read was left behind: a fault only where all of them left it.
    unread = set.intersection(*(set(options_without_effect(way.adaptation.method)) for way in ways))
    for option in sorted(unread & recipe.adaptation.model_fields_set):
        if (option, getattr(recipe.adaptation, option)) != ("layers", "all"):
            yield _unread(option, ways[0].adaptation.method)


def _same_candidates(ways: dict[str, Recipe]) -> Iterator[Fault]:
    seen: list[tuple[str, Recipe]] = []
    for name, way in ways.items():
        for other, earlier in seen:
            if way == earlier:
                yield Fault(("candidates", name), f"is the same as `{other}`", "", "Remove one of them.")
                break
        seen.append((name, way))


_SHARED = (
    shared_rules, privacy_rules, _files, _columns, _labels, data_rules, _evaluation, _judged, _gates, _card, look_rules,
    baseline_rules, retraining_rules, judging_rules,
)  # fmt: skip
_WAYS = (_layers, _method, _quantized, _spread, _training, _prompt, way_rules)
