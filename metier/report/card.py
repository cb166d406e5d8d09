"""The model card: `README.md` of a run, with front matter that the Hugging Face hub understands.

Takes a summary; gives Markdown. Nothing is left blank: what is unknown is said to be unknown. No text
of a record appears in it. Formats: `model-index` as the hub's model card specification has it, and `.eval_results/`
(huggingface.co/docs/hub/eval-results), which names a benchmark of the hub and so is written for those alone.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from metier.evaluation.results import Estimate, Evaluation
from metier.report import cleaning, effort, formats, licences, provenance, sentences, tables, written
from metier.report.kinds import KINDS
from metier.report.markdown import Markdown, code_block, escape_markdown, markdown_table
from metier.report.summary import AttemptSummary, RunSummary
from metier.store.files import write_text

PACKAGED_BASES = {
    "smollm2-135m": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
}
"""Packaged models by the name that the hub knows them under."""
HUB_METRICS = {
    "accuracy": "accuracy",
    **{
        f"{average}_{name}": name
        for average in ("macro", "micro", "weighted")
        for name in ("f1", "precision", "recall")
    },
    "mcc": "matthews_correlation",
    "hamming_loss": "hamming_loss",
    "span_f1": "f1",
    "span_precision": "precision",
    "span_recall": "recall",
    "span_f1_overlap": "f1",
    "exact_match": "exact_match",
    "token_f1": "f1",
    "field_f1": "f1",
    "rouge1": "rouge",
    "rouge2": "rouge",
    "rougeL": "rouge",
    "chrf": "chrf",
    "bleu": "bleu",
    "json_valid": "json_valid",
    "loss": "loss",
    "bits_per_byte": "bits_per_byte",
}
"""Our metrics by the hub's metric id, or by our own name where the hub has none."""
TAGS = {"chat": ("conversational",)}
"""More tags for the hub, by task."""
YOUR_TEXT = "WHAT YOU ASK"
RESULTS_FOLDER = ".eval_results"
"""Where the hub looks for results on benchmarks, beside the card."""
DIGITS = 4
"""Places after the point of a value that the hub shows."""


def write_model_card(summary: RunSummary, path: Path) -> Path:
    """Write the model card of a run.

    Args:
        summary: What a run found; see `gather_summary`.
        path: Usually the run folder's `README.md`.

    Returns:
        The same path.
    """
    write_text(path, render_card(summary))
    results, card = benchmark_results(summary), sentences.section(summary.recipe, "card")
    if results:
        name = str(card["benchmark"]).rpartition("/")[2]
        text = yaml.safe_dump(results, sort_keys=False, allow_unicode=True, width=1000)
        write_text(path.parent / RESULTS_FOLDER / f"{name}.yaml", text)
    return path


def benchmark_results(summary: RunSummary) -> list[dict[str, Any]]:
    """The primary metric on the test set as an entry of `.eval_results/`; empty where the recipe names no benchmark.

    What was measured on validation is no result on a benchmark.
    """
    card, system = sentences.section(summary.recipe, "card"), sentences.candidate_evaluation(summary)
    metric, found = summary.comparison.primary_metric, summary.comparison
    estimate = None if system is None else system.metrics.get(metric)
    if not card.get("benchmark") or found.set != "test" or estimate is None or estimate.value is None:
        return []
    opened = "" if found.openings is None else f"; test set opened {formats.times(found.openings)}"
    return [
        {
            "dataset": {"id": str(card["benchmark"]), "task_id": str(card.get("benchmark_task") or "default")},
            "value": round(estimate.value, DIGITS),
            "notes": f"{_metric_name(metric, estimate)}{opened}; measured with metier",
        }
    ]


def read_front_matter(text: str) -> dict[str, Any]:
    """The metadata of a card that may have been edited; empty where there is none that can be read."""
    parts = text.split("---\n", 2)
    if len(parts) < 3 or parts[0].strip():
        return {}
    try:
        found = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def render_card(summary: RunSummary) -> str:
    """The card as Markdown with YAML front matter."""
    environment = Environment(
        loader=PackageLoader("metier.report", "templates"),
        autoescape=False,  # `finalize` escapes for Markdown, which covers HTML too
        finalize=escape_markdown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    front = yaml.safe_dump(front_matter(summary), sort_keys=False, allow_unicode=True, width=1000)
    return environment.get_template(KINDS[summary.task].card).render(front=Markdown(front), **_view(summary))


def front_matter(summary: RunSummary) -> dict[str, Any]:
    """The metadata that the hub reads; a key whose value is unknown is left out."""
    card = sentences.section(summary.recipe, "card")
    attempt = sentences.promoted_attempt(summary)
    base = None if attempt is None else hub_base(attempt)
    adapter = attempt is not None and attempt.model.method == "lora"
    licence = str(card.get("license") or "other")
    front: dict[str, Any] = {
        "license": licence,
        "license_name": "not-stated" if licence == "other" else None,
        "language": list(card.get("language") or ()) or None,
        "base_model": base,
        "base_model_relation": None if base is None else "adapter" if adapter else "finetune",
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": KINDS[summary.task].hub_task,
        "tags": ["metier", KINDS[summary.task].hub_task, *TAGS.get(summary.task, ()), *(["lora"] if adapter else [])],
        "metrics": list(dict.fromkeys(HUB_METRICS[name] for name in _measured(summary))) or None,
        "model-index": _model_index(summary),
    }
    return {key: value for key, value in front.items() if value is not None}


def hub_base(attempt: AttemptSummary) -> str | None:
    """The base model's hub id; None where it has none (a local folder or file)."""
    name = attempt.model.name
    if name in PACKAGED_BASES:
        return PACKAGED_BASES[name]
    return name if attempt.model.source == "hub" else None


def _measured(summary: RunSummary) -> dict[str, Estimate]:
    """The promoted system's known scores that the hub has a name for, primary first."""
    system = sentences.candidate_evaluation(summary)
    return {} if system is None else _known(system, summary.comparison.primary_metric)


def _known(system: Evaluation, primary: str) -> dict[str, Estimate]:
    names = dict.fromkeys((primary, *system.metrics))
    known = {name: system.metrics[name] for name in names if name in system.metrics and name in HUB_METRICS}
    return {name: estimate for name, estimate in known.items() if estimate.value is not None}


def hub_metrics(system: Evaluation, primary: str) -> list[dict[str, Any]]:
    """What `model-index` says of a system: the hub's name of each metric, its value, our name with the interval.

    Args:
        system: Usually the promoted one.
        primary: The metric that comes first.
    """
    return [
        {"type": HUB_METRICS[name], "value": round(estimate.value, DIGITS), "name": _metric_name(name, estimate)}
        for name, estimate in _known(system, primary).items()
        if estimate.value is not None
    ]


def _model_index(summary: RunSummary) -> list[dict[str, Any]] | None:
    system = sentences.candidate_evaluation(summary)
    metrics = [] if system is None else hub_metrics(system, summary.comparison.primary_metric)
    if not metrics:
        return None
    card = sentences.section(summary.recipe, "card")
    result = {
        "task": {"type": KINDS[summary.task].hub_task, "name": KINDS[summary.task].hub_title},
        "dataset": {
            "type": str(card.get("benchmark") or "private"), "name": _data_name(summary),
            "split": summary.comparison.set,
        },
        "metrics": metrics,
    }  # fmt: skip
    return [{"name": summary.name, "results": [result]}]


def _metric_name(name: str, estimate: Estimate) -> str:
    between = formats.interval(estimate)
    return f"{formats.metric_heading(name)} (95 % interval {between}, n = {estimate.n})"


def _data_name(summary: RunSummary) -> str:
    return ", ".join(dict.fromkeys(source.name for source in summary.data.sources)) or summary.name


def _view(summary: RunSummary) -> dict[str, Any]:
    """Everything that the template names."""
    card = sentences.section(summary.recipe, "card")
    found = summary.comparison
    evidence = {
        "systems": tables.systems_table(summary),
        "clean": tables.clean_table(summary),
        "differences": tables.differences_table(summary, found.differences) if found.differences else None,
        "gates": tables.gates_table(summary),
        "overfitting": tables.overfitting_table(summary),
        "candidates": tables.candidates_table(summary) if len(summary.attempts) > 1 else None,
        "splits": provenance.splits_table(summary.data),
        "rejected": provenance.rejected_table(summary.data),
        "flags": provenance.flags_table(summary.data),
        "machine": provenance.machine_table(summary),
        "fields": written.fields_table(summary),
        "length": written.length_table(summary),
        "loss": written.loss_table(summary),
        "documents": written.documents_table(summary),
        "swaps": cleaning.swaps_table(summary),
    }
    return {
        **_how_asked(summary),
        "summary": summary,
        "attempt": sentences.promoted_attempt(summary),
        "author": card.get("author"),
        "intended_use": card.get("intended_use"),
        "out_of_scope": card.get("out_of_scope"),
        "records": f"{formats.count(found.n)} {formats.set_words(found.set)} records",
        "benchmark": card.get("benchmark") if found.set == "test" else None,
        "energy": effort.energy_sentence(summary),
        "compute": effort.compute_sentences(summary),
        "licences_table": markdown_table(licences.licences_table(summary)),
        "licence_findings": licences.licence_findings(summary),
        "licence": str(card.get("license") or "other"),
        "data_name": _data_name(summary),
        "labels": Markdown(", ".join(f"`{label.replace('`', chr(39))}`" for label in summary.data.labels)),
        "columns": sentences.columns_sentence(summary),
        "promotion": sentences.promotion_sentence(summary),
        "openings": sentences.openings_sentence(summary),
        "limits": sentences.limitations(summary),
        "missing": sentences.not_measured(summary),
        "effort": "" if (chosen := sentences.promoted_attempt(summary)) is None else sentences.effort_sentence(chosen),
        "training": _training(summary),
        "run_word": Markdown(shlex.quote(summary.folder)),
        "seed": summary.recipe.get("seed", "unknown"),
        "duration": formats.duration(summary.seconds) if summary.seconds else formats.UNKNOWN,
        **{f"{name}_table": None if table is None else markdown_table(table) for name, table in evidence.items()},
    }


def _training(summary: RunSummary) -> list[str]:
    """The hyper-parameters that the promoted candidate was trained with, overrides included."""
    chosen = sentences.promoted_attempt(summary)
    own = sentences.section(summary.recipe, "candidates").get(chosen.name if chosen else "") or {}
    parts = []
    for name in ("adaptation", "training"):
        section = {**sentences.section(summary.recipe, name), **sentences.section(own, name)}
        parts += [f"{name}.{key}: {formats.plain(value)}" for key, value in section.items() if value is not None]
    return parts


def _how_asked(summary: RunSummary) -> dict[str, Any]:
    """What somebody needs who asks a model that writes without metier."""
    system, instruction = summary.prompt.get("system"), summary.prompt.get("instruction")
    messages = [{"role": "system", "content": system}] if system else []
    for asked, said in summary.prompt.get("shots") or ():
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    asked = f"{instruction}\n\n{YOUR_TEXT}" if instruction else YOUR_TEXT
    messages.append({"role": "user", "content": asked})
    candidate = sentences.candidate_evaluation(summary)
    settled = {} if candidate is None else {"max_new_tokens": candidate.settings.get("max_new_tokens")}
    settings = {**sentences.section(summary.recipe, "generation"), **settled}
    return {
        "asked": code_block(json.dumps(messages, ensure_ascii=False, indent=2), "json"),
        "has_system": bool(system),
        "brings_system": bool(summary.data.counts.get("with a system prompt")),
        "writing": [f"{key}: {formats.plain(value)}" for key, value in settings.items() if key != "batch_size"],
        "signatures": written.signature_lines(summary),
    }
