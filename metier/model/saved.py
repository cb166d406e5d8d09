"""An adapted model on disk: PEFT's own layout or full weights, tokenizer, prompt, head, summary; and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, Unpack

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from metier.device import Hardware
from metier.errors import ModelError
from metier.events import Observer
from metier.model.adapt import AdaptedModel
from metier.model.base import BaseModel, load_base_model
from metier.model.chat_prompt import ChatPrompt, chat_prompt_from_plain
from metier.model.packaged import PACKAGED
from metier.model.plan import LearningPlan
from metier.model.prompt import PromptFormat, prompt_from_plain
from metier.model.quantized import dequantize
from metier.model.quiet import quiet_transformers
from metier.recipe.sections import AdaptationSection, ModelSection
from metier.store.files import read_json, whole_folder, write_bytes, write_json
from metier.store.fingerprint import file_sha256
from metier.store.values import to_plain

if TYPE_CHECKING:
    from peft import PeftModel

ABOUT, HEAD, PROMPT, SUMMARY = "metier-model.json", "head.safetensors", "prompt.json", "summary.json"


@dataclass(frozen=True, eq=False)
class Saved:
    """A model read back: everything that answering needs."""

    model: AdaptedModel
    prompt: PromptFormat | ChatPrompt | None
    """How it is asked; None for a model that reads on (task `text`)."""
    max_length: int
    too_long: str
    rule: Mapping[str, Any] | None
    """The scoring rule that validation chose, as plain values; None for a head."""
    examples: int
    """Training records that it saw."""
    trunk_layers: int
    """Lower blocks that never changed."""
    generation: Mapping[str, Any] | None = None
    """How answers are written, `max_new_tokens` set; None where it writes none."""
    task: str = "classification"
    """What kind of answer it was trained for."""


class Facts(TypedDict):
    """What is saved with a model so that it is asked as it was trained."""

    prompt: PromptFormat | ChatPrompt | None
    """How it is asked; None for a model that reads on."""
    max_length: int
    """Longest prompt and answer in tokens."""
    too_long: str
    """Policy for longer ones."""
    rule: Mapping[str, Any] | None
    """Scoring rule as plain values; None for a head, and for a model that writes."""
    examples: int
    """Training records that it saw."""
    generation: NotRequired[Mapping[str, Any] | None]
    """Settings of the recipe's section `generation`, `max_new_tokens` set; None where it writes no answers."""
    task: NotRequired[str]
    """What kind of answer it was trained for; `classification` where nothing is said."""


def save_model(model: AdaptedModel, folder: Path, **facts: Unpack[Facts]) -> None:
    """Write a model so that `load_model` and, without metier, peft and transformers can read it.

    Args:
        model: The trained model.
        folder: Appears whole or not at all.
        facts: How it is asked, by name.
    """
    with whole_folder(folder) as draft:
        with quiet_transformers():
            if model.peft is not None:
                # PEFT would write the path of the cache, with the user's name in it, into a file to be shared.
                for config in model.peft.peft_config.values():
                    config.base_model_name_or_path = public_name(model.base.name)
                    config.revision = model.base.revision
                # "auto" would ask the hub whether the vocabulary changed.
                model.peft.save_pretrained(str(draft), safe_serialization=True, save_embedding_layers=False)
            elif model.plan.weights:
                model.network.save_pretrained(str(draft), safe_serialization=True)
            model.base.tokenizer.save_pretrained(str(draft))
        card = draft / "README.md"
        card.unlink(missing_ok=True)
        if model.head is not None:
            tensors = {name: p.detach().cpu().contiguous() for name, p in model.head.state_dict().items()}
            write_bytes(draft / HEAD, save(tensors))
        write_json(draft / PROMPT, _plain_prompt(facts["prompt"]), format="prompt")
        write_json(draft / SUMMARY, to_plain(model.summary()), format="model")
        about = {
            "files": {path.name: file_sha256(path) for path in sorted(draft.glob("*.safetensors"))},
            "base": {
                "name": model.base.name,
                "revision": model.base.revision,
                "quantization": model.base.quantization,
            },
            "base_sha256": model.base.weights_sha256,
            "dtype": model.base.dtype,
            "adaptation": model.section.model_dump(mode="json"),
            "labels": list(model.labels),
            "kind": model.base.kind,
            "head": model.head is not None,
            "max_length": facts["max_length"],
            "too_long": facts["too_long"],
            "rule": _plain(facts["rule"]),
            "examples": facts["examples"],
            "trunk_layers": model.plan.trunk_layers,
            "generation": _plain(facts.get("generation")),
            "task": facts.get("task", "classification"),
        }
        write_json(draft / ABOUT, about, format="saved_model")


def public_name(name: str) -> str:
    """The name under which others find a base model: a packaged one's hub id, else the recipe's own name."""
    return PACKAGED[name].hub_id if name in PACKAGED else name


def load_model(
    folder: Path, hardware: Hardware, observers: Sequence[Observer] = (), *, dequantized: bool = False
) -> Saved:
    """Read a saved model back, ready to answer.

    Args:
        folder: What `save_model` wrote.
        hardware: Device and dtype.
        observers: Told about downloads and fallbacks.
        dequantized: Hold a base that was quantised in the run's dtype, with the numbers that it stood for.

    Raises:
        ModelError: the folder is damaged, or the base model is not the one that it was trained on.
    """
    about = read_json(folder / ABOUT, format="saved_model")
    _check_files(folder, about.get("files", {}))
    section = AdaptationSection.model_validate(about["adaptation"])
    autocast = hardware.dtype == "bfloat16"
    full = section.method in ("full", "freeze")
    reference = ModelSection(name=str(folder)) if full else ModelSection.model_validate(about["base"])
    # Rounded as it was while it learned: another type would be quantised to other numbers.
    quantized = dequantized and reference.quantization is not None
    loading = dataclasses.replace(hardware, dtype=about["dtype"]) if quantized else hardware
    base = load_base_model(reference, loading, observers)
    if full or base.kind == "encoder":
        base = dataclasses.replace(base.fresh(torch.float32), name=str(about["base"]["name"]))
    if loading is not hardware:
        dequantize(base.network, base.folder)
        base = dataclasses.replace(base, quantization=None, dtype=hardware.dtype)
        base.network.to(hardware.torch_dtype)  # type: ignore[arg-type]
    if not full and base.weights_sha256 != about["base_sha256"]:
        raise ModelError(
            str(folder),
            f"was trained on weights {about['base_sha256'][:12]}, {base.name} has {base.weights_sha256[:12]}",
            "the same base model", "Restore that base model; another one would answer nonsense.",
        )  # fmt: skip
    head = _load_head(folder, base, len(about["labels"])) if about["head"] else None
    plan = LearningPlan(weights=(), adapted=(), trunk_layers=0)
    model = AdaptedModel(base, section, plan, head, tuple(about["labels"]), autocast and full)
    if section.method == "lora":
        model.peft = _load_adapter(folder, base)
    return Saved(
        model,
        read_prompt(folder),
        int(about["max_length"]),
        str(about["too_long"]),
        about["rule"],
        int(about["examples"]),
        int(about["trunk_layers"]),
        about.get("generation"),
        str(about.get("task", "classification")),
    )


def shared_depth(folder: Path) -> int:
    """Lower blocks that a saved language model which answers with labels has in common with its base; 0: none.

    Weights that learned are kept in float32 and have a hash of their own: such a model shares nothing.

    Args:
        folder: What `save_model` wrote.
    """
    about, layers = read_json(folder / ABOUT, format="saved_model"), read_json(folder / SUMMARY, format="model")
    depth = int(about["trunk_layers"])
    learned = about["adaptation"]["method"] in ("full", "freeze")
    return 0 if about["head"] or learned or depth >= int(layers["layers"]) else depth


def _plain(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return dict(values) if values is not None else None


def _plain_prompt(prompt: PromptFormat | ChatPrompt | None) -> dict[str, Any]:
    kind = "none" if prompt is None else "chat" if isinstance(prompt, ChatPrompt) else "labels"
    return {"kind": kind, **(to_plain(prompt) if prompt is not None else {})}


def read_prompt(folder: Path) -> PromptFormat | ChatPrompt | None:
    """How a saved model is asked; None for one that reads on.

    Args:
        folder: What `save_model` wrote. A prompt without a kind was written before there were several.

    Raises:
        RunFolderError: The file is missing or damaged.
        ModelError: It holds a prompt of another kind.
    """
    path = folder / PROMPT
    plain = read_json(path, format="prompt")
    kind = plain.get("kind", "labels")
    if kind == "none":
        return None
    if kind not in ("labels", "chat"):
        raise ModelError(str(path), f"holds a prompt of kind {kind!r}", "labels, chat or none")
    return chat_prompt_from_plain(plain) if kind == "chat" else prompt_from_plain(plain)


def _check_files(folder: Path, checksums: Mapping[str, str]) -> None:
    """Compare every weight file with the checksum that was saved beside it."""
    for name, checksum in checksums.items():
        path = folder / name
        found = "is missing" if not path.is_file() else "" if file_sha256(path) == checksum else "is damaged"
        if found:
            raise ModelError(str(path), found, "the file as it was saved", "Copy it again, or run the recipe again.")


def _load_head(folder: Path, base: BaseModel, classes: int) -> nn.Linear:
    try:
        tensors = load_file(folder / HEAD)
    except (SafetensorError, OSError) as fault:
        raise ModelError(str(folder / HEAD), f"cannot be read ({fault})", "the saved head") from fault
    head = nn.Linear(base.hidden_size, classes)
    with torch.no_grad():
        head.weight.copy_(tensors["weight"])
        head.bias.copy_(tensors["bias"])
    return head.to(base.network.device)


def _load_adapter(folder: Path, base: BaseModel) -> PeftModel:
    from peft import PeftModel

    try:
        with quiet_transformers():
            return PeftModel.from_pretrained(base.network, str(folder), is_trainable=False)
    except (SafetensorError, OSError, ValueError) as fault:
        raise ModelError(str(folder), f"the adapter cannot be read ({fault})", "adapter_model.safetensors") from fault
