"""TRL's own training loop, measured from inside: `SFTTrainer` with PEFT adapters, stopped between optimiser steps.

The job names model folder, token file, adapter file (the first adapter weights, equal on both sides) and the setting:
`precision`, `loss_type`, `batch` (per device; accumulation fills it up to the optimiser step), `grouping`, `compile`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

from bench.protocol import Channel, Steps, job, peak_bytes

PRECISIONS = {
    "float32": (torch.float32, False, True),
    "float32 autocast": (torch.float32, True, True),
    "bfloat16": (torch.bfloat16, False, False),
    "bfloat16, float32 adapters": (torch.bfloat16, False, True),
    "bfloat16 autocast, float32 adapters": (torch.bfloat16, True, True),
}
"""Type of the frozen weights, autocast, adapters in float32."""
GROUPINGS: dict[str, dict[str, Any]] = {
    "in order": {"train_sampling_strategy": "sequential"},
    "by length": {"train_sampling_strategy": "group_by_length"},
    "padding-free": {"train_sampling_strategy": "sequential", "padding_free": True, "max_length": None},
    "packing": {"train_sampling_strategy": "sequential", "packing": True},
}


class Counting(SFTTrainer):
    """The trainer, counting what goes through it."""

    steps: Steps
    total = 0.0

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The loss as TRL computes it; real tokens and examples are counted."""
        mask, positions = inputs.get("attention_mask"), inputs.get("position_ids")
        tokens = int(mask.sum()) if mask is not None else int(inputs["input_ids"].numel())
        flat = mask is None and positions is not None
        examples = int((positions == 0).sum()) if flat else len(inputs["input_ids"])
        self.steps.count(tokens=tokens, examples=examples, targets=int((inputs["labels"] != -100).sum()))
        found = super().compute_loss(model, inputs, *args, **kwargs)
        loss = found[0] if isinstance(found, tuple) else found
        self.total += float(loss.detach())
        return found


class Orders(TrainerCallback):
    """After every optimiser step: go on, or answer and wait."""

    def __init__(self, steps: Steps) -> None:
        """Take the orders."""
        self.steps = steps
        self.trainer: Counting | None = None

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """One step is over."""
        assert self.trainer is not None
        loss, self.trainer.total = self.trainer.total, 0.0
        if not self.steps.ended(loss=loss):
            finish(self.trainer, self.steps)


def finish(trainer: Counting, steps: Steps) -> None:
    """Leave the adapters where the job says, and end."""
    if path := JOB.get("save_to"):
        named = trainer.model.named_parameters()
        learned = {name: p.detach().float().contiguous() for name, p in named if "lora_" in name}
        save_file({name.removeprefix("base_model.model."): value for name, value in learned.items()}, path)
    os._exit(0)


def dataset() -> Dataset:
    """The token file in the order of the stream, labels -100 where nothing is learned."""
    content = json.loads(Path(JOB["tokens"]).read_text(encoding="utf-8"))
    rows = [content["examples"][number] for number in content["order"]]
    labels = [[-100] * (len(ids) - answer) + ids[len(ids) - answer :] for ids, answer in rows]
    return Dataset.from_dict({"input_ids": [ids for ids, _ in rows], "labels": labels})


def adapters(network: Any, float32: bool) -> Any:
    """PEFT adapters on all linear layers, or those of the top blocks, beginning as metier's do."""
    layers = network.config.num_hidden_layers
    top = JOB.get("top") or layers
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    chosen = {} if top == layers else {"layers_to_transform": list(range(layers - top, layers))}
    config = LoraConfig(
        r=JOB["rank"], lora_alpha=JOB["alpha"], lora_dropout=0.0, bias="none", task_type="CAUSAL_LM",
        target_modules=names, **chosen,
    )  # fmt: skip
    model = get_peft_model(network, config, autocast_adapter_dtype=float32)
    if path := JOB.get("adapters"):
        state = {f"base_model.model.{name}": value for name, value in load_file(path).items()}
        unknown = model.load_state_dict(state, strict=False).unexpected_keys
        if unknown:
            raise SystemExit(f"adapter weights that PEFT does not know: {unknown[:3]}")
    return model


def main() -> None:
    """Load, then train on order."""
    channel = Channel()
    torch.set_num_threads(JOB["threads"])
    setting = JOB["setting"]
    weights, autocast, float32 = PRECISIONS[setting["precision"]]
    network = AutoModelForCausalLM.from_pretrained(JOB["model"], dtype=weights, attn_implementation="sdpa")
    steps, batch = Steps(channel), setting["batch"]
    orders = Orders(steps)
    options = {"max_length": JOB["max_length"], **GROUPINGS[setting["grouping"]]}
    config = SFTConfig(
        output_dir=JOB["output"], max_steps=JOB["steps"], per_device_train_batch_size=batch,
        gradient_accumulation_steps=JOB["batch"] // batch, gradient_checkpointing=False, bf16=autocast, use_cpu=True,
        loss_type=setting["loss_type"], learning_rate=JOB["learning_rate"], lr_scheduler_type="constant",
        weight_decay=0.0, max_grad_norm=1.0, logging_strategy="no", save_strategy="no", report_to="none",
        disable_tqdm=True, dataloader_num_workers=0, seed=0, optim="adamw_torch",
        torch_compile=bool(setting.get("compile", False)), **options,
    )  # fmt: skip
    trainer = Counting(
        model=adapters(network, float32), args=config, train_dataset=dataset(), callbacks=[orders],
        processing_class=AutoTokenizer.from_pretrained(JOB["model"]),
    )  # fmt: skip
    trainer.steps = orders.steps
    orders.trainer = trainer
    channel.reply(ready=True, peak=peak_bytes())
    if steps.wait():
        trainer.train()


if __name__ == "__main__":
    JOB = job()
    main()
