"""What the page and the card say in words: why it was promoted, what was not measured, what this cannot say.

Takes the values of a run; gives sentences with the numbers that they are about. Where a run says
nothing about a question, the sentence says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metier.data.card import DataCard
from metier.evaluation.results import Difference, Evaluation
from metier.report import formats, openings
from metier.report.kinds import KINDS
from metier.report.summary import AttemptSummary, RunSummary

CALIBRATION_METRICS = ("calibration", "ece", "brier", "log_loss")
TRUSTED_SEEDS = 5
"""From so many training seeds on, a statement about the recipe has an interval (docs/evidence.md)."""


def promoted_attempt(summary: RunSummary) -> AttemptSummary | None:
    """The attempt that met the test set."""
    return next((attempt for attempt in summary.attempts if attempt.promoted), None)


def candidate_evaluation(summary: RunSummary) -> Evaluation | None:
    """The promoted system on the test set."""
    return next((system for system in summary.test if system.system == summary.comparison.candidate), None)


def promotion_sentence(summary: RunSummary) -> str:
    """Which candidate was promoted, and why, by the numbers on validation."""
    chosen = promoted_attempt(summary)
    metric = summary.comparison.primary_metric
    words = formats.metric_words(metric)
    if chosen is None:
        return "No candidate is marked as promoted."
    own = _validation_value(chosen, metric)
    if len(summary.attempts) == 1:
        return f"The recipe lists one candidate, {chosen.name}; validation had nothing to choose between."
    if own is None:
        return f"Promoted: {chosen.name}. Its {words} on validation is unknown."
    others = {a.name: _validation_value(a, metric) for a in summary.attempts if not a.promoted}
    rivals = {name: value for name, value in others.items() if value is not None}
    middle = f"Its {words} on validation is {formats.score(own)} (n = {chosen.validation.n:,})"
    if not rivals:
        return f"Promoted: {chosen.name}. {middle}; no other candidate has one."
    lower = formats.lower_is_better(metric)
    better, most, behind = (-1, "lowest", "above") if lower else (1, "highest", "below")
    best = max(rivals, key=lambda name: better * rivals[name])
    if better * own > better * rivals[best]:
        return f"Promoted: {chosen.name}. {middle}, the {most}; next is {best} with {formats.score(rivals[best])}."
    if own == rivals[best]:
        size = {attempt.name: attempt.model.bytes for attempt in summary.attempts}
        smaller = ", and it is the smaller model" if size[chosen.name] < size[best] else ""
        return f"Promoted: {chosen.name}. {middle}, the same as that of {best}{smaller}."
    reason = f"; {summary.promotion}" if summary.promotion else ""
    return f"Promoted: {chosen.name}. {middle}, {behind} that of {best} with {formats.score(rivals[best])}{reason}."


def _validation_value(attempt: AttemptSummary, metric: str) -> float | None:
    estimate = attempt.validation.metrics.get(metric)
    return None if estimate is None else estimate.value


def openings_sentence(summary: RunSummary) -> str:
    """How often the test set was opened, or that it stayed closed."""
    return openings.openings_sentence(summary.comparison)


def effort_sentence(attempt: AttemptSummary) -> str:
    """How a training went, in one sentence."""
    history, model = attempt.history, attempt.model
    learned = (
        f"{formats.parameters(model.trainable_parameters)} of {formats.parameters(model.parameters)} parameters "
        f"({formats.share(model.trainable_parameters, model.parameters)}) learned"
    )
    if not history.steps:
        took = f" in {formats.duration(history.seconds)}" if history.seconds else ""
        return f"{learned}{took} ({history.stopped}); there are no steps to draw."
    steps = formats.counted(history.steps[-1].step, "step")
    saved = history.tokens_logical - history.tokens_computed
    sharing = ""
    if saved > 0:
        sharing = (
            f" Sharing spared {formats.share(saved, history.tokens_logical)} of "
            f"{formats.count(history.tokens_logical)} tokens."
        )
    return (
        f"{learned} from {formats.counted(history.examples, 'example')} in {steps} and "
        f"{formats.duration(history.seconds)}. Ended: {history.stopped}; best at step {history.best_step:,}.{sharing}"
    )


def not_measured(summary: RunSummary) -> tuple[str, ...]:
    """What this run did not look at. Not measured is not the same as no problem."""
    names = {name for system in summary.test for name in system.metrics}
    missing = list(KINDS[summary.task].missing)
    trust = summary.looks.trust
    looked = trust is not None and bool(trust.calibration)
    if not looked and not any(part in name for name in names for part in CALIBRATION_METRICS):
        missing.append("calibration (whether its confidence can be trusted)")
    energy = None if summary.receipt is None else summary.receipt.line("energy")
    known = energy is not None and energy.measured is not None
    return (*missing, "emissions" if known else "energy and emissions")


def limitations(summary: RunSummary) -> tuple[str, ...]:
    """What this report cannot say, as sentences."""
    return (
        *_size_limits(summary),
        *_seed_limits(summary),
        *_data_limits(summary),
        *_model_limits(summary),
        *KINDS[summary.task].limits,
        f"Not measured in this run: {'; '.join(not_measured(summary))}. Not measured does not mean harmless.",
    )


def _size_limits(summary: RunSummary) -> list[str]:
    found = summary.comparison
    text = f"The {formats.set_words(found.set)} set has {formats.counted(found.n, 'record')}."
    labels = KINDS[summary.task].detectable == "accuracy"
    rows = found.accuracy_differences if labels else found.differences
    detectable = [row.smallest_detectable for row in rows if row.smallest_detectable is not None]
    if detectable:
        what = "accuracy" if labels else formats.metric_words(found.primary_metric)
        text += (
            f" A true difference in {what} below {formats.score(max(detectable))} against some baseline "
            "would be missed more often than one time in five."
        )
    lines = [text]
    lines += openings.openings_limits(found)
    if len(summary.attempts) > 1 and found.set == "test":
        lines.append("Validation chose the candidate, so validation numbers flatter it; the test set did not choose.")
    unknown = sum(estimate.value is None for system in summary.test for estimate in system.metrics.values())
    if unknown:
        lines.append(f"{formats.counted(unknown, 'number')} could not be computed; the reason stands in its place.")
    return lines


def _seed_limits(summary: RunSummary) -> list[str]:
    seeds = summary.looks.seeds
    if seeds is not None and len(seeds.values) > 1:
        few = f" An interval needs {TRUSTED_SEEDS} seeds or more." if len(seeds.values) < TRUSTED_SEEDS else ""
        return [f"The verdict is about this model; {len(seeds.values)} trainings speak of the recipe.{few}"]
    seed = summary.recipe.get("seed", summary.lock.get("seed"))
    which = "" if seed is None else f" ({seed})"
    return [
        f"Training ran with one seed{which}. The verdict is about this model; a statement about the recipe "
        f"needs several seeds, an interval needs {TRUSTED_SEEDS} or more."
    ]


def _data_limits(summary: RunSummary) -> list[str]:
    lines, data = [], section(summary.recipe, "data")
    test = summary.data.splits.get("test")
    if test is not None and not test.official and data.get("time"):
        lines.append(
            "The test set is the newest part of the same files as the training data. It says how the model does on "
            "what came next, not on other sources."
        )
    elif test is not None and not test.official:
        lines.append(
            "The test set was drawn from the same files as the training data. It says how the model does on more "
            "of the same, not on other sources or later times."
        )
    if data.get("leaks") == "allow":
        lines.append(
            "Leaks between splits were allowed (data.leaks: allow): where train shares texts or groups with validation "
            "or test, what is measured is flattered."
        )
    if summary.data.group_column is None:
        lines.append(
            "No group column was given. If several records belong to one customer or document, they may stand in "
            "several splits, and the intervals are too narrow."
        )
    if test is not None and test.flags:
        doubts = ", ".join(f"{flag} {count:,}" for flag, count in test.flags.items())
        lines.append(f"Some test records carry doubts ({doubts}); they were kept and flagged.")
    return lines


def _model_limits(summary: RunSummary) -> list[str]:
    notes = dict.fromkeys(f"{a.model.name}: {note}" for a in summary.attempts for note in a.model.notes)
    stated = section(summary.recipe, "card").get("limitations")
    return [*notes, *([str(stated)] if stated else [])]


def columns_sentence(summary: RunSummary) -> str:
    """Which columns were read, and which of them nobody named."""
    card = summary.data
    text = f"{_where_from(card)}"
    text += f"; groups by {card.group_column}." if card.group_column else "; no groups."
    if card.found_by_itself:
        text += f" Found by itself, not given: {', '.join(card.found_by_itself)}."
    return text


def _where_from(card: DataCard) -> str:
    """Where a record's parts come from: named columns, or the shape that its rows have."""
    columns = ", ".join(card.text_columns)
    if card.label_column:
        return f"Text from {columns or formats.UNKNOWN}; label from {card.label_column}"
    parts = [f"text from {columns}"] if columns else []
    parts += [f"answer from {card.answer_column}"] if card.answer_column else []
    if card.shape != "columns" or not parts:
        parts.insert(0, f"rows read as {card.shape.replace('_', ' ')}")
    text = "; ".join(parts)
    return text[0].upper() + text[1:]


def counts_sentence(summary: RunSummary) -> str:
    """What the records hold besides their texts (turns, system prompts); empty where that was not counted."""
    counts = ", ".join(f"{what} {count:,}" for what, count in summary.data.counts.items())
    return f"In all splits: {counts}." if counts else ""


def other_differences(summary: RunSummary) -> tuple[Difference, ...]:
    """Differences in right and wrong, where that is not the primary metric and somebody got something right."""
    found = summary.comparison
    rows = found.accuracy_differences
    if not rows or rows[0].metric == found.primary_metric:
        return ()
    return rows if any(row.candidate_value or row.baseline_value for row in rows) else ()


def section(recipe: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section of the resolved recipe; empty when it is not there."""
    found = recipe.get(name)
    return found if isinstance(found, Mapping) else {}


def shows_texts(summary: RunSummary) -> bool:
    """Whether the recipe allows texts of records in the report."""
    return section(summary.recipe, "report").get("examples", True) is True and not is_strict(summary.recipe)


def is_strict(recipe: Mapping[str, Any]) -> bool:
    """Whether a resolved recipe says `privacy: strict`."""
    return section(recipe, "privacy").get("level") == "strict"
