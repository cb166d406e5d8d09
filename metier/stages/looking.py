"""The closer looks at the promoted system on the set that was just answered, each in a file of its own.

    trust        how far its probabilities can be believed, and what it answers by itself
    slices       where it is weak, and whether that is fair
    robustness   what changes of wording cost it (`asking_again.py` asks)
    errors       which training rows lie beside its wrong answers

All is counted by rank 0 from answers that every process has; only vectors are shared out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metier.data.cleaning import conflicts, poison, wrong_labels
from metier.data.cleaning.language import UNKNOWN, identify
from metier.data.record.findings import read_doubts
from metier.data.record.near_errors import write_near_errors
from metier.data.records import Record
from metier.errors import MissingPackage
from metier.evaluation.answering.heads import FeatureHead, TunedHead
from metier.evaluation.answering.set_heads import FeatureSets, TunedSets
from metier.evaluation.closer.error_report import Nearby, report_errors, unexplained
from metier.evaluation.closer.slice_kinds import SLICES, Sliced, slices_of
from metier.evaluation.closer.slice_report import FEW, large_enough, report_slices
from metier.evaluation.closer.trust import judge_trust
from metier.evaluation.evidence import ErrorReport, SliceReport, Trust
from metier.evaluation.gates import Looked
from metier.evaluation.labels.saved_calibration import SavedCalibration, fit_calibration, write_calibration
from metier.evaluation.looks import write_look
from metier.evaluation.measures import score_of
from metier.evaluation.results import Evaluation
from metier.evaluation.systems import System
from metier.events import Notice, tell
from metier.model.saved import ABOUT
from metier.recipe.sections import Recipe
from metier.stages.attempt import Attempt
from metier.stages.slice_columns import column_values
from metier.stages.workshop import Workshop
from metier.store.cache import cache_folder
from metier.store.fingerprint import file_sha256
from metier.store.values import from_plain, to_plain

Vectors = npt.NDArray[np.float32]
DOUBTING_STEPS = frozenset({conflicts.STEP, wrong_labels.STEP, poison.STEP})
"""Steps of the data room whose doubts are about labels."""
OWN_STATES_UP_TO = 5_000
"""Training rows that an encoder reads again for its own states, where nothing is stored: less than an epoch."""
NO_VECTORS = "no vectors of the texts are at hand: `probe` is not among evaluation.systems"
NO_LABELS = "vectors are kept of texts that are answered with labels"
BY_FOLD = "with evaluation.folds no vectors are kept"
LABELLED = ("classification", "multilabel")
"""Tasks whose texts can have vectors."""
ONE_SLICE = "all items are in one"
LABELS_ONLY = "only single labels are explained by training rows near them"


@dataclass(frozen=True, eq=False)
class Near:
    """Vectors of train and of the set's records."""

    words: str
    train: Vectors
    records: Vectors


def best_of(evaluations: Sequence[Evaluation], metric: str) -> Evaluation:
    """The best by the primary metric; the first of equal ones.

    Args:
        evaluations: At least one.
        metric: The primary metric.
    """
    return max(evaluations, key=lambda each: score_of(each, metric))


def keep_calibration(shop: Workshop, chosen: Attempt) -> None:
    """Write the promoted model's temperature and promise beside it; nothing where its answers are no labels.

    Args:
        shop: The run; the model is in place.
        chosen: The promoted attempt.
    """
    saved = _fitted(shop, chosen)
    if saved.promise is not None:
        write_calibration(shop.folder.model, saved)


def _fitted(shop: Workshop, chosen: Attempt) -> SavedCalibration:
    """Temperature and promise from all validation items of the promoted attempt."""
    section = shop.recipe.evaluation
    return fit_calibration(
        chosen.validation, target=section.promise_accuracy, sure=section.promise_confidence,
        calibrate=section.calibrate, model_sha256=file_sha256(shop.folder.model / ABOUT),
    )  # fmt: skip


def stored_vectors(shop: Workshop, systems: Sequence[System], records: Sequence[Record]) -> Near | None:
    """Vectors that the probe has computed already, while its encoder is in memory; None without a probe.

    Args:
        shop: The run.
        systems: The baselines.
        records: Of the set.
    """
    probe = next((system for system in systems if isinstance(system, FeatureHead | FeatureSets)), None)
    if probe is None or not _wants_vectors(shop):
        return None
    texts = [probe.encoder.text(record.text).ids for record in (*shop.train, *records)]
    rows = probe.store.features(texts, "vectors")
    return Near(probe.kind.partition(",")[0], rows[: len(shop.train)], rows[len(shop.train) :])


def own_vectors(shop: Workshop, tuned: System, records: Sequence[Record]) -> Near | None:
    """The promoted encoder's own states, stored as all features are; None of a model that is no small encoder."""
    few = len(shop.train) <= OWN_STATES_UP_TO
    if not isinstance(tuned, TunedHead | TunedSets) or not few or not _wants_vectors(shop):
        return None
    if tuned.model.base.kind != "encoder":
        return None
    from metier.engine.features import FeatureStore

    base = tuned.model.base
    changed = tuned.model.section.method != "head"  # else its states are the base's, which are stored
    identity = f"{base.weights_sha256}/{file_sha256(shop.folder.model / ABOUT)}" if changed else base.weights_sha256
    store = FeatureStore(cache_folder("features"), tuned.model.network, base.kind, identity, shop.observers)
    texts = [tuned.encoder.text(record.text).ids for record in (*shop.train, *records)]
    rows = store.features(texts, "vectors")
    return Near("the model's own states", rows[: len(shop.train)], rows[len(shop.train) :])


def _wants_vectors(shop: Workshop) -> bool:
    section = shop.recipe.evaluation
    explains = shop.recipe.task == "classification" and section.explain_errors > 0
    return explains or (shop.recipe.task in LABELLED and "cluster" in section.slices)


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """A set that every system has answered."""

    chosen: Attempt
    """The promoted one."""
    candidate: Evaluation
    """The promoted system on the set."""
    others: Sequence[Evaluation]
    """The baselines on it."""
    records: Sequence[Record]
    """Of the set, in the order of the items."""
    near: Near | None = None
    """Vectors of train and of these records. None: there are none."""


def look_closer(shop: Workshop, answered: Answered) -> Looked:
    """Take the looks that need no further answers, write them, and tell what they say.

    Args:
        shop: The run; the promoted model is in place.
        answered: The set.

    Returns:
        What gates read.
    """

    def take() -> dict[str, object]:
        trust = judge_trust(answered.candidate, answered.others, _fitted(shop, answered.chosen))
        slices, errors = _slices(shop, answered), _errors(shop, answered)
        if errors is not None and errors.rows:
            _doubt(shop, errors)
        _write(shop, trust, slices, errors, answered.candidate.set)
        return {"trust": to_plain(trust), "slices": to_plain(slices)}

    plain = shop.team.once(take)
    return Looked(trust=from_plain(Trust, plain["trust"]), slices=from_plain(SliceReport, plain["slices"]))


def _write(shop: Workshop, trust: Trust, slices: SliceReport, errors: ErrorReport | None, name: str) -> None:
    folder = shop.folder.evaluation_of(name).path
    for look in (trust, slices, *([] if errors is None else [errors])):
        write_look(look, folder)
    if trust.alone is not None:
        _tell(shop, "trust", trust.alone.sentence)
    if trust.tempered is not None:
        _tell(shop, "trust", trust.tempered.sentence)
    weak = [row for row in slices.slices if row.verdict == "weak"]
    if weak:
        first, more = weak[0], f" ({len(weak) - 1} more in slices.json)" if len(weak) > 1 else ""
        value, rest = first.score.value or 0.0, first.against_rest.value or 0.0
        said = f"weakest by {first.kind} in {first.name}: {value:.3f}, the others {value - rest:.3f}, n = {first.n}"
        _tell(shop, "slices", said + more)
    if errors is not None and errors.wrong:
        _tell(shop, "errors", errors.sentence)


def _tell(shop: Workshop, topic: str, message: str) -> None:
    tell(shop.observers, Notice(topic=topic, message=message))


def _slices(shop: Workshop, answered: Answered) -> SliceReport:
    metric = shop.recipe.evaluation.primary_metric
    kinds, left_out = _kinds(shop, answered)
    best = best_of(answered.others, metric) if answered.others else None
    return report_slices(answered.candidate, best, metric, kinds, left_out)


def _kinds(shop: Workshop, answered: Answered) -> tuple[dict[str, list[str | None]], dict[str, str]]:
    """The slice of every item by kind, and the kinds that are not there with the reason."""
    records, near = answered.records, answered.near
    wanted: list[str] = list(shop.recipe.evaluation.slices)
    left_out: dict[str, str] = {}
    if "label" in wanted and shop.recipe.task != "classification":
        wanted.remove("label")
        left_out["label"] = "answers are no single labels"
    languages: list[str | None] | None = None
    if "language" in wanted:
        languages, reason = _languages(records)
        left_out |= {"language": reason} if reason else {}
    values = column_values(shop.recipe, shop.data, records)
    left_out |= values.left_out
    columns = {name: [shop.policy.member(value) for value in rows] for name, rows in values.columns.items()}
    sliced = Sliced(
        items=answered.candidate.items, lengths=[len(record.text.split()) for record in records], languages=languages,
        features=None if near is None else near.records, columns=columns, seed=shop.recipe.seed,
    )  # fmt: skip
    kinds = slices_of(sliced, [*wanted, *columns])
    for kind in list(kinds):
        if (kind in columns or kind == "group") and not large_enough(kinds[kind]):
            left_out[kind] = FEW
            del kinds[kind]
    for kind in (*wanted, *columns):
        if kind not in kinds:
            left_out.setdefault(kind, _why_not(kind, near, shop.recipe))
    return kinds, {kind: reason for kind, reason in left_out.items() if kind not in kinds}


def _why_not(kind: str, near: Near | None, recipe: Recipe) -> str:
    if kind == "cluster" and near is None:
        if recipe.task not in LABELLED:
            return NO_LABELS
        return NO_VECTORS if recipe.evaluation.folds is None else BY_FOLD
    if kind == "cluster":
        return "there are too few items for clusters"
    return "no record has a group" if kind == "group" and kind in SLICES else ONE_SLICE


def _languages(records: Sequence[Record]) -> tuple[list[str | None] | None, str]:
    """The language of every record, None where it is unknown; or why none is known."""
    try:
        found = [identify(record.text)[0] for record in records]
    except MissingPackage as fault:
        return None, f"{fault.found}. {fault.fix}"
    known: list[str | None] = [None if name == UNKNOWN else name for name in found]
    return known, "" if any(known) else "the texts are too short to tell their language"


def _errors(shop: Workshop, answered: Answered) -> ErrorReport | None:
    most, candidate, near = shop.recipe.evaluation.explain_errors, answered.candidate, answered.near
    if most == 0:
        return None
    if shop.recipe.task != "classification":
        return unexplained(candidate, LABELS_ONLY)
    if near is None:
        return unexplained(candidate, NO_VECTORS)
    nearby = Nearby(
        words=near.words, train=shop.train, train_vectors=near.train, vectors=near.records, doubted=_doubted(shop)
    )
    return report_errors(candidate, nearby, most)


def _doubt(shop: Workshop, errors: ErrorReport) -> None:
    """Let the review of the data ask about the training rows near wrong answers."""
    records = {record.id: record for record in shop.train}
    rows = [row for row in errors.rows if row.doubted or row.errors > 1]
    write_near_errors(shop.folder.data, [(records[row.id], row.errors) for row in rows], shop.policy.mark)


def _doubted(shop: Workshop) -> frozenset[str]:
    """Ids of training records whose label a step of the data room doubts."""
    places = {
        (each.place.source, each.place.row) for each in read_doubts(shop.folder.data) if each.step in DOUBTING_STEPS
    }
    return frozenset(record.id for record in shop.train if (record.source, record.row) in places)
