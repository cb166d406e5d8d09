"""The checks of tasks whose models write or read on: what every candidate learns, and the plan."""

from __future__ import annotations

from collections.abc import Callable

from metier.data.instruction import with_instruction
from metier.data.splits import conversations
from metier.errors import ModelError
from metier.model.base import BaseModel
from metier.model.chat_encode import ChatEncoder
from metier.model.chat_prompt import make_chat_prompt
from metier.model.encode import Encoder, cut_policy
from metier.planning.cost import Seconds
from metier.planning.desk import Checked, Desk, memory_warnings, what_learns
from metier.planning.estimate_texts import Author, plan_reading, plan_writing
from metier.planning.passages import teach_passages
from metier.planning.results import CandidateFindings
from metier.planning.taught import Taught
from metier.planning.writing import Lesson, teach_writing
from metier.recipe.sections import Recipe

NOT_KNOWN_WITHOUT_TRAINING = (
    "what reading these texts gains cannot be known without training. `metier run` first measures how probable the "
    "base model finds the validation texts, in bits per byte."
)
Teach = Callable[[Desk, BaseModel, Recipe], Taught]


def check_writing(desk: Desk) -> Checked:
    """Everything about candidates that write their answers.

    Args:
        desk: The check.
    """
    found, authors = _candidates(desk, _teach_writing)
    paying, reason, seconds = desk.judge_paying()
    measured = Seconds(data=desk.data_seconds, loading=desk.loading, tfidf=seconds)
    plan = plan_writing(desk.recipe, authors, authors[0], measured, desk.available)
    return Checked(
        candidates=found, plan=plan, paying=paying, paying_reason=reason, warnings=memory_warnings(plan)
    )  # fmt: skip


def check_passages(desk: Desk) -> Checked:
    """Everything about candidates that read on.

    Args:
        desk: The check.
    """
    found, authors = _candidates(desk, _teach_passages)
    measured = Seconds(data=desk.data_seconds, loading=desk.loading, tfidf=0.0)
    plan = plan_reading(desk.recipe, authors, authors[0], measured, desk.available)
    return Checked(
        candidates=found, plan=plan, paying_reason=NOT_KNOWN_WITHOUT_TRAINING, warnings=memory_warnings(plan)
    )  # fmt: skip


def _candidates(desk: Desk, teach: Teach) -> tuple[tuple[CandidateFindings, ...], list[Author]]:
    found, authors = [], []
    for name, recipe in desk.candidates():
        base = desk.base(recipe.model)
        if base.kind != "decoder":
            raise ModelError(
                f"{name}: model", f"{base.name} is an encoder, which cannot write", "a language model",
                f"Choose one for `task: {recipe.task}`, such as smollm2-135m.",
            )  # fmt: skip
        about, author = _check_candidate(desk, name, recipe, base, teach(desk, base, recipe))
        found.append(about)
        authors.append(author)
    return tuple(found), authors


def _check_candidate(
    desk: Desk, name: str, recipe: Recipe, base: BaseModel, taught: Taught
) -> tuple[CandidateFindings, Author]:
    attached, dtype = desk.attach(recipe, base), desk.dtype(base, recipe)
    author = Author(
        name=name, recipe=recipe, shape=desk.shape(base, dtype, attached), flops_per_second=desk.speed(base, dtype),
        plan=attached.plan, trainable=attached.trainable, taught=taught, base=base.weights_sha256,
        writing_flops_per_second=desk.speed(base, dtype, rows=recipe.generation.batch_size),
        records={split.name: len(split) for split in (desk.data.train, desk.data.validation, desk.data.test)},
    )  # fmt: skip
    about = CandidateFindings(
        name=name, model=base.name, kind=base.kind, source=base.source, licence=base.licence, notes=base.notes,
        in_words=True, learning=what_learns(author, attached.summary), views=(), pieces=taught.pieces,
        trained_part=taught.trained_part, lengths=taught.lengths, faults=taught.faults, learned=taught.about,
        notices=taught.notices,
    )  # fmt: skip
    return about, author


def _encoder(base: BaseModel, recipe: Recipe) -> Encoder:
    return Encoder(base.tokenizer, min(recipe.training.max_length, base.context), cut_policy(recipe.data.too_long))


def _teach_writing(desk: Desk, base: BaseModel, recipe: Recipe) -> Taught:
    prompt = make_chat_prompt(with_instruction(recipe.prompt, desk.data.card))
    lesson = Lesson(ChatEncoder(_encoder(base, recipe)), prompt, recipe)
    return teach_writing(lesson, desk.data, conversations(desk.train), with_text=desk.recipe.report.examples)


def _teach_passages(desk: Desk, base: BaseModel, recipe: Recipe) -> Taught:
    encoder, shown = _encoder(base, recipe), desk.recipe.report.examples
    return teach_passages(encoder, desk.data, desk.train, seed=recipe.seed, with_text=shown)
