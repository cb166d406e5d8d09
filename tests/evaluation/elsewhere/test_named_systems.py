"""What a recipe calls a system: answers, an endpoint, a model made elsewhere with an adapter, a metier run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.data.records import Choice, Conversation, as_input
from metier.errors import ArgumentError, ModelError
from metier.evaluation.elsewhere.answer_journal import RecordedReply
from metier.evaluation.elsewhere.chat_reply import Endpoint
from metier.evaluation.elsewhere.endpoint import open_endpoint
from metier.evaluation.elsewhere.judged import STANDINGS, Kept, answer_all, judge_against
from metier.evaluation.elsewhere.named_systems import KINDS, JudgingGround, build_named, kind_of, named_systems
from metier.evaluation.evaluate import About, RecordSet, evaluate_items, evaluate_system
from metier.evaluation.files import write_evaluation
from metier.evaluation.results import Item
from metier.evaluation.systems import AnswerOptions, Material
from metier.evaluation.verify import verify_set
from metier.model.chat_prompt import ChatPrompt
from metier.model.prompt import PromptFormat
from metier.recipe.sections import EvaluationSection, GenerationSection, HardwareSection
from metier.store.files import write_json

LABELS = ("cancel", "refund", "track")
PROMPT = PromptFormat(instruction="Answer with the intent.", labels=LABELS, label_texts=LABELS)
SECTION = EvaluationSection(primary_metric="accuracy", resamples=200, selection_examples=12)
Records = Callable[..., list[Choice]]
HARDWARE = HardwareSection(device="cpu", dtype="float32", threads=1)


def _ground(records: list[Any], folder: Path, **changes: Any) -> JudgingGround:
    material = Material(
        train=records, validation=records[:12], labels=LABELS, section=SECTION, seed=1,
        task=changes.pop("task", "classification"),
    )  # fmt: skip
    return JudgingGround(
        **{"records": records, "material": material, "prompt": PROMPT, "folder": folder, "journals": folder,
           "hardware_section": HARDWARE, "max_length": 200, **changes}
    )  # fmt: skip


def _adapter(base: Path, folder: Path, *, seed: int = 3) -> Path:
    """An adapter as plain PEFT makes it, with weights that change the answers."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base),
        LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.5)
    model.save_pretrained(folder)
    return folder


def _run_folder(path: Path, records: list[Choice], answers: list[str | None]) -> Path:
    """What a finished run leaves, as far as its answers are concerned."""
    items = [
        Item(
            id=record.id, group=None, gold=record.gold, answer=answer, label_logprobs=None, prompt_hash=None,
            source="a.csv", row=record.row,
        )
        for record, answer in zip(records, answers, strict=True)
    ]  # fmt: skip
    about = About(system="tuned", kind="minilm, head", parameters=10, bytes=40, trained_on="99 examples")
    found = evaluate_items(items, about=about, set_name="test", labels=LABELS, resamples=200, seed=1)
    write_evaluation(found, path / "evaluation" / "test")
    write_json(path / "run.json", {}, format="run")
    return path


def test_each_kind_is_told_by_its_first_word() -> None:
    assert list(KINDS) == ["run", "answers", "endpoint", "lm_eval", "model"]
    assert kind_of("x", {"endpoint": "https://h/v1", "model": "m"}) == "endpoint"
    assert kind_of("x", {"model": "m", "adapter": "a"}) == "model"
    with pytest.raises(ArgumentError, match=r"systems\.x: has text, wanted one of run, answers, endpoint, lm_eval"):
        kind_of("x", {"text": "?"})


def test_an_unknown_field_is_told_with_the_nearest_one(tmp_path: Path, make_records: Records) -> None:
    ground = _ground(make_records(3), tmp_path)
    with pytest.raises(
        ArgumentError, match=r"systems\.x: has the field `adaptr`, wanted of model, adapter.*`adapter`\?"
    ):
        build_named("x", {"model": "m", "adaptr": "a"}, ground)
    with pytest.raises(ArgumentError, match=r"systems\.x: an endpoint without address or model"):
        build_named("x", {"endpoint": "https://h/v1"}, ground)
    with pytest.raises(ArgumentError, match=r"systems\.x\.answers: found 3, wanted a path"):
        build_named("x", {"answers": 3}, ground)


def test_a_name_that_cannot_be_a_files_is_refused(tmp_path: Path, make_records: Records) -> None:
    with pytest.raises(ArgumentError, match=r"system: found the name '\.\./x', wanted letters, digits"):
        named_systems({"../x": {"answers": "a.csv"}}, _ground(make_records(3), tmp_path))


def test_paths_start_from_the_recipes_folder(tmp_path: Path, make_records: Records) -> None:
    records = make_records(3)
    (tmp_path / "rules.csv").write_text("id,answer\n" + "\n".join(f"{r.id},{r.label}" for r in records))
    system = build_named("rules", {"answers": "rules.csv"}, _ground(records, tmp_path))
    answers = list(system.answer([as_input(record) for record in records], AnswerOptions()))
    assert [answer.label for answer in answers] == [record.label for record in records]


def test_samples_of_the_harness_stand_in_the_table_and_are_read_again_where_they_change(
    tmp_path: Path, make_records: Records
) -> None:
    records = make_records(9)
    path = tmp_path / "samples_mail.jsonl"

    def write(right: int) -> None:
        """Samples in which the first `right` records are answered right."""
        rows = []
        for place, record in enumerate(records):
            gold = LABELS.index(record.label)
            sums = [-1.0 if each == (gold + (place >= right)) % 3 else -5.0 for each in range(3)]
            doc = {"id": record.id, "choices": list(LABELS), "labels": list(LABELS), "label": gold}
            rows.append({"doc": doc, "filtered_resps": [[str(each), "False"] for each in sums]})
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    asked = RecordSet(name="test", records=records, labels=LABELS)
    ground, kept = _ground(records, tmp_path), Kept(folder=tmp_path / "out")
    found = {}
    for right in (9, 9, 6):
        write(right)
        systems = named_systems({"theirs": {"lm_eval": "samples_mail.jsonl", "rule": "acc_norm"}}, ground)
        (evaluation,) = answer_all(systems, asked, section=SECTION, seed=1, kept=kept)
        found[right] = evaluation
    assert [found[right].metrics["accuracy"].value for right in (9, 6)] == [1.0, pytest.approx(6 / 9)]
    assert found[6].kind == "lm-eval samples (samples_mail.jsonl)" and found[6].settings["rule"] == "acc_norm"
    assert verify_set(tmp_path / "out") == ()
    with pytest.raises(ArgumentError, match=r"systems\.x\.lm_eval: found 3, wanted a path"):
        build_named("x", {"lm_eval": 3}, ground)


def test_a_run_whose_answers_are_at_hand_loads_no_model(tmp_path: Path, make_records: Records) -> None:
    records = make_records(6)
    _run_folder(tmp_path / "ours", records, ["refund"] * 5 + [None])
    system = build_named("ours", {"run": "ours"}, _ground(records, tmp_path))
    answers = list(system.answer([as_input(record) for record in records], AnswerOptions()))
    assert [answer.label for answer in answers] == ["refund"] * 5 + [None]
    assert system.kind == "metier run ours: minilm, head" and system.trained_on == "99 examples"


def test_a_run_without_answers_and_model_is_told(tmp_path: Path, make_records: Records) -> None:
    records = make_records(6)
    _run_folder(tmp_path / "ours", records[:3], ["refund"] * 3)
    with pytest.raises(ModelError, match="has no promoted model yet, wanted a run that reached its test set"):
        build_named("ours", {"run": "ours"}, _ground(records, tmp_path))


def test_a_changed_gold_answer_makes_recorded_answers_useless(tmp_path: Path, make_records: Records) -> None:
    records = make_records(3)
    _run_folder(tmp_path / "ours", records, ["refund"] * 3)
    changed = [Choice(id=r.id, text=r.text, label="track", source=r.source, row=r.row) for r in records]
    with pytest.raises(ModelError, match="has no promoted model yet"):
        build_named("ours", {"run": "ours"}, _ground(changed, tmp_path))


def test_recorded_systems_load_no_torch(tmp_path: Path, repository: Path) -> None:
    modules = (
        "elsewhere.named_systems", "elsewhere.judged", "elsewhere.judge", "elsewhere.harness",
        "elsewhere.harness_samples", "written.own_scorer", "written.similarity",
    )  # fmt: skip
    code = (
        f"import sys, {', '.join(f'metier.evaluation.{module}' for module in modules)}; "
        "print([m for m in ('torch', 'transformers', 'sklearn', 'scipy') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=repository)
    assert shown.stdout.strip() == "[]"


def _recording(path: Path, records: list[Choice]) -> None:
    """What an endpoint answered one day: every third answer is no label."""
    endpoint = Endpoint(url="https://gone.example/v1", model="old-model")
    asked = PROMPT.with_choices(list_labels=True)
    system = open_endpoint(endpoint, asked, path, name="hosted", replay=True)
    for place, record in enumerate(records):
        said = record.label if place % 3 else "no idea"
        reply = RecordedReply(id=record.id, answer=said, stop="end of turn", seconds=0.4, price=0.0002)
        system.journal.keep(system._key(as_input(record)), reply)


def test_a_run_an_adapter_a_recorded_endpoint_and_rules_in_one_table(
    tmp_path: Path, make_records: Records, tiny_model: Callable[..., Path]
) -> None:
    records = make_records(60)
    _run_folder(tmp_path / "ours", records, [record.label for record in records[:57]] + [None] * 3)
    _adapter(tiny_model("llama"), tmp_path / "theirs")
    _recording(tmp_path / "hosted.jsonl", records)
    lines = [f"{record.id},{record.label if place % 2 else 'cancel'}" for place, record in enumerate(records)]
    (tmp_path / "rules.csv").write_text("\n".join(["id,answer", *lines]))
    systems = {
        "rules": {"answers": "rules.csv"},
        "ours": {"run": "ours"},
        "theirs": {"model": str(tiny_model("llama")), "adapter": "theirs"},
        "hosted": {
            "endpoint": "https://gone.example/v1", "model": "old-model", "replay": True, "journal": "hosted.jsonl",
        },
    }  # fmt: skip
    asked = RecordSet(name="test", records=records, labels=LABELS)
    ground, kept = _ground(records, tmp_path), Kept(folder=tmp_path / "out")
    found = answer_all(named_systems(systems, ground), asked, section=SECTION, seed=1, kept=kept)
    assert [each.system for each in found] == list(systems)
    judgement = judge_against(found, "rules", section=SECTION)
    rows = {row.system: row for row in judgement.standings}
    assert rows["ours"].standing == "better" and rows["ours"].unanswered == 3
    assert rows["hosted"].unanswered == 20 and found[3].metrics["invalid"].value == pytest.approx(1 / 3)
    assert rows["hosted"].price is not None and rows["hosted"].price.value == pytest.approx(0.0002)
    assert rows["theirs"].standing in set(STANDINGS.values()) and rows["theirs"].seconds is not None
    assert verify_set(tmp_path / "out") == ()


# Models made elsewhere


def test_a_model_and_its_adapter_are_two_systems(
    tmp_path: Path, make_records: Records, tiny_model: Callable[..., Path]
) -> None:
    records = make_records(24)
    shutil.copytree(tiny_model("llama"), tmp_path / "base")
    _adapter(tmp_path / "base", tmp_path / "theirs")
    systems = {"base": {"model": "base"}, "theirs": {"model": "base", "adapter": "theirs"}}
    ground, kept = _ground(records, tmp_path), Kept(folder=tmp_path / "out")
    asked = RecordSet(name="test", records=records, labels=LABELS)
    found = answer_all(named_systems(systems, ground), asked, section=SECTION, seed=1, kept=kept)
    base, theirs = found
    assert theirs.kind.endswith("with the adapter theirs") and theirs.settings["rule"]
    assert theirs.parameters is not None and base.parameters is not None and theirs.parameters > base.parameters
    assert any(one.label_logprobs != other.label_logprobs for one, other in zip(base.items, theirs.items, strict=True))
    assert len(judge_against(found, "base", section=SECTION).standings) == 2
    again = answer_all(named_systems(systems, ground), asked, section=SECTION, seed=1, kept=kept)
    assert [each.metrics for each in again] == [each.metrics for each in found]


def test_the_adapter_answers_as_peft_itself_does(
    tmp_path: Path, make_records: Records, tiny_model: Callable[..., Path]
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from metier.model.encode import Encoder

    records = make_records(6)
    base = tiny_model("llama")
    _adapter(base, tmp_path / "theirs")
    ground = _ground(records, tmp_path)
    system: Any = build_named("theirs", {"model": str(base), "adapter": "theirs"}, ground)
    network = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "theirs").eval()
    encoder = Encoder(AutoTokenizer.from_pretrained(base), 200)
    for record, sums in zip(records, system.sums(records), strict=True):
        prompt = encoder.prompt(system.prompt, record.text).ids
        for answer, found in zip(encoder.answers(system.prompt), sums, strict=True):
            ids = torch.tensor([[*prompt.tolist(), *answer.tolist()]])
            with torch.no_grad():
                logits = torch.log_softmax(network(ids).logits[0].double(), -1)
            places = torch.arange(len(prompt) - 1, ids.shape[1] - 1)
            expected = float(logits[places, ids[0, len(prompt) :]].sum())
            assert float(found) == pytest.approx(expected, abs=1e-3)


def test_a_model_made_elsewhere_writes(
    tmp_path: Path, tiny_model: Callable[..., Path], make_dialogues: Callable[..., list[Conversation]]
) -> None:
    records = make_dialogues(["one two", "three"] * 3)
    ground = _ground(
        records, tmp_path, task="generation", prompt=ChatPrompt(), generation=GenerationSection(max_new_tokens=8)
    )
    system = build_named("theirs", {"model": str(tiny_model("llama"))}, ground)
    asked = RecordSet(name="test", records=records, task="generation")
    section = EvaluationSection(primary_metric="chrf", resamples=200)
    found = evaluate_system(system, asked, section=section, seed=1)
    assert found.system == "theirs" and found.metrics["loss"].value is not None


def test_pickled_foreign_and_encoder_models_are_refused(
    tmp_path: Path, make_records: Records, tiny_model: Callable[..., Path]
) -> None:
    records = make_records(6)
    ground, base = _ground(records, tmp_path), str(tiny_model("llama"))
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "adapter_model.bin").write_bytes(b"not opened")
    with pytest.raises(ModelError, match=r"has no adapter_model\.safetensors.*adapter_model\.bin is never opened"):
        build_named("x", {"model": base, "adapter": "pickled"}, ground)
    _adapter(tiny_model("llama"), tmp_path / "theirs")
    other = str(tiny_model("qwen2", hidden_size=64, intermediate_size=64))
    with pytest.raises(ModelError, match="the adapter does not fit"):
        build_named("x", {"model": other, "adapter": "theirs"}, ground)
    (tmp_path / "theirs" / "adapter_config.json").write_text("{")
    with pytest.raises(ModelError, match="is no readable JSON, wanted the file that PEFT"):
        build_named("x", {"model": base, "adapter": "theirs"}, ground)
    with pytest.raises(ArgumentError, match="is an encoder without a head, wanted a language model"):
        build_named("x", {"model": str(tiny_model("bert"))}, ground)


@pytest.mark.parametrize(("kind", "section"), [("llama", {"method": "lora", "r": 4}), ("bert", {"method": "head"})])
def test_a_run_is_asked_again_where_its_answers_are_to_other_records(
    kind: str, section: dict[str, Any], tmp_path: Path, make_records: Records, tiny_base: Callable[..., Any]
) -> None:
    import torch

    from metier.device import Hardware
    from metier.evaluation.answering.tuned import HowAsked, tuned_system
    from metier.model.adapt import adapt_model
    from metier.model.saved import load_model, save_model
    from metier.recipe.sections import AdaptationSection

    records = make_records(12)
    _run_folder(tmp_path / "ours", records[:3], ["refund"] * 3)
    model = adapt_model(AdaptationSection(**section), tiny_base(kind), seed=3, labels=LABELS)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.trainable().values():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    rule = None if model.head is not None else {"name": "sum", "divisors": [1.0] * 3, "offsets": [0.0] * 3}
    save_model(
        model, tmp_path / "ours" / "model", prompt=PROMPT, max_length=128, too_long="cut_end", rule=rule, examples=42
    )
    system = build_named("ours", {"run": "ours"}, _ground(records, tmp_path))
    inputs = [as_input(record) for record in records]
    found = list(system.answer(inputs, AnswerOptions()))
    cpu = Hardware(device="cpu", dtype="float32", threads=1, reason="a test")
    saved = load_model(tmp_path / "ours" / "model", cpu)
    own = tuned_system(saved.model, HowAsked.of(saved), trained_on="")
    expected = list(own.answer(inputs, AnswerOptions()))
    assert [answer.label_logprobs for answer in found] == [answer.label_logprobs for answer in expected]
    assert (system.name, system.trained_on) == ("ours", "42 examples") and system.kind.startswith("metier run ours: ")
    assert system.settings["answers"] == "asked again"
