"""Remedies against bias, end to end: weights and copies change what is learned, are counted, and count as cleaning."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from metier.data.splits import choices
from metier.evaluation.files import read_evaluations
from metier.evaluation.verify import verify_evaluations
from metier.store.files import read_json, read_json_lines

Homes = Callable[[], Any]


def loans(count: int, seed: int) -> str:
    """Three of four mothers are refused, and one of four fathers; the sum says nothing."""
    rng = random.Random(seed)
    rows = ["text,label"]
    for number in range(count):
        who = ("mother", "father")[number % 2]
        refused = (number // 2) % 4 < (3 if who == "mother" else 1)
        words = " ".join(rng.choices(("order", "shop", "card", "hello", "where", "is"), k=4))
        rows.append(f"my {who} asks for a loan {words} {seed}{number},{'refused' if refused else 'granted'}")
    return "\n".join(rows) + "\n"


@pytest.fixture(scope="module")
def lender(new_home: Homes, cheap: dict[str, Any]) -> Any:
    """A user whose loans go by the sex of who asks."""
    home = new_home()
    for name, count, seed in (("mails.csv", 240, 1), ("dev.csv", 40, 2), ("test.csv", 60, 3)):
        (home.folder / name).write_text(loans(count, seed), encoding="utf-8")
    data = {"train": "mails.csv", "validation": "dev.csv", "test": "test.csv", "text": "text", "label": "label"}
    evaluation = {**home.values["evaluation"], **cheap["evaluation"]}
    home.values = {**home.values, **cheap, "data": {**data, "near_duplicates": "off"}, "evaluation": evaluation}
    return home


@pytest.fixture(scope="module")
def asked(lender: Any) -> Any:
    """A run whose model is asked copies as well; no remedy."""
    return lender.run("asked", data={"bias": {"counterfactuals": True}})


def test_the_screen_flags_what_was_planted(asked: Any) -> None:
    (step,) = [step for step in asked.result.summary.steps if step.step == "bias"]
    assert any(row["flagged"] and row["dimension"] == "gender" for row in step.tables["associations"])


def test_copies_of_the_test_set_are_asked_and_verified(asked: Any) -> None:
    (found,) = read_evaluations(asked.folder.evaluation / "copies-gender")
    assert found.n == 60 and found.settings["dimension"] == "gender"
    tests = {item.id: item for item in read_evaluations(asked.folder.evaluation_of("test").path)[-1].items}
    assert all(item.gold == tests[item.id].answer for item in found.items)
    assert verify_evaluations(asked.folder.evaluation) == ()
    page, card = (path.read_text(encoding="utf-8") for path in (asked.folder.report_page, asked.folder.readme))
    assert "Answers that change" in page and "Answers that change" in card


def test_weights_are_written_and_change_what_is_learned(lender: Any, asked: Any) -> None:
    ran = lender.run("weighed", data={"bias": {"reweight": True}})
    assert "attempt head" in ran.done  # not taken from the run without weights
    rows = read_json_lines(ran.folder.attempt(1).checkpoints / "weights.jsonl")
    assert [row["id"] for row in rows] == [record.id for record in _records(ran, "train")]
    assert {round(row["weight"], 3) for row in rows} != {1.0}
    assert abs(sum(row["weight"] for row in rows) / len(rows) - 1) < 1e-3
    assert not set(rows[0]) & {"text", "label"}
    heads = [run.folder.attempt(1).model / "head.safetensors" for run in (asked, ran)]
    assert heads[0].read_bytes() != heads[1].read_bytes()


def test_copies_are_learned_from_and_counted(lender: Any) -> None:
    ran = lender.run("augmented", data={"bias": {"augment": True, "largest_share": 1.0}, "ablation": True})
    copies = list(_records(ran, "copies"))
    train = list(_records(ran, "train"))
    assert copies and all("~" in record.id for record in copies)
    texts = {record.text for name in ("train", "validation", "test") for record in _records(ran, name)}
    assert not texts & {record.text for record in copies}
    history = read_json(ran.folder.attempt(1).history_summary, format="history")
    assert history["examples"] == len(train) + len(copies)
    assert f"{len(copies):,} in gender" in ran.notices
    ablation = ran.result.summary.ablation
    assert ablation.records == {"cleaned": len(train) + len(copies), "raw": len(train)}
    assert any("remedies of data.bias" in note for note in ablation.notes)


def _records(ran: Any, name: str) -> Any:
    from metier.data.splits import Split

    return choices(Split(name=name, path=ran.folder.split(name), fingerprint="").records())
