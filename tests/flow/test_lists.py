"""Several labels of a text, and pieces of a text, from data to report and prediction, on tiny random models."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.errors import ModelError
from metier.evaluation.files import read_evaluations
from metier.evaluation.verify import verify_evaluations
from metier.serving.predict import load_run, predict_file
from metier.store.files import read_json

TOPICS = {"late": "waiting", "rude": "shouted", "bill": "invoice"}


def letters(count: int) -> str:
    """A table of texts with a column of 1 and 0 for each label; each label has its own word."""
    rng = random.Random(3)
    rows = [f"note,{','.join(TOPICS)}"]
    for number in range(count):
        labels = [label for label in TOPICS if rng.random() < 0.4]
        words = [*(TOPICS[label] for label in labels), *rng.choices(["the", "shop", "order", "please"], k=3)]
        rng.shuffle(words)
        rows.append(f"{' '.join(words)} {number},{','.join(str(int(label in labels)) for label in TOPICS)}")
    return "\n".join(rows) + "\n"


def fixed(count: int) -> str:
    """Texts whose labels and pieces are always the same: what a tiny random model can learn to write."""
    rows = [
        {"text": f"ada is at home {number}", "tags": ["a", "b"], "spans": [{"start": 0, "end": 3, "label": "p"}]}
        for number in range(count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="session")
def lists_home(new_home: Callable[..., Any], tiny_model: Callable[..., Path]) -> Any:
    """A user with letters that have several labels, and with texts for a model that writes."""
    home = new_home()
    (home.folder / "letters.csv").write_text(letters(90), encoding="utf-8")
    (home.folder / "fixed.jsonl").write_text(fixed(48), encoding="utf-8")
    home.values = {
        "task": "multilabel",
        "name": "lists",
        "model": str(tiny_model("llama")),
        "data": {"train": "fixed.jsonl", "near_duplicates": "off", "leaks": "allow", "max_test_examples": 6},
        "adaptation": {"method": "full"},
        "training": {
            "num_train_epochs": 10, "learning_rate": 3e-3, "max_length": 128, "per_device_train_batch_size": 8,
            "early_stopping_patience": None, "eval_steps": 50, "validation_examples": 4,
        },
        "prompt": {"instruction": "which?"},
        "generation": {"max_new_tokens": 16},
        "evaluation": {
            "selection_examples": 4, "train_examples": 4, "few_shot": {"k": [1]}, "resamples": 200,
            "systems": ["majority", "tfidf", "zero_shot"], "robustness": [],
        },
        "hardware": {"dtype": "float32"},
    }  # fmt: skip
    return home


@pytest.fixture(scope="session")
def heads(lists_home: Any, tiny_model: Callable[..., Path]) -> Any:
    """The letters, learned by a solved head and by an encoder that is trained with one."""
    bert = str(tiny_model("bert"))
    return lists_home.run(
        "heads", data={"train": "letters.csv", "label": list(TOPICS), "max_test_examples": 30},
        model=bert, adaptation={"method": "head"}, prompt={},
        candidates={
            "solved": {},
            "trained": {
                "adaptation": {"method": "full"},
                "training": {"num_train_epochs": 1, "learning_rate": 1e-3, "eval_steps": None},
            },
        },
        evaluation={"systems": ["majority", "tfidf", "probe"], "probe_model": bert},
    )  # fmt: skip


def _test_of(ran: Any) -> dict[str, Any]:
    return {found.system: found for found in read_evaluations(ran.folder.evaluation_of("test").path)}


def test_a_head_learns_several_labels_with_a_threshold_from_validation(heads: Any) -> None:
    found = _test_of(heads)
    assert list(found) == ["majority", "tfidf", "probe", "tuned"]
    tuned = found["tuned"]
    assert set(tuned.labels) == set(TOPICS) == set(tuned.per_class)
    assert found["tfidf"].metrics["macro_f1"].value > 0.9 > found["majority"].metrics["macro_f1"].value
    assert tuned.metrics["macro_f1"].value > found["majority"].metrics["macro_f1"].value
    assert {"exact_match", "hamming_loss", "invalid"} <= set(tuned.metrics)
    about = read_json(heads.folder.model / "metier-model.json", format="saved_model")
    assert about["task"] == "multilabel" and 0 < about["rule"]["threshold"] < 1 and about["rule"]["never_none"] is False
    assert any(len(json.loads(item.answer)) != 1 for item in tuned.items)


def test_its_numbers_are_what_the_items_give_and_its_pages_are_there(heads: Any) -> None:
    assert verify_evaluations(heads.folder.evaluation) == ()
    page = heads.folder.report_page.read_text(encoding="utf-8")
    assert "Exact match" in page and "Hamming loss" in page
    card = (heads.folder.path / "README.md").read_text(encoding="utf-8")
    assert "Answers any number of 3 labels, as a JSON list" in card and "text-classification" in card


def test_a_file_is_answered_with_lists(heads: Any, tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("note\nthe invoice please\nwaiting in the shop\n", encoding="utf-8")
    specialist = load_run(heads.folder.path)
    assert specialist.labels == tuple(sorted(TOPICS))
    predict_file(specialist, source, target)
    rows = list(csv.DictReader(target.read_text(encoding="utf-8").splitlines()))
    assert [set(json.loads(row["answer"])) <= set(TOPICS) for row in rows] == [True, True]
    assert [answer.label for answer in specialist.answer([row["note"] for row in rows])] == [r["answer"] for r in rows]


@pytest.mark.slow
def test_a_language_model_writes_the_labels(lists_home: Any) -> None:
    ran = lists_home.run("written")
    found = _test_of(ran)
    assert found["tuned"].metrics["exact_match"].value == 1.0, [item.reason for item in found["tuned"].items][:3]
    assert found["tuned"].metrics["invalid"].value == 0.0
    assert found["zero_shot"].metrics["invalid"].value == 1.0  # a random model writes no list
    assert found["zero_shot"].items[0].answer is None
    assert found["majority"].metrics["exact_match"].value == found["tfidf"].metrics["exact_match"].value == 1.0
    assert verify_evaluations(ran.folder.evaluation) == ()
    (answer,) = load_run(ran.folder.path).answer(["ada is at home 1"])
    assert answer.label == '["a", "b"]' and answer.text is None


def test_pieces_from_data_to_report(lists_home: Any) -> None:
    ran = lists_home.run(
        "pieces", task="extraction", data={"answer": "spans"}, training={"max_steps": 2},
        evaluation={"systems": ["dictionary", "tagger", "zero_shot"], "primary_metric": "span_f1"},
    )  # fmt: skip
    found = _test_of(ran)
    assert list(found) == ["dictionary", "tagger", "zero_shot", "tuned"]
    assert found["tuned"].items[0].gold == '[[0, 3, "p"]]'
    assert found["dictionary"].metrics["span_f1"].value == found["tagger"].metrics["span_f1"].value == 1.0
    assert found["zero_shot"].metrics["invalid"].value == 1.0  # a random model writes no list
    assert found["zero_shot"].items[0].answer == "" and "no JSON list" in found["zero_shot"].items[0].reason
    assert verify_evaluations(ran.folder.evaluation) == ()
    page = ran.folder.report_page.read_text(encoding="utf-8")
    assert "Span F1 by overlap" in page and "ada (p)" in page
    assert "token-classification" in (ran.folder.path / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_language_model_learns_to_write_the_pieces(lists_home: Any, tmp_path: Path) -> None:
    ran = lists_home.run(
        "learned", task="extraction", data={"answer": "spans"},
        evaluation={"systems": ["dictionary"], "primary_metric": "span_f1"},
    )  # fmt: skip
    tuned = _test_of(ran)["tuned"]
    assert tuned.metrics["span_f1"].value == 1.0, [item.answer for item in tuned.items][:3]
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"text": "ada is at home 99"}\n{"text": ""}\n', encoding="utf-8")
    predict_file(load_run(ran.folder.path), source, target)
    first, second = (json.loads(line) for line in target.read_text(encoding="utf-8").splitlines())
    answer = json.loads(first["answer"]) if isinstance(first["answer"], str) else first["answer"]
    assert answer == [{"start": 0, "end": 3, "label": "p", "text": "ada"}]
    assert second["answer"] is None and second["reason"] == "empty text"


def test_an_encoder_cannot_write_pieces(lists_home: Any, tiny_model: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match="is an encoder, which cannot write"):
        lists_home.run("never", task="extraction", data={"answer": "spans"}, model=str(tiny_model("bert")),
                       evaluation={"systems": ["dictionary"], "primary_metric": "span_f1"})  # fmt: skip
