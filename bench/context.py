"""What every row needs: the place, the model, its tokenizer and sizes, budgets, and the machine's rate of products."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.data import MAX_LENGTH
from bench.limit import Shape
from bench.side import Place, Side, WorkerFailed, start
from metier.model.encode import Encoder

METIER = ("metier", "bench.metier_worker")
RANK, ALPHA, RATE = 16, 32, 5e-4


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much is measured."""

    repeats: int = 5
    seconds: float = 6.0
    """Of the slower side, a repeat."""
    trial_seconds: float = 3.0
    """Of one setting in a grid."""
    tiny: bool = False
    """A dry run: everything runs once, nothing is worth reading."""

    def few(self, whole: int, tiny: int) -> int:
        """A size of the work: `whole`, or `tiny` in a dry run."""
        return tiny if self.tiny else whole


TINY = Budget(repeats=1, seconds=0.1, trial_seconds=0.1, tiny=True)


@dataclass(frozen=True)
class Context:
    """The ground of all rows."""

    place: Place
    data: Path
    budget: Budget
    model: str
    """As metier names it."""
    model_folder: Path
    """Where its safetensors lie, for peers."""
    raw: Path
    """Where results of rows are: long rows take the best settings that shorter ones found."""

    def found(self, row: str, side: str, otherwise: Mapping[str, Any]) -> dict[str, Any]:
        """The best setting of a side that a row found, or another where the row was not measured."""
        path = self.raw / f"{row}.json"
        if not path.is_file():
            return dict(otherwise)
        return dict(json.loads(path.read_text(encoding="utf-8"))[side]["setting"])

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.model_folder, local_files_only=True)

    @cached_property
    def encoder(self) -> Encoder:
        """Texts as metier's token ids."""
        return Encoder(self.tokenizer, MAX_LENGTH)

    @cached_property
    def shape(self) -> Shape:
        """Sizes of the model."""
        config = json.loads((self.model_folder / "config.json").read_text(encoding="utf-8"))
        return Shape(
            config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"],
            config["num_attention_heads"], config["num_key_value_heads"], config["vocab_size"],
        )  # fmt: skip

    def start(self, name: str, worker: tuple[str, str], setting: Mapping[str, Any], job: Mapping[str, Any]) -> Side:
        """Start a worker and wait until it is loaded."""
        return start(self.place, name, worker, setting, job)

    def gemm(self) -> dict[str, float]:
        """Operations a second of matrix products at the model's shapes, by type and rows."""
        job = {"kind": "gemm", "products": [list(pair) for pair in self.shape.products]}
        with self.start("gemm", METIER, {}, job) as side:
            reply = side.ask(do="measure", rows=[512, 2048], seconds=min(1.0, self.budget.seconds))
        return dict(reply["rates"])


@dataclass(frozen=True)
class Tried:
    """One setting of a grid and what came of it."""

    setting: Mapping[str, Any]
    rate: float | None
    """None where it does not run."""
    fault: str = ""

    def plain(self) -> dict[str, Any]:
        """For the JSON file."""
        return {"setting": dict(self.setting), "rate": self.rate, "fault": self.fault}


def best_of(tried: Sequence[Tried]) -> Tried:
    """The fastest setting.

    Raises:
        WorkerFailed: none runs.
    """
    running = [each for each in tried if each.rate is not None]
    if not running:
        raise WorkerFailed("\n".join(each.fault for each in tried))
    return max(running, key=lambda each: each.rate or 0.0)


def try_setting(setting: Mapping[str, Any], measure: Any) -> Tried:
    """Measure one setting; a worker that fails is a setting that does not run, and why."""
    try:
        rate = measure(setting)
    except WorkerFailed as fault:
        return Tried(setting, None, without_paths(str(fault).strip().splitlines()[-1][:300]))
    print(f"    {rate:10.2f}  {dict(setting)}", flush=True)
    return Tried(setting, rate)


def without_paths(text: str) -> str:
    """A message without the folders of the machine it was written on."""
    return re.sub(r"(?:/[\w.+-]+)+/", ".../", text)


def search(first: Mapping[str, Any], factors: Mapping[str, Sequence[Any]], measure: Any) -> list[Tried]:
    """Vary one factor at a time from the best setting so far.

    Args:
        first: Where to begin; tried too.
        factors: Values to try of each factor, in the order in which they are tried.
        measure: Rate of a setting; raises `WorkerFailed` where it does not run.

    Returns:
        Everything that was tried, in order.
    """
    tried = [try_setting(first, measure)]
    for name, values in factors.items():
        base = best_of(tried).setting if any(each.rate is not None for each in tried) else first
        for value in values:
            if value != base.get(name):
                tried.append(try_setting({**base, name: value}, measure))
    return tried
