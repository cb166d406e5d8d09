"""A model folder on disk: what it must hold, what kind of model it is, how long its inputs may be.

Everything here reads small JSON files; no weights are loaded and no code of the folder ever runs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from metier.errors import ModelError
from metier.events import Notice, Observer, tell
from metier.model.weights import weight_files

if TYPE_CHECKING:
    from transformers import PretrainedConfig

Kind = Literal["decoder", "encoder"]

ENCODERS = frozenset({
    "albert", "bert", "big_bird", "camembert", "convbert", "data2vec-text", "deberta", "deberta-v2", "distilbert",
    "electra", "ernie", "eurobert", "megatron-bert", "modernbert", "mpnet", "nomic_bert", "roberta",
    "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl",
})  # fmt: skip
"""Model types that read a text in both directions and get a head. To add one: its name, and a tiny test."""

# These number their positions from the padding id on, so the table's first rows are never used.
_POSITIONS_AFTER_PADDING = frozenset(
    {"camembert", "data2vec-text", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl"}
)
_CONTEXT_FIELDS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")
_UNKNOWN_CONTEXT = 2048
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """How an encoder's token vectors become one sentence vector."""

    mode: Literal["mean", "cls"] = "mean"
    normalise: bool = False
    max_length: int | None = None
    """Tokens (special ones included) at which the model's authors cut; None when they do not say."""


def read_config(folder: Path) -> PretrainedConfig:
    """The configuration of a model folder, after checking that the folder can be used.

    Raises:
        ModelError: No config, an adapter, weights missing or pickled or quantised, code of its own, or a
            model type that transformers does not know.
    """
    from transformers import CONFIG_MAPPING, AutoConfig

    raw = _read_raw(folder)
    model_type = raw.get("model_type")
    if model_type not in CONFIG_MAPPING:
        if "auto_map" in raw:
            found = f"needs code of its own (model type {model_type!r}), which metier never runs"
            raise ModelError(str(folder), found, "", "Choose a model that transformers supports itself.")
        found = f"has the model type {model_type!r}, which this version of transformers does not know"
        raise ModelError(str(folder / "config.json"), found, "", "Choose another model, or upgrade transformers.")
    method = (raw.get("quantization_config") or {}).get("quant_method")
    if raw.get("quantization_config"):
        found = f"holds quantised weights ({method or 'unknown method'})"
        raise ModelError(str(folder), found, "plain ones", "Use the model that it was quantised from.")
    if not weight_files(folder):
        raise _no_weights(folder)
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ModelError(str(folder / "config.json"), f"cannot be used ({first_line(error)})") from error
    return config


def find_kind(config: PretrainedConfig, where: str) -> Kind:
    """Whether the model writes text (`decoder`) or reads it into vectors (`encoder`).

    Raises:
        ModelError: It is neither (translation models, vision models).
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if config.model_type in ENCODERS:
        return "encoder"
    if config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not getattr(config, "is_encoder_decoder", False):
        return "decoder"
    found = f"is a model of the type {config.model_type!r}"
    wanted = f"a causal language model, or an encoder ({', '.join(sorted(ENCODERS))})"
    raise ModelError(where, found, wanted)


def find_context(config: PretrainedConfig, tokenizer_limit: int, where: str, observers: Sequence[Observer]) -> int:
    """The longest input in tokens that the model's positions allow.

    Args:
        config: The model's text configuration.
        tokenizer_limit: The tokenizer's `model_max_length`; a huge number means that it does not say.
        where: The model, for the notice.
        observers: Told when nothing says how long inputs may be.
    """
    values = (getattr(config, name, None) for name in _CONTEXT_FIELDS)
    found = next((value for value in values if isinstance(value, int) and value > 0), None)
    if found is not None and config.model_type in _POSITIONS_AFTER_PADDING:
        return found - int(config.pad_token_id or 0) - 1
    if found is not None:
        return found
    if 0 < tokenizer_limit < 10_000_000:
        return tokenizer_limit
    text = f"{where} does not say how long its inputs may be; {_UNKNOWN_CONTEXT} tokens are assumed."
    tell(observers, Notice(topic="model", message=text))
    return _UNKNOWN_CONTEXT


def read_pooling(folder: Path) -> Pooling:
    """How sentence vectors are made, as a sentence-transformers folder says; else the mean, not normalised."""
    pooling = _json_or_empty(folder / "1_Pooling" / "config.json")
    modules = _json_or_empty(folder / "modules.json")
    kinds = [str(module.get("type", "")) for module in modules] if isinstance(modules, list) else []
    sentence = _json_or_empty(folder / "sentence_bert_config.json")
    length = sentence.get("max_seq_length") if isinstance(sentence, dict) else None
    cls = isinstance(pooling, dict) and (
        bool(pooling.get("pooling_mode_cls_token")) or pooling.get("pooling_mode") == "cls"
    )
    return Pooling(
        mode="cls" if cls else "mean",
        normalise=any(kind.endswith("Normalize") for kind in kinds),
        max_length=length if isinstance(length, int) and length > 0 else None,
    )


def read_licence(folder: Path) -> str:
    """The licence in the front matter of the folder's README; `unknown` when there is none."""
    import yaml

    readme = folder / "README.md"
    if not readme.is_file():
        return "unknown"
    head, *rest = readme.read_text(encoding="utf-8-sig", errors="replace")[:20_000].split("\n---", 1)
    if not rest or not head.startswith("---"):
        return "unknown"
    try:
        front = yaml.safe_load(head.removeprefix("---"))
    except yaml.YAMLError:
        return "unknown"
    licence = front.get("license") if isinstance(front, dict) else None
    return licence if isinstance(licence, str) and licence else "unknown"


def first_line(error: BaseException) -> str:
    """The first line of another library's message, short enough for ours."""
    text = str(error).strip().strip("'\"") or type(error).__name__
    return text.splitlines()[0].rstrip(".")[:200]


def _read_raw(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        if (folder / "adapter_config.json").is_file():
            fix = "Name its base model here; the adapter itself goes to `metier compare`."
            raise ModelError(str(folder), "holds a PEFT adapter, not a model", "", fix)
        wanted = "a model folder with config.json, *.safetensors and a tokenizer"
        raise ModelError(str(folder), "has no config.json", wanted)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(str(path), "is damaged: no readable JSON", "", "Copy the model again.") from error
    if not isinstance(raw, dict):
        raise ModelError(str(path), f"holds a {type(raw).__name__}", "a JSON object")
    return raw


def _no_weights(folder: Path) -> ModelError:
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        found = f"has its weights only as pickle ({pickles[0]}), which can run code and is never opened"
        fix = (
            'Convert them once, if you trust them: `python -c "from transformers import AutoModelForCausalLM as M; '
            "M.from_pretrained('FOLDER').save_pretrained('NEW')\"`, then copy the tokenizer files."
        )
        return ModelError(str(folder), found, "*.safetensors", fix)
    fix = "Copy or download the whole model again."
    return ModelError(str(folder), "has no weights", "model.safetensors or its shards", fix)


def _json_or_empty(path: Path) -> Any:
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
