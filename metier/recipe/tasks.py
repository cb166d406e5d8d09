"""What a recipe leaves out and what depends on the task: one visible table, filled in before validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WRITES = ("generation", "chat")
"""Tasks whose answers are written freely."""
LISTS = ("multilabel", "extraction")
"""Tasks whose right answer is a list: of labels, or of labelled pieces of the text. A language model writes it."""
ASKED_TO_WRITE = (*WRITES, *LISTS)
"""Tasks in which a language model writes its answer."""
PREPARED_ONLY = ("preference",)
"""Tasks whose data is read, checked and split, but not trained on yet."""
WRITING: Mapping[str, Mapping[str, Any]] = {
    "training": {"max_length": 1024, "per_device_train_batch_size": 8},
    "data": {"contradictions": "keep"},
    "evaluation": {
        "primary_metric": "chrf",
        "systems": ["copy_input", "nearest_answer", "zero_shot", "few_shot"],
        "selection_examples": 32,
        "train_examples": 32,
        "few_shot": {"k": [2, 4]},
    },
}
_LISTING: Mapping[str, Any] = {"selection_examples": 64, "train_examples": 64, "few_shot": {"k": [2, 4]}}
TASK_DEFAULTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "generation": WRITING,
    "chat": WRITING,
    "text": {
        "training": {"max_length": 1024, "per_device_train_batch_size": 8},
        "data": {"contradictions": "keep"},
        "evaluation": {"primary_metric": "bits_per_byte", "systems": ["zero_shot"]},
    },
    "multilabel": {
        "training": {"max_length": 1024, "per_device_train_batch_size": 8},
        "data": {"contradictions": "keep"},
        "evaluation": {"systems": ["majority", "tfidf", "probe", "zero_shot", "few_shot"], **_LISTING},
    },
    "extraction": {
        "training": {"max_length": 1024, "per_device_train_batch_size": 8},
        "data": {"contradictions": "keep"},
        "evaluation": {
            "primary_metric": "span_f1", "systems": ["dictionary", "tagger", "zero_shot", "few_shot"], **_LISTING,
        },
    },
    "preference": {"data": {"contradictions": "keep"}},
}  # fmt: skip
"""Task -> section -> field -> the default that differs from the section's own."""


_OF_LABELS = (
    "accuracy", "macro_f1", "micro_f1", "weighted_f1", "macro_precision", "micro_precision", "weighted_precision",
    "macro_recall", "micro_recall", "weighted_recall", "mcc",
)  # fmt: skip
_OF_SETS = (*(name for name in _OF_LABELS if name not in ("accuracy", "mcc")), "exact_match")
_OF_ANSWERS = (
    "exact_match", "token_f1", "rouge1", "rouge2", "rougeL", "chrf", "bleu", "json_valid", "field_f1", "loss",
)  # fmt: skip
ADDED_OF: Mapping[str, tuple[str, ...]] = {
    "classification": ("cost", "ordinal_error", "quadratic_kappa"),
    **dict.fromkeys(WRITES, ("own_score", "embedding_similarity")),
}
"""Task -> the metrics that are there only where the recipe asks for them (`evaluation.costs`, `label_order`, …)."""
METRICS_OF: Mapping[str, tuple[str, ...]] = {
    "classification": (*_OF_LABELS, *ADDED_OF["classification"]),
    **dict.fromkeys(WRITES, (*_OF_ANSWERS, *ADDED_OF["generation"])),
    "text": ("loss", "bits_per_byte"),
    "multilabel": _OF_SETS,
    "extraction": ("span_f1", "span_precision", "span_recall", "span_f1_overlap", "exact_match"),
}
"""Task -> the metrics that can judge it."""
LOWER_IS_BETTER = ("loss", "bits_per_byte", "cost", "ordinal_error")
"""Metrics that a gate cannot ask a minimum of."""
WITHOUT_PROBABILITIES = ("copy_input", "nearest_answer")
"""Systems that have no loss."""
_WRITERS = ("copy_input", "nearest_answer", "zero_shot", "few_shot")
SYSTEMS_OF: Mapping[str, tuple[str, ...]] = {
    "classification": ("majority", "tfidf", "probe", "zero_shot", "few_shot"),
    "generation": _WRITERS,
    "chat": _WRITERS,
    "text": ("zero_shot",),
    "multilabel": ("majority", "tfidf", "probe", "zero_shot", "few_shot"),
    "extraction": ("dictionary", "tagger", "zero_shot", "few_shot"),
}
"""Task -> the systems that can answer it."""


def with_task_defaults(values: Any) -> Any:
    """The values of a recipe with the defaults of its task where they say nothing; others stay as they are.

    Args:
        values: A recipe as plain values, not validated yet.
    """
    if not isinstance(values, Mapping):
        return values
    task = values.get("task")
    filled: dict[str, Any] = dict(values)
    for section, defaults in (TASK_DEFAULTS.get(task) or {}).items() if isinstance(task, str) else ():
        given = values.get(section)
        if given is None or isinstance(given, Mapping):
            filled[section] = _filled(defaults, given or {})
    return filled


def _filled(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` over `defaults`, group by group: a field of `few_shot` leaves the others as the task has them."""
    inside = {
        name: _filled(default, given[name])
        for name, default in defaults.items()
        if isinstance(default, Mapping) and isinstance(given.get(name), Mapping)
    }
    return {**defaults, **given, **inside}
