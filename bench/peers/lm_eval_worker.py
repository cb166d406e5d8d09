"""lm-eval's own scoring of continuations (`HFLM`), over the same token ids as metier.

The setting has `precision` and `batch`: a number, or `auto`, which lm-eval finds out once, before anything is timed.
Asked for `every` n-th label, it scores those only.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.protocol import Channel, Clock, Reply, job, peak_bytes, serve


def main() -> None:
    """Load, then score on order."""
    channel, mine = Channel(), job()
    torch.set_num_threads(mine["threads"])
    setting = mine["setting"]
    content = json.loads(Path(mine["tokens"]).read_text(encoding="utf-8"))
    prompts, labels = content["prompts"], content["labels"]
    network = AutoModelForCausalLM.from_pretrained(
        mine["model"], dtype=getattr(torch, setting["precision"]), attn_implementation="sdpa"
    )
    tokenizer = AutoTokenizer.from_pretrained(mine["model"])
    judge = HFLM(pretrained=network, tokenizer=tokenizer, device="cpu", batch_size=setting["batch"], logits_cache=True)
    size = setting["batch"]
    if size == "auto":
        longest = max(prompts, key=len), max(labels, key=len)
        size = judge._detect_batch_size([(("", ""), *longest)], 0)

    def measure(command: Reply) -> Reply:
        some, chosen = prompts[command["start"] : command["stop"]], labels[:: command.get("every", 1)]
        requests = [
            ((f"{number}", f"{place}"), prompt, label)
            for number, prompt in enumerate(some)
            for place, label in enumerate(chosen)
        ]
        clock = Clock()
        with torch.no_grad():
            found = judge._loglikelihood_tokens(requests, disable_tqdm=True, override_bs=size)
        sums = [value for value, _ in found]
        rows = [sums[start : start + len(chosen)] for start in range(0, len(sums), len(chosen))]
        return {**clock.read(), "scores": rows, "batch": size, "peak": peak_bytes()}

    serve(channel, {"measure": measure})


if __name__ == "__main__":
    main()
