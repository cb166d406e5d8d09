"""What splits share: planted copies, groups, begun conversations and near copies, under each policy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.divide import close_division
from metier.data.division import Division
from metier.data.duplicates import Leak
from metier.data.leaks import POLICIES, apply_leaks, settle_leaks
from metier.data.prepared import PreparedData
from metier.data.records import Choice
from metier.data.roster import Roster, RosterBuilder
from metier.errors import DataError
from metier.recipe.sections import DataSection
from metier.store.fingerprint import text_sha256

Write = Callable[..., Path]
Prepare = Callable[..., PreparedData]
Row = tuple[str, str | None]
"""Text and group; the label alternates."""


def roster_of(rows: list[Row]) -> Roster:
    builder = RosterBuilder()
    for row, (text, group) in enumerate(rows, 1):
        record = Choice(id="", text=text, label="ab"[row % 2], group=group, source="d.csv", row=row)
        builder.add(record, text_sha256(text)[:16], 0)
    return builder.roster()


def division_of(rows: Mapping[str, list[Row]], official: set[str] | None = None) -> Division:
    """Splits as planted; rows are numbered train first."""
    roster = roster_of([row for part in ("train", "validation", "test") for row in rows.get(part, [])])
    ends = np.cumsum([len(rows.get(part, [])) for part in ("train", "validation", "test")])
    places = [np.arange(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    return Division(
        roster=roster, train=places[0], validation=places[1], test=places[2], official=frozenset(official or ())
    )


def section(**fields: Any) -> DataSection:
    return DataSection.model_validate({"train": "x", "group": "g", **fields})


def splits(division: Division) -> list[list[int]]:
    return [division.places(name).tolist() for name in ("train", "validation", "test")]


PLANTED: dict[str, list[Row]] = {
    "train": [
        ("one", None), ("two", "G"), ("three", "H"), ("four", "G"), ("five", None),
        *((f"t{i}", None) for i in range(8)),
    ],
    "test": [("one", None), ("six", "H"), ("seven", None)],
}  # fmt: skip


def test_drop_takes_equal_texts_and_groups_from_train() -> None:
    division = division_of(PLANTED)
    settle_leaks(division, "train", "test", section())
    assert [(each.place, each.reason) for each in division.dropped] == [
        (0, "also in test"), (2, "group also in test"),
    ]  # fmt: skip
    assert division.dropped[1].detail == "its group has 1 row in test, first row 15"
    assert splits(division) == [[1, *range(3, 13)], [], [13, 14, 15]]


def test_without_a_group_in_the_recipe_groups_may_be_shared() -> None:
    division = division_of(PLANTED)
    settle_leaks(division, "train", "test", section(group=None))
    assert [each.place for each in division.dropped] == [0]


def test_refuse_counts_and_names_rows_and_says_no_text() -> None:
    message = (
        r"data.leaks: is refuse, and 2 rows are known to another split: 1 also in test \(row 1 of d.csv\), "
        r"1 group also in test \(row 3 of d.csv\), wanted splits that share nothing. Repair the files, or set"
    )
    with pytest.raises(DataError, match=message):
        settle_leaks(division_of(PLANTED), "train", "test", section(leaks="refuse"))
    apart = division_of({"train": [("one", None)], "test": [("two", None)]})
    settle_leaks(apart, "train", "test", section(leaks="refuse"))


def test_allow_keeps_all_flags_what_is_measured_and_says_so() -> None:
    division = division_of({**PLANTED, "test": [*PLANTED["test"], ("one", None), ("eight", "H")]})
    settle_leaks(division, "train", "test", section(leaks="allow"))
    assert not division.dropped
    assert np.flatnonzero(division.flags["in_train"]).tolist() == [13, 16]
    assert np.flatnonzero(division.flags["group_in_train"]).tolist() == [14, 17]
    assert division.notices == [
        "leaks are allowed, and what is measured is flattered by them: 1 row of train also in test, 1 row of train "
        "group also in test (data.leaks: allow)"
    ]


def test_move_takes_all_that_hangs_together() -> None:
    rows: dict[str, list[Row]] = {
        # `one` is in test; its row belongs to G, whose other row has the text of a third, which belongs to H.
        "train": [("one", "G"), ("two", "G"), ("two", "H"), ("three", "H"), *[(f"t{i}", None) for i in range(20)]],
        "test": [("one", None), ("other", None)],
    }
    division = division_of(rows)
    settle_leaks(division, "train", "test", section(leaks="move"))
    assert splits(division) == [[*range(4, 24)], [], [0, 1, 2, 3, 24, 25]]
    assert not division.dropped
    assert division.notices == ["4 rows moved to test with what they belong to (data.leaks: move)"]


def test_move_changes_no_file_of_the_users() -> None:
    division = division_of(PLANTED, {"test"})
    settle_leaks(division, "train", "test", section(leaks="move"))
    assert division.test.tolist() == [13, 14, 15]
    assert [each.place for each in division.dropped] == [0, 2]
    assert division.notices == [
        "2 rows left train or validation instead: a file of its own is not changed by data.leaks: move"
    ]


def test_move_that_would_take_most_of_train_is_refused() -> None:
    rows: dict[str, list[Row]] = {"train": [(f"t{i}", "G") for i in range(9)] + [("x", None)], "test": [("y", "G")]}
    message = r"data.leaks: is move, which would take 9 of 10 rows of train to test, wanted at most 50%. Set data.leaks"
    with pytest.raises(DataError, match=message):
        settle_leaks(division_of(rows), "train", "test", section(leaks="move"))


NEAR = [
    Leak(place=0, reason="near duplicate in test", detail="shares 90%", others=(12,)),
    Leak(place=12, reason="near duplicate in train", detail="shares 90%", others=(0,)),
    Leak(place=1, reason="near duplicate in validation", detail="shares 85%", others=(10,)),
    Leak(place=11, reason="near duplicate in test", detail="shares 85%", others=(13,)),
]
"""Of ten rows of train, two of validation, three of test."""


def ten_two_three() -> Division:
    return division_of(
        {
            "train": [(f"t{i}", None) for i in range(10)],
            "validation": [(f"v{i}", None) for i in range(2)],
            "test": [(f"e{i}", None) for i in range(3)],
        }
    )


def test_near_copies_that_a_screen_found_leave() -> None:
    division = ten_two_three()
    assert apply_leaks(division, NEAR, section()) == {"dropped": 3}
    assert splits(division) == [[*range(2, 10)], [10], [12, 13, 14]]
    assert {each.place: each.reason for each in division.dropped} == {
        0: "near duplicate in test", 1: "near duplicate in validation", 11: "near duplicate in test",
    }  # fmt: skip


def test_near_copies_that_a_screen_found_move() -> None:
    division = ten_two_three()
    assert apply_leaks(division, NEAR, section(leaks="move")) == {"moved": 3}
    assert splits(division) == [[*range(2, 10)], [1, 10], [0, 11, 12, 13, 14]]
    assert not division.dropped


def test_near_copies_that_are_allowed_are_flagged_where_they_are_measured() -> None:
    division = ten_two_three()
    assert apply_leaks(division, NEAR, section(leaks="allow")) == {"allowed": 3}
    assert np.flatnonzero(division.flags["near_in_train"]).tolist() == [10, 12]
    assert "1 row of validation near duplicate in test" in division.notices[0]


def test_rows_that_left_already_are_passed_over() -> None:
    division = ten_two_three()
    division.train = division.train[2:]
    division.validation = division.validation[:1]
    for policy in POLICIES:
        apply_leaks(division, NEAR, section(leaks=policy))
    assert not division.dropped and not division.flags and not division.notices


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c", "d", "e", "f"]), st.none() | st.sampled_from("GHI")), min_size=3,
        max_size=20,
    ),
    st.data(),
)  # fmt: skip
def test_no_policy_but_allow_leaves_anything_shared(rows: list[Row], data: st.DataObject) -> None:
    cut, end = sorted((data.draw(st.integers(1, len(rows) - 2)), data.draw(st.integers(1, len(rows) - 2))))
    parts = {"train": rows[:cut], "validation": rows[cut:end], "test": rows[end:]}
    filler: list[Row] = [(f"x{i}", None) for i in range(60)]
    for policy in ("drop", "move"):
        division = division_of({**parts, "train": [*parts["train"], *filler]})
        before = np.concatenate(splits(division)).astype(int).tolist()
        for own, other in (("train", "test"), ("validation", "test"), ("train", "validation")):
            try:
                settle_leaks(division, own, other, section(leaks=policy))
            except DataError:
                assert policy == "move"
                return
        roster, after = division.roster, splits(division)
        keys = [set(roster.key[part].tolist()) for part in after]
        groups = [set(roster.group[part].tolist()) - {-1} for part in after]
        for one, two in ((0, 1), (0, 2), (1, 2)):
            assert not keys[one] & keys[two] and not groups[one] & groups[two]
        gone = [each.place for each in division.dropped]
        assert sorted([*np.concatenate(after).astype(int).tolist(), *gone]) == sorted(before)
        assert not gone or policy == "drop"


def test_closing_again_says_the_splits_as_they_stand() -> None:
    division = ten_two_three()
    close_division(division, section(group=None))
    assert not division.notices
    division.flags["own"] = np.ones(len(division.roster), np.bool_)
    stratum = division.roster.stratum
    one_label = [place for place in division.train.tolist() if stratum[place] == 0]
    division.train = np.array(one_label)
    with pytest.raises(DataError, match="train has only the label `b`"):
        close_division(division, section())
    division.train = division.train[:0]
    with pytest.raises(DataError, match="no usable row is left for train"):
        close_division(division, section())
    assert "own" in division.flags


def official(write: Write, shared: int = 3) -> Path:
    """Twenty groups of three rows in train, of which the first few are also in test."""
    train = "".join(f"text {i} {at},{'ab'[at % 2]},g{i}\n" for i in range(20) for at in range(3))
    test = "".join(f"other {i},{'ab'[i % 2]},g{i if i < shared else 100 + i}\n" for i in range(12))
    write("test.csv", "text,label,customer\n" + test)
    return write("train.csv", "text,label,customer\n" + train).parent


def test_groups_in_an_official_test_file_leave_train(write: Write, prepare: Prepare) -> None:
    prepared = prepare(train=official(write), group="customer")
    assert prepared.card.rejected["group also in test"] == 9
    assert len(prepared.test) == 12
    assert "9 rows left train or validation: the group is also in test (data.leaks)" in prepared.card.notices
    groups = [{record.group for record in split.records()} for split in (prepared.train, prepared.test)]
    assert not groups[0] & groups[1]


def test_allowed_groups_stay_and_the_card_says_so(write: Write, prepare: Prepare) -> None:
    prepared = prepare(train=official(write), group="customer", leaks="allow")
    assert "group also in test" not in prepared.card.rejected
    assert prepared.card.splits["test"].flags["group_in_train"] == 3
    assert any("leaks are allowed" in notice for notice in prepared.card.notices)


def test_refused_groups_end_the_run(write: Write, prepare: Prepare) -> None:
    with pytest.raises(DataError, match=r"9 group also in test \(rows 1, 2, 3, 4, 5, 6, 7, 8, 9 of train.csv\)"):
        prepare(train=official(write), group="customer", leaks="refuse")


def test_many_shared_groups_say_how_to_keep_the_rows(write: Write, prepare: Prepare) -> None:
    train = official(write, shared=8)
    prepared = prepare(train=train, group="customer")
    assert any("more than a fifth of train left because its groups" in notice for notice in prepared.card.notices)
    write("test.csv", "text,label,customer\n" + "".join(f"other {i},{'ab'[i % 2]},g{i}\n" for i in range(20)))
    message = r"no usable row is left for train; rejected: 60 group also in test, wanted groups of its own. Remove"
    with pytest.raises(DataError, match=message):
        prepare(train=train, group="customer", folder="none")


def test_begun_conversations_are_leaks_too(write: Write, prepare: Prepare) -> None:

    def talk(*said: str) -> str:
        roles = ["user", "assistant"] * len(said)
        turns = [{"role": role, "content": text} for role, text in zip(roles, said, strict=False)]
        return json.dumps({"messages": turns})

    plain = [talk(f"question {i}", f"answer {i}") for i in range(40)]
    write("test.jsonl", "\n".join([talk("how", "so"), *(talk(f"q {i}", f"a {i}") for i in range(5))]) + "\n")
    train = write("train.jsonl", "\n".join([*plain, talk("how", "so", "and then", "that")]) + "\n")
    prepared = prepare(task="chat", train=train.parent)
    assert prepared.card.rejected == {"also in test": 1}
    allowed = prepare(task="chat", train=train.parent, leaks="allow", folder="allowed")
    flagged = [record.row for record in allowed.test.records() if "in_train" in record.flags]
    assert flagged == [1]


def near_copies(write: Write) -> Path:
    """Two rows of train are a row of test with one word changed, among others that have nothing in common."""
    long = "please send the blue coffee grinder with the loud motor back to the shop in the old town before {} evening"
    words = [f"{'abcdefghij'[i % 10]}{i}" for i in range(900)]
    body = [f"{' '.join(words[9 * i : 9 * i + 9])},{'ab'[i % 2]}" for i in range(60)]
    test = [f"{' '.join(words[9 * i : 9 * i + 9])},{'ab'[i % 2]}" for i in range(70, 90)]
    write("test.csv", "\n".join(["text,label", *test, long.format("monday") + ",a"]) + "\n")
    near = [long.format("friday") + ",a", long.format("sunday") + ",b"]
    return write("train.csv", "\n".join(["text,label", *body, *near]) + "\n").parent


def test_near_copies_of_test_rows_leave_train_and_the_record_says_what_was_done(
    write: Write, prepare: Prepare, tmp_path: Path
) -> None:
    card = prepare(train=near_copies(write)).card
    assert {reason: count for reason, count in card.rejected.items() if "near" in reason} == {
        "near duplicate in test": 2
    }
    assert (
        "2 rows left train or validation: the same or nearly the same text is in test or validation (data.leaks)"
        in (card.notices)
    )
    assert {step.step: dict(step.done) for step in card.findings}["leakage"] == {"dropped": 2}
    log = (tmp_path / "prepared" / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    assert [(row["row"], row["step"], row["version"]) for row in map(json.loads, log)] == [
        (61, "leakage", 1), (62, "leakage", 1),
    ]  # fmt: skip
    allowed = prepare(train=near_copies(write), leaks="allow", folder="allowed").card
    assert allowed.splits["test"].flags["near_in_train"] == 1
    with pytest.raises(DataError, match=r"is refuse, and 2 rows are known to another split: 2 near duplicate in test"):
        prepare(train=near_copies(write), leaks="refuse", folder="refused")
