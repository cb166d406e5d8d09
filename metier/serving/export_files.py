"""What an export consists of: adapter, merged weights, an encoder with its head, or a GGUF file."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from metier.errors import ModelError
from metier.events import Observer, StageStarted, tell
from metier.model.chat_prompt import ChatPrompt
from metier.model.chat_template import ChatTemplate
from metier.model.prompt import PromptFormat
from metier.model.quiet import quiet_transformers
from metier.model.saved import HEAD, Saved
from metier.model.weights import weight_files
from metier.serving.export_gguf import OUTTYPES, convert_to_gguf
from metier.serving.modelfile import Translation, modelfile, render_go, translate
from metier.serving.parity import Check, Loading
from metier.serving.probes import Probe, own_encoder, stop_ids
from metier.serving.receiver import gguf_facts
from metier.store.files import write_json, write_text

ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json")
BASE = "base"
"""Folder of the base model inside an adapter's export."""
LABELS = "labels.json"
SHARD = "5GB"
_DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True, eq=False)
class Wanted:
    """What is to be exported, and how."""

    saved: Saved
    folder: Path
    """The run's model folder."""
    outtype: str | None
    with_base: bool
    about: Mapping[str, Any]
    """Where the model comes from: what `provenance.json` says."""
    probes: Sequence[Probe]
    observers: Sequence[Observer]


@dataclass(frozen=True, kw_only=True, eq=False)
class Written:
    """What was written, and how a receiver loads it."""

    loading: Loading
    outtype: str | None = None
    notices: tuple[str, ...] = ()
    """What a person must know."""
    checks: tuple[Check, ...] = ()
    """What was compared while it was written."""


def write_adapter(wanted: Wanted, draft: Path) -> Written:
    """PEFT's own layout with tokenizer and chat template; with its base beside it where that was wished."""
    saved, base = wanted.saved, wanted.saved.model.base
    for name in ADAPTER_FILES:
        shutil.copyfile(wanted.folder / name, draft / name)
    with quiet_transformers():
        base.tokenizer.save_pretrained(str(draft))
    config = json.loads((draft / ADAPTER_FILES[1]).read_text(encoding="utf-8"))
    on_hub = base.source == "hub"
    # A name that leads to other weights would load without a word and answer worse: better one that leads nowhere.
    named = base.name if on_hub else f"see README.md: {Path(base.name).name}, sha256 {base.weights_sha256[:12]}"
    config["base_model_name_or_path"] = BASE if wanted.with_base else named
    config["revision"] = base.revision if on_hub and not wanted.with_base else None
    write_text(draft / ADAPTER_FILES[1], json.dumps(config, indent=2, sort_keys=True) + "\n")
    if wanted.with_base:
        _copy_base(base.folder, draft / BASE)
    _describe_labels(saved, draft)
    notices: tuple[str, ...] = ()
    if not wanted.with_base and not on_hub:
        notices = (
            f"the adapter needs exactly this base model ({base.weights_sha256[:12]}), which is not on the hub: "
            "README.md says where it is found; --with-base puts it beside the adapter",
        )
    beside = None if wanted.with_base else str(base.folder)
    loading = Loading(form="adapter", precision=stored_dtype(base.folder), base=beside)
    return Written(loading=loading, notices=notices)


def write_merged(wanted: Wanted, draft: Path) -> Written:
    """Whole weights that plain transformers loads; a head is a linear layer in a file beside them."""
    saved = wanted.saved
    outtype = wanted.outtype or _name_of(stored_dtype(saved.model.base.folder))
    network = _merge(saved, _DTYPES[outtype])
    # Bars of the library that cannot be switched off.
    with quiet_transformers(), contextlib.redirect_stderr(io.StringIO()):
        if saved.model.head is None:
            network.generation_config = _generation_config(saved)
        else:
            network.config.id2label = dict(enumerate(saved.model.labels))
            network.config.label2id = {label: number for number, label in enumerate(saved.model.labels)}
            shutil.copyfile(wanted.folder / HEAD, draft / HEAD)
        network.save_pretrained(str(draft), safe_serialization=True, max_shard_size=SHARD)
        saved.model.base.tokenizer.save_pretrained(str(draft))
    _copy_vocabulary(saved.model.base.folder, draft)
    _describe_labels(saved, draft)
    form = "model" if saved.model.head is None else "head"
    generates = form == "model" and _writes_greedily(saved)
    return Written(loading=Loading(form=form, precision=OUTTYPES[outtype], generates=generates), outtype=outtype)


def write_gguf(wanted: Wanted, draft: Path) -> Written:
    """One GGUF file by llama.cpp's converter, and a Modelfile for Ollama."""
    outtype = wanted.outtype or "f16"
    name = f"model-{outtype}.gguf"
    with tempfile.TemporaryDirectory(prefix=f".{draft.name[:80]}.merged-", dir=draft.parent) as place:
        merged = Path(place) / "model"
        merged.mkdir()
        write_merged(replace(wanted, outtype="f32"), merged)
        _begin_as_trained(wanted, merged / "tokenizer_config.json")
        licence = wanted.about["base"]["licence"]
        if licence != "unknown":  # the converter reads it from there
            write_text(merged / "README.md", f"---\nlicense: {licence}\n---\n")
        head = Path(place) / "general.json"
        head.write_text(json.dumps(_general(wanted.about)), encoding="utf-8")
        tell(wanted.observers, StageStarted(stage="convert", detail=f"writing {name} with llama.cpp's converter"))
        convert_to_gguf(merged, draft / name, outtype, metadata=head, observers=wanted.observers)
    translation, checks, notices = _translated(wanted, draft / name)
    write_text(draft / "Modelfile", _modelfile(wanted, name, translation))
    _describe_labels(wanted.saved, draft)
    loading = Loading(form="gguf", precision=OUTTYPES[outtype], gguf=name)
    return Written(loading=loading, outtype=outtype, notices=notices, checks=checks)


FORMS: Mapping[str, Callable[[Wanted, Path], Written]] = {
    "adapter": write_adapter, "merged": write_merged, "gguf": write_gguf,
}  # fmt: skip
"""What `--as` names. To add one: a row, its way of loading in `receiver.py`, and a test."""


def stored_dtype(folder: Path) -> str:
    """The type in which a model folder says that its weights are; what transformers then loads them in."""
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    found = str(raw.get("dtype") or raw.get("torch_dtype") or "float32").removeprefix("torch.")
    return found if found in ("float32", "float16", "bfloat16") else "float32"


def instruction_of(saved: Saved) -> str | None:
    """What stands before the first text of the user; None: nothing, or examples stand between."""
    prompt = saved.prompt
    if isinstance(prompt, PromptFormat) and not prompt.shots:
        return prompt.messages("")[0]["content"].removesuffix("\n\n") or None
    return prompt.instruction if isinstance(prompt, ChatPrompt) and not prompt.shots else None


def longest_answer(saved: Saved) -> int | None:
    """Tokens of the longest answer that it gives; None for one that reads on."""
    if saved.generation is not None:
        return int(saved.generation["max_new_tokens"])
    if isinstance(saved.prompt, PromptFormat):
        return max(len(ids) for ids in own_encoder(saved).answers(saved.prompt))
    return None


def _name_of(dtype: str) -> str:
    return next(name for name, each in OUTTYPES.items() if each == dtype)


def _merge(saved: Saved, dtype: torch.dtype) -> Any:
    """The whole network in this type. `saved` was loaded for this export alone, and in float32."""
    network: Any = saved.model.network
    if saved.model.peft is not None:
        network = saved.model.peft.merge_and_unload(safe_merge=True)
        saved.model.peft = None
    # Where it was loaded from is the user's own path.
    network.config._name_or_path = ""
    return network.to(dtype)


def _generation_config(saved: Saved) -> Any:
    """How plain `generate` writes: to the end of a turn, as the recipe says."""
    from transformers import GenerationConfig

    tokenizer = saved.model.base.tokenizer
    ids: dict[str, Any] = {
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": list(stop_ids(saved)),
        "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    settings = saved.generation
    if settings is None:
        longest = longest_answer(saved)
        return GenerationConfig(**ids, do_sample=False, **({"max_new_tokens": longest} if longest else {}))  # type: ignore[no-untyped-call]
    sampled = float(settings["temperature"]) > 0
    how: dict[str, Any] = {"do_sample": sampled, "max_new_tokens": int(settings["max_new_tokens"])}
    if sampled:
        how |= {"temperature": settings["temperature"], "top_p": settings["top_p"], "top_k": settings["top_k"] or 0}
    if float(settings["repetition_penalty"]) != 1.0:
        how["repetition_penalty"] = settings["repetition_penalty"]
    return GenerationConfig(**ids, **how)  # type: ignore[no-untyped-call]


def _writes_greedily(saved: Saved) -> bool:
    settings = saved.generation or {"temperature": 0.0, "repetition_penalty": 1.0}
    return float(settings["temperature"]) == 0.0 and float(settings["repetition_penalty"]) == 1.0


def _copy_base(source: Path, target: Path) -> None:
    target.mkdir()
    names = {path.name for path in weight_files(source)} | {
        path.name for path in source.iterdir()
        if path.suffix in (".json", ".jinja", ".txt", ".model") and path.name != "metier-model.json"
    } | {path.name for path in source.glob("LICENSE*")}  # fmt: skip
    for name in sorted(names):
        shutil.copyfile(source / name, target / name)


def _copy_vocabulary(source: Path, draft: Path) -> None:
    """The sentencepiece file, which some converters read beside tokenizer.json."""
    if (source / "tokenizer.model").is_file() and not (draft / "tokenizer.model").exists():
        shutil.copyfile(source / "tokenizer.model", draft / "tokenizer.model")


def _describe_labels(saved: Saved, draft: Path) -> None:
    """What scores labels, where the model answers by their words: a file that a program can read."""
    if not isinstance(saved.prompt, PromptFormat) or saved.rule is None:
        return
    answers = own_encoder(saved).answers(saved.prompt)
    write_json(draft / LABELS, {
        "labels": list(saved.prompt.labels), "words": list(saved.prompt.label_texts),
        "answer_ids": [ids.tolist() for ids in answers], "rule": dict(saved.rule),
        "messages": saved.prompt.messages("{text}"),
    }, format="labels")  # fmt: skip


def _begin_as_trained(wanted: Wanted, config: Path) -> None:
    """Let the file not ask for a beginning-of-text token that no prompt of the training had."""
    bos = wanted.saved.model.base.tokenizer.bos_token_id
    if any(int(probe.prompt[0]) == bos for probe in wanted.probes):
        return
    settings = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps({**settings, "add_bos_token": False}), encoding="utf-8")


def _general(about: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the GGUF file's head: where the model comes from travels with it."""
    base = about["base"]
    origin = f"base {base['name']} sha256 {base['sha256']}; data {about['data_fingerprint'] or 'unknown'}"
    described = f"{about['verdict'] or 'Not evaluated.'} Made with metier {about['metier']}; {origin}"
    return {"general.name": about["name"], "general.description": described}


def _translated(wanted: Wanted, file: Path) -> tuple[Translation | None, tuple[Check, ...], tuple[str, ...]]:
    """The chat template as Go, what proves it on the run's own prompts, and what to say where there is none."""
    encoder = own_encoder(wanted.saved)
    if not encoder.is_chat:
        said = "the model has no chat template: the Modelfile has no TEMPLATE, and Ollama gives the text as it is"
        return None, (), (said,)
    template, tokenizer = ChatTemplate(encoder), encoder.tokenizer
    begin = tokenizer.bos_token if gguf_facts(str(file))["adds_bos"] and tokenizer.bos_token else ""

    def render(chat: Sequence[Mapping[str, Any]], ask: bool) -> str:
        return template.render(chat, None, ask=ask)

    translation = translate(render, begin=begin, instruction=instruction_of(wanted.saved))
    if translation is None:
        said = (
            "the chat template could NOT be translated for Ollama: the Modelfile has no TEMPLATE. With Ollama's "
            "own guess the model may answer nonsense. Programs that read the template in the GGUF file "
            "(llama.cpp with --jinja) are not affected"
        )
        return None, (), (said,)
    return translation, _translation_checks(wanted, translation, begin), ()


def _translation_checks(wanted: Wanted, translation: Translation, begin: str) -> tuple[Check, ...]:
    """Whether the Go template makes the prompts that the model was asked with."""
    encoder, prompt = own_encoder(wanted.saved), wanted.saved.prompt
    if prompt is None or prompt.shots:
        return ()
    system = prompt.system if isinstance(prompt, ChatPrompt) else None
    same = made = 0
    for probe in wanted.probes:
        if probe.chat is None or probe.asked is None or probe.cut or probe.tools:
            continue
        turns = [{"role": turn.role, "content": encoder.harmless(turn.content)} for turn in probe.asked.turns]
        if system and turns[0]["role"] != "system":
            turns = [{"role": "system", "content": system}, *turns]
        if any(turn["role"] == "tool" for turn in turns):
            continue
        made += 1
        asked = encoder.apply_template(probe.chat, ask=True)
        same += render_go(translation.template, turns) == asked.removeprefix(begin)
    found = f"{same} of {made} equal; {translation.probes} other conversations too"
    return (Check(what="prompts made by the Modelfile's template", found=found, wanted="all", passed=same == made),)


def _modelfile(wanted: Wanted, name: str, translation: Translation | None) -> str:
    saved = wanted.saved
    tokenizer = saved.model.base.tokenizer
    settings = saved.generation or {}
    stops = [str(tokenizer.convert_ids_to_tokens(token)) for token in stop_ids(saved)] + list(settings.get("stop", []))
    about = wanted.about
    comments = [f"{about['name']}, made with metier {about['metier']}. Create it: ollama create NAME -f Modelfile"]
    if translation is None:
        comments.append("NO TEMPLATE: the model's chat template could not be translated. See README.md.")
    elif instruction_of(saved):
        comments.append("The template puts the instruction of the training before the first text of the user.")
    system = saved.prompt.system if isinstance(saved.prompt, ChatPrompt) else None
    return modelfile(name, translation, stops=stops, parameters=_parameters(saved), system=system, comments=comments)


def _parameters(saved: Saved) -> dict[str, float]:
    """How Ollama writes as the run did: each is said, for its own defaults are others (it penalises repetition)."""
    settings = saved.generation or {}
    found: dict[str, float] = {
        "num_ctx": saved.max_length,
        "num_predict": longest_answer(saved) or 128,
        "temperature": settings.get("temperature", 0.0),
        "repeat_penalty": settings.get("repetition_penalty", 1.0),
    }
    if found["temperature"] > 0:
        found |= {"top_p": settings.get("top_p", 1.0), "top_k": settings.get("top_k") or 0}
    return found


def refuse_form(form: str, about: Mapping[str, Any]) -> None:
    """Say early what a model cannot be exported as.

    Args:
        form: A key of `FORMS`.
        about: The saved model's own description.

    Raises:
        ModelError: It has no such form; the message names one that it has.
    """
    method = about["adaptation"]["method"]
    if about["head"] and form != "merged":
        found = "answers with a classification head, which no adapter folder and no GGUF file can hold"
        raise ModelError(f"--as {form}", found, "", "Use --as merged, or `metier predict`.")
    quantization = about.get("base", {}).get("quantization")
    if form == "adapter" and quantization is not None:
        found = f"the adapter learned over a base held in {quantization}; over the base as it is, it answers otherwise"
        fix = "Use --as merged, which holds the numbers that it learned over."
        raise ModelError("--as adapter", found, "", fix)
    if form == "adapter" and method != "lora":
        found = f"there is no adapter: the run trained the model's own weights ({method})"
        raise ModelError("--as adapter", found, "", "Use --as merged.")
