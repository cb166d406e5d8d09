"""Folds of a run's rows: groups and copies whole, validation inside, no label only there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from metier.data.prepare import prepare_data
from metier.data.prepared import PreparedData
from metier.errors import DataError
from metier.recipe.sections import DataSection
from metier.stages.fold_data import deal_rows, read_fold, write_all_rows, write_fold
from metier.store.run_folder import RunFolder

LABELS = ("refund", "card", "login", "limit")


def _prepared(place: Path, *, groups: int = 0) -> PreparedData:
    rows = ["text,intent,team"]
    for number in range(80):
        team = f"team {number % groups}" if groups else ""
        rows.append(f"question {number} about thing {number * 7} asked on day {number * 3},{LABELS[number % 4]},{team}")
    for number in range(0, 24, 2):  # the same words in other letters
        rows.append(f"QUESTION {number} ABOUT THING {number * 7} asked on day {number * 3}!,{LABELS[number % 4]},")
    rows.append("something else altogether happened here,rare,")
    (place / "t.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    section = DataSection(
        train=str(place / "t.csv"), text="text", label="intent", duplicates="keep", group="team" if groups else None,
        leaks="allow",
    )  # fmt: skip
    return prepare_data(section, seed=17, folder=place / "data")


def test_folds_keep_copies_and_groups_whole(tmp_path: Path) -> None:
    data = _prepared(tmp_path, groups=16)
    dealt = deal_rows(data, 4, threshold=0.8, seed=17)
    assert len(dealt.records) == sum(map(len, (data.train, data.validation, data.test)))
    of_team: dict[str, set[int]] = {}
    of_text: dict[str, set[int]] = {}
    for record, fold in zip(dealt.records, dealt.fold, strict=True):
        if record.group is not None:
            of_team.setdefault(record.group, set()).add(fold)
        of_text.setdefault(record.text.casefold().rstrip("!"), set()).add(fold)
    assert len(of_team) == 16 and all(len(folds) == 1 for folds in of_team.values())
    assert len(of_text) < len(dealt.records) and all(len(folds) == 1 for folds in of_text.values())
    assert deal_rows(data, 4, threshold=0.8, seed=17) == dealt
    assert deal_rows(data, 4, threshold=0.8, seed=18).fold != dealt.fold


def test_labels_are_spread_evenly(tmp_path: Path) -> None:
    dealt = deal_rows(_prepared(tmp_path), 5, threshold=0.8, seed=17)
    for label in LABELS:
        counts = Counter(fold for record, fold in zip(dealt.records, dealt.fold, strict=True) if record.gold == label)
        assert len(counts) == 5 and max(counts.values()) - min(counts.values()) <= 3


def test_a_fold_is_data_of_a_run(tmp_path: Path) -> None:
    data = _prepared(tmp_path)
    dealt = deal_rows(data, 4, threshold=0.8, seed=17)
    for number in range(4):
        folder = RunFolder(tmp_path / str(number))
        write_fold(data, dealt, number, folder, share=0.15, seed=17)
        fold = read_fold(data, folder)
        parts = [list(split.records()) for split in (fold.train, fold.validation, fold.test)]
        assert sum(map(len, parts)) == len(dealt.records)
        assert [record.id for record in parts[2]] == [
            record.id for record, where in zip(dealt.records, dealt.fold, strict=True) if where == number
        ]
        assert {record.gold for record in parts[1]} <= {record.gold for record in parts[0]}
        plain = [{record.text.casefold().rstrip("!") for record in part} for part in parts]
        assert not plain[0] & plain[1] and not plain[0] & plain[2] and not plain[1] & plain[2]
        assert 0.05 < len(parts[1]) / (len(parts[0]) + len(parts[1])) < 0.25
        assert "rare" in fold.labels and fold.card.splits["test"].rows == len(parts[2])
        before = folder.split("train").read_bytes()
        write_fold(data, dealt, number, folder, share=0.15, seed=17)
        assert folder.split("train").read_bytes() == before


def test_all_rows_are_train(tmp_path: Path) -> None:
    data = _prepared(tmp_path)
    dealt = deal_rows(data, 4, threshold=0.8, seed=17)
    folder = RunFolder(tmp_path / "all")
    write_all_rows(data, dealt, folder)
    whole = read_fold(data, folder)
    assert len(whole.train) == len(dealt.records) and len(whole.validation) == len(data.validation)


def test_more_folds_than_groups_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is 12, but the data has 7 groups of rows to keep together") as caught:
        deal_rows(_grouped(tmp_path), 12, threshold=0.8, seed=17)
    assert "fewer folds" in str(caught.value)


def _grouped(place: Path) -> PreparedData:
    rows = ["text,intent,team"]
    rows += [f"question {n} about thing {n * 7} on day {n * 3},{LABELS[n % 4]},team {n % 7}" for n in range(80)]
    (place / "t.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    section = DataSection(train=str(place / "t.csv"), text="text", label="intent", group="team")
    return prepare_data(section, seed=17, folder=place / "data")
