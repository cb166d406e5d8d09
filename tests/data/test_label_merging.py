"""Labels under one name are one label in every decision."""

from __future__ import annotations

from metier.data.duplicates import torn_keys
from metier.data.label_merging import merge_labels, renamed_record
from metier.data.records import Choice, Passage
from metier.data.roster import Roster, RosterBuilder


def roster(*labels: str) -> Roster:
    builder = RosterBuilder()
    for number, label in enumerate(labels):
        record = Choice(id="", text=f"text {number // 2}", label=label, source="d.csv", row=number + 1)
        builder.add(record, f"{number // 2:016x}", 0)
    return builder.roster()


def test_merged_labels_are_one() -> None:
    before = roster("a", "b", "c", "c", "other", "a")
    after = merge_labels(before, {"a": "other", "b": "other"})
    wanted = roster("other", "other", "c", "c", "other", "other")
    assert (after.strata, after.stratum.tolist()) == (wanted.strata, wanted.stratum.tolist())
    assert after.gold.tolist() == wanted.gold.tolist() and after.answers.tolist() == wanted.answers.tolist()
    assert after.key.tolist() == before.key.tolist()
    places = after.key.argsort(kind="stable")
    assert len(torn_keys(before, places)) == 2 and not len(torn_keys(after, places))


def test_nothing_to_merge_leaves_everything() -> None:
    before = roster("a", "b")
    assert merge_labels(before, {}) is before


def test_records_get_the_new_name() -> None:
    record = Choice(id="x", text="t", label="a")
    assert renamed_record(record, {"a": "other"}) == Choice(id="x", text="t", label="other")
    assert renamed_record(record, {"b": "other"}) is record
    passage = Passage(id="x", text="t")
    assert renamed_record(passage, {"a": "other"}) is passage
