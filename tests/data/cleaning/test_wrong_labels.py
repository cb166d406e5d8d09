"""Wrong labels: planted flips are found, and confident learning agrees with its paper and with cleanlab."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.cleaning.confident import confident_joint, confident_thresholds, doubt_labels
from metier.data.cleaning.folds import deal_folds, draw_sample, survey_labels
from metier.data.cleaning.out_of_fold import Chances, FoldSettings, most_likely, out_of_fold_chances
from metier.data.cleaning.rows import Row
from metier.data.cleaning.wrong_labels import WrongLabelSettings, screen_wrong_labels
from metier.errors import DataError

RealData = Callable[[str], Path]
Flips = npt.NDArray[np.bool_]


def _rows(texts: Sequence[str], labels: Sequence[str], **more: Sequence[str]) -> list[Row]:
    count = len(texts)
    splits, groups = more.get("splits", ["train"] * count), more.get("groups", [None] * count)
    return [
        Row(key=at, split=splits[at], text=texts[at], answer=labels[at], labelled=True, group=groups[at],
            source="made.csv", row=at + 1)
        for at in range(count)
    ]  # fmt: skip


def _made(count: int, labels: int, seed: int) -> tuple[list[str], list[str]]:
    """Texts of a dozen words: some of their label's forty, most of those that all share."""
    random = np.random.default_rng(seed)
    label = random.integers(0, labels, count)
    own = [[f"topic{at}word{word}" for word in range(40)] for at in range(labels)]
    shared = [f"common{word}" for word in range(300)]
    texts = [
        " ".join([*random.choice(own[at], random.integers(1, 5)), *random.choice(shared, 9)]) for at in label.tolist()
    ]
    return texts, [f"label {at}" for at in label]


def _flipped(labels: Sequence[str], seed: int, share: float = 0.1) -> tuple[list[str], Flips]:
    """A tenth of the labels changed to another one."""
    random = np.random.default_rng(seed)
    names = sorted(set(labels))
    flips = random.random(len(labels)) < share
    steps = random.integers(1, len(names), len(labels))
    return [
        names[(names.index(label) + step) % len(names)] if flip else label
        for label, flip, step in zip(labels, flips, steps, strict=True)
    ], flips


def _quality(chances: Chances, flips: Flips) -> tuple[float, float]:
    """AUROC of the score, and the share of flips among as many of the highest scores as there are flips."""
    from sklearn.metrics import roc_auc_score

    score = doubt_labels(chances).score
    assert chances.key.tolist() == list(range(len(flips)))
    top = np.argsort(-score, kind="stable")[: int(flips.sum())]
    return float(roc_auc_score(flips, score)), float(flips[top].mean())


def _check(texts: Sequence[str], labels: Sequence[str], seed: int) -> None:
    noisy, flips = _flipped(labels, seed)
    area, precision = _quality(out_of_fold_chances(_rows(texts, noisy)), flips)
    assert area >= 0.90
    assert precision >= 0.75


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_planted_flips_of_made_up_texts_are_found(seed: int) -> None:
    _check(*_made(1500, 4, seed), seed)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_planted_flips_of_four_intents_are_found(real_data: RealData, seed: int) -> None:
    chosen = {"card_arrival", "exchange_rate", "top_up_failed", "lost_or_stolen_card"}
    with (real_data("customer_support/banking77") / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["category"] in chosen]
    _check([row["text"] for row in rows], [row["category"] for row in rows], seed)


def test_planted_flips_of_four_categories_are_found(real_data: RealData) -> None:
    chosen = {"ACCOUNT", "ORDER", "REFUND", "INVOICE"}
    with (real_data("customer_support/bitext_intents") / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["category"] in chosen]
    assert {row["category"] for row in rows} == chosen
    _check([row["utterance"] for row in rows], [row["category"] for row in rows], 1)


def test_flips_are_found_by_given_features() -> None:
    random = np.random.default_rng(5)
    label = random.integers(0, 4, 800)
    features = random.normal(size=(800, 16)) + 2 * random.normal(size=(4, 16))[label]
    noisy, flips = _flipped([f"label {at}" for at in label], 5)
    area, precision = _quality(out_of_fold_chances(_rows(["same"] * 800, noisy), clusters=np.arange(800),
                                                   features=features), flips)  # fmt: skip
    assert area >= 0.90
    assert precision >= 0.75


def test_two_labels_work_from_texts_and_from_features() -> None:
    texts, labels = _made(400, 2, 4)
    noisy, flips = _flipped(labels, 4)
    features = np.array([[text.count("topic0"), text.count("topic1"), 1.0] for text in texts])
    for given_features in (None, features):
        chances = out_of_fold_chances(_rows(texts, noisy), features=given_features)
        assert np.allclose(chances.chance.sum(axis=1), 1, atol=1e-4)
        assert _quality(chances, flips)[0] >= 0.90


def _dense(chances: Chances) -> npt.NDArray[np.float64]:
    table = np.zeros((len(chances.key), len(chances.names)))
    np.put_along_axis(table, chances.likely.astype(np.int64), chances.chance.astype(np.float64), axis=1)
    return table


def _chances(
    table: npt.NDArray[np.float64], given_labels: npt.NDArray[np.int64], likeliest: int | None = None
) -> Chances:
    likely, chance = most_likely(table, likeliest or table.shape[1])
    count = np.arange(len(table))
    return Chances(
        names=tuple(f"label {at}" for at in range(table.shape[1])), key=count, given=given_labels.astype(np.int32),
        own=table[count, given_labels].astype(np.float32), likely=likely, chance=chance, rare={}, notes=(),
    )  # fmt: skip


def _random_case(seed: int, labels: int, rows: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    true = random.integers(0, labels, rows)
    table = random.dirichlet(np.full(labels, 0.5), rows) + 1.5 * np.eye(labels)[true] * random.random((rows, 1))
    table /= table.sum(axis=1, keepdims=True)
    given_labels = np.where(random.random(rows) < 0.2, random.integers(0, labels, rows), true)
    given_labels[:labels] = np.arange(labels)  # cleanlab wants every label to occur
    return table.astype(np.float32).astype(np.float64), given_labels


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(20, 80))
def test_thresholds_and_joint_are_those_of_the_paper(seed: int, labels: int, rows: int) -> None:
    table, given_labels = _random_case(seed, labels, rows)
    chances = _chances(table, given_labels)
    thresholds = [table[given_labels == at, at].mean() for at in range(labels)]
    assert np.allclose(confident_thresholds(chances), thresholds, atol=1e-6)
    joint = np.zeros((labels, labels), dtype=int)
    for row, label in zip(table, given_labels, strict=True):
        reached = [at for at in range(labels) if row[at] >= thresholds[at] - 1e-6]
        if reached:
            joint[label, reached[0] if len(reached) == 1 else int(np.argmax(row))] += 1
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    assert np.array_equal(confident_joint(chances, confident_thresholds(chances)), joint)


def test_doubts_are_those_of_cleanlab() -> None:
    """On the same probabilities; the two may round the counts of a label apart by one."""
    filters, rank = pytest.importorskip("cleanlab.filter"), pytest.importorskip("cleanlab.rank")
    from sklearn.metrics import roc_auc_score

    for seed, labels, rows in ((1, 3, 300), (2, 5, 700), (3, 12, 1500), (4, 2, 200)):
        table, given_labels = _random_case(seed, labels, rows)
        theirs = filters.find_label_issues(given_labels, table, n_jobs=1)
        ours = doubt_labels(_chances(table, given_labels))
        assert np.mean(ours.wrong == theirs) >= 0.99
        quality = rank.get_label_quality_scores(given_labels, table)
        assert np.allclose(1 - ours.score, quality, atol=1e-5)
    texts, labels_made = _made(1200, 4, 9)
    noisy, flips = _flipped(labels_made, 9)
    chances = out_of_fold_chances(_rows(texts, noisy))
    table = _dense(chances)
    table /= table.sum(axis=1, keepdims=True)
    theirs_quality = rank.get_label_quality_scores(chances.given, table)
    area, precision = _quality(chances, flips)
    top = np.argsort(theirs_quality)[: int(flips.sum())]
    assert area >= roc_auc_score(flips, -theirs_quality) - 0.005
    assert precision >= flips[top].mean() - 0.02
    theirs = filters.find_label_issues(chances.given, table, n_jobs=1)
    assert np.mean(doubt_labels(chances).wrong == theirs) >= 0.99


def test_the_likeliest_labels_are_enough() -> None:
    table, given_labels = _random_case(7, 40, 2000)
    every, few = (doubt_labels(_chances(table, given_labels, likeliest)) for likeliest in (None, 16))
    assert np.mean(every.wrong == few.wrong) >= 0.995
    assert every.wrong.sum() > 50


def test_a_label_is_never_doubted_away() -> None:
    table = np.tile([0.9, 0.1], (10, 1))
    given_labels = np.array([0] * 9 + [1])
    assert not doubt_labels(_chances(table, given_labels)).wrong.any()
    assert not doubt_labels(_chances(table, np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 1])), fewest=3).wrong.any()


def test_rows_of_test_are_neither_learned_nor_judged() -> None:
    texts, labels = _made(600, 3, 1)
    splits = ["test" if at % 3 == 0 else "validation" if at % 3 == 1 else "train" for at in range(600)]
    rows = _rows(texts, labels, splits=splits)
    chances = out_of_fold_chances(rows)
    assert chances.key.tolist() == [row.key for row in rows if row.split != "test"]
    assert any("not judged" in note for note in chances.notes)
    # What test and validation say must not matter to what train's rows are told.
    other = _rows(
        [text if split == "train" else "nothing" for text, split in zip(texts, splits, strict=True)],
        [label if split == "train" else "label 0" for label, split in zip(labels, splits, strict=True)],
        splits=splits,
    )  # fmt: skip
    clusters = np.arange(600)
    train = np.array([row.key for row in rows if row.split == "train"])
    first, second = (out_of_fold_chances(one, clusters=clusters) for one in (rows, other))
    assert np.array_equal(
        first.own[np.searchsorted(first.key, train)], second.own[np.searchsorted(second.key, train)]
    )  # fmt: skip


def test_rare_labels_are_left_out_and_said() -> None:
    texts, labels = _made(300, 3, 2)
    labels[:3] = ["rare"] * 3
    chances = out_of_fold_chances(_rows(texts, labels))
    assert chances.rare == {"rare": 3}
    assert "rare" not in chances.names
    assert chances.given[:3].tolist() == [-1, -1, -1]
    finding = screen_wrong_labels(chances)
    assert not {doubt.key for doubt in finding.doubts} & {0, 1, 2}
    assert "1 label with 3 rows not judged: in fewer than 5 clusters of training rows" in finding.notes


def test_one_label_or_no_rows_end_in_a_note() -> None:
    finding = screen_wrong_labels(out_of_fold_chances(_rows(["a b", "c d"] * 20, ["one"] * 40)))
    assert (finding.looked_at, finding.doubts) == (0, ())
    assert any("not looked for" in note for note in finding.notes)
    assert screen_wrong_labels(out_of_fold_chances([])).doubts == ()


def test_features_of_another_number_of_rows_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        out_of_fold_chances(_rows(["a", "b"], ["x", "y"]), features=np.zeros((3, 2)))
    assert str(caught.value) == "features: there are 3, wanted one for each of 2 rows."


def test_copies_and_groups_stay_in_one_fold() -> None:
    texts, labels = _made(400, 3, 3)
    texts[200:] = [f"{text} please" for text in texts[:200]]
    groups = [f"group {at % 50}" for at in range(400)]
    for given_groups in ([None] * 400, groups):
        survey = survey_labels(_rows(texts, labels, groups=given_groups), ("train",))
        fold = deal_folds(survey, 5, 17)
        assert np.mean(fold[:200] == fold[200:]) > 0.95
        assert np.bincount(fold, minlength=5).min() > 40
    by_group = [set(fold[[at for at in range(400) if groups[at] == name]].tolist()) for name in set(groups)]
    assert all(len(folds) == 1 for folds in by_group)


def test_texts_of_one_template_do_not_become_one_cluster() -> None:
    texts = [f"please cancel my order of {thing} and {other}" for thing in "abcdefghij" for other in "klmnopqrst"] * 2
    survey = survey_labels(_rows(texts, ["x", "y"] * 100), ("train",))
    assert np.bincount(survey.cluster).max() <= 40
    assert len({(text, cluster) for text, cluster in zip(texts, survey.cluster, strict=True)}) == 100


def test_a_sample_has_some_of_every_label() -> None:
    labels = ["often"] * 5000 + ["seldom"] * 20
    survey = survey_labels(_rows([f"text {at}" for at in range(5020)], labels), ("train",), np.arange(5020))
    sample = draw_sample(survey, survey.learn, 500, 17)
    assert len(sample) == 500
    assert int((sample >= 5000).sum()) == 20
    texts, made = _made(1000, 3, 6)
    noisy, flips = _flipped(made, 6)
    chances = out_of_fold_chances(_rows(texts, noisy), FoldSettings(learn_from=400))
    assert any("learned from 400 rows" in note for note in chances.notes)
    assert _quality(chances, flips)[0] > 0.8


def test_the_finding_names_labels_and_no_texts() -> None:
    texts, labels = _made(600, 3, 8)
    noisy, flips = _flipped(labels, 8)
    rows = _rows(texts, noisy)
    finding = screen_wrong_labels(out_of_fold_chances(rows))
    again = screen_wrong_labels(out_of_fold_chances(rows))
    assert finding.doubts == again.doubts
    right = [doubt for doubt in finding.doubts if flips[doubt.key]]
    assert len(right) >= 0.8 * len(finding.doubts)
    assert sum(doubt.suggestion == labels[doubt.key] for doubt in right) >= 0.9 * len(right)
    assert "word" not in repr(finding)
    assert all(0.3 <= (doubt.score or 0) <= 1 for doubt in finding.doubts)
    pairs = finding.tables["labels that are taken for each other"]
    assert sum(int(str(line["rows"])) for line in pairs) == finding.counts["wrong label"] == len(finding.doubts)
    short = screen_wrong_labels(out_of_fold_chances(rows), WrongLabelSettings(most_doubts=5))
    assert len(short.doubts) == 5
    surest = sorted((doubt.score or 0 for doubt in finding.doubts), reverse=True)[:5]
    assert sorted((doubt.score or 0 for doubt in short.doubts), reverse=True) == surest
