"""A system that cannot answer is told before anything is computed: no data is read, no folder is made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.data.records import Choice
from metier.errors import ArgumentError, DataError, LackingEnvironment, MetierError, ModelError, RunFolderError
from metier.evaluation.elsewhere.early_checks import refuse_unfit, refuse_unusable
from metier.evaluation.elsewhere.named_systems import JudgingGround
from metier.evaluation.systems import Material
from metier.events import Event
from metier.model.prompt import PromptFormat
from metier.recipe.load import recipe_from_values
from metier.recipe.sections import EvaluationSection
from metier.stages.judging import judge_recipe

LABELS = ("cancel", "refund", "track")
Records = Callable[..., list[Choice]]


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Files of answers, folders and runs with something wrong in each of them, and a good file."""
    (tmp_path / "good.csv").write_text("id,answer\nr0,refund\n", encoding="utf-8")
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "header.csv").write_text("id,answer\n", encoding="utf-8")
    (tmp_path / "other.csv").write_text("id,comment\nr0,refund\n", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(b"x")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "run.json").write_text("{}", encoding="utf-8")
    (tmp_path / "compared" / "evaluation" / "test").mkdir(parents=True)
    (tmp_path / "compared" / "run.json").write_text("{}", encoding="utf-8")
    for name in ("results.json", "judgement.json"):
        (tmp_path / "compared" / "evaluation" / "test" / name).write_text("{}", encoding="utf-8")
    return tmp_path


WRONG: list[tuple[dict[str, Any], type[MetierError], str]] = [
    ({"answers": "nowhere.csv"}, DataError, r"nowhere\.csv: does not exist, wanted a file of answers\. Check"),
    ({"answers": "empty.csv"}, DataError, r"empty\.csv: is empty, wanted a header and rows"),
    ({"answers": "binary.csv"}, DataError, r"binary\.csv: is a binary file, wanted csv, tsv"),
    ({"answers": "header.csv"}, DataError, r"header\.csv: has a header but no rows"),
    ({"answers": "other.csv"}, DataError, r"other\.csv: has no column of answers among `id`, `comment`"),
    ({"answers": "folder"}, DataError, r"folder: is a folder, wanted a file of answers"),
    ({"answers": "good.csv", "answer": "answr"}, DataError, r"there is no column `answr` in good\.csv.*`answer`\?"),
    ({"answers": "good.csv", "id": "ticket"}, DataError, r"id: there is no column `ticket` in good\.csv"),
    ({"run": "nowhere"}, RunFolderError, r"nowhere: does not exist, wanted a run folder"),
    ({"run": "folder"}, RunFolderError, r"folder: holds no run\.json, wanted a run folder"),
    ({"run": "begun"}, ModelError, r"begun: has no promoted model yet.*Run its recipe with --resume"),
    ({"run": "compared"}, ModelError, r"compared: is a comparison, which has no model of its own, wanted the folder"),
    ({"model": "smollm2-135m", "adapter": "nowhere"}, ModelError, r"nowhere: does not exist, wanted the folder of"),
    ({"model": "smollm2-135m", "adapter": "folder"}, ModelError, r"folder: has no adapter_model\.safetensors"),
    ({"model": "smollm2-135m", "adapter": "adapter"}, ModelError, r"adapter: has no adapter_config\.json, wanted"),
    ({"model": "./nowhere"}, ModelError, r"nowhere: is not there, wanted a model folder"),
    ({"model": "smolm2-135m"}, ModelError, r"'smolm2-135m', wanted a packaged model .*Did you mean \"smollm2-135m\"\?"),
    ({"model": "./nowhere.gguf"}, ModelError, r"nowhere\.gguf: is not there, wanted a \.gguf file"),
    ({"model": "./folder"}, ModelError, r"folder"),
    ({"endpoint": "https://h/v1", "model": "m", "api_key_env": "UNSET_KEY"}, LackingEnvironment,
     r"the environment variable UNSET_KEY is not set\. Set UNSET_KEY"),
    ({"endpoint": "http://h/v1", "model": "m", "api_key_env": "HOME"}, ArgumentError,
     r"the key would go over the network unencrypted"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "kind", "message"), WRONG)
def test_what_is_wrong_by_itself_is_told_before_the_data_is_read(
    desk: Path, said: dict[str, Any], kind: type[MetierError], message: str
) -> None:
    values = {
        "task": "classification", "training": "none", "data": {"train": "mails.csv", "text": "a", "label": "b"},
        "systems": {"good": {"answers": "good.csv"}, "bad": said},
    }  # fmt: skip
    recipe = recipe_from_values(values, base=desk, where="compare.yaml")
    with pytest.raises(kind, match=message) as told:
        judge_recipe(recipe, lambda *_, **__: pytest.fail("the data was read"), output=desk / "out")
    assert told.value.where == "systems.bad" and not (desk / "out").exists()
    assert told.value.exit_code == (5 if kind is LackingEnvironment else 2)


def test_what_is_right_passes_and_nothing_is_sent(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSWERS", str(desk))
    hosted = {"endpoint": "http://127.0.0.1:9/v1", "model": "m"}
    replayed = {"endpoint": "https://h/v1", "model": "m", "api_key_env": "UNSET_KEY", "replay": True}
    refuse_unusable({"good": {"answers": "${ANSWERS}/good.csv"}, "h": hosted, "r": replayed}, "classification")
    # A column of JSON lines may come late.
    rows = [*({"id": f"r{n}", "reason": "busy"} for n in range(9_000)), {"id": "last", "answer": "refund"}]
    (desk / "late.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    refuse_unusable({"late": {"answers": str(desk / "late.jsonl")}}, "classification")
    # Which labels have columns is known with the data; a strict run opens files when it is watched.
    refuse_unusable({"x": {"answers": str(desk / "other.csv")}}, "multilabel")
    refuse_unusable({"x": {"answers": str(desk / "empty.csv")}}, "classification", read=False)
    with pytest.raises(DataError, match=r"systems\.x: .*wanted a column `answer`, or columns start, end and label"):
        refuse_unusable({"x": {"answers": str(desk / "other.csv")}}, "extraction")


def test_a_judge_that_cannot_be_asked_is_told_first(desk: Path) -> None:
    def told(**judge: Any) -> str:
        values = {
            "task": "generation", "training": "none", "data": {"train": "mails.csv", "text": "a", "answer": "b"},
            "systems": {"good": {"answers": "good.csv"}, "same": {"answers": "good.csv"}},
            "evaluation": {"judge": {"endpoint": "https://h/v1", "model": "m", **judge}},
        }  # fmt: skip
        recipe = recipe_from_values(values, base=desk, where="compare.yaml")
        with pytest.raises(MetierError) as fault:
            judge_recipe(recipe, lambda *_, **__: pytest.fail("the data was read"), output=desk / "out")
        return str(fault.value)

    assert told(api_key_env="UNSET_KEY") == "api_key_env: the environment variable UNSET_KEY is not set. Set UNSET_KEY."
    assert "evaluation.judge.human: has no column winner, wanted columns id, winner" in told(human="good.csv")
    assert "nowhere.csv: does not exist" in told(human="nowhere.csv")


def _ground(records: list[Choice], folder: Path, seen: list[Event]) -> JudgingGround:
    section = EvaluationSection(primary_metric="accuracy", resamples=200)
    material = Material(train=[], validation=[], labels=LABELS, section=section, seed=1, observers=[seen.append])
    prompt = PromptFormat(instruction="Answer with the intent.", labels=LABELS, label_texts=LABELS)
    return JudgingGround(records=records, material=material, prompt=prompt, folder=folder, journals=folder)


def test_answers_to_other_records_are_told_before_anybody_is_asked(desk: Path, make_records: Records) -> None:
    records, seen = make_records(3), list[Event]()
    ground = _ground(records, desk, seen)
    (desk / "strange.csv").write_text("id,answer\nx1,refund\nx2,track\n", encoding="utf-8")
    with pytest.raises(
        DataError, match=r"systems\.bad: strange\.csv: none of its ids is the id of a record, wanted ids"
    ):
        refuse_unfit({"good": {"answers": "good.csv"}, "bad": {"answers": "strange.csv"}}, ground)
    twice = "".join(f"{record.id},refund\n" * 2 for record in records)
    (desk / "twice.csv").write_text(f"id,answer\n{twice}", encoding="utf-8")
    with pytest.raises(
        DataError, match=r"twice\.csv: answers 3 records more than once, and no record once, wanted one"
    ):
        refuse_unfit({"bad": {"answers": "twice.csv"}}, ground)
    replayed = {"endpoint": "https://h/v1", "model": "m", "replay": True, "journal": "gone.jsonl"}
    with pytest.raises(ArgumentError, match=r"systems\.bad: .*gone\.jsonl: does not exist, wanted the recording"):
        refuse_unfit({"bad": replayed}, ground)
    (desk / "theirs.jsonl").write_text('{"format": "metier.recorded-answers", "identity": "x", "about": {}}\n')
    with pytest.raises(ArgumentError, match=r"systems\.bad: .*recorded in another way"):
        refuse_unfit({"bad": {**replayed, "journal": "theirs.jsonl"}}, ground)
    # What is merely missing is told when the file answers, once.
    (desk / "good.csv").write_text(f"id,answer\n{records[0].id},refund\n", encoding="utf-8")
    refuse_unfit({"good": {"answers": "good.csv"}}, ground)
    assert not seen
