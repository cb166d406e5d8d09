"""Real files of the tasks without labels, as they were published: described, drafted and prepared by that draft."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from metier.data.describe import describe_data
from metier.data.draft import draft_recipe
from metier.data.prepare import prepare_data
from metier.data.prepared import PreparedData
from metier.data.records import Conversation
from metier.data.splits import conversations
from metier.errors import DataError
from metier.recipe.load import load_recipe

RealData = Callable[[str], Path]
Prepare = Callable[..., PreparedData]
LIMITS = ["data.max_examples=200", "data.max_test_examples=100"]


def drafted(place: Path, tmp_path: Path) -> PreparedData:
    found = describe_data(place)
    recipe_file = tmp_path / "recipe.yaml"
    text = draft_recipe(found, recipe_folder=tmp_path)
    assert len(text.splitlines()) < 30
    recipe_file.write_text(text, encoding="utf-8")
    recipe = load_recipe(recipe_file, LIMITS)
    return prepare_data(recipe.data, seed=17, folder=tmp_path / "data", task=recipe.task)


@pytest.mark.parametrize(
    ("place", "task", "shape", "text", "answer", "rows"),
    [
        ("customer_support/bitext_responses", "generation", "columns", ("input_text",), "output_text", 380),
        ("medical/mts_dialog", "generation", "columns", ("dialogue",), "section_text", 1301),
        ("medical/mts_dialog/train.csv", "generation", "columns", ("dialogue",), "section_text", 1301),
        ("legal/plain_english_contracts/tldrlegal_v1.json", "generation", "columns", ("original_text",),
         "reference_summary", 85),
        ("legal/plain_english_contracts/tosdr_annotated_v1.json", "generation", "columns", ("original_text",),
         "reference_summary", 361),
        ("technical/nl2bash", "generation", "columns", ("text",), "answer", 12_607),
        ("technical/tldr_pages", "generation", "columns", ("description",), "command", 4000),
        ("medical/medquad", "generation", "columns", ("question",), "answer", 1500),
        ("medical/pubmedqa_labeled/ori_pqal.json", "generation", "columns", ("CONTEXTS", "QUESTION"), "LONG_ANSWER",
         1000),
        ("instruction/self_instruct/seed_tasks.jsonl", "generation", "alpaca", (), "output", 175),
        ("instruction/self_instruct/user_oriented_instructions.jsonl", "generation", "alpaca", (), "output", 252),
        ("instruction/sharegpt_demo/glaive_toolcall_en_demo.json", "chat", "sharegpt", (), None, 300),
        ("instruction/sharegpt_demo/identity.json", "generation", "alpaca", (), "output", 91),
        ("technical/handbook_18f", "text", "documents", ("text",), None, 81),
        ("finance/tat_qa", "generation", "columns", ("table.table", "paragraphs.text", "question"), "answer", 1668),
        ("general/gsm8k", "generation", "columns", ("question",), "answer", 3319),
        ("preference/dpo_en_demo", "preference", "preference", (), None, 300),
        ("general/piqa", "classification", "columns", ("sol2",), None, 1838),
    ],
)  # fmt: skip
def test_a_drafted_recipe_prepares(
    real_data: RealData, tmp_path: Path, place: str, task: str, shape: str, text: tuple[str, ...], answer: str | None,
    rows: int,
) -> None:  # fmt: skip
    prepared = drafted(real_data(".") / place, tmp_path)
    card = prepared.card
    assert (card.task, card.shape, card.text_columns, card.answer_column) == (task, shape, text, answer)
    assert sum(source.rows for source in card.sources) == rows
    assert sum(split.rows for split in card.splits.values()) + sum(card.rejected.values()) == rows
    assert 0 < len(prepared.train) <= 200
    assert 0 < len(prepared.test) <= 100


def test_tool_calls_are_kept(real_data: RealData, prepare: Prepare) -> None:
    prepared = prepare(task="chat", train=real_data("instruction") / "sharegpt_demo/glaive_toolcall_en_demo.json")
    records = conversations(prepared.train.records())
    calling = [record for record in records if any("tool_calls" in message.more for message in record.messages)]
    assert len(calling) > 50
    assert all(record.tools is not None for record in calling)
    left = {"duplicate": 25, "near duplicate in test": 5, "near duplicate in validation": 1}
    assert prepared.card.rejected == left


def test_a_leak_between_train_and_test_is_closed(real_data: RealData, prepare: Prepare) -> None:
    prepared = prepare(task="generation", train=real_data("customer_support") / "bitext_responses")
    assert prepared.card.rejected == {"also in test": 1}
    (notice,) = [notice for notice in prepared.card.notices if "other columns" in notice]
    assert "read from text `question`, answer `reference_answer`" in notice


def test_tables_and_paragraphs_come_before_the_question(real_data: RealData, prepare: Prepare) -> None:
    prepared = prepare(
        task="generation", train=real_data("finance") / "tat_qa", records="questions",
        text="{table.table}\n\n{question}", answer="answer",
    )  # fmt: skip
    record = prepared.train.take([0])[0]
    assert isinstance(record, Conversation)
    assert " | " in record.text.splitlines()[0]
    assert record.group == f"tatqa_dataset_dev.json, row {record.row}"


def test_front_matter_is_set_aside(real_data: RealData, prepare: Prepare) -> None:
    prepared = prepare(task="text", train=real_data("technical") / "handbook_18f")
    assert prepared.card.changed["front matter set aside"] > 70
    assert not any(record.text.startswith("---") for record in prepared.train.records())
    assert "TEMPLATE_Project_README.docx, TEMPLATE_Risk_tracker.xlsx not read" in prepared.card.notices[0]


@pytest.mark.parametrize("place", ["preference/taskmaster4_rewards", "preference/taskmaster4_rewards/reward_00.json"])
def test_ratings_of_single_answers_end_in_a_sentence(real_data: RealData, tmp_path: Path, place: str) -> None:
    found = describe_data(real_data(".") / place)
    assert "(unpaired preference), which are not read" in found.questions[-1]
    with pytest.raises(DataError, match=r"data\.text: no column looks like the text, wanted one of `conversation_id`"):
        draft_recipe(found, recipe_folder=tmp_path)


@pytest.mark.parametrize("place", ["medical/pubmedqa_labeled", "instruction/self_instruct"])
def test_a_folder_of_several_sets_asks_for_one(real_data: RealData, place: str) -> None:
    with pytest.raises(DataError, match="has several files and none is called train"):
        describe_data(real_data(".") / place)
