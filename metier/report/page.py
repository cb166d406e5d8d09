"""The page: one HTML file that needs nothing else, made from the values of a run and its figures.

Takes a summary and drawings; gives HTML. Everything that comes from outside goes through the
template's escaping; only our own style sheet and our own figures are put in as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from metier.report import (
    answers,
    cleaning,
    closer,
    formats,
    openings,
    provenance,
    questions,
    sentences,
    tables,
    trainings,
    written,
)
from metier.report import receipt as receipts
from metier.report.environment import page_environment
from metier.report.figures import Figures
from metier.report.kinds import KINDS
from metier.report.summary import AttemptSummary, Example, RunSummary
from metier.report.tables import Table

LONGEST_EXAMPLE = 700
"""Characters of an example's text that are shown."""
VERDICT_SIGNS = {"improved": "▲", "regressed": "▼", "not worse": "="}
ONLY_WITH: Mapping[str, Callable[[RunSummary], object | None]] = {
    "fields": written.fields_table, "loss": written.loss_table, "trust": closer.probabilities,
    "slices": closer.slices_shown, "robustness": lambda summary: summary.looks.robustness,
    "errors": lambda summary: summary.looks.errors, "seeds": lambda summary: summary.looks.seeds,
    "folds": lambda summary: summary.looks.folds, "judge": lambda summary: summary.looks.judge,
}  # fmt: skip
"""Sections that are left out where there is nothing to show in them."""


@dataclass(frozen=True)
class Fact:
    """One line of the summary beside the verdict."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class ShownExample:
    """A record as the page shows it: what is not allowed or not there is already gone."""

    title: str
    place: str
    text: str | None
    cut: str
    gold: str
    answers: tuple[tuple[str, str, bool], ...]
    """System, its answer, whether that is right."""


def render_page(summary: RunSummary, figures: Figures) -> str:
    """The whole page as HTML.

    Args:
        summary: What is shown.
        figures: The drawings to put inside.
    """
    environment, style = page_environment()
    return environment.get_template("page.html").render(
        summary=summary,
        sections=shown_sections(summary),
        kind=KINDS[summary.task],
        figures=figures,
        style=style,
        **_verdict(summary),
        **_evidence(summary, figures),
        **_background(summary),
        **_texts(summary),
        **_closer(summary),
    )


def shown_sections(summary: RunSummary) -> dict[str, str]:
    """Anchor and title of every section of this run's page, in order."""
    sections = KINDS[summary.task].sections
    return {
        anchor: title
        for anchor, title in sections.items()
        if anchor not in ONLY_WITH or ONLY_WITH[anchor](summary) is not None
    }


def _verdict(summary: RunSummary) -> dict[str, Any]:
    found = summary.comparison
    failed = sum(not gate.passed for gate in found.gates)
    return {
        "sign": VERDICT_SIGNS.get(found.verdict, "?"),
        "tone": tables.tone_of(found.verdict),
        "facts": _facts(summary),
        "replies": questions.replies(summary),
        "openings": sentences.openings_sentence(summary),
        "gates": tables.gates_table(summary),
        "gates_sentence": _gates_sentence(len(found.gates), failed),
    }


def _gates_sentence(gates: int, failed: int) -> str:
    if not gates:
        return "The recipe declares no gates."
    if not failed:
        return f"{'The gate passed' if gates == 1 else f'All {gates} gates passed'}."
    return f"{failed} of {formats.counted(gates, 'gate')} failed: the command ended with exit code 3."


def _facts(summary: RunSummary) -> tuple[Fact, ...]:
    """The numbers that a reader looks for first."""
    found, metric = summary.comparison, summary.comparison.primary_metric
    systems = {system.system: system for system in summary.test}
    title = formats.metric_heading(metric)
    facts = []
    for name, label in ((found.candidate, title), (found.best_baseline, "Best baseline")):
        system = systems.get(name) if name else None
        cell = tables.estimate_cell(None if system is None else system.metrics.get(metric))
        facts.append(Fact(label, cell.text, f"{name}: {cell.note}" if name else "no baseline was measured"))
    words = formats.set_words(found.set).capitalize()
    facts.append(Fact(f"{words} records", formats.count(found.n), "the same for every system"))
    opened = "Looks at these rows" if found.set == "out_of_fold" else "Test set opened"
    facts.append(Fact(opened, *openings.openings_fact(found)))
    chosen = sentences.promoted_attempt(summary)
    if chosen is not None:
        facts.append(Fact("Promoted", chosen.name, f"{chosen.model.name}, {chosen.model.method}"))
    if summary.privacy is not None:
        facts.append(Fact("Privacy", "strict", summary.privacy.line))
    return tuple(facts)


def _evidence(summary: RunSummary, figures: Figures) -> dict[str, Any]:
    found = summary.comparison
    candidate = sentences.candidate_evaluation(summary)
    other = sentences.other_differences(summary)
    return {
        "systems": tables.systems_table(summary),
        "clean": tables.clean_table(summary),
        "all_metrics": tables.all_metrics_table(summary),
        "choices": provenance.choices_table(summary.test),
        "differences": _when(found.differences, tables.differences_table(summary, found.differences)),
        "accuracy_differences": _when(other, tables.differences_table(summary, other)),
        "gain": formats.score(found.smallest_useful_gain),
        "margin": None if found.not_worse_margin is None else formats.score(found.not_worse_margin),
        "candidates": tables.candidates_table(summary),
        "promotion": sentences.promotion_sentence(summary),
        "trainings": _trainings(summary),
        "overfitting": tables.overfitting_table(summary),
        "per_class": None if candidate is None else tables.per_class_table(candidate),
        "pairs": None
        if candidate is None
        else tables.confused_pairs_table(candidate, limit=10 if figures.confusion else 20),
        "examples": _examples(summary),
        "shows_texts": sentences.shows_texts(summary),
        "strict": sentences.is_strict(summary.recipe),
    }


def _closer(summary: RunSummary) -> dict[str, Any]:
    """What was found when one looked closer."""
    looks = summary.looks
    shown = [(name, closer.reliability_table(name, found)) for name, found, _ in closer.calibrations(looks.trust)]
    worst, others = closer.slices_tables(summary)
    return {
        "trust_table": closer.trust_table(looks.trust),
        "reliability_tables": [(name, table) for name, table in shown if table is not None],
        "promise": closer.promise_table(looks.trust),
        "coverage": closer.coverage_table(looks.trust),
        "worst_slices": worst,
        "other_slices": others,
        "slices_left_out": closer.left_out_lines({} if looks.slices is None else looks.slices.left_out),
        "gaps": closer.gaps_table(summary),
        "robustness": closer.robustness_table(summary),
        "rows_to_check": closer.rows_table(summary),
        "explained": closer.explained_table(summary),
        "seeds": trainings.seeds_table(looks.seeds),
        "folds": trainings.folds_table(looks.folds),
        "judge": trainings.judge_table(looks.judge),
    }


def _texts(summary: RunSummary) -> dict[str, Any]:
    """What only written answers and passages have."""
    return {
        "costs": written.costs_table(summary) if KINDS[summary.task].costs_apart else None,
        "signatures": written.signature_lines(summary),
        "fields": written.fields_table(summary),
        "length": written.length_table(summary),
        "length_words": written.LENGTH_WORDS,
        "loss": written.loss_table(summary),
        "documents": written.documents_table(summary),
        "named": written.named_table(summary),
        "readings": answers.readings(summary),
    }


def _when(condition: object, table: Table) -> Table | None:
    return table if condition else None


def _trainings(summary: RunSummary) -> tuple[tuple[AttemptSummary, str], ...]:
    """Attempts with their sentence, the promoted one first."""
    ordered = sorted(summary.attempts, key=lambda attempt: (not attempt.promoted, attempt.number))
    return tuple((attempt, sentences.effort_sentence(attempt)) for attempt in ordered)


def _examples(summary: RunSummary) -> dict[str, list[ShownExample]]:
    """Wrong and right examples of the candidate."""
    candidate = summary.comparison.candidate
    groups: dict[str, list[ShownExample]] = {"wrong": [], "right": []}
    for example in summary.examples:
        kind = "right" if example.answers.get(candidate) == example.gold else "wrong"
        groups[kind].append(_shown(example, texts=sentences.shows_texts(summary)))
    return groups


def _shown(example: Example, *, texts: bool) -> ShownExample:
    text, cut = None, ""
    if texts and example.text is not None:
        text = formats.printable(example.text)
        if len(text) > LONGEST_EXAMPLE:
            cut = f"{LONGEST_EXAMPLE:,} of {len(text):,} characters"
            text = text[:LONGEST_EXAMPLE].rstrip() + "…"
    answers = tuple(
        (system, "(none)" if answer is None else answer, answer == example.gold)
        for system, answer in example.answers.items()
    )
    return ShownExample(
        title=example.id[:12], place=f"{example.source} row {example.row:,}" if example.source else example.id,
        text=text, cut=cut, gold=example.gold, answers=answers,
    )  # fmt: skip


def _energy_known(summary: RunSummary) -> bool:
    """Whether the receipt has an energy, measured or by the recipe's watts."""
    line = None if summary.receipt is None else summary.receipt.line("energy")
    return line is not None and line.measured is not None


def _background(summary: RunSummary) -> dict[str, Any]:
    card = summary.data
    return {
        "columns": sentences.columns_sentence(summary),
        "counts": sentences.counts_sentence(summary),
        "sources": provenance.sources_table(card),
        "splits": provenance.splits_table(card),
        "rejected": provenance.rejected_table(card),
        "changed": provenance.changed_table(card),
        "flags": provenance.flags_table(card),
        "cleaning_steps": cleaning.steps_table(summary),
        "ablation": cleaning.ablation_table(summary.ablation),
        "swaps": cleaning.swaps_table(summary),
        "limits": sentences.limitations(summary),
        "settings": provenance.settings_table(summary),
        "fingerprints": provenance.fingerprints_table(summary),
        "machine": provenance.machine_table(summary),
        "stages": provenance.stages_table(summary),
        "receipt": receipts.receipt_table(summary),
        "receipt_words": receipts.receipt_sentence(summary),
        "energy_known": _energy_known(summary),
        "duration": formats.duration(summary.seconds) if summary.seconds else formats.UNKNOWN,
    }
