"""A LoRA adapter as a user of TRL makes it: `SFTTrainer` on prompts and answers, in an environment without metier.

    ENVIRONMENT/bin/python bench/peers/trl_adapter.py BASE_FOLDER examples.jsonl ADAPTER_FOLDER [EPOCHS]

`examples.jsonl` has TRL's conversational form: `{"prompt": [turns], "completion": [turns]}`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer


def main(base: str, examples: str, adapter: str, epochs: int = 3) -> None:
    """Train and save; the last line printed is JSON."""
    with Path(examples).open(encoding="utf-8") as file:
        rows = Dataset.from_list([json.loads(line) for line in file])
    config = SFTConfig(
        output_dir=f"{adapter}-work", num_train_epochs=epochs, per_device_train_batch_size=4,
        gradient_accumulation_steps=4, learning_rate=2e-4 * 4, lr_scheduler_type="cosine", warmup_steps=5,
        max_length=256, save_strategy="no", report_to="none", logging_steps=10, use_cpu=True, bf16=False, seed=17,
        model_init_kwargs={"dtype": "float32"},
    )  # fmt: skip
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    started = time.perf_counter()
    trainer = SFTTrainer(model=base, args=config, train_dataset=rows, peft_config=lora)
    trainer.train()
    trainer.save_model(adapter)
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    said = {
        "rows": len(rows),
        "seconds": time.perf_counter() - started,
        "first_loss": losses[0],
        "last_loss": losses[-1],
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:4], *(int(each) for each in sys.argv[4:5]))
