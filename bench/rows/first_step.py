"""From the command to the first optimiser step: `metier run` beside `trl sft`, whole processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bench.context import ALPHA, RANK, RATE, Context
from bench.data import INTENTS, balanced, banking
from bench.side import WorkerFailed, pinned
from bench.spread import interleave
from metier.store.cache import cache_root

EACH = 30
"""Examples of each of twelve intents."""
LIMIT = 300.0
"""Seconds after which a command counts as hung."""
PAUSE = 0.01


def run(context: Context, name: str) -> dict[str, Any]:
    """The row `first-step`."""
    with tempfile.TemporaryDirectory(dir=_made(context.place.work)) as folder:
        mine, theirs = partial(metier_run, context, Path(folder)), partial(trl_sft, context, Path(folder))
        mine(-1), theirs(-1)  # the file cache is warm for both
        found = interleave(context.budget.repeats, mine, theirs)
    return {
        "row": name, "unit": "seconds", "parity": {"equal": True, "what": "the same records, model and adapters"},
        "metier": {"setting": {"command": "metier run"}, "repeats": found[0]},
        "peer": {"name": "trl sft", "setting": {"command": "trl sft"}, "repeats": found[1]},
    }  # fmt: skip


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def rows(context: Context) -> list[dict[str, str]]:
    """The records: a message and its intent."""
    chosen = balanced(banking(context.data, "train"), INTENTS, context.budget.few(EACH, 4))
    return [{"text": row.text, "label": row.label} for row in chosen]


def metier_run(context: Context, folder: Path, number: int) -> dict[str, float]:
    """Seconds until `metier run` has done one step: no systems beside it but the majority class."""
    place = folder / f"metier-{number}"
    place.mkdir()
    lines = [json.dumps(row) + "\n" for row in rows(context)]
    (place / "train.jsonl").write_text("".join(lines), encoding="utf-8")
    recipe = {
        "version": 1, "task": "classification", "model": context.model,
        "data": {"train": str(place / "train.jsonl"), "text": "text", "label": "label"},
        "adaptation": {"method": "lora", "r": RANK, "lora_alpha": ALPHA},
        "training": {"max_steps": 2, "learning_rate": RATE}, "evaluation": {"systems": ["majority"]},
        "output": {"dir": str(place / "run")},
    }  # fmt: skip
    (place / "recipe.yaml").write_text(json.dumps(recipe), encoding="utf-8")  # JSON is YAML
    cache = place / "cache"
    cache.mkdir()
    # The packaged model is there, as it is for the peer; nothing else is.
    (cache / "models").symlink_to(cache_root() / "models", target_is_directory=True)
    variables = {"METIER_CACHE": str(cache), "METIER_STATE": str(place / "state")}
    command = [*pinned(context.place.cores), sys.executable, "-m", "metier", "run", str(place / "recipe.yaml")]
    events = place / "run" / "events.jsonl"

    def stepped() -> bool:
        return events.exists() and '"step_ended"' in events.read_text(encoding="utf-8", errors="replace")

    return timed(command, {**context.place.variables("large"), **variables}, place, stepped)


def trl_sft(context: Context, folder: Path, number: int) -> dict[str, float]:
    """Seconds until `trl sft` has reported one step."""
    place = folder / f"trl-{number}"
    (place / "data").mkdir(parents=True)
    asked = "Read the text and answer with its category."
    lines = []
    for row in rows(context):
        prompt = [{"role": "user", "content": f"{asked}\n\n{row['text']}"}]
        answer = [{"role": "assistant", "content": row["label"].replace("_", " ")}]
        lines.append(json.dumps({"prompt": prompt, "completion": answer}) + "\n")
    (place / "data" / "train.jsonl").write_text("".join(lines), encoding="utf-8")
    program = str(Path(context.place.python("huggingface")).parent / "trl")
    options: Mapping[str, Any] = {
        "model_name_or_path": context.model_folder, "dataset_name": place / "data", "use_peft": True, "lora_r": RANK,
        "lora_alpha": ALPHA, "lora_target_modules": "all-linear", "learning_rate": RATE, "max_steps": 2,
        "per_device_train_batch_size": 16, "gradient_checkpointing": False, "bf16": False, "dtype": "bfloat16",
        "loss_type": "nll", "logging_steps": 1, "save_strategy": "no", "report_to": "none", "use_cpu": True,
        "output_dir": place / "out",
    }  # fmt: skip
    command = [*pinned(context.place.cores), program, "sft"]
    for key, value in options.items():
        command += [f"--{key}", str(value)]
    variables = {"HF_HOME": str(place / "home"), "HF_DATASETS_CACHE": str(place / "cache")}
    log = place / "log.txt"

    def stepped() -> bool:
        return "'loss'" in log.read_text(encoding="utf-8", errors="replace")

    return timed(command, {**context.place.variables("large"), **variables}, place, stepped)


def timed(command: list[str], variables: Mapping[str, str], place: Path, done: Callable[[], bool]) -> dict[str, float]:
    """Seconds from starting a command until `done`; the command is then ended and its files are removed.

    Raises:
        WorkerFailed: it ended or hung before.
    """
    log = place / "log.txt"
    started = time.perf_counter()
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=dict(variables), cwd=place,
            start_new_session=True,
        )  # fmt: skip
    try:
        while not done():
            if process.poll() is not None or time.perf_counter() - started > LIMIT:
                text = log.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise WorkerFailed(f"{' '.join(command[:6])} … ended before its first step:\n{text}")
            time.sleep(PAUSE)
        seconds = time.perf_counter() - started
    finally:
        # With its children: `trl sft` starts another process, which would go on and slow down whoever comes next.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    shutil.rmtree(place, ignore_errors=True)
    return {"seconds": seconds, "load": os.getloadavg()[0]}
