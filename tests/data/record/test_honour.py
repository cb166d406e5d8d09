"""Decisions hold for the content they were made about, and what is not applied is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metier.data.cleaning.rows import Doubt, Finding
from metier.data.exchanges import record_key
from metier.data.reasons import DROPPED_BY_A_PERSON, EDITED, RELABELLED
from metier.data.record.decisions import Decision, Decisions, load_decisions, write_decisions
from metier.data.record.findings import content_hash
from metier.data.record.honour import SETTLED, Decided, Honoured, Settled, without_settled
from metier.data.records import Choice, Conversation, Message, Passage, Preference


def decision(kind: str, text: str, answer: str, value: str | None = None, **more: Any) -> Decision:
    fields = {"source": "a.csv", "row": 4, "id": "id-0", "split": "train", **more}
    return Decision(content=content_hash(text, answer), decision=kind, value=value, **fields)


def of(tmp_path: Path, *lines: Decision) -> Decisions:
    write_decisions(tmp_path / "decisions.jsonl", lines)
    return load_decisions(tmp_path / "decisions.jsonl")


def settle(
    honoured: Honoured, text: str, answer: str, record_id: str = "id-0", source: str = "a.csv", test: bool = False
) -> Settled:
    record = Choice(id=record_id, text=text, label=answer, source=source, row=4)
    changed, settled = honoured.settle(record, test=test)
    assert (changed.text, changed.gold, changed.id) == (settled.text, settled.answer, record_id)
    return settled


def test_each_decision_does_what_it_says(tmp_path: Path) -> None:
    honoured = Honoured(of(
        tmp_path, decision("keep", "t0", "a", id="0"), decision("drop", "t1", "a", id="1"),
        decision("relabel", "t2", "a", "b", id="2"), decision("edit", "t3", "a", "new text", id="3"),
    ))  # fmt: skip
    kept, dropped = settle(honoured, "t0", "a", "0"), settle(honoured, "t1", "a", "1")
    relabelled, edited = settle(honoured, "t2", "a", "2"), settle(honoured, "t3", "a", "3")
    assert (kept.text, kept.answer, kept.kept, kept.dropped) == ("t0", "a", True, False)
    assert (dropped.kept, dropped.dropped) == (False, True)
    assert (relabelled.text, relabelled.answer, relabelled.kept) == ("t2", "b", True)
    assert (edited.text, edited.answer, edited.kept) == ("new text", "a", True)
    other = settle(honoured, "t9", "a", "9")
    assert (other.text, other.answer, other.decisions, other.kept) == ("t9", "a", (), False)
    assert honoured.notices() == ["decisions.jsonl: 4 decisions applied (1 keep, 1 drop, 1 relabel, 1 edit)"]


def test_a_row_that_changed_since_is_left_alone_and_named(tmp_path: Path) -> None:
    honoured = Honoured(of(tmp_path, decision("drop", "t", "a")))
    settled = settle(honoured, "t", "another answer")
    assert (settled.dropped, settled.answer) == (False, "another answer")
    assert honoured.notices() == [
        "decisions.jsonl: not applied, the row has changed since it was decided: a.csv row 4"
    ]  # fmt: skip


def test_a_row_that_is_gone_is_named(tmp_path: Path) -> None:
    lines = [decision("drop", "t", "a", id=f"id-{n}", row=n) for n in range(1, 13)]
    honoured = Honoured(of(tmp_path, *lines))
    (said,) = honoured.notices()
    assert said.startswith("decisions.jsonl: not applied, no row with that text is there any more: a.csv row 1, ")
    assert said.endswith("a.csv row 10 and 2 more")


def test_a_row_of_another_file_is_another_row(tmp_path: Path) -> None:
    honoured = Honoured(of(tmp_path, decision("drop", "t", "a")))
    assert not settle(honoured, "t", "a", source="test.csv").dropped


def test_the_latest_decision_counts(tmp_path: Path) -> None:
    honoured = Honoured(of(tmp_path, decision("drop", "t", "a"), decision("keep", "t", "a")))
    assert settle(honoured, "t", "a").kept


def test_what_a_later_run_decided_about_the_changed_row_follows(tmp_path: Path) -> None:
    lines = [decision("edit", "t", "a", "t2"), decision("relabel", "t2", "a", "b"), decision("drop", "t2", "b")]
    assert settle(Honoured(of(tmp_path, *lines[:2])), "t", "a").answer == "b"
    assert settle(Honoured(of(tmp_path, *lines)), "t", "a").dropped


def test_there_and_back_ends(tmp_path: Path) -> None:
    lines = [decision("relabel", "t", "a", "b"), decision("relabel", "t", "b", "a")]
    settled = settle(Honoured(of(tmp_path, *lines)), "t", "a")
    assert (settled.answer, len(settled.decisions)) == ("a", 2)


def test_nothing_is_dropped_from_a_test_set(tmp_path: Path) -> None:
    lines = [decision("drop", "t0", "a", id="0"), decision("relabel", "t1", "a", "b", id="1")]
    honoured = Honoured(of(tmp_path, *lines))
    assert not settle(honoured, "t0", "a", "0", test=True).dropped
    assert settle(honoured, "t1", "a", "1", test=True).answer == "b"
    assert honoured.notices() == [
        "decisions.jsonl: 1 decision applied (1 relabel)",
        "decisions.jsonl: not applied, the row is of the test set now, which stays as it is: a.csv row 4",
    ]


def test_every_kind_of_record_gets_its_answer(tmp_path: Path) -> None:
    turns = (Message(role="user", content="q"), Message(role="assistant", content="old", more='{"name": "x"}'))
    common: dict[str, Any] = {"id": "id-0", "text": "q", "source": "a.csv", "row": 4}
    talk = Conversation(messages=turns, **common)
    pair = Preference(messages=turns[:1], chosen="old", rejected="worse", **common)
    for record in (talk, pair):
        honoured = Honoured(of(tmp_path, decision("relabel", "q", record.gold, "new")))
        changed, settled = honoured.settle(record)
        assert (changed.gold, settled.kept) == ("new", True)
    passage = Passage(**common)
    changed, _ = Honoured(of(tmp_path, decision("edit", "q", "", "whole new"))).settle(passage)
    assert changed == Passage(**{**common, "text": "whole new"})
    untouched, settled = Honoured(of(tmp_path)).settle(talk)
    assert untouched is talk
    assert settled.decisions == ()


def key_of(text: str) -> str:
    return record_key(Passage(id="", text=text))


def reading(honoured: Honoured, text: str, label: str = "a", part: int = 0, test: bool = False) -> Decided:
    record = Choice(id="", text=text, label=label, source="a.csv", row=4)
    decided = honoured.decide(record, key_of(text), part=part, test=test)
    assert decided.record.id == ""
    return decided


def test_copies_of_a_text_are_told_apart_while_they_are_read(tmp_path: Path) -> None:
    honoured = Honoured(of(tmp_path, decision("drop", "same", "a", id=f"{key_of('same')}-1")))
    found = [reading(honoured, text) for text in ("same", "another", "same", "same")]
    assert [decided.settled.dropped for decided in found] == [False, False, True, False]
    # Ids are counted by split: the first of test is 0 again.
    assert not reading(honoured, "same", part=1).settled.dropped
    assert honoured.applied == 1


def test_what_was_read_says_who_changed_it(tmp_path: Path) -> None:
    by = {"by": "ann", "at": "2026-11-20T10:00:00+00:00", "sheet": "r.xlsx"}
    honoured = Honoured(of(
        tmp_path, decision("relabel", "t1", "a", "b", id=f"{key_of('t1')}-0", **by),
        decision("drop", "t2", "a", id=f"{key_of('t2')}-0", **by),
        decision("edit", "t3", "a", "new text", id=f"{key_of('t3')}-0", **by),
        decision("keep", "t4", "a", id=f"{key_of('t4')}-0", **by),
    ))  # fmt: skip
    relabelled, dropped, edited, kept = (reading(honoured, text) for text in ("t1", "t2", "t3", "t4"))
    assert (relabelled.record.gold, relabelled.changes, relabelled.key) == ("b", (RELABELLED,), key_of("t1"))
    assert relabelled.detail == "`a` became `b`: relabel by ann on 2026-11-20, in r.xlsx"
    assert relabelled.dropped(7) is None
    assert (edited.record.text, edited.changes, edited.key) == ("new text", (EDITED,), key_of("new text"))
    assert edited.detail == "edit by ann on 2026-11-20, in r.xlsx"
    assert (kept.changes, kept.settled.kept) == ((), True)
    gone = dropped.dropped(7)
    assert gone is not None
    assert (gone.place, gone.reason, gone.detail) == (
        7, DROPPED_BY_A_PERSON, "drop by ann on 2026-11-20, in r.xlsx",
    )  # fmt: skip


def test_a_row_that_nobody_decided_about_is_left_alone(tmp_path: Path) -> None:
    honoured = Honoured(of(tmp_path, decision("drop", "t", "a", id=f"{key_of('t')}-0")))
    record = Choice(id="", text="other", label="a", source="a.csv", row=4)
    decided = honoured.decide(record, key_of("other"), part=0)
    assert decided.record is record
    assert (decided.key, decided.settled.decisions, decided.changes) == (key_of("other"), (), ())


def test_settled_doubts_are_counted_and_no_more(tmp_path: Path) -> None:
    lines = [decision("keep", "t", "a", reasons=("wrong_labels, version 1: wrong label",))]
    kept = {4: settle(Honoured(of(tmp_path, *lines)), "t", "a")}
    doubts = tuple(
        Doubt(key=key, step="wrong_labels", reason=reason, detail="")
        for key, reason in ((4, "wrong label"), (4, "another reason"), (5, "wrong label"))
    )
    before = Finding(step="wrong_labels", version=1, looked_at=9, doubts=doubts, counts={"wrong label": 2})
    (after,) = without_settled([before], kept)
    assert after.doubts == doubts[1:]
    assert after.counts == {"wrong label": 2, SETTLED: 1}
    assert without_settled([before], {}) == (before,)
