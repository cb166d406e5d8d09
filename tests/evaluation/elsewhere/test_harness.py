"""Exchange with lm-evaluation-harness: tasks out, samples in, the same answers item by item (EV-6)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from metier.data.records import Choice, Conversation, as_input
from metier.errors import ArgumentError, DataError
from metier.evaluation.elsewhere.harness import RULES, export_task, harness_prompt, import_samples, pick
from metier.evaluation.evaluate import RecordSet, evaluate_system
from metier.evaluation.systems import AnswerOptions
from metier.model.prompt import PromptFormat
from metier.recipe.sections import EvaluationSection

LABELS = ("cancel", "refund", "track")
WORDS = ("cancel it", "money back", "find the parcel")
PROMPT = PromptFormat(instruction="Answer with the intent.", labels=LABELS, label_texts=WORDS)
Records = Callable[..., list[Choice]]


def _sample(row: dict[str, Any], sums: list[float], *, as_text: bool, **changes: Any) -> dict[str, Any]:
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


def _exported(records: list[Choice], folder: Path) -> list[dict[str, Any]]:
    task = export_task(records, folder, name="support_intents", prompt=PROMPT)
    return [json.loads(line) for line in task.items.read_text(encoding="utf-8").splitlines()]


def test_a_task_of_choices(tmp_path: Path, make_records: Records) -> None:
    records = make_records(5)
    rows = _exported(records, tmp_path)
    task = yaml.safe_load((tmp_path / "support_intents.yaml").read_text(encoding="utf-8"))
    assert (task["task"], task["output_type"], task["dataset_path"]) == ("support_intents", "multiple_choice", "json")
    assert task["dataset_kwargs"]["data_files"]["test"] == str((tmp_path / "support_intents.jsonl").resolve())
    assert [metric["metric"] for metric in task["metric_list"]] == ["acc", "acc_norm"]
    assert rows[0] == {
        "id": "r0", "prompt": f"Answer with the intent.\n\n{records[0].text}\nAnswer:", "choices": list(WORDS),
        "label": LABELS.index(records[0].label),
    }  # fmt: skip


def test_the_prompt_is_that_of_a_model_without_chat_template(
    make_records: Records, tiny_model: Callable[..., Path]
) -> None:
    from transformers import AutoTokenizer

    from metier.model.encode import Encoder

    encoder = Encoder(AutoTokenizer.from_pretrained(tiny_model("gpt2")), 200)
    prompt = PROMPT.with_choices(list_labels=True, shots=[("stop it", "cancel"), ("pay me", "refund")])
    assert harness_prompt(prompt, "where is it?") == encoder.render(prompt, "where is it?")


@pytest.mark.parametrize("as_text", [True, False])
@pytest.mark.parametrize("rule", RULES)
def test_samples_come_back_as_a_system(tmp_path: Path, make_records: Records, as_text: bool, rule: str) -> None:
    records = make_records(30)
    generator = np.random.default_rng(1)
    rows = _exported(records, tmp_path)
    sums = [list(map(float, generator.normal(-8, 3, size=3))) for _ in rows]
    path = _samples(tmp_path, [_sample(row, each, as_text=as_text) for row, each in zip(rows, sums, strict=True)])
    system = import_samples(path, name="theirs", prompt=PROMPT, rule=rule)
    found = evaluate_system(
        system, RecordSet(name="test", records=records, labels=LABELS), section=EvaluationSection(resamples=200), seed=1
    )
    for item, each in zip(found.items, sums, strict=True):
        assert item.answer == LABELS[pick(each, WORDS, rule)]
        assert item.label_logprobs is not None
        assert item.label_logprobs["cancel"] - item.label_logprobs["track"] == pytest.approx(each[0] - each[2])
    assert found.settings["samples"] == 30 and found.settings["rule"] == rule


def test_rules_divide_by_characters_and_by_bytes() -> None:
    assert [pick([-4.0, -6.0], ["ab", "abcdef"], rule) for rule in RULES] == [0, 1, 1]
    assert [pick([-4.0, -6.0], ["ää", "bbb"], rule) for rule in RULES] == [0, 0, 0]
    assert [pick([-4.2, -6.0], ["ää", "bbb"], rule) for rule in ("acc_norm", "acc_bytes")] == [1, 0]
    with pytest.raises(ArgumentError, match="rule: found 'f1', wanted one of acc, acc_norm, acc_bytes"):
        pick([0.0], ["a"], "f1")


def test_written_answers(tmp_path: Path, make_dialogues: Callable[..., list[Conversation]]) -> None:
    records = make_dialogues(["yes", "no"])
    task = export_task(records, tmp_path, name="written", instruction="Say it.")
    rows = [json.loads(line) for line in task.items.read_text(encoding="utf-8").splitlines()]
    assert rows[0] == {"id": "d0", "prompt": "Say it.\n\nquestion 0\nAnswer:", "gold": "yes"}
    assert yaml.safe_load(task.yaml.read_text())["output_type"] == "generate_until"
    said = [{"doc": rows[0], "filtered_resps": ["yes"], "exact_match": 1.0}]
    system = import_samples(_samples(tmp_path, said), name="theirs")
    answers = list(system.answer([as_input(record) for record in records], AnswerOptions()))
    assert [(answer.text, answer.reason) for answer in answers] == [("yes", None), (None, "no answer")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"acc": 0.5}, r"samples\.jsonl, line 1: says acc = 0\.5, and its responses give"),
        ({"filtered_resps": [["-1", "False"]]}, r"line 1: has 1 probabilities for 3 choices, wanted one each"),
        ({"doc": {"choices": ["a"]}}, r"line 1: .*wanted"),
        ({"filtered_resps": "none"}, r"line 1: "),
    ],
)
def test_samples_that_are_no_samples_are_refused(
    tmp_path: Path, make_records: Records, changes: dict[str, Any], message: str
) -> None:
    rows = _exported(make_records(2), tmp_path)
    path = _samples(tmp_path, [{**_sample(rows[0], [-1.0, -2.0, -3.0], as_text=True), **changes}])
    with pytest.raises(DataError, match=message):
        import_samples(path, name="theirs", prompt=PROMPT)


def test_doubles_other_prompts_and_empty_files_are_refused(tmp_path: Path, make_records: Records) -> None:
    rows = _exported(make_records(2), tmp_path)
    sample = _sample(rows[0], [-1.0, -2.0, -3.0], as_text=True)
    with pytest.raises(DataError, match="line 2: is a second sample of its record"):
        import_samples(_samples(tmp_path, [sample, sample]), name="x", prompt=PROMPT)
    other = PromptFormat(instruction="x", labels=LABELS, label_texts=LABELS)
    with pytest.raises(DataError, match="has other choices than the prompt"):
        import_samples(_samples(tmp_path, [sample]), name="x", prompt=other)
    with pytest.raises(DataError, match="holds no samples"):
        import_samples(_samples(tmp_path, []), name="x")
    with pytest.raises(ArgumentError, match="export: choices without a prompt"):
        export_task(make_records(2), tmp_path, name="x")
    with pytest.raises(ArgumentError, match="0 records as the task 'x'"):
        export_task([], tmp_path, name="x")


# On the engine


def _sums_of(runner: Any, tokenizer: Any, rows: list[dict[str, Any]]) -> list[Any]:
    from metier.evaluation.elsewhere.harness_scoring import harness_sums

    choices = [[f" {choice}" for choice in row["choices"]] for row in rows]
    return harness_sums(runner, tokenizer, [row["prompt"] for row in rows], choices, budget=4096)


def test_our_engine_adds_up_what_a_plain_forward_does(
    tmp_path: Path, make_records: Records, tiny_base: Callable[..., Any]
) -> None:
    import torch

    from metier.engine.forward import TreeRunner
    from metier.evaluation.elsewhere.harness_scoring import encode_pair

    base = tiny_base("llama")
    rows = _exported(make_records(6), tmp_path)
    found = _sums_of(TreeRunner(base.network), base.tokenizer, rows)
    for row, sums in zip(rows, found, strict=True):
        for choice, value in zip(row["choices"], sums, strict=True):
            pair = encode_pair(base.tokenizer, row["prompt"], f" {choice}")
            with torch.no_grad():
                logits = torch.log_softmax(base.network(torch.tensor(pair.ids[None])).logits[0].double(), -1)
            places = np.flatnonzero(pair.targets)
            expected = float(sum(logits[place - 1, pair.ids[place]] for place in places))
            assert float(value) == pytest.approx(expected, abs=1e-3)
            assert base.tokenizer.decode(pair.ids) == f"{row['prompt']} {choice}"


def test_spaces_at_the_end_of_a_context_belong_to_the_choice(tiny_base: Callable[..., Any]) -> None:
    from metier.evaluation.elsewhere.harness_scoring import encode_pair

    tokenizer = tiny_base("llama").tokenizer
    one, other = encode_pair(tokenizer, "say  ", "yes"), encode_pair(tokenizer, "say", "  yes")
    assert one.ids.tolist() == other.ids.tolist() and one.targets.tolist() == other.targets.tolist()
    empty = encode_pair(tokenizer, "", "yes")
    assert empty.ids[0] == tokenizer.bos_token_id and not empty.targets[0] and empty.targets[1:].all()


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_no_item_differs_from_the_harness_itself(
    kind: str, tmp_path: Path, make_records: Records, tiny_base: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """EV-6. Needs lm-eval[hf] 0.4.13, which is no dependency of metier."""
    lm_eval = pytest.importorskip("lm_eval", reason="lm-eval is not installed: the agreement by item was not tested")
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    from metier.engine.forward import TreeRunner

    records = make_records(int(os.environ.get("METIER_HARNESS_ITEMS", "60")), noise=0.3)
    rows = _exported(records, tmp_path)
    base = tiny_base(kind)
    model = HFLM(pretrained=base.network, tokenizer=base.tokenizer, device="cpu", batch_size=8)
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    result = lm_eval.simple_evaluate(
        model=model, tasks=["support_intents"], task_manager=manager, bootstrap_iters=2, log_samples=True
    )
    samples = {sample["doc"]["id"]: sample for sample in result["samples"]["support_intents"]}
    ours = _sums_of(TreeRunner(base.network), base.tokenizer, rows)
    differing = {"acc": 0, "acc_norm": 0}
    for row, sums in zip(rows, ours, strict=True):
        theirs = samples[row["id"]]
        assert [value for value, _ in theirs["filtered_resps"]] == pytest.approx(list(sums), abs=2e-3)
        for rule in differing:
            differing[rule] += float(pick(list(sums), row["choices"], rule) == row["label"]) != theirs[rule]
    assert differing == {"acc": 0, "acc_norm": 0}
    path = _samples(tmp_path, [json.loads(json.dumps(sample, default=str)) for sample in samples.values()])
    imported = import_samples(path, name="theirs", prompt=PROMPT)
    assert len(imported.answers) == len(records)


def test_no_written_answer_differs_from_the_harness_itself(
    tmp_path: Path, tiny_base: Callable[..., Any], make_dialogues: Callable[..., list[Conversation]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """EV-6 for exact match: half of the gold answers are what the model writes, so that both verdicts occur."""
    lm_eval = pytest.importorskip("lm_eval", reason="lm-eval is not installed: the agreement by item was not tested")
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    from metier.engine.forward import TreeRunner
    from metier.engine.generate import generate
    from metier.engine.sampling import Decoding
    from metier.evaluation.measures import MEASURES
    from metier.evaluation.results import Answer

    n = int(os.environ.get("METIER_HARNESS_ITEMS", "40"))
    base = tiny_base("llama")
    asked = [f"order {place} of {place * 37 % 101}" for place in range(n)]
    ids = [np.array(base.tokenizer(f"{text}\nAnswer:")["input_ids"], dtype=np.int64) for text in asked]
    stop = frozenset({int(base.tokenizer.eos_token_id)})
    decoding = Decoding(max_new_tokens=6, stop_ids=stop, stop_texts=("\n\n",), batch_size=8)

    def read(tokens: Any) -> str:
        return str(base.tokenizer.decode(tokens, skip_special_tokens=True))

    written = generate(TreeRunner(base.network), ids, decoding, read=read, budget=4096)
    ours = [(read(each.ids.tolist()) if each.text is None else each.text).strip() for each in written]
    golds = [text if place % 2 and text else "something else" for place, text in enumerate(ours)]
    records = make_dialogues(golds, asked)
    export_task(records, tmp_path, name="written", most_tokens=6)
    model = HFLM(pretrained=base.network, tokenizer=base.tokenizer, device="cpu", batch_size=8)
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    result = lm_eval.simple_evaluate(
        model=model, tasks=["written"], task_manager=manager, bootstrap_iters=2, log_samples=True
    )
    samples = {sample["doc"]["id"]: sample for sample in result["samples"]["written"]}
    answers = [
        Answer(id=r.id, label=None, text=text, stop="end of turn") for r, text in zip(records, ours, strict=True)
    ]
    items = MEASURES["generation"].items(records, answers, None)
    verdicts = [(item.counts["exact_match"][0], float(samples[item.id]["exact_match"])) for item in items]
    assert [samples[record.id]["filtered_resps"][0] for record in records] == ours
    assert all(one == other for one, other in verdicts) and {one for one, _ in verdicts} == {0.0, 1.0}
    path = _samples(tmp_path, [json.loads(json.dumps(sample, default=str)) for sample in samples.values()])
    assert len(import_samples(path, name="theirs").answers) == n
