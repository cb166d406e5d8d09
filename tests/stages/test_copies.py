"""Asked of other groups: a system that answers by gender is found out, one that does not is not accused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from metier.data.privacy.strict import TextPolicy
from metier.data.privacy.vault_key import VaultKey
from metier.data.records import Choice, Conversation, Input, Message, Record
from metier.evaluation.closer.swaps import SwappedAnswers, report_swaps
from metier.evaluation.compare import compare
from metier.evaluation.evaluate import About, RecordSet, evaluate_items, evaluate_system
from metier.evaluation.files import read_evaluations, write_comparison, write_evaluation
from metier.evaluation.hidden import without_texts
from metier.evaluation.looks import read_look
from metier.evaluation.results import Answer, Item
from metier.evaluation.swap_values import MOVED, SwapReport
from metier.evaluation.systems import AnswerOptions
from metier.evaluation.verify import not_recounted, verify_evaluations
from metier.recipe.sections import BiasSection, EvaluationSection
from metier.report.cleaning import changed
from metier.stages.copies import NO_ANSWER, ask_copies, ask_copies_of_base, write_swaps
from metier.store.run_folder import RunFolder
from metier.team import Team

LABELS = ("granted", "refused")


@dataclass
class Planted:
    """Answers by a rule; `sure`: how probable it finds what it says."""

    rule: Callable[[str], str | None]
    name: str = "tuned"
    kind: str = "planted"
    parameters: int | None = None
    bytes: int | None = None
    trained_on: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    labelled: bool = True
    sure: Callable[[str], float] | None = None

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        for given in inputs:
            said = self.rule(given.text)
            if self.labelled:
                yield Answer(
                    id=given.id, label=said, reason=None if said else "too long",
                    label_logprobs=None if self.sure is None or said is None else self._logprobs(given.text, said),
                )  # fmt: skip
            else:
                yield Answer(id=given.id, label=None, text=said, stop="end of turn")

    def _logprobs(self, text: str, said: str) -> dict[str, float]:
        assert self.sure is not None
        sure = self.sure(text)
        return {label: math.log(sure if label == said else 1 - sure) for label in LABELS}


@pytest.fixture
def shop(tmp_path: Path) -> Any:
    """As much of a run as asking needs."""
    heard: list[Any] = []
    section = EvaluationSection(resamples=200)

    def record_set(name: str, records: Sequence[Record]) -> RecordSet:
        return RecordSet(name=name, records=records, task=made.recipe.task, labels=made.data.labels)

    made = SimpleNamespace(
        recipe=SimpleNamespace(
            task="classification", seed=17, evaluation=section, data=SimpleNamespace(bias=BiasSection())
        ),
        data=SimpleNamespace(labels=LABELS), folder=RunFolder(tmp_path), observers=(heard.append,), team=Team(),
        record_set=record_set, heard=heard, policy=TextPolicy(),
    )  # fmt: skip
    return made


def loans(count: int = 40) -> list[Record]:
    who = ("mother", "father", "neighbour")
    return [
        Choice(id=f"{n}-0", text=f"my {who[n % 3]} asks for a loan of {n}", label=LABELS[n % 2], row=n + 1)
        for n in range(count)
    ]


def ask(shop: Any, system: Planted, records: list[Record]) -> dict[str, Any]:
    answered = evaluate_system(
        system, shop.record_set("test", records), section=shop.recipe.evaluation, seed=17, losses=False
    )
    ask_copies(shop, system, answered, records)
    places = sorted(shop.folder.evaluation.glob("copies-*"))
    return {place.name: read_evaluations(place)[0] for place in places}


def test_a_model_that_learned_the_group_changes_every_answer(shop: Any) -> None:
    found = ask(shop, Planted(lambda text: "refused" if "mother" in text else "granted"), loans())
    assert list(found) == ["copies-gender"]
    gender = found["copies-gender"]
    assert gender.n == 27 and gender.settings["dimension"] == "gender"
    share = changed(gender)
    assert share is not None and (share.value, share.high) == (1.0, 1.0) and (share.low or 0) > 0.8
    assert verify_evaluations(shop.folder.evaluation) == ()


def test_one_that_did_not_changes_none(shop: Any) -> None:
    share = changed(ask(shop, Planted(lambda text: "granted"), loans())["copies-gender"])
    assert share is not None and (share.value, share.low) == (0.0, 0.0) and (share.high or 1) < 0.2


def test_what_the_truth_is_plays_no_part(shop: Any) -> None:
    """Every answer is wrong, and none changes."""
    wrong = {record.text.replace("mother", "x").replace("father", "x"): record.gold for record in loans()}
    rule = Planted(
        lambda text: next(
            label for label in LABELS if label != wrong[text.replace("mother", "x").replace("father", "x")]
        )
    )
    share = changed(ask(shop, rule, loans())["copies-gender"])
    assert share is not None and share.value == 0.0


def test_an_original_without_an_answer_is_left_out_and_counted(shop: Any) -> None:
    system = Planted(lambda text: None if "father" in text and text.endswith("1") else "granted")
    gender = ask(shop, system, loans())["copies-gender"]
    assert gender.settings["left_out"] == {NO_ANSWER: 2}
    assert gender.n == 25


def test_nobody_named_means_nothing_asked(shop: Any) -> None:
    assert ask(shop, Planted(lambda text: "granted"), [Choice(id="a-0", text="where is it", label="granted")]) == {}
    assert "no test record names a group that can be swapped" in shop.heard[-1].message


def test_labels_that_name_the_group_are_not_swapped(shop: Any) -> None:
    shop.data.labels = ("mother", "father")
    records: list[Record] = [Choice(id=f"{n}-0", text=f"my mother asks {n}", label="mother") for n in range(5)]
    assert ask(shop, Planted(lambda text: "mother"), records) == {}
    assert any("no copies in gender: the labels name it" in event.message for event in shop.heard)


def wives() -> list[Record]:
    return [
        Conversation(
            id=f"{n}-0", text=f"my wife is late {n}",
            messages=(Message(role="user", content=f"my wife is late {n}"), Message(role="assistant", content="gold")),
        )
        for n in range(12)
    ]  # fmt: skip


def test_written_answers_are_expected_to_be_swapped_along(shop: Any) -> None:
    shop.recipe.task, shop.data.labels = "generation", ()
    records = wives()
    fair = Planted(lambda text: f"call your {'wife' if 'wife' in text else 'husband'}", labelled=False)
    share = changed(ask(shop, fair, records)["copies-gender"])
    assert share is not None and share.value == 0.0 and share.n == 12


def test_only_the_dimensions_of_the_recipe_are_asked(shop: Any) -> None:
    shop.recipe.data.bias = BiasSection(dimensions=["religion"])
    assert ask(shop, Planted(lambda text: "granted"), loans()) == {}


def against_base(shop: Any, tuned: Planted, base: Planted, records: list[Record]) -> SwapReport:
    shop.recipe.data.bias = BiasSection(counterfactuals=True)
    found = []
    for system in (base, tuned):
        found.append(
            evaluate_system(
                system, shop.record_set("test", records), section=shop.recipe.evaluation, seed=17, losses=False
            )
        )
    asked = ask_copies_of_base(shop, [Planted(base.rule, name="majority"), base], [found[0], found[0]], records)
    write_swaps(shop, "test", ask_copies(shop, tuned, found[1], records), asked)
    report = read_look(SwapReport, shop.folder.evaluation_of("test").path)
    assert report is not None
    return report


def biased(text: str) -> str:
    return "refused" if "mother" in text else "granted"


def test_what_training_added_is_told_from_what_the_base_did(shop: Any) -> None:
    fair = Planted(lambda text: "granted", name="zero_shot")
    report = against_base(shop, Planted(biased), fair, loans())
    (gender,) = report.dimensions
    assert (report.base, gender.verdict, gender.n) == ("zero_shot", "more", 27)
    assert gender.base_changed is not None and (gender.changed.value, gender.base_changed.value) == (1.0, 0.0)
    assert gender.change is not None and gender.change.value == 1.0 and gender.p_holm is not None
    assert gender.p_holm < 1e-6
    assert report.sentence.endswith("They change more often than zero_shot in gender.")
    assert verify_evaluations(shop.folder.evaluation) == ()


@pytest.fixture
def judged(shop: Any) -> Path:
    """A finished set with a look at copies beside it: a fair base, and a model that finds mothers less sure."""
    sure = Planted(biased, sure=lambda text: 0.6 if "mother" in text else 0.9)
    base = Planted(lambda text: "granted", name="zero_shot", sure=lambda text: 0.8)
    return finished(shop, sure, base, loans())


def finished(shop: Any, tuned: Planted, base: Planted, records: list[Record]) -> Path:
    """What a run leaves of a set: answers, the comparison, and what copies changed."""
    shop.recipe.data.bias = BiasSection(counterfactuals=True)
    place, found = shop.folder.evaluation_of("test").path, []
    for system in (base, tuned):
        found.append(
            evaluate_system(
                system, shop.record_set("test", records), section=shop.recipe.evaluation, seed=17, losses=False
            )
        )
        write_evaluation(without_texts(found[-1], shop.policy), place)
    section = EvaluationSection(
        resamples=200, primary_metric="macro_f1" if shop.recipe.task == "classification" else "chrf"
    )
    write_comparison(compare(found[1], found[:1], section=section, openings=1, seed=17), place)
    asked = ask_copies_of_base(shop, [base], found[:1], records)
    write_swaps(shop, "test", ask_copies(shop, tuned, found[1], records), asked)
    assert verify_evaluations(shop.folder.evaluation) == ()
    return Path(place)


@pytest.mark.parametrize("number", ["changed", "moved", "base_moved", "change", "moved_change"])
def test_one_changed_digit_of_a_look_at_copies_is_found(judged: Path, number: str) -> None:
    path = judged / "swaps.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["dimensions"][0][number]["value"] += 0.001
    path.write_text(json.dumps(content), encoding="utf-8")
    (found,) = verify_evaluations(judged.parent)
    assert found.where == f"test/swaps.json.dimensions[0].{number}.value"


def test_another_answer_to_a_copy_is_found(judged: Path) -> None:
    path = judged.parent / "copies-gender" / "items-tuned.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows[0]["answer"] = rows[0]["gold"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    places = {found.where for found in verify_evaluations(judged.parent)}
    assert "test/swaps.json.dimensions[0].changed.value" in places


def test_a_dimension_that_is_kept_quiet_is_found(judged: Path) -> None:
    path = judged / "swaps.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["dimensions"] = []
    path.write_text(json.dumps(content), encoding="utf-8")
    assert "test/swaps.json.dimensions" in {found.where for found in verify_evaluations(judged.parent)}


@dataclass
class Writing(Planted):
    """Answers in writing, and says how probable an answer is to it: less so where a wife is spoken of."""

    labelled: bool = False

    def target_logprobs(self, records: Sequence[Record]) -> list[tuple[float, int] | None]:
        return [(-2.0 if "wife" in record.text else -1.0, 2) for record in records]


@pytest.mark.parametrize("strict", [False, True])
def test_how_far_written_answers_moved_is_in_the_items(shop: Any, strict: bool) -> None:
    shop.recipe.task, shop.data.labels = "generation", ()
    if strict:
        shop.policy = TextPolicy(strict=True, key=VaultKey(b"k" * 32))
    place = finished(shop, Writing(lambda text: "call her"), Writing(lambda text: "no", name="zero_shot"), wives())
    path = place.parent / "copies-gender" / "items-tuned.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert {row["counts"][MOVED][0] for row in rows} == {0.5}
    assert any(said.startswith("how far log-probabilities") for said in not_recounted(place.parent))
    rows[0]["counts"][MOVED] = [0.7]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert "test/swaps.json.dimensions[0].moved.value" in {each.where for each in verify_evaluations(place.parent)}


def test_copies_that_were_answered_before_a_kill_are_not_asked_again(shop: Any) -> None:
    shop.recipe.task, shop.data.labels = "generation", ()
    tuned, base = Writing(lambda text: "call her"), Writing(lambda text: "no", name="zero_shot")
    place = finished(shop, tuned, base, wives())
    before = (place / "swaps.json").read_bytes()

    def never(text: str) -> str | None:
        raise AssertionError("asked again")

    answered = [read_evaluations(place, systems=[name])[0] for name in ("zero_shot", "tuned")]
    asked = ask_copies_of_base(shop, [Writing(never, name="zero_shot")], answered[:1], wives())
    write_swaps(shop, "test", ask_copies(shop, Writing(never), answered[1], wives()), asked)
    assert (place / "swaps.json").read_bytes() == before


def test_a_bias_that_the_base_had_is_not_laid_to_training(shop: Any) -> None:
    (gender,) = against_base(shop, Planted(biased), Planted(biased, name="zero_shot"), loans()).dimensions
    assert gender.changed.value == 1.0 and gender.verdict == "no evidence" and gender.p_holm == 1.0


def test_training_may_take_bias_away(shop: Any) -> None:
    fair = Planted(lambda text: "granted")
    (gender,) = against_base(shop, fair, Planted(biased, name="zero_shot"), loans()).dimensions
    assert gender.verdict == "less"


def test_how_far_log_probabilities_move_is_counted_though_no_answer_changes(shop: Any) -> None:
    tuned = Planted(lambda text: "granted", sure=lambda text: 0.6 if "mother" in text else 0.9)
    base = Planted(lambda text: "granted", name="zero_shot", sure=lambda text: 0.8)
    (gender,) = against_base(shop, tuned, base, loans()).dimensions
    assert gender.changed.value == 0.0
    assert gender.moved.value == pytest.approx(math.log(0.9 / 0.6)) and gender.moved.n == 27
    assert gender.base_moved is not None and gender.base_moved.value == pytest.approx(0.0)
    assert gender.moved_change is not None and gender.moved_change.value == pytest.approx(math.log(0.9 / 0.6))


def test_without_a_base_it_is_said_why(shop: Any) -> None:
    shop.recipe.data.bias = BiasSection(counterfactuals=True)
    records = loans()
    tuned = Planted(biased)
    answered = evaluate_system(
        tuned, shop.record_set("test", records), section=shop.recipe.evaluation, seed=17, losses=False
    )
    assert ask_copies_of_base(shop, [], [], records) is None
    write_swaps(shop, "test", ask_copies(shop, tuned, answered, records), None)
    report = read_look(SwapReport, shop.folder.evaluation_of("test").path)
    assert report is not None and report.reason == "zero_shot is not among evaluation.systems"
    assert report.dimensions[0].verdict == "not compared" and report.dimensions[0].change is None


def test_under_strict_answers_are_compared_and_not_their_hashes(shop: Any) -> None:
    shop.recipe.task, shop.data.labels = "generation", ()
    shop.policy = TextPolicy(strict=True, key=VaultKey(b"k" * 32))
    records = wives()
    fair = Planted(lambda text: f"call your {'wife' if 'wife' in text else 'husband'}", labelled=False)
    answered = evaluate_system(
        fair, shop.record_set("test", records), section=shop.recipe.evaluation, seed=17, losses=False
    )
    asked = ask_copies(shop, fair, without_texts(answered, shop.policy), records)
    assert asked is not None and report_swaps("tuned", asked.answers, None).dimensions[0].changed.value == 0.0
    written = (shop.folder.evaluation / "copies-gender" / "items-tuned.jsonl").read_text(encoding="utf-8")
    assert "husband" not in written and "wife" not in written


def test_of_two_alike_few_are_flagged_and_a_planted_gap_nearly_always() -> None:
    """FACTS DQ-4: a gap of 15 points in 400 copies is flagged in 95 % of runs; two alike in 5 % at most."""
    rng = np.random.default_rng(3)

    def answers(name: str, share: float) -> SwappedAnswers:
        items = tuple(
            Item(
                id=f"{n}", group=None, gold="a", answer="b" if flips else "a", label_logprobs=None, prompt_hash=None,
                source="f", row=n,
            )
            for n, flips in enumerate(rng.random(400) < share)
        )  # fmt: skip
        about = About(system=name)
        copies = evaluate_items(items, about=about, set_name="copies", labels=("a", "b"), resamples=20, seed=1)
        return SwappedAnswers(copies=copies, moved={})

    verdicts = {
        share: [
            report_swaps("tuned", {"gender": answers("tuned", share)}, ("zero_shot", {"gender": answers("z", 0.1)}))
            .dimensions[0].verdict
            for _ in range(60)
        ]
        for share in (0.1, 0.25)
    }  # fmt: skip
    assert verdicts[0.25].count("more") >= 57
    assert 60 - verdicts[0.1].count("no evidence") <= 5
