"""What is counted beside a task's own metrics, because a recipe asks for it.

Costs of errors and an order of labels; of written answers a form, a function of the user's own, and likeness by an
encoder's vectors. What each item adds goes into `Item.counts`, so that intervals and paired comparisons are those of
every other metric. How it was counted is kept with the results, so that `metier verify` can count again what needs
nothing but the answers. To add one: a field here, its counts, a row in `text_metrics.ADDED_METRICS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metier.data.records import Record
from metier.errors import ArgumentError
from metier.evaluation.labels.label_metrics import TOP, CostMatrix, LabelQuestions, count_labels
from metier.evaluation.results import Answer, Evaluation, Item
from metier.evaluation.written.answer_formats import AnswerFormat, count_formats
from metier.evaluation.written.own_scorer import OwnScorer, load_scorer, with_own_scores
from metier.evaluation.written.similarity import Embed, with_similarity
from metier.evaluation.written.text_metrics import Counts
from metier.events import Observer
from metier.recipe.tasks import WRITES
from metier.store.fingerprint import fingerprint

if TYPE_CHECKING:
    from metier.recipe.sections import EvaluationSection

BESIDE = "beside"
"""Setting of an evaluation that says how it was counted."""
ABSTAIN = "abstain"
"""Stands for no answer among the costs of a recipe."""
ALWAYS = ("abstained", "invalid", "missing", "accuracy_answered")
"""Counts of every system that did not come from metier, where an answer can be missing for many reasons."""
NOT_AGAIN: Mapping[str, str] = {
    "own_score": "it needs the input and your function",
    "embedding_similarity": "it needs the encoder",
    "seconds": "they were measured once",
    "price": "it was told once",
    "copy_rate": "it needs the input",
    "loss": "it needs the model",
    "bits_per_byte": "it needs the model",
}
"""Metric -> why what an item adds to it cannot be counted again from the item alone."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Beside:
    """What is counted of every answered record beside the task's own metrics."""

    task: str = "classification"
    labels: tuple[str, ...] = ()
    """Labels of train, where answers are labels."""
    questions: LabelQuestions | None = None
    """Costs and order of labels; None where answers are no labels."""
    form: AnswerFormat | None = None
    scorer: OwnScorer | None = None
    embed: Callable[[], Embed] | None = None
    """Gives what makes vectors, once it is needed. None: likeness is not asked for."""
    encoder: str = ""
    """Name of the encoder that makes them."""
    outside: bool = False
    """Whether the systems come from elsewhere: seconds, price and every kind of missing answer are counted too."""
    observers: Sequence[Observer] = ()

    @classmethod
    def of(
        cls,
        section: EvaluationSection,
        task: str,
        labels: Sequence[str] = (),
        *,
        embed: Callable[[], Embed] | None = None,
        encoder: str = "",
        observers: Sequence[Observer] = (),
    ) -> Beside:
        """What a recipe asks for.

        Args:
            section: The recipe's section `evaluation`.
            task: The recipe's task.
            labels: Labels of train.
            embed: Gives what makes vectors; used where the recipe asks for likeness.
            encoder: Name of the encoder that makes them.
            observers: Told of answers on which a pattern took too long.

        Raises:
            ArgumentError: A file that the recipe names is not there or cannot be used, or a label is none of train.
        """
        if task == "classification":
            return cls(task=task, labels=tuple(labels), questions=_questions(section, labels), observers=observers)
        if task not in WRITES:
            return cls(task=task, observers=observers)
        return cls(
            task=task, form=_form(section), encoder=encoder, observers=observers,
            scorer=None if section.scorer is None else load_scorer(section.scorer, Path()),
            embed=embed if section.similarity else None,
        )  # fmt: skip

    def count(self, items: Sequence[Item], records: Sequence[Record], answers: Sequence[Answer]) -> list[Item]:
        """The items with what they add to each of the metrics that were asked for.

        Args:
            items: Answered records.
            records: What was asked, in their order.
            answers: What was said, in their order.

        Raises:
            DataError: Labels are ordered, and a gold label is not in the order.
            ArgumentError: The user's function fails.
        """
        found = [
            replace(item, counts={**item.counts, **row}) for item, row in zip(items, self._again(items), strict=True)
        ]
        if self.scorer is not None:
            found = with_own_scores(found, [record.text for record in records], self.scorer)
        if self.embed is not None:
            found = with_similarity(found, self.embed())
        if self.outside:
            found = [with_effort(item, answer) for item, answer in zip(found, answers, strict=True)]
        return found

    @property
    def settings(self) -> Mapping[str, Any]:
        """How it is counted, as plain values for the results; empty where nothing is asked for."""
        said: dict[str, Any] = {}
        if self.questions is not None and (self.questions.costs is not None or self.questions.order):
            said["label_order"] = list(self.questions.order)
            said["costs"] = None if self.questions.costs is None else plain_costs(self.questions.costs)
        if self.form is not None:
            said |= {"schema": self.form.schema, "pattern": self.form.pattern}
        if self.scorer is not None:
            said["scorer"] = {"name": self.scorer.name, "sha256": self.scorer.sha256}
        if self.embed is not None:
            said["encoder"] = self.encoder
        if self.outside:
            said["outside"] = True
        return {BESIDE: said} if said else {}

    @property
    def fingerprint(self) -> str:
        """Of everything that what is counted depends on, the content of files included."""
        return fingerprint(self.settings)

    def _again(self, items: Sequence[Item]) -> list[dict[str, Counts]]:
        """What every item adds by its answer alone."""
        if self.form is not None:
            return count_formats([item.answer for item in items], self.form, self.observers)
        if self.task != "classification":
            return [{} for _ in items]
        questions = self.questions or LabelQuestions()
        # Among three labels the second is a guess, and among two there is none: k is below the number of labels.
        top = {f"top_{k}" for k in TOP if k < len(self.labels)}
        left = {f"top_{k}" for k in TOP} - top | (set() if self.outside else set(ALWAYS))
        return [
            {name: row[name] for name in row if name not in left} for row in count_labels(items, questions)
        ]  # fmt: skip


def counted_again(evaluation: Evaluation) -> list[dict[str, Counts]]:
    """What the items of an evaluation add beside its task's own metrics, counted again from their answers.

    Args:
        evaluation: With its items, and with what `Beside.settings` says among its settings.
    """
    said = evaluation.settings.get(BESIDE)
    said = said if isinstance(said, Mapping) else {}
    costs = said.get("costs")
    form = AnswerFormat(schema=said.get("schema"), pattern=said.get("pattern"))
    beside = Beside(
        task=evaluation.task, labels=evaluation.labels, outside=bool(said.get("outside")),
        questions=LabelQuestions(
            costs=None if costs is None else cost_matrix(costs), order=tuple(said.get("label_order") or ())
        ),
        form=form if form != AnswerFormat() else None,
    )  # fmt: skip
    return beside._again(evaluation.items)


def with_effort(item: Item, answer: Answer) -> Item:
    """The item with the seconds and the price of its answer as counts, so that both have intervals.

    Seconds of 0 and prices of None were not measured: they count for nothing.
    """
    measured = answer.seconds > 0
    counts = {
        "seconds": (float(answer.seconds), 1.0) if measured else (0.0, 0.0),
        "price": (0.0, 0.0) if answer.price is None else (float(answer.price), 1.0),
    }
    return replace(item, counts={**item.counts, **counts})


def cost_matrix(costs: Mapping[str, Mapping[str, float]]) -> CostMatrix:
    """The costs of a recipe: right label -> answer -> cost, where `abstain` is the answer of none."""
    return CostMatrix(
        costs={gold: {said: cost for said, cost in row.items() if said != ABSTAIN} for gold, row in costs.items()},
        abstained={gold: row[ABSTAIN] for gold, row in costs.items() if ABSTAIN in row},
    )


def plain_costs(matrix: CostMatrix) -> dict[str, dict[str, float]]:
    """The costs as a recipe has them: what `cost_matrix` reads."""
    plain = {gold: dict(row) for gold, row in matrix.costs.items()}
    for gold, cost in matrix.abstained.items():
        plain.setdefault(gold, {})[ABSTAIN] = cost
    return plain


def _questions(section: EvaluationSection, labels: Sequence[str]) -> LabelQuestions:
    """Costs and order of labels, refused where they name a label that train has not."""
    named: dict[tuple[str, ...], str] = {(gold,): gold for gold in section.costs}
    named |= {(gold, said): said for gold, row in section.costs.items() for said in row if said != ABSTAIN}
    for path, label in named.items():
        if labels and label not in labels:
            _refuse(".".join(("costs", *path)), label, labels)
    for label in section.label_order:
        if labels and label not in labels:
            _refuse("label_order", label, labels)
    if lacking := set(labels) - set(section.label_order) if section.label_order else set():
        found = f"lacks {', '.join(sorted(lacking)[:3])}"
        raise ArgumentError("evaluation.label_order", found, "every label once, lowest first")
    costs = cost_matrix(section.costs) if section.costs else None
    return LabelQuestions(costs=costs, order=tuple(section.label_order))


def _refuse(where: str, label: str, labels: Sequence[str]) -> None:
    shown = ", ".join(labels[:8]) + (", …" if len(labels) > 8 else "")
    raise ArgumentError(f"evaluation.{where}", f"{label!r} is no label of train", f"one of {shown}")


def _form(section: EvaluationSection) -> AnswerFormat | None:
    """The form that answers must have; tried once, so that a wrong one is told before hours go into training."""
    if section.format.schema_file is None and section.format.pattern is None:
        return None
    schema = None if section.format.schema_file is None else _schema(Path(section.format.schema_file))
    form = AnswerFormat(schema=schema, pattern=section.format.pattern)
    count_formats([None], form)
    return form


def _schema(path: Path) -> Mapping[str, Any]:
    where = "evaluation.format.schema_file"
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        found = f"{path} cannot be read ({fault.strerror or fault})"
        raise ArgumentError(where, found, "a file with a JSON Schema") from fault
    except (ValueError, RecursionError) as fault:
        raise ArgumentError(where, f"{path} is no readable JSON", "a JSON Schema") from fault
    if not isinstance(schema, dict):
        raise ArgumentError(where, f"{path} holds no JSON object", "a JSON Schema")
    return schema
