"""Loads an export as somebody without metier would, and writes down what it answers.

Run as a file (`python -P receiver.py job.json`), in a process that knows torch, transformers and, for an
adapter, peft. It imports nothing of metier, so what it proves holds where metier is not installed.
The measuring functions are also used on metier's own side: both models are asked in the same way.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

CHOICES_AT_ONCE = 16
"""Choices scored side by side: what the repeated keys and values may take in memory."""


def answer_rows(model: Any, prompt: Sequence[int], answer: Sequence[int]) -> Tensor:
    """Logits at the positions that predict the answer's tokens, shape (len(answer), V), float32 on the CPU."""
    ids = torch.tensor([[*prompt, *answer]], device=model.device)
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
    rows: Tensor = logits[len(prompt) - 1 : -1].float().cpu()
    return rows.contiguous()


def choice_sums(model: Any, prompt: Sequence[int], choices: Sequence[Sequence[int]]) -> list[float]:
    """Sums of token log-probabilities of every choice after the prompt."""
    ids = torch.tensor([list(prompt)], device=model.device)
    seen = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=True)
    cache = getattr(seen, "past_key_values", None)
    if not hasattr(cache, "batch_repeat_interleave"):  # a model that keeps something else than keys and values
        return [_sum(answer_rows(model, prompt, choice), choice) for choice in choices]
    first = seen.logits[0, -1:].float().cpu()
    sums: list[float] = []
    for start in range(0, len(choices), CHOICES_AT_ONCE):
        some = choices[start : start + CHOICES_AT_ONCE]
        rows = _rows_after(model, len(prompt), cache, some)
        sums += [
            _sum(torch.cat([first, rows[number, : len(choice) - 1]]), choice) for number, choice in enumerate(some)
        ]
    return sums


def greedy(model: Any, prompt: Sequence[int], tokens: int, stop_ids: Sequence[int]) -> list[int]:
    """The most likely next token, again and again, up to and with a stop token."""
    ids = torch.tensor([list(prompt)], device=model.device)
    cache, written = None, list[int]()
    step = ids
    while len(written) < tokens and (not written or written[-1] not in stop_ids):
        options: dict[str, Any] = {} if cache is None else {"past_key_values": cache}
        seen = model(input_ids=step, attention_mask=torch.ones_like(ids), use_cache=True, **options)
        written.append(int(seen.logits[0, -1].argmax()))
        ids = torch.cat([ids, ids.new_tensor([[written[-1]]])], dim=1)
        cache = getattr(seen, "past_key_values", None)
        step = ids if cache is None else ids[:, -1:]
    return written


def pooled_logits(model: Any, head: dict[str, Tensor], ids: Sequence[int], pooling: str) -> Tensor:
    """Scores of the classes by a linear layer on a text's vector: mean over tokens, or the last token's."""
    tokens = torch.tensor([list(ids)], device=model.device)
    states = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state[0].float().cpu()
    vector = states.mean(0) if pooling == "mean" else states[-1]
    scores: Tensor = vector @ head["weight"].float().T + head["bias"].float()
    return scores


def asked_ids(tokenizer: Any, item: dict[str, Any], *, goes_on: bool) -> list[int]:
    """The ids that the export's own tokenizer and chat template make of an item; none where it cannot be made again.

    Args:
        tokenizer: The export's.
        item: Of a job.
        goes_on: Whether an answer follows: then a token with which the tokenizer ends every text is taken off.
    """
    if item["messages"] is not None:
        options: dict[str, Any] = {"tools": item["tools"]} if item["tools"] else {}
        rendered = tokenizer.apply_chat_template(
            item["messages"], tokenize=False, add_generation_prompt=True, date_string=item["date"], **options
        )
        return list(tokenizer(rendered, add_special_tokens=False)["input_ids"])
    if item["text"] is None:
        return []
    ids = list(tokenizer(item["text"], truncation=False)["input_ids"])
    bare = list(tokenizer(item["text"], truncation=False, add_special_tokens=False)["input_ids"])
    while goes_on and len(ids) > len(bare) and ids[-len(bare) :] != bare:
        ids.pop()
    return ids


def measure(model: Any, job: dict[str, Any], head: dict[str, Tensor] | None = None) -> dict[str, Any]:
    """Everything that is compared, for every item of a job.

    Args:
        model: A causal language model, or the body that `head` belongs to.
        job: `items`, `tokens` to write, `stop_ids`, and for a head its `pooling`.
        head: Weight and bias of a classification head.

    Returns:
        `rows`: logits by item; `sums`: scores of choices by item; `written`: ids by item.
    """
    rows, sums, written = list[Tensor](), list[list[float] | None](), list[list[int]]()
    with torch.no_grad():
        for item in job["items"]:
            if head is not None:
                rows.append(pooled_logits(model, head, item["prompt"], job["pooling"])[None])
                sums.append(rows[-1][0].tolist())
                continue
            rows.append(answer_rows(model, item["prompt"], item["answer"]))
            sums.append(choice_sums(model, item["prompt"], item["choices"]) if item["choices"] else None)
            if job.get("own_generate"):
                written.append(_generated(model, item["prompt"], job["tokens"]))
            else:
                written.append(greedy(model, item["prompt"], job["tokens"], job["stop_ids"]))
    return {"rows": rows, "sums": sums, "written": written}


def _rows_after(model: Any, length: int, cache: Any, choices: Sequence[Sequence[int]]) -> Tensor:
    """Logits after each token of each choice but its last, shape (C, width, V)."""
    width = max(len(choice) for choice in choices) - 1
    if width == 0:
        return torch.zeros(len(choices), 0, 1)
    ids = torch.zeros(len(choices), width, dtype=torch.long)
    mask = torch.zeros(len(choices), length + width, dtype=torch.long)
    mask[:, :length] = 1
    for number, choice in enumerate(choices):
        ids[number, : len(choice) - 1] = torch.tensor(list(choice[:-1]), dtype=torch.long)
        mask[number, length : length + len(choice) - 1] = 1
    own = copy.deepcopy(cache)
    own.batch_repeat_interleave(len(choices))
    seen = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device), past_key_values=own)
    rows: Tensor = seen.logits.float().cpu()
    return rows


def _sum(rows: Tensor, choice: Sequence[int]) -> float:
    chosen = torch.log_softmax(rows.double(), dim=1)[torch.arange(len(choice)), torch.tensor(list(choice))]
    return float(chosen.sum())


def _generated(model: Any, prompt: Sequence[int], tokens: int) -> list[int]:
    """What `generate` writes by the export's own generation_config, no longer than `tokens`."""
    ids = torch.tensor([list(prompt)], device=model.device)
    written = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens)
    return [int(token) for token in written[0, len(prompt) :]]


def _load(job: dict[str, Any]) -> tuple[Any, Any, dict[str, Tensor] | None]:
    """The model as a receiver loads it: transformers or peft by their own doors, safetensors only."""
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    head: dict[str, Tensor] | None = None
    model: Any = None
    if job["form"] == "gguf":
        from transformers import GgufConfig

        model = AutoModelForCausalLM.from_pretrained(
            ".", gguf_file=job["gguf"], dtype=torch.float32, quantization_config=GgufConfig(dequantize=True), **safe
        )
        return model.to(job["device"]).eval(), None, None
    if job["form"] == "adapter" and job["base"] is None:
        from peft import AutoPeftModelForCausalLM

        model = AutoPeftModelForCausalLM.from_pretrained(".", **safe)
    elif job["form"] == "adapter":
        from peft import PeftModel

        model = AutoModelForCausalLM.from_pretrained(job["base"], use_safetensors=True, **safe)
        model = PeftModel.from_pretrained(model, ".")
    elif job["form"] == "head":
        from safetensors.torch import load_file

        model, head = AutoModel.from_pretrained(".", use_safetensors=True, **safe), load_file("head.safetensors")
    else:
        model = AutoModelForCausalLM.from_pretrained(".", use_safetensors=True, **safe)
    return model.to(job["device"]).eval(), AutoTokenizer.from_pretrained(".", **safe), head


def gguf_facts(name: str) -> dict[str, Any]:
    """What a GGUF file says about tokens, template and the beginning of a text."""
    from gguf import GGUFReader

    fields = GGUFReader(name).fields
    wanted = ("tokenizer.ggml.tokens", "tokenizer.chat_template", "tokenizer.ggml.eos_token_id")
    found = {key.rpartition(".")[2]: fields[key].contents() for key in wanted if key in fields}
    begins = fields.get("tokenizer.ggml.add_bos_token")
    sentencepiece = fields["tokenizer.ggml.model"].contents() == "llama"
    return {**found, "adds_bos": bool(begins.contents()) if begins is not None else sentencepiece}


def main(path: Path) -> None:
    """Do the job in the file `path`: load from the current folder, measure, write the result beside the job."""
    from safetensors.torch import save_file
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    job = json.loads(path.read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    model, tokenizer, head = _load(job)
    found = measure(model, job, head)
    rows = found.pop("rows")
    save_file({str(number): row for number, row in enumerate(rows)}, path.parent / "rows.safetensors")
    goes_on = job["form"] != "head"
    made = [asked_ids(tokenizer, item, goes_on=goes_on) for item in job["items"]] if tokenizer is not None else None
    found["asked"] = made
    found["gguf"] = gguf_facts(job["gguf"]) if job["form"] == "gguf" else None
    found["dtype"] = str(next(model.parameters()).dtype).removeprefix("torch.")
    found["modules"] = sorted({name.partition(".")[0] for name in sys.modules})
    (path.parent / "result.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
