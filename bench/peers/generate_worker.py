"""transformers' own writing: `generate` over left-padded batches of similar length, or its continuous batching.

The setting has `precision`, `way` (`generate` or `continuous`) and `batch`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from bench.protocol import Channel, Clock, Reply, job, peak_bytes, serve


def in_batches(network: Any, prompts: Sequence[list[int]], config: GenerationConfig, size: int) -> list[list[int]]:
    """Greedy answers by `generate`, longest prompts together so that little is padded."""
    order = sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))
    answers: list[list[int]] = [[]] * len(prompts)
    for start in range(0, len(order), size):
        group = order[start : start + size]
        width = len(prompts[group[0]])
        ids = torch.zeros(len(group), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, number in enumerate(group):
            ids[row, width - len(prompts[number]) :] = torch.tensor(prompts[number])
            mask[row, width - len(prompts[number]) :] = 1
        with torch.inference_mode():
            out = network.generate(input_ids=ids, attention_mask=mask, generation_config=config)
        for number, answer in zip(group, out[:, width:].tolist(), strict=True):
            answers[number] = answer
    return answers


def continuously(network: Any, prompts: Sequence[list[int]], config: GenerationConfig, size: int) -> list[list[int]]:
    """Greedy answers by continuous batching."""
    from transformers import ContinuousBatchingConfig

    # Its memory is sized by what a GPU has free: on a CPU the pages have to be counted for it.
    longest = max(map(len, prompts)) + config.max_new_tokens
    blocks = size * (longest // 256 + 2)
    batching = ContinuousBatchingConfig(max_requests_per_batch=size, num_blocks=blocks, max_batch_tokens=2048)
    with torch.inference_mode():
        found = network.generate_batch(
            list(prompts), generation_config=config, continuous_batching_config=batching, warmup=False
        )
    if len(found) != len(prompts):
        raise SystemExit(f"continuous batching answered {len(found)} of {len(prompts)} prompts")
    faults = {each.error for each in found.values() if each.error}
    if faults:
        raise SystemExit(f"continuous batching failed: {sorted(faults)[0]}")
    by_number = sorted(found.items(), key=lambda each: int(each[0].rpartition("_")[2]))
    return [list(each.generated_tokens) for _, each in by_number]


WAYS = {"generate": in_batches, "continuous": continuously}


def main() -> None:
    """Load, then write on order."""
    channel, mine = Channel(), job()
    torch.set_num_threads(mine["threads"])
    setting = mine["setting"]
    prompts = json.loads(Path(mine["tokens"]).read_text(encoding="utf-8"))["prompts"]
    network = AutoModelForCausalLM.from_pretrained(
        mine["model"], dtype=getattr(torch, setting["precision"]), attn_implementation="sdpa"
    )
    stop = mine["stop"]
    config = GenerationConfig(
        max_new_tokens=mine["new_tokens"], do_sample=False, eos_token_id=stop, pad_token_id=0, use_cache=True
    )

    def measure(command: Reply) -> Reply:
        clock = Clock()
        some = prompts[command["start"] : command["stop"]]
        written = WAYS[setting["way"]](network, some, config, setting["batch"])
        times = clock.read()
        answers = [answer[: answer.index(stop)] if stop in answer else answer for answer in written]
        return {**times, "answers": answers, "peak": peak_bytes()}

    serve(channel, {"measure": measure})


if __name__ == "__main__":
    main()
