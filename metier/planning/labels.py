"""The check of `task: classification`: what every candidate reads and learns, the plan, the n-gram estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from metier.data.records import Choice, Record
from metier.data.splits import choices
from metier.model.base import BaseModel
from metier.model.encode import Encoder, cut_policy
from metier.model.prompt import make_prompt_format
from metier.planning.cost import Seconds
from metier.planning.count import Counter, draw_sample
from metier.planning.desk import Attached, Checked, Desk, memory_warnings, what_learns
from metier.planning.estimate import ONLY_IN_LANGUAGE_MODELS, Subject, Writers, plan_run
from metier.planning.estimate_texts import answering_bytes, written_baselines
from metier.planning.measured import label_probes
from metier.planning.outlook import Plan
from metier.planning.results import CandidateFindings
from metier.planning.solving import Solving, measure_solving
from metier.planning.texts import baseline_author
from metier.planning.tokens import Asking, Measured, faults_of_answers, measure_lengths, show_tokens, trained_part
from metier.planning.ways import Way, alternatives, going, other_ways
from metier.recipe.sections import ModelSection, Recipe

PAYING_SAMPLE = 2000
"""Records on which n-grams are fitted while that is judged."""
HEAPS = 0.6
"""Distinct n-grams grow with about this power of the text (Heaps' law)."""
SEVERAL = "All tokens are read; what is trained is for each label whether the text has it."
TFIDF_SHARE = 0.56
"""Seconds of the n-gram baseline beside those of that judgement: six fits on n-grams that are counted once, beside
eight smaller ones on n-grams that are counted six times (measured on the built-in examples)."""


@dataclass(eq=False)
class _Labels:
    """What the candidates of a classification share."""

    desk: Desk
    train: list[Choice]
    sample: list[Choice]
    golds: Sequence[Record]
    """The sample as it was read: of several labels a choice has the first."""
    measured: dict[tuple[str, int, bool], dict[str, Measured]] = field(default_factory=dict)
    solved: dict[str, Solving] = field(default_factory=dict)
    """By the hash of a model's weights."""

    def asking(self, base: BaseModel, recipe: Recipe, *, in_words: bool) -> Asking:
        """How a model meets a record, as a run does it."""
        data = self.desk.data
        encoder = Encoder(
            base.tokenizer, min(recipe.training.max_length, base.context), cut_policy(recipe.data.too_long)
        )
        prompt = make_prompt_format(recipe.prompt, data.labels, data.card.label_column) if in_words else None
        return Asking(base, encoder, prompt, data.labels)

    def lengths(self, asking: Asking) -> dict[str, Measured]:
        """Lengths of all splits; measured once for candidates that read alike."""
        key = (asking.base.weights_sha256, asking.encoder.max_length, asking.prompt is not None)
        if key not in self.measured:
            data = self.desk.data
            splits = (data.train, data.validation, data.test)
            self.measured[key] = {split.name: measure_lengths(asking, split) for split in splits}
        return self.measured[key]

    def solving(self, counter: Counter) -> Solving | None:
        """What solving heads on a model's features takes; None where it has no head, or there is no time to measure."""
        asking = counter.asking
        if asking.prompt is not None or self.desk.quick:
            return None
        if asking.base.weights_sha256 not in self.solved:
            texts, sets = [each.ids for each in counter.sequences], self.desk.recipe.task == "multilabel"
            found = measure_solving(asking.base, texts, self.golds, asking.labels, sets=sets)
            self.solved[asking.base.weights_sha256] = found
        return self.solved[asking.base.weights_sha256]

    def subject(self, name: str, recipe: Recipe, asking: Asking, attached: Attached | None = None) -> Subject:
        """What the estimate needs of a model; without `attached` nothing of it learns."""
        dtype = self.desk.dtype(asking.base, recipe)
        counter, shape = Counter(asking, self.sample), self.desk.shape(asking.base, dtype, attached)
        probes = label_probes(counter, recipe, solved=recipe.adaptation.method == "head")
        rates = self.desk.rates(asking.base, recipe, shape, probes, learns=attached is not None)
        return Subject(
            name=name, recipe=recipe, counter=counter, shape=shape, base=asking.base.weights_sha256,
            base_bytes=asking.base.bytes, file_bytes=self.desk.file_bytes(asking.base),
            rates=rates, solving=self.solving(counter),
            lengths={split: each.tokens for split, each in self.lengths(asking).items()},
            plan=attached.plan if attached else None, trainable=attached.trainable if attached else 0,
        )  # fmt: skip


def _as_choices(desk: Desk) -> list[Choice]:
    """The training records with one label each: of several the first, which no head's cost depends on."""
    if desk.recipe.task == "classification":
        return choices(desk.train)
    return [
        Choice(
            id=each.id, text=each.text, label=each.stratum or desk.data.labels[0], source=each.source, row=each.row
        )
        for each in desk.train
    ]  # fmt: skip


def check_labels(desk: Desk) -> Checked:
    """Everything about candidates that answer with labels.

    Args:
        desk: The check.
    """
    train, seed = _as_choices(desk), desk.recipe.seed
    labels = _Labels(desk, train, draw_sample(train, seed), draw_sample(desk.train, seed))
    paying, reason, seconds = desk.judge_paying()  # first: afterwards its memory could not be told from a model's
    gauged = desk.gauged()
    found, subjects = [], []
    for name, recipe in desk.candidates():
        about, subject = _check_candidate(labels, name, recipe)
        found.append(about)
        subjects.append(subject)
    # One fit of n-grams on all records, from those that were made on some.
    more = len(train) / max(1, min(len(train), PAYING_SAMPLE))
    baselines, writers = _baseline_models(labels, subjects), _writers(desk)
    measured = Seconds(
        data=desk.data_seconds, loading=desk.loading, tfidf=seconds * more * TFIDF_SHARE,
        program_bytes=desk.settle_program(), tfidf_bytes=round(desk.judging_bytes * more**HEAPS),
        libraries=desk.libraries, gauged=gauged,
    )  # fmt: skip

    def plan_of(first: Subject) -> Plan:
        return plan_run(desk.recipe, [first, *subjects[1:]], baselines, measured, desk.ground(), writers)

    plan = plan_of(subjects[0])
    if not desk.quick:
        plan = replace(plan, alternatives=alternatives(plan, _ways(subjects[0], baselines), plan_of))
    return Checked(
        candidates=tuple(found), plan=plan, paying=paying, paying_reason=reason, warnings=memory_warnings(plan)
    )


def _ways(subject: Subject, baselines: dict[str, Subject]) -> list[tuple[Way, Subject, bool]]:
    """Other ways for the first candidate, and the encoder of the probe where it is another model."""
    found = []
    network = subject.counter.asking.base.network
    for way in other_ways(subject.recipe, subject.shape.layers):
        gone = going(subject, way, network, head=not subject.in_words)
        if gone is not None:
            found.append((way, *gone))
    probe = baselines.get("probe")
    if probe is not None and not subject.solved:
        name = probe.counter.asking.base.name
        settings = {"model.name": name, "adaptation.method": "head"}
        found.append((Way(name=f"{name}, head", settings=settings), replace(probe, name=subject.name), True))
    return found


def _check_candidate(labels: _Labels, name: str, recipe: Recipe) -> tuple[CandidateFindings, Subject]:
    desk = labels.desk
    base = desk.base(recipe.model)
    attached = desk.attach(recipe, base)
    in_words, several = not attached.has_head, desk.recipe.task != "classification"
    asking = labels.asking(base, recipe, in_words=in_words)
    faults = faults_of_answers(asking)
    subject = labels.subject(name, recipe, asking, attached)
    about = CandidateFindings(
        name=name, model=base.name, kind=base.kind, source=base.source, licence=base.licence, notes=base.notes,
        in_words=in_words, learning=what_learns(subject, attached.summary),
        views=() if several else show_tokens(asking, labels.train, with_text=desk.recipe.report.examples),
        trained_part=SEVERAL if several else "" if faults else trained_part(asking),
        lengths=tuple(each.about for each in labels.lengths(asking).values()), faults=faults,
    )  # fmt: skip
    return about, subject


def _baseline_models(labels: _Labels, candidates: list[Subject]) -> dict[str, Subject]:
    """The models behind the baselines that have one, as a run chooses them."""
    desk = labels.desk
    evaluation, models = desk.recipe.evaluation, {}
    if "probe" in evaluation.systems:
        base = desk.base(ModelSection(name=evaluation.probe_model))
        encoder = Encoder(base.tokenizer, base.context, cut_policy(desk.recipe.data.too_long))
        models["probe"] = labels.subject("probe", _frozen(desk.recipe), Asking(base, encoder, None, desk.data.labels))
    wanted = [name for name in evaluation.systems if name in ONLY_IN_LANGUAGE_MODELS]
    if desk.recipe.task != "classification":
        return models  # several labels are written
    if wanted:
        decoders = [each for each in candidates if each.counter.asking.base.kind == "decoder"]
        recipe = decoders[0].recipe if decoders else desk.recipe
        section = recipe.model if decoders else ModelSection(name=evaluation.baseline_model)
        subject = labels.subject("base", _frozen(recipe), labels.asking(desk.base(section), recipe, in_words=True))
        models |= dict.fromkeys(wanted, subject)
    return models


def _writers(desk: Desk) -> Writers | None:
    """The language model that writes lists of labels untrained, as a run chooses it; None where none is asked."""
    evaluation = desk.recipe.evaluation
    if desk.recipe.task == "classification" or not ONLY_IN_LANGUAGE_MODELS & set(evaluation.systems):
        return None
    decoders = [way for way in desk.ways.values() if desk.base(way.model).kind == "decoder"]
    recipe = decoders[0] if decoders else desk.recipe
    section = recipe.model if decoders else ModelSection(name=evaluation.baseline_model)
    author = baseline_author(desk, desk.base(section), recipe)
    return Writers(
        stages=lambda rows: written_baselines(desk.recipe, author.with_rows(rows)), base=author.base,
        base_bytes=author.base_bytes, answering=answering_bytes(author) + author.packed,
    )  # fmt: skip


def _frozen(recipe: Recipe) -> Recipe:
    """The recipe of a model of which nothing learns."""
    return recipe.model_copy(update={"adaptation": recipe.adaptation.model_copy(update={"method": "head"})})
