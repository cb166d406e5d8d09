"""Rules about what is judged besides the task's own metrics, and about systems that a recipe names.

Called by `check.py`. A field without effect is a fault. What a system may say is the table `SYSTEM_FIELDS`, which a
test holds equal to `evaluation.elsewhere.named_systems.KINDS`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from metier.recipe.evaluation_sections import FormatSection, GatesSection
from metier.recipe.faults import Fault
from metier.recipe.sections import Recipe
from metier.recipe.tasks import LISTS, WRITES

JUDGEABLE = ("classification", "multilabel", "extraction", *WRITES)
"""Tasks whose systems can be asked for answers."""
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")
_SCORER = re.compile(r"^(?:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*|.*\.py):[A-Za-z_]\w*$", re.DOTALL)
_NEEDS: Mapping[str, str] = {
    "cost": "costs", "ordinal_error": "label_order", "quadratic_kappa": "label_order", "own_score": "scorer",
    "embedding_similarity": "similarity",
}  # fmt: skip
"""Metric -> the field of `evaluation` that it is counted from."""
_LABELS_ONLY, _WRITTEN_ONLY = ("costs", "label_order"), ("format", "scorer", "similarity", "judge")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_variable(value: object) -> bool:
    return isinstance(value, str) and bool(_VARIABLE.match(value))


def _are_columns(value: object) -> bool:
    return _is_text(value) or (isinstance(value, list) and bool(value) and all(map(_is_text, value)))


def _is_few(value: object) -> bool:
    return _is_count(value) and 1 <= int(str(value)) <= 20


_TEXT: tuple[str, Callable[[object], bool]] = ("a text", _is_text)
_COLUMNS: tuple[str, Callable[[object], bool]] = ("a column, or a list of columns", _are_columns)
_NUMBER: tuple[str, Callable[[object], bool]] = ("a number, 0 or more", _is_number)
_COUNT: tuple[str, Callable[[object], bool]] = ("a whole number, 0 or more", _is_count)
SYSTEM_FIELDS: Mapping[str, Mapping[str, tuple[str, Callable[[object], bool]]]] = {
    "run": {"run": _TEXT},
    "answers": {"answers": _TEXT, "id": _TEXT, "answer": _COLUMNS},
    "endpoint": {
        "endpoint": _TEXT, "replay": ("true or false", lambda value: isinstance(value, bool)), "journal": _TEXT,
        "model": _TEXT, "api_key_env": ("the name of an environment variable", _is_variable), "timeout": _NUMBER,
        "retries": _COUNT, "backoff": _NUMBER, "requests_per_minute": _NUMBER, "price_in": _NUMBER,
        "price_out": _NUMBER, "currency": _TEXT, "max_new_tokens": _COUNT, "temperature": _NUMBER, "seed": _COUNT,
        "top_logprobs": ("a whole number from 1 to 20", _is_few), "parallel": _COUNT, "tokens_field": _TEXT,
        "most_spent": _NUMBER,
    },
    "lm_eval": {
        "lm_eval": _TEXT,
        "rule": ("acc, acc_norm or acc_bytes", lambda value: value in ("acc", "acc_norm", "acc_bytes")),
    },
    "model": {
        "model": _TEXT, "adapter": _TEXT, "revision": _TEXT,
        "quantization": ("nf4 or int8", lambda value: value in ("nf4", "int8")),
    },
}  # fmt: skip
"""Kind of system -> its fields -> what each wants. The first kind whose name is among a system's fields is its kind."""
PATHS = ("run", "answers", "lm_eval", "adapter", "journal")
"""Fields of a system that are paths beside the recipe."""


def judging_rules(recipe: Recipe) -> Iterator[Fault]:
    """Every fault of what is judged that needs no data to be seen."""
    for rule in (_systems, _untrained, _unread, _costs, _order, _metrics, _written):
        yield from rule(recipe)


def kind_of_system(said: Mapping[str, Any]) -> str | None:
    """The kind of system that some fields describe; None where they describe none."""
    return next((kind for kind in SYSTEM_FIELDS if kind in said), None)


def _systems(recipe: Recipe) -> Iterator[Fault]:
    for name, said in recipe.systems.items():
        yield from _system(recipe, name, said)
    if recipe.systems and recipe.task not in JUDGEABLE:
        yield Fault(("systems",), f"do not fit `task: {recipe.task}`", f"a task among {', '.join(JUDGEABLE)}")
    reference, path = recipe.evaluation.reference, ("evaluation", "reference")
    if reference is not None and not recipe.systems:
        yield Fault(path, "has no effect without `systems`", "", "Remove it.")
    elif reference is not None and reference not in recipe.systems:
        yield Fault(path, f"is '{reference}'", f"one of {', '.join(recipe.systems)}", _near(reference, recipe.systems))


def _system(recipe: Recipe, name: str, said: Mapping[str, Any]) -> Iterator[Fault]:
    path = ("systems", name)
    if not _NAME.match(name):
        yield Fault(path, "has a name that cannot be a file's", "letters, digits, dots, dashes and underscores")
    kind = kind_of_system(said)
    if kind is None:
        found = f"has {', '.join(said) or 'no fields'}"
        yield Fault(path, found, f"one of {', '.join(SYSTEM_FIELDS)}")
        return
    fields = SYSTEM_FIELDS[kind]
    for field, value in said.items():
        if field == "api_key":
            fix = "Put the key into an environment variable, and name that as `api_key_env`. Keys are never written."
            yield Fault((*path, field), "holds a key", "", fix)
        elif field not in fields:
            wanted = f"of {', '.join(fields)}"
            yield Fault((*path, field), f"is no field of a system that is an `{kind}`", wanted, _near(field, fields))
        elif value is not None and not fields[field][1](value):
            # What stands there is not shown: it could be a key.
            yield Fault((*path, field), "has a value that does not fit", fields[field][0])
    if kind == "answers" and isinstance(said.get("answer"), list) and recipe.task not in LISTS:
        wanted = f"one column; several are for a task among {', '.join(LISTS)}"
        yield Fault((*path, "answer"), f"names columns, with `task: {recipe.task}`", wanted)
    if kind == "endpoint":
        if "model" not in said:
            yield Fault((*path, "model"), "is missing", "the model's name at the endpoint")
        lacking = [price for price in ("price_in", "price_out") if said.get(price) is None]
        if said.get("most_spent") is not None and lacking:
            fix = f"Add `{lacking[0]}`."
            yield Fault((*path, "most_spent"), f"cannot be held without {' and '.join(lacking)}", "", fix)
        yield from _address((*path, "endpoint"), said["endpoint"], recipe, asked=said.get("replay") is not True)


def _address(path: tuple[str, ...], url: object, recipe: Recipe, *, asked: bool = True) -> Iterator[Fault]:
    """What is wrong with an address, which under `privacy: strict` must be one of the hosts that are allowed."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        host = parts.hostname if parts is not None and parts.scheme in ("http", "https") else None
    except ValueError:
        parts, host = None, None
    if parts is None or host is None:
        yield Fault(path, "is no address", "such as https://host/v1")
        return
    if parts.username or parts.password or parts.query:
        fix = "Name the environment variable of the key as `api_key_env`."
        yield Fault(path, "holds more than host and path", "https://host/v1", fix)
    if recipe.privacy.strict and asked and host not in recipe.privacy.allowed_hosts:
        fix = f"Add {host} to `privacy.allowed_hosts` to let texts of records go there."
        yield Fault(path, "is a host that `privacy: strict` does not allow", "", fix)


def _untrained(recipe: Recipe) -> Iterator[Fault]:
    if recipe.training.enabled:
        return
    if not recipe.systems:
        fix = "Name `systems` for `metier compare`, or remove `training: none`."
        yield Fault(("training",), "is none, and there are no systems to judge", "", fix)
    if recipe.candidates:
        yield Fault(("candidates",), "have no effect with `training: none`", "", "Remove them.")
    if recipe.gates != GatesSection():
        yield Fault(("gates",), "have no effect with `training: none`", "", "Remove them.")


def _unread(recipe: Recipe) -> Iterator[Fault]:
    """Fields that the task does not read."""
    usual = {name: field.get_default(call_default_factory=True) for name, field in _fields(recipe)}
    of_labels, written = recipe.task == "classification", recipe.task in WRITES
    for names, read in ((_LABELS_ONLY, of_labels), (_WRITTEN_ONLY, written)):
        for name in names:
            if not read and getattr(recipe.evaluation, name) != usual[name]:
                yield Fault(("evaluation", name), f"has no effect with `task: {recipe.task}`", "", "Remove it.")


def _fields(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    return iter(type(recipe.evaluation).model_fields.items())


def _costs(recipe: Recipe) -> Iterator[Fault]:
    labels, path = recipe.data.labels, ("evaluation", "costs")
    for gold, row in recipe.evaluation.costs.items():
        if labels is not None and gold not in labels:
            yield Fault((*path, gold), "is none of `data.labels`", f"one of {', '.join(labels)}", _near(gold, labels))
        for said in row:
            if labels is not None and said != "abstain" and said not in labels:
                wanted = f"abstain, or one of {', '.join(labels)}"
                yield Fault((*path, gold, said), "is none of `data.labels`", wanted, _near(said, labels))


def _order(recipe: Recipe) -> Iterator[Fault]:
    order, path = recipe.evaluation.label_order, ("evaluation", "label_order")
    for label, count in Counter(order).items():
        if count > 1:
            yield Fault(path, f"has '{label}' {count} times", "each once")
    if len(set(order)) == 1:
        yield Fault(path, "names one label", "all labels, lowest first")
    if order and recipe.data.labels is not None and set(order) != set(recipe.data.labels):
        yield Fault(path, "has other labels than `data.labels`", "the same, lowest first")


def _metrics(recipe: Recipe) -> Iterator[Fault]:
    """Metrics that need a field which is not given."""
    given = recipe.evaluation
    named: dict[tuple[str, ...], str] = {("evaluation", "primary_metric"): given.primary_metric}
    named |= {("gates", "minimum", metric): metric for metric in recipe.gates.minimum}
    for path, metric in named.items():
        field = _NEEDS.get(metric)
        if field is not None and not getattr(given, field):
            yield Fault(path, f"is {metric} without `evaluation.{field}`", "", f"Add `evaluation.{field}`.")


def _written(recipe: Recipe) -> Iterator[Fault]:
    section = recipe.evaluation
    if section.scorer is not None and not _SCORER.match(section.scorer):
        found, wanted = f"is '{section.scorer}'", "module:function, such as scoring:score"
        yield Fault(("evaluation", "scorer"), found, wanted, "The module is a Python file beside the recipe.")
    if section.format != FormatSection() and section.format.pattern is not None:
        try:
            re.compile(section.format.pattern)
        except re.error as fault:
            found = f"is no regular expression ({fault})"
            yield Fault(("evaluation", "format", "pattern"), found, "one that Python reads")
    if section.judge is not None:
        yield from _address(("evaluation", "judge", "endpoint"), section.judge.endpoint, recipe)
        if section.judge.api_key_env is not None and not _is_variable(section.judge.api_key_env):
            path = ("evaluation", "judge", "api_key_env")
            yield Fault(path, "has a value that does not fit", "the name of an environment variable")


def _near(name: str, names: Mapping[str, Any] | list[str]) -> str:
    close = get_close_matches(name, list(names), n=1)
    return f"Did you mean `{close[0]}`?" if close else ""
