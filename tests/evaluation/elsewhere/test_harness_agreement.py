"""EV-6: lm-evaluation-harness and metier's engine say the same of every item, on what metier exported for it.

`acc` and `acc_norm` of 1,000 choices, `exact_match` of 1,000 written answers, and the way back. The harness reads
context and choice as one text, takes the choice's tokens from where the context's end, and adds their log-probabilities
without an end of turn; metier's own systems tokenise both apart and count the end of turn (rule 1 of the rules of
evidence), so their numbers differ on purpose. Here the engine is asked in the harness's way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from metier.data.records import Choice, Conversation, Record
from metier.evaluation.elsewhere.harness import Asking, export_tasks, pick
from metier.evaluation.elsewhere.harness_samples import import_samples
from metier.model.chat_prompt import ChatPrompt
from metier.model.prompt import PromptFormat

LABELS = ("cancel", "refund", "track")
WORDS = ("cancel it", "money back", "find the parcel")
PROMPT = PromptFormat(instruction="Answer with the intent.", labels=LABELS, label_texts=WORDS)
ITEMS = 1000
Evaluated = Callable[[Any, Path, str], list[dict[str, Any]]]
pytestmark = pytest.mark.slow


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> Evaluated:
    """`evaluated(model, folder, task)`: the samples that the harness logs, as its file would hold them."""
    lm_eval = pytest.importorskip("lm_eval", reason='needs lm-eval: pip install "lm-eval==0.4.13"')
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda storage: None)  # asks pip and git, for seconds
    from lm_eval.tasks import TaskManager

    def evaluate(model: Any, folder: Path, task: str) -> list[dict[str, Any]]:
        manager = TaskManager(include_path=str(folder), include_defaults=False)
        result = lm_eval.simple_evaluate(
            model=model, tasks=[task], task_manager=manager, bootstrap_iters=2, log_samples=True
        )
        return [json.loads(json.dumps(sample, default=str)) for sample in result["samples"][task]]

    return evaluate


def _with_harness(base: Any) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=base.network, tokenizer=base.tokenizer, device="cpu", batch_size=16)


def _rows(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "mail.parquet").to_pylist()  # type: ignore[no-any-return]


def _imported(folder: Path, samples: Sequence[dict[str, Any]], records: Sequence[Record], labels: Any = ()) -> Any:
    path = folder / "samples.jsonl"
    path.write_text("".join(json.dumps(sample) + "\n" for sample in samples), encoding="utf-8")
    return import_samples(path, records, name="theirs", labels=labels)


# The harness's way on metier's engine


def _pair(tokenizer: Any, context: str, choice: str) -> Any:
    """A context that is read and a choice that is predicted, split as the harness (0.4.13) splits them.

    Spaces at the context's end belong to the choice. The tokenizer adds its own special tokens, unless the text
    begins with the one that begins a text. An empty context is that token, else the one that ends a text.
    """
    from metier.engine.tree import TokenSequence

    end = len(context) - len(context.rstrip())
    if end:
        context, choice = context[:-end], context[-end:] + choice
    begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if not context:
        ids = _ids(tokenizer, choice, special=False)
        return TokenSequence.of(ids[:1], ids[1:]) if ids[:1] == [begin] else TokenSequence.of([begin], ids)
    special = not context.startswith(tokenizer.decode([begin]))
    before, whole = _ids(tokenizer, context, special=special), _ids(tokenizer, context + choice, special=special)
    return TokenSequence.of(before, whole[len(before) :])


def _ids(tokenizer: Any, text: str, *, special: bool) -> list[int]:
    return list(tokenizer(text, add_special_tokens=special, truncation=False)["input_ids"])


def _sums(base: Any, rows: Sequence[dict[str, Any]], column: str, delimiter: str) -> list[list[float]]:
    """Of each row the sums of log-probabilities of its choices."""
    from metier.engine.forward import TreeRunner
    from metier.engine.score import target_log_probabilities

    pairs = [_pair(base.tokenizer, row[column], f"{delimiter}{choice}") for row in rows for choice in row["choices"]]
    found = iter(target_log_probabilities(TreeRunner(base.network), pairs, budget=4096))
    return [[float(next(found)[0]) for _ in row["choices"]] for row in rows]


@pytest.mark.parametrize(("kind", "chat"), [("llama", False), ("llama", True), ("gpt2", False)])
def test_no_choice_differs(
    kind: str, chat: bool, tmp_path: Path, make_records: Callable[..., list[Choice]], tiny_base: Callable[..., Any],
    evaluated: Evaluated,
) -> None:  # fmt: skip
    from metier.model.encode import Encoder

    base, records = tiny_base(kind), make_records(ITEMS, noise=0.3)
    tasks = export_tasks(records, tmp_path, Asking(prompt=PROMPT, encoder=Encoder(base.tokenizer, 256)), name="mail")
    assert [task.chat for task in tasks] == ([False, True] if kind == "llama" else [False])
    samples = evaluated(_with_harness(base), tmp_path, tasks[chat].name)
    rows = _rows(tmp_path)
    sums_of_all = _sums(base, rows, *(("asked", "") if chat else ("prompt", " ")))
    ours = {row["id"]: sums for row, sums in zip(rows, sums_of_all, strict=True)}
    differing, said = {"acc": 0, "acc_norm": 0}, set()
    for sample in samples:
        row, sums = sample["doc"], ours[sample["doc"]["id"]]
        assert [float(value) for value, _ in sample["filtered_resps"]] == pytest.approx(sums, abs=2e-3)
        for rule in differing:
            differing[rule] += float(pick(sums, row["choices"], rule) == row["label"]) != sample[rule]
            said.add((rule, sample[rule]))
    assert differing == {"acc": 0, "acc_norm": 0} and len(samples) == ITEMS
    assert len(said) == 4, "each rule is right somewhere and wrong somewhere"
    imported = _imported(tmp_path, samples, records, LABELS)
    assert imported.settings["missing"] == 0
    assert {id: answer.label for id, answer in imported.answers.items()} == {
        id: LABELS[pick(sums, WORDS)] for id, sums in ours.items()
    }


def test_no_written_answer_differs(
    tmp_path: Path, tiny_base: Callable[..., Any], make_dialogues: Callable[..., list[Conversation]],
    evaluated: Evaluated,
) -> None:  # fmt: skip
    """Half of the right answers are what the model writes, so that both verdicts occur."""
    from metier.engine.forward import TreeRunner
    from metier.engine.generate import generate
    from metier.engine.sampling import Decoding
    from metier.evaluation.measures import MEASURES
    from metier.evaluation.results import Answer

    base = tiny_base("llama")
    asked = [f"order {place} of {place * 37 % 101}" for place in range(ITEMS)]
    ids = [np.array(base.tokenizer(f"{text}\nAnswer:")["input_ids"], dtype=np.int64) for text in asked]
    stop = frozenset({int(base.tokenizer.eos_token_id)})
    decoding = Decoding(max_new_tokens=6, stop_ids=stop, stop_texts=("\n\n",), batch_size=16)

    def read(tokens: Any) -> str:
        return str(base.tokenizer.decode(tokens, skip_special_tokens=True))

    written = generate(TreeRunner(base.network), ids, decoding, read=read, budget=4096)
    ours = [(read(each.ids.tolist()) if each.text is None else each.text).strip() for each in written]
    golds = [text if place % 2 and text else "something else" for place, text in enumerate(ours)]
    records = make_dialogues(golds, asked)
    export_tasks(records, tmp_path, Asking(prompt=ChatPrompt(), most_tokens=6), name="mail")
    samples = {sample["doc"]["id"]: sample for sample in evaluated(_with_harness(base), tmp_path, "mail")}
    answers = [
        Answer(id=r.id, label=None, text=text, stop="end of turn") for r, text in zip(records, ours, strict=True)
    ]
    items = MEASURES["generation"].items(records, answers, None)
    verdicts = [(item.counts["exact_match"][0], float(samples[item.id]["exact_match"])) for item in items]
    assert [samples[record.id]["filtered_resps"][0] for record in records] == ours
    assert all(one == other for one, other in verdicts) and {one for one, _ in verdicts} == {0.0, 1.0}
    imported = _imported(tmp_path, list(samples.values()), records)
    assert [imported.answers[record.id].text for record in records] == ours


# What the harness makes of unusual items


def _scripted(said: dict[str, str]) -> Any:
    """A model of the harness that answers a prompt with what a table says."""
    from lm_eval.api.model import LM

    class Scripted(LM):  # type: ignore[misc]
        def loglikelihood(self, requests: Any) -> list[tuple[float, bool]]:
            return [(-float(len(choice)), False) for _, choice in (request.args for request in requests)]

        def loglikelihood_rolling(self, requests: Any) -> list[float]:
            raise NotImplementedError

        def generate_until(self, requests: Any) -> list[str]:
            return [said[request.args[0]] for request in requests]

    return Scripted()


@pytest.mark.parametrize(
    "golds",
    [
        ['["a", "b"]', '["b"]', "[]"],
        ["2024-01-01", "2024-01-02", "1999-12-31 10:00:00"],
        ["12", "007", "1e3"],
        ["true", "null", "None"],
        ["{{prompt}}", "{% if %}", "a\nb"],
        ["ä \u2028 z", "'\"\\", '{"a": [1, 2]}'],
    ],
)
def test_right_answers_reach_the_harness_as_they_are(
    tmp_path: Path, make_dialogues: Callable[..., list[Conversation]], evaluated: Evaluated, golds: list[str]
) -> None:
    records = make_dialogues(golds, [f"{gold}?" for gold in golds])
    export_tasks(records, tmp_path, Asking(prompt=ChatPrompt()), name="mail")
    rows = _rows(tmp_path)
    right = evaluated(_scripted({row["prompt"]: f" {row['gold']}\n" for row in rows}), tmp_path, "mail")
    assert [sample["exact_match"] for sample in right] == [1.0] * 3
    assert [_imported(tmp_path, right, records).answers[record.id].text for record in records] == golds
    wrong = evaluated(_scripted({row["prompt"]: "a" for row in rows}), tmp_path, "mail")
    assert [sample["exact_match"] for sample in wrong] == [0.0] * 3


@pytest.mark.parametrize(
    "words", [("2024-01-01", "2024-02-01", "2024-03-01"), ("1", "2", "3"), ('["a"]', "'", "{{x}}")]
)
def test_choices_reach_the_harness_as_they_are(
    tmp_path: Path, make_records: Callable[..., list[Choice]], evaluated: Evaluated, words: tuple[str, ...]
) -> None:
    prompt = PromptFormat(instruction="", labels=LABELS, label_texts=words)
    records = make_records(6)
    export_tasks(records, tmp_path, Asking(prompt=prompt), name="mail")
    samples = evaluated(_scripted({}), tmp_path, "mail")
    assert [sample["doc"]["choices"] for sample in samples] == [list(words)] * 6
    assert [context[1] for context in samples[0]["arguments"]] == [f" {word}" for word in words]
    assert _imported(tmp_path, samples, records, LABELS).settings["missing"] == 0
