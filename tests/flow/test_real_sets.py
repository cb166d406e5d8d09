"""`metier init`, `check` and `run` on real files as they are published, with a tiny random model and few records."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from metier.cli.main import run_command_line
from metier.data.prepare import load_prepared, prepare_data
from metier.evaluation.files import read_evaluations
from metier.events import Observer
from metier.recipe.sections import DataSection
from metier.store.run_folder import RunFolder

SETS: dict[str, tuple[str, dict[str, Any]]] = {
    "bitext_responses": ("customer_support/bitext_responses", {}),
    "mts_dialog": (
        "medical/mts_dialog",
        {"task": "generation", "data": {"text": "dialogue", "answer": "section_text"}},
    ),
    "plain_english_contracts": ("legal/plain_english_contracts/tldrlegal_v1.json", {}),
    "nl2bash": ("technical/nl2bash", {}),
    "tldr_pages": ("technical/tldr_pages", {}),
    "medquad": ("medical/medquad", {}),
    "pubmedqa_labeled": ("medical/pubmedqa_labeled/ori_pqal.json", {}),
    "self_instruct": ("instruction/self_instruct/seed_tasks.jsonl", {}),
    "sharegpt_demo": ("instruction/sharegpt_demo/glaive_toolcall_en_demo.json", {}),
    "handbook_18f": ("technical/handbook_18f", {}),
    "tat_qa": ("finance/tat_qa", {}),
    "gsm8k": ("general/gsm8k", {}),
}
"""Name -> place below the data, and at most three lines that a person adds to the drafted recipe."""
LIMITS = {
    "data": {"max_examples": 24, "max_test_examples": 6},
    "adaptation": {"method": "lora", "r": 2, "layers": "top 1"},
    "training": {"max_steps": 3, "max_length": 256, "validation_examples": 4},
    "evaluation": {"selection_examples": 4, "train_examples": 4, "resamples": 200},
    "hardware": {"device": "cpu", "dtype": "float32", "threads": 1},
}  # fmt: skip


def _limited(recipe: Path, added: dict[str, Any], model: Path) -> str:
    values = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    for section, fields in [*LIMITS.items(), *added.items()]:
        mapping = isinstance(fields, dict)
        values[section] = {**(values.get(section) or {}), **fields} if mapping else fields
    values["model"] = str(model)
    values.pop("candidates", None)
    if values.get("task", "classification") in ("generation", "chat"):
        values["generation"] = {"max_new_tokens": 8}
        # A tiny tokenizer makes a token of every few letters: with so few tokens whole answers would not fit.
        values["training"]["max_length"] = 2048
    if values.get("task", "classification") == "classification":
        values["evaluation"] |= {"systems": ["majority", "tfidf"]}
    return yaml.safe_dump(values)


class _PreparedOnce:
    """`prepare_data` for `check` and `run`: done for the first of them, and copied for the other, who asks the same."""

    def __init__(self, place: Path) -> None:
        self._place, self.asked = place, list[str]()

    def __call__(self, section: DataSection, *, folder: Path, observers: Sequence[Observer] = (), **more: Any) -> Any:
        self.asked.append(repr((section.model_dump(mode="json"), sorted(more.items()))))
        if len(self.asked) == 1:
            prepare_data(section, folder=self._place, observers=observers, **more)
        shutil.copytree(self._place, folder)
        return load_prepared(folder)


LONG = {
    "gsm8k", "medquad", "mts_dialog", "plain_english_contracts", "pubmedqa_labeled", "self_instruct", "sharegpt_demo",
    "tat_qa",
}  # fmt: skip
"""Their check calibrates on long texts: ten seconds and more each."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in SETS])
def test_init_check_and_run(
    name: str,
    real_data: Callable[[str], Path],
    tiny_model: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where, added = SETS[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("METIER_STATE", str(tmp_path / "state"))
    once = _PreparedOnce(tmp_path / "prepared")
    for module in ("metier.planning.check", "metier.run"):
        monkeypatch.setattr(f"{module}.prepare_data", once)
    assert run_command_line(["init", str(real_data(where)), "--output", "recipe.yaml"]) == 0
    text = _limited(tmp_path / "recipe.yaml", added, tiny_model("llama", max_position_embeddings=4096))
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    assert run_command_line(["check", "recipe.yaml"]) == 0
    assert run_command_line(["run", "recipe.yaml", "--output", "run"]) == 0
    assert len(once.asked) == 2 and len(set(once.asked)) == 1, "check looks at other data than run"
    found = read_evaluations(RunFolder(tmp_path / "run").evaluation_of("test").path)
    assert [each.system for each in found][-1] == "tuned" and found[-1].n >= 2
    primary = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text(encoding="utf-8"))["evaluation"]
    assert found[-1].metrics[primary["primary_metric"]].value is not None
