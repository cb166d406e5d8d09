"""The systems that a recipe names for itself: answers from a file, an endpoint, a model made elsewhere, a metier run.

    ours:    {run: runs/tickets-3f2a}
    theirs:  {model: ./base, adapter: ./their-adapter}
    hosted:  {endpoint: "https://host/v1", model: some-model, api_key_env: KEY}
    rules:   {answers: current_system.csv}
    other:   {lm_eval: samples_metier_tickets_2026-11-23.jsonl}

What a system is, is told by the first word that one of them has. To add one: a builder, a row in `KINDS`, a test.
Loads torch only for systems that need it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metier.data.records import Record
from metier.errors import ArgumentError
from metier.evaluation.answering.listing import as_task_reads
from metier.evaluation.elsewhere.chat_reply import Endpoint
from metier.evaluation.elsewhere.endpoint import AskingSettings, about_endpoint, open_endpoint
from metier.evaluation.elsewhere.harness import RULES
from metier.evaluation.elsewhere.harness_samples import import_samples
from metier.evaluation.elsewhere.judged import NamedSystem, way_of
from metier.evaluation.elsewhere.recorded import AnswerColumns, load_recorded
from metier.evaluation.elsewhere.run_answers import run_system
from metier.evaluation.files import items_path
from metier.evaluation.systems import Material, System
from metier.model.chat_prompt import ChatPrompt
from metier.model.prompt import PromptFormat
from metier.recipe.load import expand
from metier.recipe.sections import GenerationSection, HardwareSection, ModelSection
from metier.recipe.tasks import LISTS
from metier.store.fingerprint import file_sha256, fingerprint
from metier.store.run_folder import find_run

if TYPE_CHECKING:
    from metier.device import Hardware

LIST_READING = 1
"""Raise it when lists are read in another way: what was answered before is then read again."""


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgingGround:
    """What a named system may be built from."""

    records: Sequence[Record]
    """What is asked; builders use ids, sources and rows, and right answers to see whether a file is about them."""
    material: Material
    """Train, validation, labels, section, seed, task, observers. Without validation nothing can be chosen."""
    prompt: PromptFormat | ChatPrompt
    folder: Path = field(default_factory=Path.cwd)
    """The recipe's folder, which relative paths start from."""
    journals: Path = field(default_factory=Path.cwd)
    """Where the answers of endpoints are kept."""
    hardware_section: HardwareSection = field(default_factory=HardwareSection)
    generation: GenerationSection = field(default_factory=GenerationSection)
    max_length: int = 1024
    too_long: str = "cut_end"
    separator: str | None = None
    """What stands between the labels of a cell in a file of answers, as the recipe says it of the data."""
    list_labels: bool | None = None
    """Whether the prompt of a model made elsewhere names the labels; None: both are tried on validation."""

    @cached_property
    def hardware(self) -> Hardware:
        """Device and dtype, decided when a model is loaded."""
        from metier.device import choose_hardware

        return choose_hardware(self.hardware_section)

    def path(self, value: object, where: str) -> Path:
        """A path of the recipe, from its own folder."""
        if not isinstance(value, str) or not value.strip():
            raise ArgumentError(where, f"found {value!r}", "a path")
        return self.folder / Path(expand(value)).expanduser()


def build_named(name: str, said: Mapping[str, Any], ground: JudgingGround) -> System:
    """The system that a recipe describes.

    Args:
        name: Its name in tables.
        said: Its fields, as plain values.
        ground: What it may be built from.

    Raises:
        ArgumentError: It is none of the kinds, or has a field that its kind has not.
        UserError: What it names cannot be used.
    """
    kind = kind_of(name, said)
    allowed, builder = KINDS[kind]
    extra = sorted(set(said) - set(allowed))
    if extra:
        near = difflib.get_close_matches(extra[0], allowed, n=1)
        fix = f"Did you mean `{near[0]}`?" if near else ""
        raise ArgumentError(f"systems.{name}", f"has the field `{extra[0]}`", f"of {', '.join(allowed)}", fix)
    return builder(name, said, ground)


def named_systems(systems: Mapping[str, Mapping[str, Any]], ground: JudgingGround) -> list[NamedSystem]:
    """All systems that a recipe names, to be built one after the other by `judged.answer_all`.

    Args:
        systems: Name -> fields, as the recipe has them.
        ground: What they may be built from.

    Raises:
        ArgumentError: One of them is none of the kinds, or has a name that cannot be a file's.
    """
    for name in systems:
        items_path(Path(), name)  # refuses one that cannot be a file's
    return [
        NamedSystem(name=name, build=partial(build_named, name, said, ground), way=_way(name, said, ground))
        for name, said in systems.items()
    ]


def kind_of(name: str, said: Mapping[str, Any]) -> str:
    """`run`, `answers`, `endpoint`, `lm_eval` or `model`: a row of `KINDS`."""
    for kind in KINDS:
        if kind in said:
            return kind
    found = f"has {', '.join(map(str, said)) or 'no fields'}"
    raise ArgumentError(f"systems.{name}", found, f"one of {', '.join(KINDS)}")


def _way(name: str, said: Mapping[str, Any], ground: JudgingGround) -> str:
    """What a system's answers depend on: its fields, the prompt, and the files behind them."""
    kind = kind_of(name, said)
    where = f"systems.{name}.{kind}"
    files: list[Path] = []
    if kind in ("answers", "lm_eval"):
        files = [ground.path(said[kind], where)]
    elif kind == "run":
        run = find_run(ground.path(said[kind], where))
        files = [run.results("test"), *sorted(run.model.glob("*.json"))]
    elif kind == "model" and said.get("adapter") is not None:
        files = sorted(ground.path(said["adapter"], f"systems.{name}.adapter").glob("adapter_*"))
    hashes = [file_sha256(path) for path in files if path.is_file()]
    more = _way_of_a_model(name, said, ground) if kind == "model" else []
    asked = (ground.prompt.hash, ground.material.task, ground.material.labels)
    return way_of(said, *asked, hashes, more, *_reading(ground))


def _reading(ground: JudgingGround) -> tuple[object, ...]:
    """How lists are read, where the task has lists."""
    return (LIST_READING, ground.separator) if ground.material.task in LISTS else ()


def _way_of_a_model(name: str, said: Mapping[str, Any], ground: JudgingGround) -> list[Any]:
    """The weights of a model made elsewhere, and how it is asked."""
    from metier.model.base import weights_fingerprint

    section = ground.material.section
    weights = weights_fingerprint(model_section(name, said, ground.path), ground.material.observers)
    chosen = [section.scoring_rules, section.selection_examples, section.primary_metric, ground.list_labels]
    asked = [ground.max_length, ground.too_long, ground.generation.model_dump(mode="json")]
    return [weights, chosen, asked, ground.hardware_section.model_dump(mode="json"), ground.material.seed]


def _run(name: str, said: Mapping[str, Any], ground: JudgingGround) -> System:
    path = ground.path(said["run"], f"systems.{name}.run")
    return run_system(
        path, ground.records, name=name, hardware=lambda: ground.hardware, observers=ground.material.observers
    )


def _answers(name: str, said: Mapping[str, Any], ground: JudgingGround) -> System:
    path = ground.path(said["answers"], f"systems.{name}.answers")
    columns = AnswerColumns(id=said.get("id"), answer=said.get("answer"), separator=ground.separator)
    found = load_recorded(
        path, ground.records, name=name, labels=ground.material.labels, columns=columns, task=ground.material.task,
        observers=ground.material.observers,
    )  # fmt: skip
    return as_task_reads(found, ground.material.task, ground.material.labels)


def _lm_eval(name: str, said: Mapping[str, Any], ground: JudgingGround) -> System:
    path = ground.path(said["lm_eval"], f"systems.{name}.lm_eval")
    task, labels = ground.material.task, ground.material.labels
    found = import_samples(
        path, ground.records, name=name, labels=labels if task == "classification" else (),
        rule=str(said.get("rule") or RULES[0]), observers=ground.material.observers,
    )  # fmt: skip
    return as_task_reads(found, task, labels)


def _endpoint(name: str, said: Mapping[str, Any], ground: JudgingGround) -> System:
    endpoint, settings = endpoint_of(name, said)
    found = open_endpoint(
        endpoint, ground.prompt, journal_of(name, said, ground, endpoint, settings), name=name, asked=settings,
        replay=bool(said.get("replay", False)), observers=ground.material.observers,
    )  # fmt: skip
    return as_task_reads(found, ground.material.task, ground.material.labels)


def endpoint_of(name: str, said: Mapping[str, Any]) -> tuple[Endpoint, AskingSettings]:
    """Where a system of a recipe listens, and how it is asked.

    Args:
        name: Its name.
        said: Its fields.

    Raises:
        ArgumentError: It has no address or no model.
    """
    model = said.get("model")
    if not isinstance(said["endpoint"], str) or not isinstance(model, str):
        raise ArgumentError(f"systems.{name}", "an endpoint without address or model", "endpoint and model as texts")
    values = {field: said[field] for field in _names(Endpoint) if field in said and field != "model"}
    asked = {field: said[field] for field in _names(AskingSettings) if field in said}
    return Endpoint(url=said["endpoint"], model=model, **values), AskingSettings(**asked)


def journal_of(
    name: str, said: Mapping[str, Any], ground: JudgingGround, endpoint: Endpoint, asked: AskingSettings
) -> Path:
    """Where the answers of an endpoint are written: as the recipe says, else a file for each way of asking."""
    if said.get("journal") is not None:
        return ground.path(said["journal"], f"systems.{name}.journal")
    way = fingerprint(about_endpoint(endpoint, ground.prompt, asked))[:8]
    return ground.journals / f"{name}-{way}.jsonl"


def _model(name: str, said: Mapping[str, Any], ground: JudgingGround) -> System:
    from metier.evaluation.elsewhere.outside import AskedHow, OutsideModel, build_outside

    where = f"systems.{name}.adapter"
    adapter = ground.path(said["adapter"], where) if said.get("adapter") is not None else None
    outside = OutsideModel(model=model_section(name, said, ground.path), adapter=adapter)
    asked = AskedHow(
        prompt=ground.prompt, max_length=ground.max_length, too_long=ground.too_long, generation=ground.generation,
        list_labels=ground.list_labels,
    )  # fmt: skip
    return build_outside(outside, asked, ground.material, ground.hardware, name)


def model_section(name: str, said: Mapping[str, Any], path: Callable[[object, str], Path]) -> ModelSection:
    """The model: a folder beside the recipe where there is one, else what a recipe can name.

    Args:
        name: Name of the system.
        said: Its fields.
        path: Makes a path of a recipe's text, as `JudgingGround.path` does.
    """
    place = path(said["model"], f"systems.{name}.model")
    named = str(place) if place.exists() else str(said["model"])
    return ModelSection(name=named, revision=said.get("revision"), quantization=said.get("quantization"))


def _names(cls: type) -> tuple[str, ...]:
    return tuple(each.name for each in fields(cls))


Builder = Callable[[str, Mapping[str, Any], JudgingGround], System]
KINDS: Mapping[str, tuple[tuple[str, ...], Builder]] = {
    "run": (("run",), _run),
    "answers": (("answers", "id", "answer"), _answers),
    "endpoint": (
        ("endpoint", "replay", "journal", *_names(Endpoint)[1:], *_names(AskingSettings)),  # `endpoint` is its url
        _endpoint,
    ),
    "lm_eval": (("lm_eval", "rule"), _lm_eval),
    "model": (("model", "adapter", "revision", "quantization"), _model),
}  # fmt: skip
"""Kind -> the fields that it may have, and its builder."""
