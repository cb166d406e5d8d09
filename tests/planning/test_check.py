"""Everything that can be known without training."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from metier.data.records import Choice
from metier.device import Hardware
from metier.errors import DataError
from metier.model.base import load_base_model
from metier.model.encode import Encoder
from metier.model.prompt import make_prompt_format
from metier.planning.check import check_recipe
from metier.recipe.sections import ModelSection, PromptSection, Recipe
from metier.store.values import to_plain

Make = Callable[..., Recipe]


@dataclass(frozen=True)
class Judged:
    verdict: str
    sentence: str


def test_data_findings_name_rows_and_never_their_text(make_recipe: Make) -> None:
    report = check_recipe(make_recipe())
    rejected = {each.reason: (each.count, [(p.source, p.row) for p in each.first]) for each in report.data.rejected}
    assert rejected["empty text"] == (1, [("mails.csv", 61)])
    assert rejected["duplicate"] == (1, [("mails.csv", 62)])
    assert rejected["broken row"] == (1, [("mails.csv", 63)])
    assert report.data.rejected_file == str(Path(report.folder) / "data" / "rejected.jsonl")
    assert "money" not in json.dumps(to_plain(report.data))


def test_of_the_test_set_only_size_and_lengths_are_told(make_recipe: Make) -> None:
    report = check_recipe(make_recipe())
    test = next(split for split in report.data.splits if split.name == "test")
    assert (test.labels, test.groups) == (None, None)
    assert [each.rows for each in report.candidates[0].lengths if each.split == "test"] == [test.rows]


def test_nothing_is_left_behind(make_recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make_recipe(output={"dir": str(tmp_path / "runs" / "mine")})
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    report = check_recipe(recipe)
    assert report.folder == str(tmp_path / "runs" / "mine")
    assert not (tmp_path / "runs").exists()
    assert not list(temporary.iterdir())
    assert not (Path(os.environ["METIER_STATE"]) / "openings.jsonl").exists()


def test_tokens_are_those_of_the_encoder_and_only_the_answer_is_trained(make_recipe: Make) -> None:
    recipe = make_recipe()
    candidate = check_recipe(recipe).candidates[0]
    hardware = Hardware(device="cpu", dtype="float32", threads=1, reason="test")
    base = load_base_model(ModelSection(name=recipe.model.name), hardware)
    encoder = Encoder(base.tokenizer, min(recipe.training.max_length, base.context))
    prompt = make_prompt_format(PromptSection(), ["card", "login", "refund"], "label")
    assert len({view.label for view in candidate.views}) == 3
    for view in candidate.views:
        assert view.label is not None
        answer = encoder.answer(view.label).tolist()
        read = [token.id for token in view.tokens if not token.trained]
        trained = [token.id for token in view.tokens if token.trained]
        assert trained == answer
        assert read == [token.id for token in view.tokens][: len(read)], "the prompt comes first"
        number = view.place.row - 1
        words = {"refund": "give me my money back", "card": "my card was declined", "login": "I can't log in"}
        text = f"{words[view.label]} please number {number // 3}"
        assert read == encoder.prompt(prompt, text).ids.tolist()
        assert [token.end_of_turn for token in view.tokens] == [False] * (len(view.tokens) - 1) + [True]
        assert "".join(token.text or "" for token in view.tokens).startswith("<|im_start|>user\n")
    assert "End of turn is trained (<|im_end|>, token 2)." in candidate.trained_part
    assert candidate.faults == ()


def test_an_encoder_reads_all_tokens_and_its_target_is_the_class(
    make_recipe: Make, tiny_model: Callable[..., Path]
) -> None:
    adaptation = {"method": "full"}
    candidate = check_recipe(make_recipe(model=str(tiny_model("bert")), adaptation=adaptation)).candidates[0]
    labels = ["card", "login", "refund"]
    for view in candidate.views:
        assert not any(token.trained for token in view.tokens)
        assert view.label is not None and view.target_class == labels.index(view.label)
        assert (view.tokens[0].text, view.tokens[-1].text) == ("[CLS]", "[SEP]")
    assert candidate.trained_part == "All tokens are read; what is trained is the choice of the class."


def test_texts_stay_out_where_the_recipe_says_so(make_recipe: Make) -> None:
    report = check_recipe(make_recipe(report={"examples": False}))
    for view in report.candidates[0].views:
        assert view.label is None
        assert {token.text for token in view.tokens} == {None}
    assert "declined" not in json.dumps(to_plain(report))


@pytest.mark.parametrize(("kind", "limit"), [("llama", 100), ("bert", 50)], ids=["words", "head"])
def test_records_that_are_cut_are_counted_and_named(
    kind: str, limit: int, make_recipe: Make, table: Path, tiny_model: Callable[..., Path]
) -> None:
    # Each other than the others: what is nearly the same as a test row would leave.
    asked = [" ".join(f"where is order {number}{item} please" for item in range(12)) for number in range(12)]
    with table.open("a", encoding="utf-8") as file:
        file.write("".join(f"{text},refund\n" for text in asked))
    method = {"method": "lora"} if kind == "llama" else {"method": "full"}
    recipe = make_recipe(model=str(tiny_model(kind)), adaptation=method, training={"max_length": limit})
    candidate = check_recipe(recipe).candidates[0]
    assert sum(each.cut for each in candidate.lengths) == 12
    assert all(place.row > 63 for each in candidate.lengths for place in each.cut_first)
    assert max(each.longest for each in candidate.lengths) <= limit
    assert {each.limit for each in candidate.lengths} == {limit}


def test_the_learning_plan_is_what_peft_attaches(make_recipe: Make) -> None:
    learning = check_recipe(make_recipe()).candidates[0].learning
    # Rank 4 on all linear modules of one block: q, k, v, o of 32 and 16, gate, up, down of 48.
    assert learning.trainable == 4 * (64 + 48 + 48 + 64 + 80 + 80 + 80)
    assert (learning.trunk_layers, learning.layers) == (2, 3)
    assert learning.groups == {"layers.2": learning.trainable}
    assert learning.steps > 0 and learning.validations == 2


def test_an_answer_without_a_token_of_its_own_is_a_fault(make_recipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Encoder.answer

    def answer(self: Encoder, text: str) -> Any:
        ids = original(self, text)
        return ids[-1:] if text == "card" else ids[:-1] if text == "login" else ids

    monkeypatch.setattr(Encoder, "answer", answer)
    report = check_recipe(make_recipe())
    assert report.name == "mails"
    faults = "\n".join(report.faults)
    assert "tuned: the answer `card` has no token of its own: nothing would be trained" in faults
    assert "the answer `login` does not end with the end of turn, so the model would not learn to stop" in faults


def test_answers_of_equal_tokens_are_a_fault(make_recipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Encoder.answer
    monkeypatch.setattr(Encoder, "answer", lambda self, text: original(self, "card"))
    faults = check_recipe(make_recipe()).faults
    assert "tuned: the answers `card` and `login` are the same tokens; prompt.label_texts can tell them apart" in faults


def test_paying_is_asked_for_with_training_records_and_the_size_of_test(make_recipe: Make) -> None:
    seen: dict[str, Any] = {}

    def pay(train: Sequence[Choice], test_size: int) -> Judged:
        seen.update(train=len(train), test=test_size)
        return Judged("can pay", "It can.")

    report = check_recipe(make_recipe(), pay=pay)
    sizes = {split.name: split.rows for split in report.data.splits}
    assert seen == {"train": sizes["train"], "test": sizes["test"]}
    assert report.paying is not None and report.paying.sentence == "It can."


def test_what_cannot_be_judged_has_a_reason(make_recipe: Make) -> None:
    def pay(train: Sequence[Choice], test_size: int) -> Judged:
        raise DataError("train", "has 3 independent records or groups", "at least 5")

    report = check_recipe(make_recipe(), pay=pay)
    assert report.paying is None
    assert report.paying_reason == "train: has 3 independent records or groups, wanted at least 5."


def test_too_little_memory_is_a_warning(make_recipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metier.planning.check.available_memory_bytes", lambda: 1_000_000)
    report = check_recipe(make_recipe())
    assert "GB of memory; 0.0 GB are free. A smaller training.tokens_per_microbatch" in report.warnings[0]


def test_several_candidates_and_model_baselines(make_recipe: Make, tiny_model: Callable[..., Path]) -> None:
    llama, bert = str(tiny_model("llama")), str(tiny_model("bert"))
    recipe = make_recipe(
        candidates={
            "words": {"model": llama, "adaptation": {"method": "lora", "layers": "top 1"}},
            "all": {"model": llama, "adaptation": {"method": "full"}},
            "head": {"model": bert, "adaptation": {"method": "head"}},
        },
        evaluation={"probe_model": bert, "baseline_model": llama, "resamples": 200, "few_shot": {"k": [2]}},
    )
    report = check_recipe(recipe)
    assert [candidate.name for candidate in report.candidates] == ["words", "all", "head"]
    assert report.candidates[1].learning.trainable == report.candidates[1].learning.parameters
    assert report.candidates[2].learning.steps == 0
    assert report.plan is not None
    works = {(stage.stage, stage.what) for stage in report.plan.stages}
    assert ("baselines", "zero_shot: 2 prompts on validation") in works
    assert ("baselines", "few_shot: 2 prompts on validation") in works
    assert ("baselines", "few_shot: 1 prompt with the nearest examples on validation") in works
    assert [what for _, what in works if what.startswith("probe: features after ")]
    assert ("attempt words", "lower 2 blocks, computed once") in works
    assert not [what for stage, what in works if stage == "attempt head" and "training" in what]
    assert report.plan.seconds == pytest.approx(sum(stage.seconds for stage in report.plan.stages))
    json.dumps(to_plain(report))


def test_where_every_text_is_too_long_all_are_counted(
    make_recipe: Make, table: Path, tiny_model: Callable[..., Path]
) -> None:
    long = "where is my order please " * 12
    rows = [f"{long} {label} {number},{label}" for number in range(20) for label in ("refund", "card", "login")]
    table.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    recipe = make_recipe(model=str(tiny_model("bert")), adaptation={"method": "full"}, training={"max_length": 20})
    lengths = check_recipe(recipe).candidates[0].lengths
    assert sum(each.cut for each in lengths) == sum(each.rows for each in lengths) == 60
    assert all(len(each.cut_first) == min(10, each.cut) for each in lengths)


def test_a_solved_head_has_other_ways_too(make_recipe: Make, tiny_model: Callable[..., Path]) -> None:
    report = check_recipe(make_recipe(model=str(tiny_model("bert")), adaptation={"method": "head"}))
    assert report.plan is not None
    ways = {way.name: way for way in report.plan.alternatives}
    assert {"as it is", "lora, all layers", "full, all layers"} <= set(ways)
    assert ways["full, all layers"].seconds > ways["lora, all layers"].seconds > ways["as it is"].seconds
    assert not ways["lora, all layers"].measured
