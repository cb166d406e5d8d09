"""Written answers, conversations and passages from data to report, on tiny random models."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.data.splits import conversations
from metier.errors import DataError, ModelError, RecipeError
from metier.evaluation.files import read_comparison, read_evaluations
from metier.evaluation.verify import verify_evaluations
from metier.events import Event, Progress
from metier.serving.predict import load_run, predict_file
from metier.store.files import read_json, read_json_lines
from metier.store.run_folder import RunFolder

TOWNS = ("york", "bath", "leeds", "truro")
SYSTEMS = ["copy_input", "nearest_answer", "zero_shot", "few_shot", "tuned"]


def questions(count: int) -> str:
    """A file of questions whose answers are always the same few words."""
    rows = [
        {"question": f"where is order {number} for {TOWNS[number % 4]}", "answer": "on its way"}
        for number in range(count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


def talks(count: int) -> str:
    """OpenAI messages of two turns each; the first answer is not to be learned."""
    rows = []
    for number in range(count):
        turns = [
            {"role": "system", "content": "be short"},
            {"role": "user", "content": f"hello {number}"},
            {"role": "assistant", "content": f"never learn {number}", "weight": 0},
            {"role": "user", "content": f"order {number} for {TOWNS[number % 4]}"},
            {"role": "assistant", "content": "on its way"},
        ]
        rows.append({"messages": turns})
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="session")
def written_home(new_home: Callable[..., Any], tiny_model: Callable[..., Path]) -> Any:
    """A user with questions, conversations and documents."""
    home = new_home()
    llama = str(tiny_model("llama"))
    (home.folder / "questions.jsonl").write_text(questions(80), encoding="utf-8")
    (home.folder / "talks.jsonl").write_text(talks(60), encoding="utf-8")
    pages = home.folder / "pages"
    pages.mkdir()
    for number in range(24):
        page = f"# Page {number}\n\n" + "the order is on its way to the shop and back again " * (1 + number % 5)
        (pages / f"page{number}.md").write_text(page, encoding="utf-8")
    home.values = {
        "task": "generation",
        "name": "written",
        "model": llama,
        "data": {"train": "questions.jsonl"},
        "adaptation": {"method": "full"},
        "training": {
            "num_train_epochs": 10, "learning_rate": 3e-3, "max_length": 128, "per_device_train_batch_size": 8,
            "early_stopping_patience": None,
        },
        "generation": {"max_new_tokens": 24},
        "evaluation": {"selection_examples": 8, "train_examples": 8, "few_shot": {"k": [1, 2]}, "resamples": 200},
        "hardware": {"dtype": "float32"},
    }  # fmt: skip
    return home


@pytest.fixture(scope="session")
def written(written_home: Any) -> Any:
    """The finished run of the questions."""
    return written_home.run("questions")


def test_a_model_learns_to_write_and_to_stop(written: Any) -> None:
    found = {e.system: e for e in read_evaluations(written.folder.evaluation_of("test").path)}
    assert list(found) == SYSTEMS
    tuned = found["tuned"]
    assert tuned.task == "generation" and not tuned.labels
    assert tuned.metrics["exact_match"].value == 1.0, [item.answer for item in tuned.items][:3]
    assert all(item.stop == "end of turn" and item.answer == "on its way" for item in tuned.items)
    assert found["nearest_answer"].metrics["exact_match"].value == 1.0
    zero, few = found["zero_shot"], found["few_shot"]
    assert zero.metrics["exact_match"].value == 0.0
    assert tuned.metrics["loss"].value < 0.3 < zero.metrics["loss"].value
    assert found["copy_input"].metrics["loss"].value is None and found["copy_input"].metrics["loss"].reason
    assert set(few.settings["tried"]) == {"k=1, draw=0", "k=2, draw=0", "k=1, nearest", "k=2, nearest"}


def test_the_verdict_is_about_the_best_baseline(written: Any) -> None:
    comparison = read_comparison(written.folder.evaluation_of("test").path)
    assert comparison.primary_metric == "chrf"
    assert comparison.best_baseline == "nearest_answer" and comparison.verdict != "improved"
    verdicts = {each.baseline: each.verdict for each in comparison.differences}
    assert verdicts["zero_shot"] == verdicts["copy_input"] == "improved"


def test_every_number_is_made_again_from_the_items(written: Any) -> None:
    assert verify_evaluations(written.folder.path / "evaluation") == ()


def test_the_saved_model_predicts_what_it_said_on_the_test_set(written: Any, tmp_path: Path) -> None:
    asked = [record.text for record in conversations(list(written.result.folder and _test(written)))]
    specialist = load_run(written.folder.path)
    assert [answer.text for answer in specialist.answer(asked[:4])] == ["on its way"] * 4
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(questions(5) + '{"question": "  ", "answer": null}\n', encoding="utf-8")
    done = predict_file(specialist, source, target)
    rows = read_json_lines(target)
    assert [row[done.columns[0]] for row in rows] == ["on its way"] * 5 + [None]
    assert rows[-1][done.columns[2]] and done.unfinished == 0


def _test(written: Any) -> list[Any]:
    from metier.data.prepare import load_prepared

    return list(load_prepared(written.folder.data).test.records())


def test_the_same_recipe_gives_the_same_answers_from_another_cache(
    written: Any, written_home: Any, new_home: Callable[..., Any]
) -> None:
    other = new_home()
    other.values = written_home.values
    (other.folder / "questions.jsonl").write_text(questions(80), encoding="utf-8")
    again = other.run("questions")
    for system in SYSTEMS:
        first = [row["answer"] for row in read_json_lines(written.folder.items("test", system))]
        assert [row["answer"] for row in read_json_lines(again.folder.items("test", system))] == first


class Killed(Exception):
    """What ends a run in the middle."""


def test_a_kill_while_the_test_set_is_answered(written: Any, written_home: Any) -> None:
    """What was answered stays, the rest is answered, and the test set counts as opened once by this run."""

    def kill(event: Event) -> None:
        if isinstance(event, Progress) and event.label == "tuned on test":
            raise Killed

    with pytest.raises(Killed):
        written_home.run("killed", observer=kill)
    folder = RunFolder(written_home.folder / "runs" / "killed")
    there = [folder.items("test", name) for name in SYSTEMS if folder.items("test", name).exists()]
    assert [path.stem for path in there] == [f"items-{name}" for name in SYSTEMS[:-1]]
    stamps = [path.stat().st_mtime_ns for path in there]
    ran = written_home.run("killed", resume=True)
    assert [path.stat().st_mtime_ns for path in there] == stamps
    for system in SYSTEMS:
        assert folder.items("test", system).read_bytes() == written.folder.items("test", system).read_bytes()
    others = read_comparison(written.folder.evaluation_of("test").path).openings
    assert ran.result.summary.comparison.openings == others + 1


def test_turns_of_weight_0_are_read_and_not_learned(written_home: Any) -> None:
    ran = written_home.run("talks", task="chat", data={"train": "talks.jsonl"})
    tuned = read_evaluations(ran.folder.evaluation_of("test").path)[-1]
    assert tuned.metrics["exact_match"].value == 1.0
    assert read_json(ran.folder.model / "prompt.json", format="prompt")["kind"] == "chat"
    steps = read_json_lines(ran.folder.attempt(1).history)
    answer = len(b"on its way") + 1  # at most a token a byte, and the end of turn
    assert max(row["tokens"] for row in steps) <= 8 * answer


def test_a_conversation_without_a_learned_turn_is_rejected_by_number(written_home: Any) -> None:
    rows = talks(40).splitlines()
    silent = json.loads(rows[4])
    silent["messages"][-1]["weight"] = 0
    rows[4] = json.dumps(silent)
    (written_home.folder / "silent.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    ran = written_home.run("silent", task="chat", data={"train": "silent.jsonl"}, until="data")
    rejected = read_json_lines(ran.folder.rejected)
    assert [(row["row"], row["reason"]) for row in rejected] == [(5, "no learned turn")]


def test_an_answer_that_does_not_fit_is_left_out_by_number(written_home: Any) -> None:
    rows = [json.loads(row) for row in questions(60).splitlines()]
    for row in rows[::3]:
        row["answer"] = "on its way " * 60
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (written_home.folder / "long.jsonl").write_text(text, encoding="utf-8")
    ran = written_home.run(
        "long", data={"train": "long.jsonl"}, training={"num_train_epochs": 1}, generation={"max_new_tokens": 24},
        until="train",
    )  # fmt: skip
    left = read_json_lines(ran.folder.attempt(1).left_out)
    assert left and all(
        row["row"] % 3 == 1 and row["reason"].startswith("answer longer than max_length") for row in left
    )
    assert f"{len(left)} of" in ran.notices and "were left out: answer longer than max_length" in ran.notices


def test_nothing_to_learn_is_refused_and_never_trained_as_zero(written_home: Any) -> None:
    rows = [json.loads(row) for row in questions(40).splitlines()]
    for row in rows:
        row["answer"] = "on its way " * 60
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (written_home.folder / "mute.jsonl").write_text(text, encoding="utf-8")
    message = "nothing can be learned from any of .* records: answer longer than max_length"
    with pytest.raises(DataError, match=message):
        written_home.run("mute", data={"train": "mute.jsonl"}, until="train")


def test_turns_that_cannot_be_learned_are_told_and_written_down(written_home: Any) -> None:
    rows = [json.loads(row) for row in talks(40).splitlines()]
    for row in rows[::2]:
        row["messages"][2] = {"role": "assistant", "content": "on its way " * 60}
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (written_home.folder / "halves.jsonl").write_text(text, encoding="utf-8")
    ran = written_home.run(
        "halves", task="chat", data={"train": "halves.jsonl", "leaks": "allow"}, training={"num_train_epochs": 1},
        until="train",
    )  # fmt: skip
    left = read_json_lines(ran.folder.attempt(1).left_out)
    assert left and all(row["row"] % 2 == 1 and row["message"] == 3 for row in left)
    assert f"{len(left)} turns of training records that are used are not learned (rows " in ran.notices


def test_validation_without_a_loss_is_refused_before_training(written_home: Any) -> None:
    (written_home.folder / "short.jsonl").write_text(questions(40), encoding="utf-8")
    rows = [json.loads(row) | {"answer": "on its way " * 60} for row in questions(60).splitlines()[40:]]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (written_home.folder / "endless.jsonl").write_text(text, encoding="utf-8")
    data = {"train": "short.jsonl", "validation": "endless.jsonl"}
    with pytest.raises(DataError, match="none of 20 right answers can be put into tokens"):
        written_home.run("endless", data=data, until="train")


def test_a_metric_that_the_answers_cannot_have_is_unknown_to_the_end(written_home: Any) -> None:
    """Gold answers that are no JSON: nothing can be told, and nothing breaks after hours of training."""
    ran = written_home.run(
        "no_json", training={"num_train_epochs": 1}, evaluation={"primary_metric": "field_f1"},
        candidates={"one": {"seed": 1}, "two": {"seed": 2}},
    )  # fmt: skip
    chosen = read_json(ran.folder.chosen, format="chosen")
    assert chosen["scores"] == {"one": None, "two": None}
    comparison = read_comparison(ran.folder.evaluation_of("test").path)
    assert comparison.verdict == "underpowered" and comparison.sentence.startswith("Cannot tell: field F1 is unknown")


def test_an_instruction_from_the_data_is_part_of_what_an_attempt_is_known_by(written_home: Any) -> None:
    """The same records under another prompt must be trained again."""
    rows = [json.loads(row) for row in questions(40).splitlines()]
    rows = [{"instruction": row["question"], "output": "x", "status": row["answer"]} for row in rows]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (written_home.folder / "status.jsonl").write_text(text, encoding="utf-8")
    fields = {"train": "status.jsonl", "answer": "status"}
    told = written_home.run(
        "told", data={**fields, "text": "instruction", "shape": "columns"}, training={"num_train_epochs": 1},
        until="train",
    )  # fmt: skip
    asked = read_json(told.folder.attempt(1).model / "prompt.json", format="prompt")
    assert asked["instruction"] == "Read the text and write its status."
    quiet = written_home.run(
        "quiet", data={**fields, "shape": "alpaca"}, training={"num_train_epochs": 1}, until="train"
    )
    assert read_json(quiet.folder.attempt(1).model / "prompt.json", format="prompt")["instruction"] is None
    assert "attempt tuned" not in quiet.reused


def test_passages_are_read_on(written_home: Any) -> None:
    changes = {"task": "text", "data": {"train": "pages"}, "evaluation": {}, "generation": {}}
    values = {key: value for key, value in written_home.values.items() if key not in ("evaluation", "generation")}
    home_values, written_home.values = written_home.values, values
    try:
        ran = written_home.run(
            "pages", task="text", data=changes["data"],
            training={"num_train_epochs": 4, "max_length": 64},
        )  # fmt: skip
    finally:
        written_home.values = home_values
    zero, tuned = read_evaluations(ran.folder.evaluation_of("test").path)
    assert (zero.system, tuned.system) == ("zero_shot", "tuned")
    low, high = tuned.metrics["bits_per_byte"].value, zero.metrics["bits_per_byte"].value
    assert low < high and math.isfinite(high)
    comparison = read_comparison(ran.folder.evaluation_of("test").path)
    assert comparison.verdict == "improved" and comparison.differences[0].difference.value == pytest.approx(high - low)
    with pytest.raises(ModelError, match="has learned to read on, and answers nothing"):
        load_run(ran.folder.path)


def test_an_encoder_cannot_write(written_home: Any, tiny_model: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match="is an encoder, which cannot write"):
        written_home.run("encoder", model=str(tiny_model("bert")))


def test_preferences_are_prepared_and_then_refused(written_home: Any) -> None:
    rows = [{"prompt": f"order {number}?", "chosen": "on its way", "rejected": "no idea"} for number in range(40)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (written_home.folder / "pairs.jsonl").write_text(text, encoding="utf-8")
    values = {"task": "preference", "data": {"train": "pairs.jsonl"}}
    with pytest.raises(RecipeError, match="reads and checks but cannot train"):
        written_home.run("pairs", **values, evaluation={}, generation={"max_new_tokens": 24})
