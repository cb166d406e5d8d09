"""One row of TRL on a GPU, in a process of its own: `python -m bench.gpu_trl '{…}'`, JSON on the last line.

`SFTTrainer` with PEFT adapters over the same random network and the same token data as `gpu_worker.py`. Settings:
`loss_type`, `liger`, `checkpointing`, `batch` (accumulation fills it up to the step), `grouping`.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from bench import gpu_models as models
from bench.gpu_models import ALPHA, RANK, TARGETS, Work
from bench.limit import training_flops

WARM = 2


class Clock(TrainerCallback):
    """Seconds of every optimiser step."""

    def __init__(self, device: str) -> None:
        """Count nothing yet."""
        self.device, self.before, self.seconds = device, 0.0, []

    def on_step_begin(self, *args: Any, **options: Any) -> None:
        """A step begins."""
        models.wait(self.device)
        self.before = time.perf_counter()

    def on_step_end(self, *args: Any, **options: Any) -> None:
        """A step is over."""
        models.wait(self.device)
        self.seconds.append(time.perf_counter() - self.before)


def dataset(work: Work, steps: int) -> Dataset:
    """The work once for every step; labels -100 where nothing is learned."""
    rows = list(work.examples) * steps
    labels = [[-100] * len(prompt) + answer for prompt, answer in rows]
    return Dataset.from_dict({"input_ids": [prompt + answer for prompt, answer in rows], "labels": labels})


def adapted(network: Any, top: int) -> Any:
    """Adapters on all linear layers of the top blocks, in bfloat16: TRL's fastest."""
    layers = network.config.num_hidden_layers
    chosen = {} if top == layers else {"layers_to_transform": list(range(layers - top, layers))}
    config = LoraConfig(
        r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM", target_modules=TARGETS, **chosen
    )  # fmt: skip
    return get_peft_model(network, config, autocast_adapter_dtype=False)


def train(job: dict[str, Any]) -> dict[str, Any]:
    """Train for some steps."""
    device, size, setting = job["device"], job["size"], job["setting"]
    make = {"plain": models.plain_work, "natural": models.natural_work, "shared": models.shared_work}[job["data"]]
    work = make(size, **job["work"])
    rate = models.matmul_rate(device, torch.bfloat16, job["side"])
    network = models.make_network(size, device)
    layers = models.SIZES[size][1].layers
    top, count, batch = job.get("top", layers), len(work.examples), setting["batch"]
    groups = {"in order": {"train_sampling_strategy": "sequential"}, "packing": {"packing": True}}
    longest = max(len(prompt) + len(answer) for prompt, answer in work.examples)
    with tempfile.TemporaryDirectory() as place:
        config = SFTConfig(
            output_dir=place, max_steps=job["steps"] + WARM, per_device_train_batch_size=batch,
            gradient_accumulation_steps=max(1, count // batch), gradient_checkpointing=setting["checkpointing"],
            bf16=device == "cuda", use_cpu=device == "cpu", loss_type=setting["loss_type"],
            use_liger_kernel=setting["liger"], learning_rate=1e-4, lr_scheduler_type="constant", weight_decay=0.0,
            logging_strategy="no", save_strategy="no", report_to="none", disable_tqdm=True, seed=0,
            optim="adamw_torch", max_length=longest, **groups[setting.get("grouping", "in order")],
        )  # fmt: skip
        clock = Clock(device)
        trainer = SFTTrainer(
            model=adapted(network, top), args=config, train_dataset=dataset(work, job["steps"] + WARM),
            processing_class=models.make_tokenizer(), callbacks=[clock],
        )  # fmt: skip
        models.forget_peak(device)
        trainer.train()
    seconds = statistics.median(clock.seconds[WARM:])
    flops = training_flops(
        models.SIZES[size][1], rank=RANK, tokens=work.tokens, targets=work.targets, length=work.mean_length,
        learning=top,
    )  # fmt: skip
    return {
        "tokens": work.tokens / seconds, "examples": count / seconds, "seconds": seconds, "rate": rate,
        "share": flops / seconds / rate, **models.peak(device),
    }  # fmt: skip


def main() -> None:
    """Do one job and print what it found as the last line."""
    try:
        found = train(json.loads(sys.argv[1]))
    except torch.OutOfMemoryError:
        found = {"fault": "out of memory"}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
