"""The base model asked for lists: rows of `LABEL_SET_SYSTEMS` and `SPAN_SYSTEMS`."""

from __future__ import annotations

from metier.evaluation.answering import writers
from metier.evaluation.answering.listing import as_task_reads
from metier.evaluation.systems import Material, System


def build_zero_shot(material: Material) -> System:
    """The base model, asked without examples."""
    return as_task_reads(writers.build_zero_shot(material), material.task, material.labels)


def build_few_shot(material: Material) -> System:
    """The base model with examples in its prompt, chosen on validation."""
    return as_task_reads(writers.build_few_shot(material), material.task, material.labels)
