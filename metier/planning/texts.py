"""The checks of tasks whose models write or read on: what every candidate learns, and the plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from metier.data.instruction import with_instruction
from metier.data.splits import conversations
from metier.engine.packed import packed_bytes
from metier.errors import ModelError
from metier.model.base import BaseModel
from metier.model.chat_encode import ChatEncoder
from metier.model.chat_prompt import make_chat_prompt
from metier.model.encode import Encoder, cut_policy
from metier.planning.author import Author
from metier.planning.cost import Seconds
from metier.planning.desk import Checked, Desk, memory_warnings, what_learns
from metier.planning.estimate_texts import plan_reading, plan_writing
from metier.planning.measured import text_probes
from metier.planning.outlook import Plan
from metier.planning.passages import teach_passages
from metier.planning.results import CandidateFindings
from metier.planning.taught import Taught
from metier.planning.ways import alternatives, going, other_ways
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
    paying, reason, seconds = desk.judge_paying()  # first: afterwards its memory could not be told from a model's
    gauged = desk.gauged()
    found, authors = _candidates(desk, _teach_writing)
    measured = Seconds(
        data=desk.data_seconds, loading=desk.loading, tfidf=seconds, program_bytes=desk.settle_program(),
        tfidf_bytes=desk.judging_bytes, libraries=desk.libraries, gauged=gauged,
    )  # fmt: skip

    def plan_of(first: Author) -> Plan:
        return plan_writing(desk.recipe, [first, *authors[1:]], authors[0], measured, desk.ground())

    plan = _with_ways(desk, authors[0], plan_of)
    return Checked(
        candidates=found, plan=plan, paying=paying, paying_reason=reason, warnings=memory_warnings(plan)
    )  # fmt: skip


def check_passages(desk: Desk) -> Checked:
    """Everything about candidates that read on.

    Args:
        desk: The check.
    """
    found, authors = _candidates(desk, _teach_passages)
    measured = Seconds(
        data=desk.data_seconds, loading=desk.loading, tfidf=0.0, program_bytes=desk.settle_program(),
        libraries=desk.libraries,
    )  # fmt: skip

    def plan_of(first: Author) -> Plan:
        return plan_reading(desk.recipe, [first, *authors[1:]], authors[0], measured, desk.ground())

    plan = _with_ways(desk, authors[0], plan_of)
    return Checked(
        candidates=found, plan=plan, paying_reason=NOT_KNOWN_WITHOUT_TRAINING, warnings=memory_warnings(plan)
    )  # fmt: skip


def baseline_author(desk: Desk, base: BaseModel, recipe: Recipe) -> Author:
    """A language model that answers untrained, in writing, beside candidates that do not write.

    Args:
        desk: The check.
        base: The model.
        recipe: How it is asked.
    """
    taught = _teach_writing(desk, base, recipe)
    probes = text_probes(taught, recipe)
    probes = replace(probes, by_kind={kind: probe for kind, probe in probes.by_kind.items() if kind != "train"})
    shape = desk.shape(base, desk.dtype(base, recipe))
    return Author(
        name=base.name, recipe=recipe, shape=shape, base_bytes=base.bytes, file_bytes=desk.file_bytes(base),
        rates=desk.rates(base, recipe, shape, probes, learns=False), taught=taught, base=base.weights_sha256,
        records={split.name: len(split) for split in (desk.data.train, desk.data.validation, desk.data.test)},
        packed=packed_bytes(base.network),
    )  # fmt: skip


def _with_ways(desk: Desk, author: Author, plan_of: Callable[[Author], Plan]) -> Plan:
    """The plan, and other ways for the first candidate."""
    plan, network = plan_of(author), desk.base(author.recipe.model).network
    if desk.quick:
        return plan
    found = []
    for way in other_ways(author.recipe, author.shape.layers):
        gone = going(author, way, network, head=False)
        if gone is not None:
            found.append((way, *gone))
    return replace(plan, alternatives=alternatives(plan, found, plan_of))


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
    attached = desk.attach(recipe, base)
    shape = desk.shape(base, desk.dtype(base, recipe), attached)
    author = Author(
        name=name, recipe=recipe, shape=shape, base_bytes=base.bytes, file_bytes=desk.file_bytes(base),
        rates=desk.rates(base, recipe, shape, text_probes(taught, recipe), learns=True),
        plan=attached.plan, trainable=attached.trainable, taught=taught, base=base.weights_sha256,
        records={split.name: len(split) for split in (desk.data.train, desk.data.validation, desk.data.test)},
        packed=packed_bytes(base.network),
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
