"""Personal data hidden before anything is kept: from a file through `prepare_data`, and record by record."""

from __future__ import annotations

import csv
import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.input_rules import InputRules
from metier.data.prepare import prepare_data
from metier.data.prepared import PreparedData
from metier.data.privacy import presidio
from metier.data.privacy.hiding import Handled, Hiding, depends_on, make_hiding
from metier.data.privacy.search import find_texts
from metier.data.records import Choice, Conversation, Message, Preference, Record
from metier.errors import ArgumentError, DataError, MissingPackage
from metier.recipe.privacy_section import PrivacySection
from metier.recipe.sections import Recipe

Prepare = Callable[..., PreparedData]
KEY = {"STAND_INS": "a secret of many characters"}
PATTERNS = {"detector": "patterns"}
OWN = {"name": "PATIENT_NUMBER", "regex": r"\bPN-[0-9]{6}\b"}
PLAIN = {
    "near_duplicates": "off", "leaks": "allow", "quality": "off", "label_likeness": "off", "odd_texts": "off",
    "secrets": "off", "language": {"policy": "off"},
    "wrong_labels": "off", "poison": "off", "outliers": "off", "bias": {"policy": "off"}, "giveaway": "off",
}  # fmt: skip
"""Rows of one template are nearly the same once they are masked: what looks for that is off."""
LABELS = ("refund", "anna@clinic.org")  # a label that looks like personal data stays what it is


def section(**fields: Any) -> PrivacySection:
    return PrivacySection.model_validate({**PATTERNS, **fields})


def hiding(**fields: Any) -> Hiding:
    made = make_hiding(section(**fields), environment=KEY)
    assert made is not None
    return made


def planted(number: int) -> tuple[str, str, str]:
    """Identifiers of one row, none of which another row has."""
    return f"person{number}@clinic.org", f"+49 30 901{number:04d}", f"PN-{100000 + number}"


def table(path: Path, rows: int, start: int = 0, every: int = 1) -> Path:
    """Rows of which every n-th has identifiers, and some that need repairs or are rejected."""
    lines = []
    for number in range(start, start + rows):
        mail, phone, own = planted(number)
        text = (
            f"Case {number}: write to {mail}, call {phone} about {own}." if number % every == 0 else f"Case {number}."
        )
        lines.append((f"  {text}\u200b", "" if number % 10 == 9 else LABELS[number // 2 % 2], mail, number))
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label", "customer", "nr"), *lines])
    return path


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """Prepares data with a privacy section, and fields of the data section as keywords."""

    def run(
        privacy: PrivacySection | None, *, folder: str = "data", task: str = "classification", **fields: Any
    ) -> Any:
        values = {key: str(value) if isinstance(value, Path) else value for key, value in {**PLAIN, **fields}.items()}
        data = Recipe.model_validate({"task": task, "data": values}).data
        return prepare_data(data, seed=17, folder=tmp_path / folder, task=task, privacy=privacy)

    return run


def records(prepared: PreparedData) -> list[Record]:
    return [record for split in (prepared.train, prepared.validation, prepared.test) for record in split.records()]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    "fields", [{"policy": "mask"}, {"policy": "surrogate", "key_env": "STAND_INS"}, {"policy": "drop"}], ids=str
)
def test_no_planted_identifier_is_left_in_any_file(
    fields: dict[str, Any], prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_INS", KEY["STAND_INS"])
    train = table(tmp_path / "train.csv", 120, every=2)
    privacy = section(**fields, recognisers=[OWN])
    prepared = prepare(privacy, train=train, text="text", label="label", group="customer")
    needles = [needle for number in range(0, 120, 2) for needle in planted(number)]
    found = find_texts(tmp_path / "data", needles)
    assert found.files and not found.unread
    assert not found.found, found.found[:5]
    kept = records(prepared)
    assert {record.gold for record in kept} == set(LABELS)
    rejected = lines(tmp_path / "data" / "rejected.jsonl")
    assert [row["row"] for row in rejected if row["reason"] == "empty label"] == list(range(10, 121, 10))
    assert all(row["content"] == "" and len(row["sha256"]) == 64 for row in rejected)
    if fields["policy"] == "drop":
        assert prepared.card.rejected["personal data"] == 60
    else:
        assert len(kept) == 108
        assert prepared.card.changed["personal data"] == 108  # all of them: the groups are addresses too


def test_masks_stand_where_the_values_stood_and_the_log_says_so(prepare: Prepare, tmp_path: Path) -> None:
    train = table(tmp_path / "train.csv", 40)
    prepared = prepare(section(policy="mask", recognisers=[OWN]), train=train, text="text", label="label")
    for record in records(prepared):
        mask = "write to <EMAIL_ADDRESS>, call <PHONE_NUMBER> about <PATIENT_NUMBER>."
        assert record.text == f"Case {record.row - 1}: {mask}"
    changed = [row for row in lines(tmp_path / "data" / "changed.jsonl") if row["repairs"] == ["personal data"]]
    assert len(changed) == 36 and {len(row["sha256"]) for row in changed} == {64}
    assert {row["detail"] for row in changed} == {"1 EMAIL_ADDRESS, 1 PATIENT_NUMBER, 1 PHONE_NUMBER in the prompt"}


def test_written_answers_are_hidden_with_their_questions(prepare: Prepare, tmp_path: Path) -> None:
    rows = [{"question": f"Case {n}: who is at {planted(n)[0]}?", "answer": f"Ask {planted(n)[0]}, case {n}."}
            for n in range(40)]  # fmt: skip
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prepared = prepare(
        section(policy="mask"), train=path, task="generation", text="question", answer="answer", wrong_answers="off"
    )
    assert {(r.text, r.gold) for r in records(prepared)} == {
        (f"Case {n}: who is at <EMAIL_ADDRESS>?", f"Ask <EMAIL_ADDRESS>, case {n}.") for n in range(40)
    }
    assert not find_texts(tmp_path / "data", [planted(n)[0] for n in range(40)]).found


def test_the_hidden_text_is_what_is_the_same(prepare: Prepare, tmp_path: Path) -> None:
    rows = [("text", "label"), *((f"write to p{n}@clinic.org", "a") for n in range(30)), ("bare", "b"), ("other", "b")]
    with (tmp_path / "same.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([*rows, *((f"number {n}", "ab"[n % 2]) for n in range(30))])
    plain = prepare(None, folder="plain", train=tmp_path / "same.csv")
    assert "duplicate" not in plain.card.rejected
    masked = prepare(section(policy="mask"), folder="masked", train=tmp_path / "same.csv")
    # All thirty are one text now: one cluster, in one split; but for the first they are duplicates where they train.
    counts = [sum("<EMAIL_ADDRESS>" in r.text for r in split.records()) for split in (masked.train, masked.validation,
                                                                                    masked.test)]  # fmt: skip
    assert sum(count > 0 for count in counts) == 1


def test_rows_of_a_test_file_are_masked_where_others_are_dropped(prepare: Prepare, tmp_path: Path) -> None:
    train, test = table(tmp_path / "train.csv", 60, every=3), table(tmp_path / "test.csv", 21, start=200)
    prepared = prepare(section(policy="drop", recognisers=[OWN]), train=train, test=test, text="text", label="label")
    assert len(prepared.test) == 19  # two have no label
    assert all("<EMAIL_ADDRESS>" in record.text for record in prepared.test.records())
    assert prepared.card.rejected["personal data"] == 18  # of 20, two have no label
    notices = "\n".join(prepared.card.notices)
    assert "19 rows of the test file masked and not dropped" in notices
    assert "18 rows with personal data rejected before splits were drawn" in notices
    protection = prepared.rules.protection
    assert protection is not None and protection.policy == "mask"  # `predict` does what was done to the test rows


def test_a_refused_run_names_rows_and_kinds_and_no_value(prepare: Prepare, tmp_path: Path) -> None:
    train = table(tmp_path / "train.csv", 30, every=10)
    with pytest.raises(DataError) as raised:
        prepare(section(policy="refuse"), train=train, text="text", label="label")
    assert str(raised.value) == (
        "privacy.policy: is `refuse`, and 3 rows have personal data that it stands for (train.csv rows 1, 11, 21; in "
        "all rows 3 EMAIL_ADDRESS, 3 PHONE_NUMBER), wanted none. "
        "Take it out of the source, or choose `mask`, `surrogate` or `drop`."
    )
    assert not (tmp_path / "data").exists()


def test_a_report_counts_and_changes_nothing(prepare: Prepare, tmp_path: Path) -> None:
    train = table(tmp_path / "train.csv", 60)
    plain = prepare(None, folder="plain", train=train, text="text", label="label")
    told = prepare(section(policy="report"), folder="told", train=train, text="text", label="label")
    for name in (
        "train.parquet",
        "validation.parquet",
        "test.parquet",
        "rejected.jsonl",
        "changed.jsonl",
        "input.json",
    ):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "told" / name).read_bytes(), name
    assert "personal data in 54 rows (54 EMAIL_ADDRESS, 54 PHONE_NUMBER): left as it is" in told.card.notices
    assert "personal data: Only patterns were used: names of persons and places are not covered" in " ".join(
        told.card.notices
    )
    assert plain.card.fingerprint == told.card.fingerprint


def test_what_was_found_is_told_by_split_without_values() -> None:
    made = hiding(policy="mask", by_kind={"IP_ADDRESS": "report"})
    given_records = [
        Choice(id="", text="from 8.8.8.8 and a@b.org", label="x", source="a.csv", row=1),
        Choice(id="", text="nothing", label="x", source="a.csv", row=2),
        Choice(id="", text="c@d.org", label="x", source="a.csv", row=3),
    ]
    for place, handled in enumerate(made.hide(given_records)):
        made.note(handled, place)
    finding = made.finding(("train", "train", "test").__getitem__)
    assert finding.looked_at == 3
    assert finding.counts == {"rows with personal data": 2, "EMAIL_ADDRESS": 2, "IP_ADDRESS": 1}
    assert [(d.key, d.detail, d.suggestion) for d in finding.doubts] == [(0, "1 IP_ADDRESS in the prompt", None)]
    assert [(row["kind"], row["split"], row["rows"]) for row in finding.tables["personal data"]] == [
        ("EMAIL_ADDRESS", "train", 1), ("EMAIL_ADDRESS", "test", 1), ("IP_ADDRESS", "train", 1),
    ]  # fmt: skip
    assert "names of persons and places are not covered" in " ".join(finding.notes)


TALK = Conversation(
    id="", text="", source="chat.jsonl", row=4,
    messages=(
        Message(role="system", content="You help a@b.org."),
        Message(role="user", content="I am c@d.org, +49 30 901820."),
        Message(role="assistant", content="Is it still +49 30 901820?"),
        Message(role="user", content="Yes. And PN-123456."),
        Message(role="assistant", content="Noted for c@d.org: PN-123456."),
    ),
)  # fmt: skip


def test_all_turns_of_a_conversation_agree() -> None:
    made = hiding(policy="surrogate", key_env="STAND_INS", recognisers=[OWN])
    after = made.hide([TALK])[0].record
    assert isinstance(after, Conversation)
    system, first, second, third, answer = (each.content for each in after.messages)
    phone = first.removesuffix(".").split(", ")[1]
    assert phone != "+49 30 901820" and second == f"Is it still {phone}?"
    number = third.removesuffix(".").split("And ")[1]
    assert number != "PN-123456" and answer.endswith(f": {number}.")
    mail = first.split(" ")[2].rstrip(",")
    assert mail in answer and mail not in system and "a@b.org" not in system
    assert after.text == f"{first}\n\n{second}\n\n{third}"


def test_answers_of_a_preference_are_hidden_and_may_become_equal() -> None:
    asked = (Message(role="user", content="Whom do I call?"),)
    common: dict[str, Any] = {"id": "", "text": "Whom do I call?", "messages": asked, "source": "p.jsonl"}
    two = [
        Preference(**common, row=1, chosen="Call +49 30 901820.", rejected="No."),
        Preference(**common, row=2, chosen="Call +49 30 901820.", rejected="Call +49 30 901821."),
    ]
    first, second = hiding(policy="mask").hide(two)
    assert isinstance(first.record, Preference) and first.record.chosen == "Call <PHONE_NUMBER>."
    assert second.rejected == ("equal answers", "the chosen answer is the rejected one, once personal data is hidden")


def test_the_vault_is_told_of_every_record_before_and_after() -> None:
    told: list[tuple[Record, Record | None]] = []
    made = make_hiding(
        section(policy="mask", by_kind={"IP_ADDRESS": "drop"}), keep=lambda before, after: told.append((before, after))
    )
    assert made is not None
    texts = ("nothing", "a@b.org", "from 8.8.8.8")
    made.hide([Choice(id="", text=text, label="x") for text in texts])
    assert [(before.text, after and after.text) for before, after in told] == [
        ("a@b.org", "<EMAIL_ADDRESS>"), ("from 8.8.8.8", None),
    ]  # fmt: skip


def test_groups_that_are_personal_data_stay_groups_and_lose_their_names() -> None:
    rows = [
        Choice(id="", text="x", label="x", group=group) for group in ("a@b.org", "a@b.org", "c@d.org", "ward 3", None)
    ]
    groups = [each.record.group for each in hiding(policy="mask").hide(rows)]
    assert groups[0] == groups[1] != groups[2] and groups[3:] == ["ward 3", None]
    assert not any("@" in str(group) for group in groups)
    keyed = hiding(policy="surrogate", key_env="STAND_INS").hide(rows)
    assert keyed[0].record.group not in (groups[0], "a@b.org")  # no list of likely addresses tells which it is


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(["a@b.org", "+49 30 901820", "x y", "<EMAIL_ADDRESS>", "PN-1"]), max_size=5),
       st.integers(1, 70))  # fmt: skip
def test_records_keep_their_order_and_number(pieces: list[str], count: int) -> None:
    rows = [Choice(id="", text=f"{n} {' '.join(pieces)}", label="x", row=n) for n in range(count)]
    after = hiding(policy="mask").hide(rows)
    assert [each.record.row for each in after] == list(range(count))
    assert all(each.record.text.startswith(f"{n} ") or not pieces for n, each in enumerate(after))
    assert not any("@" in each.record.text or "901820" in each.record.text for each in after)
    assert hiding(policy="mask").hide([each.record for each in after]) == [
        Handled(record=each.record, found=()) for each in after
    ]  # twice changes nothing


def test_rules_for_inputs_are_saved_without_the_key(tmp_path: Path) -> None:
    saved = hiding(policy="surrogate", key_env="STAND_INS", by_kind={"US_SSN": "drop"}, recognisers=[OWN]).for_inputs()
    assert saved is not None
    assert (saved.policy, dict(saved.by_kind), saved.key_env) == ("surrogate", {"US_SSN": "mask"}, "STAND_INS")
    rules = InputRules(text_columns=("text",), protection=saved)
    rules.write(tmp_path / "input.json")
    assert InputRules.read(tmp_path / "input.json") == rules
    assert KEY["STAND_INS"] not in (tmp_path / "input.json").read_text(encoding="utf-8")
    assert hiding(policy="report", by_kind={"US_SSN": "refuse"}).for_inputs() is None


def test_the_key_has_to_be_there() -> None:
    privacy = section(policy="surrogate", key_env="STAND_INS")
    with pytest.raises(ArgumentError, match=r"\$STAND_INS: is not set, wanted the key of surrogates .* Set it"):
        make_hiding(privacy, environment={})
    with pytest.raises(ArgumentError, match=r"privacy\.key: has 5 bytes, wanted at least 16"):
        make_hiding(privacy, environment={"STAND_INS": "short"})
    with pytest.raises(ArgumentError, match=r"privacy\.key_env: is missing, and surrogates are drawn by a key"):
        make_hiding(section(policy="surrogate"), environment=KEY)


def test_nothing_falls_back_to_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presidio, "PACKAGES", ("a_package_that_nobody_has",))
    asked = PrivacySection(policy="mask")
    with pytest.raises(MissingPackage, match=r'pip install "metier\[pii\]", or set `privacy\.detector: patt') as told:
        make_hiding(asked)
    assert told.value.exit_code == 5
    with pytest.raises(MissingPackage):
        depends_on(asked)
    with pytest.raises(MissingPackage):
        make_hiding(PrivacySection(level="strict"))


def test_what_data_depends_on_changes_with_what_hides_it() -> None:
    def of(environment: dict[str, str] = KEY, **fields: Any) -> Sequence[object]:
        return depends_on(section(**fields), environment)

    surrogate: dict[str, Any] = {"policy": "surrogate", "key_env": "STAND_INS"}
    assert depends_on(PrivacySection()) == []
    assert of(policy="mask") == of(policy="mask") != of(policy="drop")
    assert of(**surrogate) != of({"STAND_INS": "another secret of many characters"}, **surrogate)
    assert KEY["STAND_INS"] not in json.dumps(of(**surrogate))


def test_a_regular_expression_of_the_recipe_is_checked(prepare: Prepare, tmp_path: Path) -> None:
    own = [{"name": "CASE", "regex": "(a+)+b"}]
    with pytest.raises(DataError, match=r"privacy\.recognisers\.CASE\.regex: repeats a repetition"):
        prepare(section(policy="mask", recognisers=own), train=table(tmp_path / "train.csv", 20))


needs_presidio = pytest.mark.skipif(
    any(importlib.util.find_spec(package) is None for package in presidio.PACKAGES), reason="needs the extra pii"
)


@needs_presidio
@pytest.mark.slow
def test_identifiers_of_a_published_set_are_in_no_file(
    prepare: Prepare, tmp_path: Path, real_data: Callable[[str], Path]
) -> None:
    """Sentences of presidio-research: all addresses and account numbers are gone, and most names."""
    file = real_data("pii/presidio_synth") / "synth_dataset_v2.json"
    numbered = ("EMAIL_ADDRESS", "IBAN_CODE", "IP_ADDRESS")
    chosen = [
        row
        for row in json.loads(file.read_text(encoding="utf-8"))
        if any(s["entity_type"] in numbered for s in row["spans"])
    ][:80]
    with (tmp_path / "set.csv").open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows(
            [("text", "label"), *((row["full_text"], "ab"[number % 2]) for number, row in enumerate(chosen))]
        )
    prepare(PrivacySection(policy="mask"), train=tmp_path / "set.csv", text="text", label="label")
    values = [(s["entity_type"], s["entity_value"]) for row in chosen for s in row["spans"]]
    sure = sorted({value for kind, value in values if kind in numbered})
    assert len(sure) > 60
    found = find_texts(tmp_path / "data", sure)
    assert not found.found, [each.place for each in found.found]
    names = sorted({value for kind, value in values if kind == "PERSON" and len(value) > 6})
    left = {each.needle for each in find_texts(tmp_path / "data", names).found}
    assert len(left) <= 0.15 * len(names)
