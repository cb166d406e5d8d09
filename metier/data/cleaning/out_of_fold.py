"""How probable each label is for each row, said by a model that has seen neither the row nor its like.

From texts: TF-IDF of words, pairs of words and characters with logistic regression, one against the rest, learned
by stochastic gradient descent. Where features are given (an encoder's) also from them, by multinomial logistic
regression, and the mean of both counts: it ranks wrong labels better than either alone (docs/results/data.md). Big data
is learned from a sample, and every row is judged by the model whose folds leave its cluster out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from metier.data.cleaning.folds import NOT_LOOKED, deal_folds, draw_sample, survey_labels
from metier.data.cleaning.ngrams import Bools, Ints, row_batches
from metier.data.cleaning.rows import Rows
from metier.data.cleaning.text_features import TextFeatures, fit_features
from metier.data.table import counted
from metier.errors import DataError

Floats = npt.NDArray[np.float32]
Model = tuple[Floats, Floats]
"""Weights, shape (features, labels), and intercepts, shape (labels,)."""
MOST_WEIGHTS = 1 << 23
"""Weights of one fold's model: with many labels fewer features are kept."""
STRENGTH = 5.0
"""Inverse regularisation strength (C) of the models."""


@dataclass(frozen=True, kw_only=True)
class FoldSettings:
    """How out-of-fold probabilities are made."""

    splits: tuple[str, ...] = ("train", "validation", "unsplit")
    """Which splits are judged. Models learn from train and from what is not split yet, never from the others."""
    folds: int = 5
    """Models; each learns from all folds but one. At least 2."""
    rarest: int = 5
    """A label in fewer clusters of rows than this is neither learned nor judged."""
    learn_from: int = 20_000
    """Rows learned from at most, drawn by hash, some of every label."""
    likeliest: int = 16
    """Labels kept for each row: the most probable ones. The others count as impossible there."""
    seed: int = 17
    """Of the folds, the sample and the order of learning."""


@dataclass(frozen=True, kw_only=True)
class Chances:
    """Probabilities of the labels of the rows that were judged; n rows, m = `likeliest` labels each."""

    names: tuple[str, ...]
    """The labels learned, sorted."""
    key: Ints
    """Shape (n,), ascending."""
    given: npt.NDArray[np.int32]
    """Place in `names` of each row's own label, shape (n,); -1 where it was too rare to learn."""
    own: Floats
    """Probability of that label, shape (n,)."""
    likely: npt.NDArray[np.int32]
    """Places in `names`, the most probable first, shape (n, m)."""
    chance: Floats
    """Their probabilities, shape (n, m)."""
    rare: Mapping[str, int]
    """Labels that were too rare to learn, with their rows."""
    notes: tuple[str, ...]
    """What was not looked at, and how."""


def out_of_fold_chances(
    rows: Rows,
    settings: FoldSettings | None = None,
    *,
    clusters: npt.NDArray[np.integer] | None = None,
    features: npt.NDArray[np.floating] | None = None,
) -> Chances:
    """Learn on folds and judge every row out of them.

    Args:
        rows: All rows; those with labels are looked at.
        settings: How.
        clusters: Near duplicates by key, as another step found them. None: found here, more coarsely.
        features: One row of numbers a key, shape (rows, features), beside the texts. None: the texts alone.

    Returns:
        The probabilities; of no row where fewer than two labels can be learned, and a note says so.

    Raises:
        DataError: `features` has not one row for each of `rows`.
    """
    settings = settings or FoldSettings()
    if features is not None and len(features) != len(rows):
        raise DataError("features", f"there are {len(features):,}", f"one for each of {counted(len(rows), 'row')}")
    survey = survey_labels(rows, settings.splits, clusters)
    learnable = np.flatnonzero(survey.clusters_per_label() >= settings.rarest)
    looked = survey.label != NOT_LOOKED
    names = tuple(survey.names[place] for place in learnable)
    place = np.full(len(survey.names) + 1, -1, dtype=np.int32)
    place[learnable] = np.arange(len(learnable))
    given = place[survey.label]  # -1 stays -1: the last entry
    per_label = survey.rows_per_label()
    rare = {name: int(per_label[at]) for at, name in enumerate(survey.names) if place[at] < 0}
    notes = _notes(len(rows), looked, rare, settings)
    if len(names) < 2:
        if looked.any():
            notes.append(f"wrong labels were not looked for: {counted(len(names), 'label')} can be learned, not two")
        return _nothing(names, rare, notes)
    most = max(min(settings.learn_from, 2_000_000 // len(names)), min(settings.learn_from, 10 * len(names)))
    sample = draw_sample(survey, survey.learn & (given >= 0), most, settings.seed)
    if len(sample) < int(np.count_nonzero(survey.learn & (given >= 0))):
        notes.append(f"labels are learned from {counted(len(sample), 'row')} drawn by hash; all rows are judged")
    fold = deal_folds(survey, settings.folds, settings.seed)
    _warn_of_giants(fold[looked], notes)
    judged = _from_texts(rows, given, fold, sample, looked, settings)
    if features is not None:
        judge = _from_features(features, given, fold, sample, settings)
        judged = ((keys, (every + judge(keys)) * np.float32(0.5)) for keys, every in judged)
    return _collect(judged, given, looked, names, min(settings.likeliest, len(names)), rare, notes)


Judged = Iterator[tuple[Ints, Floats]]
"""Keys, ascending, and the probabilities of all labels for each, shape (keys, labels)."""


def _from_texts(
    rows: Rows, given: npt.NDArray[np.int32], fold: npt.NDArray[np.int8], sample: Ints, looked: Bools, s: FoldSettings
) -> Judged:
    labels = int(given.max()) + 1
    columns = int(np.clip(MOST_WEIGHTS // labels, 1 << 13, 1 << 16))
    features, matrix = fit_features(rows, sample, columns=columns)
    epochs = int(np.clip(100_000 // max(len(sample), 1), 5, 40))

    def fit(part: Any, answers: Ints, seed: int) -> Any:
        from sklearn.linear_model import SGDClassifier  # type: ignore[import-untyped]

        alpha = 1 / (STRENGTH * len(answers))
        model = SGDClassifier(loss="log_loss", alpha=alpha, max_iter=epochs, tol=None, random_state=seed)
        return model.fit(part, answers)

    models = _fit_folds(fit, matrix, given[sample], fold[sample], labels, s)
    return _judge_texts(rows, looked, fold, features, models)


def _judge_texts(
    rows: Rows, looked: Bools, fold: npt.NDArray[np.int8], features: TextFeatures, models: Sequence[Model]
) -> Judged:
    for batch in row_batches(rows, looked):
        keys = np.array([row.key for row in batch])
        matrix = features.rows_of([row.text for row in batch])
        yield keys, _apply(models, matrix, fold[keys], _one_against_the_rest)


def _from_features(
    features: npt.NDArray[np.floating],
    given: npt.NDArray[np.int32],
    fold: npt.NDArray[np.int8],
    sample: Ints,
    s: FoldSettings,
) -> Callable[[Ints], Floats]:
    """From keys to the probabilities of all labels for each, shape (keys, labels)."""
    from sklearn.linear_model import LogisticRegression

    mean = features[sample].mean(axis=0)
    spread = np.maximum(features[sample].std(axis=0), 1e-6)

    def fit(part: Any, answers: Ints, seed: int) -> Any:
        return LogisticRegression(C=1 / part.shape[1], max_iter=200, tol=1e-3, random_state=seed).fit(part, answers)

    scaled = ((features[sample] - mean) / spread).astype(np.float32)
    models = _fit_folds(fit, scaled, given[sample], fold[sample], int(given.max()) + 1, s)
    # Of two labels the model is one row of weights: each against the rest gives the same as both together.
    link = _one_against_the_rest if int(given.max()) == 1 else _softmax

    def judge(keys: Ints) -> Floats:
        return _apply(models, ((features[keys] - mean) / spread).astype(np.float32), fold[keys], link)

    return judge


def _fit_folds(
    fit: Callable[[Any, Ints, int], Any],
    matrix: Any,
    given: npt.NDArray[np.int32],
    fold: npt.NDArray[np.int8],
    labels: int,
    s: FoldSettings,
) -> list[Model]:
    """One model for each fold, of the other folds' rows; a label that those lack is impossible there."""
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]

    models: list[Model] = []
    for left_out in range(s.folds):
        part = np.flatnonzero(fold != left_out)
        weights = np.zeros((matrix.shape[1], labels), dtype=np.float32)
        intercepts = np.full(labels, -1e4, dtype=np.float32)
        known = np.unique(given[part])
        if len(known) == 1:
            intercepts[known] = 0.0
        elif len(known) > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # probabilities near the best ones do
                model = fit(matrix[part], given[part].astype(np.int64), s.seed + left_out)
            coefficients, constants = model.coef_, model.intercept_
            if len(known) == 2:  # scikit-learn keeps one row for two labels
                coefficients, constants = np.vstack((-coefficients, coefficients)), np.append(-constants, constants)
            weights[:, known], intercepts[known] = coefficients.T, constants
        models.append((weights, intercepts))
    return models


def _apply(
    models: Sequence[Model], matrix: Any, fold: npt.NDArray[np.int8], link: Callable[[Floats], Floats]
) -> Floats:
    result = np.zeros((matrix.shape[0], len(models[0][1])), dtype=np.float32)
    for number, (weights, intercepts) in enumerate(models):
        part = np.flatnonzero(fold == number)
        if len(part):
            result[part] = link(np.asarray(matrix[part] @ weights) + intercepts)
    return result


def _one_against_the_rest(scores: Floats) -> Floats:
    each = 1 / (1 + np.exp(-np.clip(scores, -60, 60)))
    result: Floats = each / np.maximum(each.sum(axis=1, keepdims=True), 1e-30)
    return result


def _softmax(scores: Floats) -> Floats:
    each = np.exp(scores - scores.max(axis=1, keepdims=True))
    result: Floats = each / each.sum(axis=1, keepdims=True)
    return result


def _collect(
    judged: Judged,
    given: npt.NDArray[np.int32],
    looked: Bools,
    names: tuple[str, ...],
    likeliest: int,
    rare: Mapping[str, int],
    notes: Sequence[str],
) -> Chances:
    count = int(np.count_nonzero(looked))
    key = np.flatnonzero(looked)
    own = np.zeros(count, dtype=np.float32)
    likely = np.zeros((count, likeliest), dtype=np.int32)
    chance = np.zeros((count, likeliest), dtype=np.float32)
    at = 0
    for keys, every in judged:
        end = at + len(keys)
        labels = given[keys]
        own[at:end] = np.where(labels >= 0, every[np.arange(len(keys)), labels], 0.0)
        likely[at:end], chance[at:end] = most_likely(every, likeliest)
        at = end
    return Chances(
        names=names, key=key, given=given[key], own=own, likely=likely, chance=chance, rare=rare, notes=tuple(notes)
    )


def most_likely(every: npt.NDArray[np.floating], count: int) -> tuple[npt.NDArray[np.int32], Floats]:
    """The `count` most probable labels of each row and their probabilities; the first label where several are equal.

    Args:
        every: Probabilities of all labels, shape (rows, labels).
        count: At most the number of labels.
    """
    order = np.argsort(-every, axis=1, kind="stable")[:, :count]
    return order.astype(np.int32), np.take_along_axis(every, order, axis=1).astype(np.float32)


def _nothing(names: tuple[str, ...], rare: Mapping[str, int], notes: Sequence[str]) -> Chances:
    none = np.zeros(0, dtype=np.int64)
    table = np.zeros((0, max(len(names), 1)), dtype=np.float32)
    return Chances(
        names=names, key=none, given=none.astype(np.int32), own=none.astype(np.float32),
        likely=table.astype(np.int32), chance=table, rare=rare, notes=tuple(notes),
    )  # fmt: skip


def _notes(count: int, looked: Bools, rare: Mapping[str, int], s: FoldSettings) -> list[str]:
    notes = []
    away = count - int(np.count_nonzero(looked))
    if away:
        where = ", ".join(s.splits)
        notes.append(f"{counted(away, 'row')} not judged: without a label, or in no split of {where}")
    if rare:
        rows = sum(rare.values())
        notes.append(
            f"{counted(len(rare), 'label')} with {counted(rows, 'row')} not judged: "
            f"in fewer than {s.rarest} clusters of training rows"
        )
    return notes


def _warn_of_giants(fold: npt.NDArray[np.int8], notes: list[str]) -> None:
    largest = np.bincount(fold).max(initial=0) if len(fold) else 0
    if largest > 0.5 * len(fold) and len(fold) > 20:
        notes.append(
            "more than half of the rows belong together (one group, or near duplicates): few are left to learn"
        )
