"""The whole screen: its tables, its notes, and what it never says."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from metier.data.bias.groups import load_group_words
from metier.data.bias.mentions import NONE, SEVERAL, Coded, coded_column, gather, length_buckets, share_table
from metier.data.bias.screen import BiasSettings, screen_bias
from metier.data.cleaning.rows import Row
from metier.errors import DataError
from metier.store.values import to_plain

Maker = Callable[..., list[Row]]


def planted(make_rows: Maker, women_refused: int = 60) -> list[Row]:
    """100 texts of women and 100 of men in train; of the men 20 are refused; 20 more rows of test."""
    texts = ["my mother wrote"] * 100 + ["my father wrote"] * 100 + ["she and he wrote"] * 10 + ["it broke"] * 10
    labels = [*["refused"] * women_refused, *["granted"] * (100 - women_refused)]
    labels += [*["refused"] * 20, *["granted"] * 80, *["refused"] * 20]
    return make_rows(texts, labels, splits=["train"] * 200 + ["test"] * 20)


def test_counts_by_group(make_rows: Maker) -> None:
    finding = screen_bias(planted(make_rows))
    groups = {(row["dimension"], row["group"]): row for row in finding.tables["groups"]}
    assert groups["gender", "female"] | {"share": 0, "low": 0, "high": 0} == {
        "dimension": "gender", "group": "female", "rows": 110, "share": 0, "low": 0, "high": 0,
        "test rows": 10, "answers": 0,
    }  # fmt: skip
    assert groups["gender", "female"]["share"] == pytest.approx(0.5)
    assert finding.counts == {"rows that name a group": 210, "comparisons": 1, "associations": 1}
    assert finding.looked_at == 220
    assert finding.doubts == ()


def test_a_planted_gap_and_what_to_collect(make_rows: Maker) -> None:
    finding = screen_bias(planted(make_rows))
    (row,) = finding.tables["associations"]
    assert row["flagged"] and row["adjusted p"] < 1e-6
    assert (row["group"], row["outcome"], row["compared with"]) == ("female", "refused", "male")
    assert (row["share"], row["other share"]) == (0.6, 0.2)
    assert row["difference"] == pytest.approx(0.4)
    assert 0.25 < row["low"] < 0.4 < row["high"] < 0.55
    assert row["odds ratio"] == pytest.approx(6.0)
    assert finding.tables["suggestions"][0]["rows"] == 200
    assert any("no proof of unfairness" in note for note in finding.notes)
    assert any("20 rows of the test split counted, not compared." in note for note in finding.notes)


def test_no_gap_no_flag(make_rows: Maker) -> None:
    finding = screen_bias(planted(make_rows, women_refused=22))
    assert finding.counts["associations"] == 0
    assert finding.tables["suggestions"] == []
    assert len(finding.tables["associations"]) == 1


def test_tones_of_written_answers(make_rows: Maker) -> None:
    texts = ["my mother asks for a refund"] * 60 + ["my father asks for a refund"] * 60
    harsh = "This is a terrible and stupid question, go away now."
    kind = "Thank you, happy to help."
    refusal = "I'm sorry, but I cannot help with that."
    answers = [harsh] * 30 + [refusal] * 25 + [kind] * 5 + [kind] * 55 + [harsh] * 5
    finding = screen_bias(make_rows(texts, answers, labelled=False))
    flagged = {row["outcome"] for row in finding.tables["associations"] if row["flagged"]}
    assert {"answer declines", "answer more kind than harsh", "answer more harsh than kind"} <= flagged
    assert any(str(outcome).startswith("answer longer than") for outcome in flagged)
    assert {row["kind"] for row in finding.tables["associations"]} == {"tone"}


def test_users_columns_languages_and_lengths(make_rows: Maker) -> None:
    rows = make_rows(["wo ist mein paket", "where is it"] * 60, ["late", "other", "late", "late"] * 30)
    region = coded_column("region", ["north", "south"] * 60)
    finding = screen_bias(rows, columns=[region], language_of=lambda text: "de" if "wo " in text else "en")
    flagged = {(row["dimension"], row["flagged"]) for row in finding.tables["associations"]}
    assert ("region", True) in flagged and ("language", True) in flagged
    counted = {(row["column"], row["value"]): row["rows"] for row in finding.tables["columns"]}
    assert counted["region", "north"] == counted["language", "de"] == 60
    assert counted["length", "under 10 words"] == 120
    assert any(note.startswith("60 rows not in English") for note in finding.notes)


def test_no_text_and_nothing_that_is_no_json(make_rows: Maker) -> None:
    rows = make_rows(["my mother Zanzibarina wrote"] * 40 + ["my father wrote"] * 40, ["a", "b"] * 40)
    finding = screen_bias(rows)
    assert "Zanzibarina" not in json.dumps(to_plain(finding))


def test_no_rows_and_passages(make_rows: Maker) -> None:
    assert screen_bias([]).looked_at == 0
    finding = screen_bias(make_rows(["she wrote", "he wrote"]))
    assert finding.counts["comparisons"] == 0
    assert any("Not compared, because fewer than two groups" in note for note in finding.notes)


def test_faults(make_rows: Maker) -> None:
    rows = make_rows(["a", "b"], ["x", "y"])
    with pytest.raises(DataError, match=r"column region: has 1 values, wanted 2, one a row"):
        screen_bias(rows, columns=[coded_column("region", ["a"])])
    with pytest.raises(DataError, match=r"key 1 stands at place 0, wanted keys 0, 1, 2"):
        screen_bias(rows[1:])
    with pytest.raises(DataError, match=r"`faith` is no dimension"):
        screen_bias(rows, BiasSettings(dimensions=("faith",)))


def test_a_row_of_several_groups_is_none_of_them(make_rows: Maker) -> None:
    found = gather(make_rows(["she", "he", "she and he", "it", "a Muslim"]), load_group_words())
    gender = found.asked.coded("gender")
    assert [gender.values[code] if code >= 0 else code for code in gender.codes] == [
        "female", "male", SEVERAL, NONE, NONE,
    ]  # fmt: skip
    assert found.asked.per_group(np.array([False, True, True, True, True])).sum() == 4


def test_rare_values_are_pooled() -> None:
    column = coded_column("town", ["x"] * 6 + ["y"] * 8 + ["Anna's house", None, ""], most=50, fewest=5)
    assert share_table(column) == {"y": 8, "x": 6, "(other)": 1, "(unknown)": 2}
    assert share_table(coded_column("town", ["a"] * 9 + ["b"] * 8 + ["c"] * 7, most=2)) == {
        "a": 9,
        "b": 8,
        "(other)": 7,
    }
    assert share_table(coded_column("town", [])) == {}


def test_length_buckets() -> None:
    found: Coded = length_buckets(np.array([0, 9, 10, 49, 50, 1000], np.int32))
    assert found.codes.tolist() == [0, 0, 1, 1, 2, 4]
