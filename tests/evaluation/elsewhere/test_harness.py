"""Exchange with lm-evaluation-harness: tasks out, samples in. That both give the same: `test_harness_agreement.py`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from metier.data.records import Choice, Conversation, Message, Record, as_input
from metier.errors import ArgumentError, DataError
from metier.evaluation.elsewhere.harness import RULES, Asking, export_tasks, pick
from metier.evaluation.elsewhere.harness_samples import import_samples
from metier.evaluation.evaluate import RecordSet, evaluate_system
from metier.evaluation.systems import AnswerOptions
from metier.events import Event, Notice
from metier.model.chat_prompt import ChatPrompt
from metier.model.prompt import PromptFormat
from metier.recipe.sections import EvaluationSection

LABELS = ("cancel", "refund", "track")
WORDS = ("cancel it", "money back", "find the parcel")
PROMPT = PromptFormat(instruction="Answer with the intent.", labels=LABELS, label_texts=WORDS)
Records = Callable[..., list[Choice]]
Dialogues = Callable[..., list[Conversation]]


def _sample(row: dict[str, Any], sums: list[float], *, as_text: bool = True, **changes: Any) -> dict[str, Any]:
    """One line of the harness's own file, as 0.4.13 writes it: numbers as text."""
    choice, normed = pick(sums, row["choices"]), pick(sums, row["choices"], "acc_norm")
    responses = [[str(value), "False"] if as_text else [value, False] for value in sums]
    return {
        "doc_id": 0, "doc": row, "target": str(row["label"]), "arguments": {}, "resps": [[each] for each in responses],
        "filtered_resps": responses, "filter": "none", "metrics": ["acc", "acc_norm"], "doc_hash": "x",
        "acc": float(choice == row["label"]), "acc_norm": float(normed == row["label"]), **changes,
    }  # fmt: skip


def _samples(folder: Path, rows: list[dict[str, Any]], name: str = "samples.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _exported(records: Sequence[Record], folder: Path, asking: Asking | None = None) -> list[dict[str, Any]]:
    export_tasks(records, folder, asking or Asking(prompt=PROMPT), name="mail")
    return pq.read_table(folder / "mail.parquet").to_pylist()  # type: ignore[no-any-return]


def _task(folder: Path, name: str = "mail") -> Any:
    return yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))


def _encoder(model: Path) -> Any:
    from transformers import AutoTokenizer

    from metier.model.encode import Encoder

    return Encoder(AutoTokenizer.from_pretrained(model), 200)


# Tasks


def test_a_task_of_choices(tmp_path: Path, make_records: Records) -> None:
    records = make_records(5)
    rows = _exported(records, tmp_path)
    task = _task(tmp_path)
    assert (task["task"], task["output_type"], task["dataset_path"]) == ("mail", "multiple_choice", "parquet")
    assert task["dataset_kwargs"]["data_files"]["test"] == str((tmp_path / "mail.parquet").resolve())
    assert (task["doc_to_text"], task["doc_to_choice"], task["doc_to_target"]) == ("prompt", "choices", "label")
    assert [metric["metric"] for metric in task["metric_list"]] == ["acc", "acc_norm"]
    assert rows[0] == {
        "id": "r0", "prompt": f"Answer with the intent.\n\n{records[0].text}\nAnswer:", "choices": list(WORDS),
        "labels": list(LABELS), "label": LABELS.index(records[0].label),
    }  # fmt: skip
    assert not (tmp_path / "mail_chat.yaml").exists(), "no model, no chat template"


def test_the_items_are_named_by_where_they_will_stand(tmp_path: Path, make_records: Records) -> None:
    (tmp_path / "draft").mkdir()
    export_tasks(make_records(2), tmp_path / "draft", Asking(prompt=PROMPT), name="mail", final=tmp_path / "out")
    named = _task(tmp_path / "draft")["dataset_kwargs"]["data_files"]["test"]
    assert named == str(tmp_path.resolve() / "out" / "mail.parquet")


def test_a_model_with_a_chat_template_gets_a_second_task(
    tmp_path: Path, make_records: Records, tiny_model: Callable[..., Path]
) -> None:
    encoder, records = _encoder(tiny_model("llama")), make_records(3)
    prompt = PROMPT.with_choices(list_labels=True, shots=[("stop it", "cancel"), ("pay me", "refund")])
    rows = _exported(records, tmp_path, Asking(prompt=prompt, encoder=encoder))
    assert [row["asked"] for row in rows] == [encoder.render(prompt, record.text) for record in records]
    assert "<|im_start|>" in rows[0]["asked"] and "<|im_start|>" not in rows[0]["prompt"]
    plain, chat = _task(tmp_path), _task(tmp_path, "mail_chat")
    assert (plain["doc_to_text"], plain["target_delimiter"]) == ("prompt", " ")
    assert (chat["doc_to_text"], chat["target_delimiter"]) == ("asked", "")


def test_plain_prompts_are_those_of_a_model_without_chat_template(
    tmp_path: Path, make_records: Records, make_dialogues: Dialogues, tiny_model: Callable[..., Path]
) -> None:
    from metier.model.chat_encode import ChatEncoder

    encoder = _encoder(tiny_model("gpt2"))
    records, dialogues = make_records(3), make_dialogues(["yes", "no"])
    prompt = PROMPT.with_choices(list_labels=True, shots=[("stop it", "cancel"), ("pay me", "refund")])
    expected = [encoder.render(prompt, record.text) for record in records]
    for asking in (Asking(prompt=prompt), Asking(prompt=prompt, encoder=encoder)):
        assert [row["prompt"] for row in _exported(records, tmp_path, asking)] == expected
    asking = Asking(prompt=ChatPrompt(instruction="Say it.", system="Be kind."))
    rows = _exported(dialogues, tmp_path, asking)
    asked = [ChatEncoder(encoder).render(asking.prompt, record.context) for record in dialogues]  # type: ignore[arg-type]
    assert [row["prompt"] for row in rows] == asked
    assert rows[0] == {"id": "d0", "prompt": "Be kind.\n\nSay it.\n\nquestion 0\nAnswer:", "gold": "yes"}


def test_several_turns_stand_with_their_speakers(tmp_path: Path) -> None:
    said = [("user", "hello"), ("assistant", "yes?"), ("user", "my card"), ("assistant", "blocked")]
    turns = tuple(Message(role=role, content=text) for role, text in said)
    record = Conversation(id="c", text="hello", messages=turns, source="a.jsonl", row=1)
    rows = _exported([record], tmp_path, Asking(prompt=ChatPrompt()))
    assert rows[0]["prompt"] == "User: hello\n\nAssistant: yes?\n\nUser: my card\n\nAssistant:"


def test_what_ends_a_written_answer(tmp_path: Path, make_dialogues: Dialogues, tiny_model: Callable[..., Path]) -> None:
    prompt, encoder = ChatPrompt(), _encoder(tiny_model("llama"))
    found = {}
    for name, asking, golds in (
        ("plain", Asking(prompt=prompt), ["yes"]),
        ("blank", Asking(prompt=prompt), ["one\n\ntwo"]),
        ("stop", Asking(prompt=prompt, stop=("END",), most_tokens=9), ["yes"]),
        ("chat", Asking(prompt=prompt, stop=("END",), encoder=encoder), ["yes"]),
    ):
        _exported(make_dialogues(golds), tmp_path, asking)
        task = _task(tmp_path, "mail_chat" if name == "chat" else "mail")
        found[name] = (task["generation_kwargs"]["until"], task["generation_kwargs"]["max_gen_toks"])
    assert found == {
        "plain": (["\n\n"], 256), "blank": ([], 256), "stop": (["END"], 9), "chat": (["END", "<|im_end|>"], 256),
    }  # fmt: skip


def test_what_cannot_be_a_task_is_refused(tmp_path: Path, make_records: Records, make_dialogues: Dialogues) -> None:
    with pytest.raises(ArgumentError, match="0 records as the task 'mail'"):
        _exported([], tmp_path)
    with pytest.raises(ArgumentError, match=r"as the task '\.\./x'"):
        export_tasks(make_records(2), tmp_path, Asking(prompt=PROMPT), name="../x")
    with pytest.raises(ArgumentError, match="records and prompt of different kinds"):
        _exported(make_dialogues(["yes"]), tmp_path)
    strange = Choice(id="s", text="secret words", label="spam", source="a.csv", row=7)
    with pytest.raises(ArgumentError, match="row 7 has a label that the prompt has not") as told:
        _exported([*make_records(2), strange], tmp_path)
    assert "secret" not in str(told.value) and not list(tmp_path.iterdir())


def test_rules_divide_by_characters_and_by_bytes() -> None:
    assert [pick([-4.0, -6.0], ["ab", "abcdef"], rule) for rule in RULES] == [0, 1, 1]
    assert [pick([-4.0, -6.0], ["ää", "bbb"], rule) for rule in RULES] == [0, 0, 0]
    assert [pick([-4.2, -6.0], ["ää", "bbb"], rule) for rule in ("acc_norm", "acc_bytes")] == [1, 0]
    with pytest.raises(ArgumentError, match="rule: found 'f1', wanted one of acc, acc_norm, acc_bytes"):
        pick([0.0], ["a"], "f1")


# Samples


@pytest.mark.parametrize("as_text", [True, False])
@pytest.mark.parametrize("rule", RULES)
def test_samples_come_back_as_a_system(tmp_path: Path, make_records: Records, as_text: bool, rule: str) -> None:
    records = make_records(30)
    generator = np.random.default_rng(1)
    rows = _exported(records, tmp_path)
    sums = [list(map(float, generator.normal(-8, 3, size=3))) for _ in rows]
    path = _samples(tmp_path, [_sample(row, each, as_text=as_text) for row, each in zip(rows, sums, strict=True)])
    system = import_samples(path, records, name="theirs", labels=LABELS, rule=rule)
    found = evaluate_system(
        system, RecordSet(name="test", records=records, labels=LABELS), section=EvaluationSection(resamples=200), seed=1
    )
    for item, each in zip(found.items, sums, strict=True):
        assert item.answer == LABELS[pick(each, WORDS, rule)]
        assert item.label_logprobs is not None
        assert item.label_logprobs["cancel"] - item.label_logprobs["track"] == pytest.approx(each[0] - each[2])
    assert found.settings["samples"] == 30 and found.settings["rule"] == rule


def test_labels_are_found_by_name_whatever_their_order(tmp_path: Path, make_records: Records) -> None:
    records = make_records(3)
    row = _exported(records, tmp_path)[0]
    other = {**row, "choices": row["choices"][::-1], "labels": row["labels"][::-1], "label": 2 - row["label"]}
    path = _samples(tmp_path, [_sample(other, [-9.0, -9.0, -1.0])])
    system = import_samples(path, records, name="theirs", labels=LABELS)
    assert system.answers["r0"].label == LABELS[0]


def test_written_answers(tmp_path: Path, make_dialogues: Dialogues) -> None:
    records = make_dialogues(["yes", "no"])
    rows = _exported(records, tmp_path, Asking(prompt=ChatPrompt(instruction="Say it.")))
    said = [{"doc": rows[0], "filtered_resps": ["yes"], "exact_match": 1.0}]
    heard: list[Event] = []
    system = import_samples(_samples(tmp_path, said), records, name="theirs", observers=(heard.append,))
    answers = list(system.answer([as_input(record) for record in records], AnswerOptions()))
    assert [(answer.text, answer.reason) for answer in answers] == [("yes", None), (None, "no answer")]
    (notice,) = [event for event in heard if isinstance(event, Notice)]
    assert notice.message == "theirs: 1 record that the harness was not asked, counted as wrong."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"acc": 0.5}, r"samples\.jsonl, line 1: says acc = 0\.5, and its responses give"),
        ({"acc_bytes": 0.5}, r"line 1: says acc_bytes = 0\.5"),
        ({"filtered_resps": [["-1", "False"]]}, r"line 1: has 1 probabilities for 3 choices and 3 labels"),
        ({"filtered_resps": [["nan", "False"]] * 3}, r"line 1: has a log-probability that is no finite number"),
        ({"doc": {"choices": ["a"]}}, r"line 1: is no sample of a task that metier exported"),
        ({"doc": "text"}, r"line 1: is no sample of a task that metier exported"),
        ({"filtered_resps": "none"}, r"line 1: is no sample of a task that metier exported"),
    ],
)
def test_samples_that_are_no_samples_are_refused(
    tmp_path: Path, make_records: Records, changes: dict[str, Any], message: str
) -> None:
    records = make_records(2)
    rows = _exported(records, tmp_path)
    path = _samples(tmp_path, [{**_sample(rows[0], [-1.0, -2.0, -3.0]), **changes}])
    with pytest.raises(DataError, match=message):
        import_samples(path, records, name="theirs", labels=LABELS)


@pytest.mark.parametrize("said", [{}, {"filtered_resps": []}, {"filtered_resps": [["-1", "False"]]}])
def test_written_samples_that_are_none_are_refused(
    tmp_path: Path, make_dialogues: Dialogues, said: dict[str, Any]
) -> None:
    records = make_dialogues(["yes"])
    rows = _exported(records, tmp_path, Asking(prompt=ChatPrompt()))
    with pytest.raises(DataError, match="line 1: is no sample of a task that metier exported"):
        import_samples(_samples(tmp_path, [{"doc": rows[0], **said}]), records, name="theirs")


def test_samples_of_other_data_are_told(tmp_path: Path, make_records: Records) -> None:
    records = make_records(4)
    rows = _exported(records, tmp_path)
    samples = [_sample(row, [-1.0, -2.0, -3.0]) for row in rows]
    path = _samples(tmp_path, samples)
    others = make_records(4, prefix="other")
    with pytest.raises(DataError, match="none of its 4 samples is about a record of this set, wanted samples of these"):
        import_samples(path, others, name="x", labels=LABELS)
    with pytest.raises(DataError, match="line 1: has 1 labels that differ, wanted the 4 labels of this data"):
        import_samples(path, records, name="x", labels=(*LABELS, "spam"))
    changed = [Choice(id=r.id, text=r.text, label="track", source=r.source, row=r.row) for r in records]
    with pytest.raises(DataError, match="line 1: has another right answer than its record"):
        import_samples(path, changed, name="x", labels=LABELS)
    heard: list[Event] = []
    system = import_samples(path, [*records[:2], *others], name="x", labels=LABELS, observers=(heard.append,))
    assert (system.settings["missing"], system.settings["of_no_record"]) == (4, 2)
    assert [event.message for event in heard if isinstance(event, Notice)] == [
        "x: 4 records that the harness was not asked, counted as wrong; 2 samples of no record of this set, left out."
    ]


def test_doubles_and_empty_files_are_refused(tmp_path: Path, make_records: Records) -> None:
    records = make_records(2)
    sample = _sample(_exported(records, tmp_path)[0], [-1.0, -2.0, -3.0])
    with pytest.raises(DataError, match="line 2: is a second sample of its record"):
        import_samples(_samples(tmp_path, [sample, sample]), records, name="x", labels=LABELS)
    with pytest.raises(DataError, match="holds no samples"):
        import_samples(_samples(tmp_path, []), records, name="x")
    with pytest.raises(DataError, match=r"gone\.jsonl: is no file, wanted samples_"):
        import_samples(tmp_path / "gone.jsonl", records, name="x")
