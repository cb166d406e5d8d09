"""SetFit with its defaults, but fewer steps: an encoder tuned on pairs, then a logistic regression."""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments

from bench.protocol import Channel, Reply, job, peak_bytes, serve


def main() -> None:
    """Load, then train and answer on order."""
    channel, mine = Channel(), job()
    torch.set_num_threads(mine["threads"])
    content = json.loads(Path(mine["texts"]).read_text(encoding="utf-8"))
    model = SetFitModel.from_pretrained(mine["model"])

    def measure(command: Reply) -> Reply:
        started = time.perf_counter()
        rows = {"text": [row[0] for row in content["train"]], "label": [row[1] for row in content["train"]]}
        options = TrainingArguments(
            output_dir=mine["output"], num_epochs=1, batch_size=16, max_steps=command["steps"], report_to="none",
            save_strategy="no", logging_strategy="no", show_progress_bar=False,
        )  # fmt: skip
        Trainer(model=model, args=options, train_dataset=Dataset.from_dict(rows)).train()
        seconds = time.perf_counter() - started
        answers = [str(label) for label in model.predict([row[0] for row in content["test"]], use_labels=True)]
        right = sum(answer == row[1] for answer, row in zip(answers, content["test"], strict=True))
        return {"seconds": seconds, "accuracy": right / len(answers), "steps": command["steps"], "peak": peak_bytes()}

    serve(channel, {"measure": measure})


if __name__ == "__main__":
    main()
