"""The pre-trained model as every other room sees it: a network, its tokenizer, and what they are.

`load_base_model` is the door. However a model is named (packaged, folder, `.gguf`, hub), it ends as a
folder of safetensors, and one path loads it: no pickle, no code from the model.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metier.device import Hardware
from metier.errors import MissingPackage, ModelError
from metier.events import Observer
from metier.model.folder import (
    Kind,
    Pooling,
    find_context,
    find_kind,
    first_line,
    read_config,
    read_licence,
    read_pooling,
)
from metier.model.hub import fetch_from_hub
from metier.model.loading import Loading, load_network
from metier.model.origin import read_origin
from metier.model.packaged import PACKAGED, ensure_converted_gguf, ensure_packaged
from metier.model.quiet import quiet_transformers
from metier.model.weights import fingerprint_weights
from metier.recipe.sections import ModelSection, Quantization

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, kw_only=True, eq=False)
class BaseModel:
    """A pre-trained model: the live network and tokenizer, and the facts about them.

    `adapt_model` consumes the network; `fresh` loads the same weights again.
    """

    name: str
    """As the recipe names it."""
    kind: Kind
    """`decoder`: a causal language model. `encoder`: a BERT-like model without a head."""
    architecture: str
    """transformers' model type (`llama`, `bert`)."""
    source: str
    """`packaged`, `folder`, `gguf` or `hub`."""
    revision: str | None
    """The hub's commit; None for other sources."""
    licence: str
    notes: tuple[str, ...]
    """What a card and a table must say about these weights."""
    weights_sha256: str
    """Fingerprint of all weights on disk, before any change of type."""
    network: PreTrainedModel
    """In evaluation mode, nothing learns, on the run's device in the run's dtype."""
    dtype: str
    """`float32` or `bfloat16`: the type of the network's weights."""
    tokenizer: PreTrainedTokenizerBase
    layers: int
    hidden_size: int
    context: int
    """Longest input in tokens, special ones included."""
    vocabulary: int
    """Rows of the embedding table; the tokenizer may know fewer tokens."""
    pooling: Pooling | None
    """How an encoder's sentence vector is made; None for decoders."""
    folder: Path
    """The safetensors folder that it was read from."""
    quantization: Quantization | None = None
    """`nf4` or `int8`: how the linear layers of the network's blocks are held; None: as `dtype` says."""

    @property
    def parameters(self) -> int:
        """All parameters; tied ones count once."""
        from metier.model.quantized import count_parameters

        return count_parameters(self.network.parameters())

    @property
    def precision(self) -> str:
        """The type of the weights as part of a cache's key: `torch.float32`, `torch.bfloat16/nf4`."""
        return "/".join(filter(None, (str(self.network.dtype), self.quantization)))

    @property
    def bytes(self) -> int:
        """Size of all parameters as they lie in memory; tied ones count once."""
        return sum(parameter.numel() * parameter.element_size() for parameter in self.network.parameters())

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens and without any limit on length."""
        if not texts:
            return []
        encoded = self.tokenizer(
            list(texts), add_special_tokens=False, truncation=False, padding=False, verbose=False,
            return_attention_mask=False, return_token_type_ids=False,
        )  # fmt: skip
        return [len(ids) for ids in encoded["input_ids"]]

    def fresh(self, dtype: torch.dtype | None = None) -> BaseModel:
        """The same model with its weights read again, on the same device.

        Args:
            dtype: Type of the weights, which are then not quantised; None: as this one has them.
        """
        import torch

        wanted = dtype or (torch.bfloat16 if self.dtype == "bfloat16" else torch.float32)
        quantization = self.quantization if dtype is None else None
        config, _ = _load_config(self.folder)
        loading = Loading(wanted, str(self.network.device), quantization)
        network = load_network(self.folder, config, self.kind, loading, ())
        return dataclasses.replace(
            self, network=network, dtype=str(wanted).removeprefix("torch."), quantization=quantization
        )


@dataclass(frozen=True)
class _Place:
    """A resolved model: its folder, and what is known about where it comes from."""

    folder: Path
    source: str
    licence: str
    notes: tuple[str, ...]
    weights_sha256: str
    revision: str | None = None


def load_base_model(section: ModelSection, hardware: Hardware, observers: Sequence[Observer] = ()) -> BaseModel:
    """Find, check and load the model that the recipe names.

    Args:
        section: Its name is, in this order: a packaged model, a folder, a `.gguf` file, a hub id `org/name`.
            Only a packaged model that is not in the cache and a hub id use the network.
        hardware: Device and dtype.
        observers: Told about downloads, conversions and fallbacks.

    Raises:
        ModelError: No such model, or one that cannot be used.
        LackingEnvironment: The network is needed and not there.
        OutOfMemory: The device has too little memory for the weights.
    """
    place = _resolve(section, observers)
    config, kind = _load_config(place.folder)
    tokenizer = load_tokenizer(place.folder)
    if section.quantization is not None and kind == "encoder":
        found, fix = f"{section.quantization}, but {section.name} is an encoder", "Remove model.quantization."
        raise ModelError("model.quantization", found, "a language model: encoders are small and run in float32", fix)
    loading = Loading(hardware.torch_dtype, hardware.device, section.quantization)
    network = load_network(place.folder, config, kind, loading, observers)
    text_config = config.get_text_config()
    vocabulary = int(config.get_text_config().vocab_size)
    if len(tokenizer) > vocabulary:
        found = f"has {len(tokenizer)} tokens in its tokenizer"
        wanted = f"at most the {vocabulary} of its embedding table"
        raise ModelError(str(place.folder), found, wanted, "Use the tokenizer that was saved with the model.")
    return BaseModel(
        name=section.name, kind=kind, architecture=str(config.model_type), source=place.source,
        revision=place.revision, licence=place.licence, notes=place.notes + _said(section.quantization),
        weights_sha256=place.weights_sha256, network=network, dtype=hardware.dtype, tokenizer=tokenizer,
        layers=int(text_config.num_hidden_layers), hidden_size=int(text_config.hidden_size), vocabulary=vocabulary,
        context=find_context(text_config, tokenizer.model_max_length, section.name, observers),
        pooling=read_pooling(place.folder) if kind == "encoder" else None, folder=place.folder,
        quantization=section.quantization,
    )  # fmt: skip


def _said(quantization: Quantization | None) -> tuple[str, ...]:
    from metier.model.quantized import NOTES

    return () if quantization is None else (NOTES[quantization],)


def weights_fingerprint(section: ModelSection, observers: Sequence[Observer] = ()) -> str:
    """The hash of the weights that a recipe's model section leads to now, without loading them.

    Args:
        section: As `load_base_model` takes it.
        observers: Told about downloads and conversions.

    Raises:
        ModelError: No such model.
    """
    return _resolve(section, observers).weights_sha256


def model_kind(section: ModelSection, observers: Sequence[Observer] = ()) -> Kind:
    """Whether a recipe's model section leads to a decoder or an encoder, without loading weights.

    Args:
        section: As `load_base_model` takes it.
        observers: Told about downloads and conversions.

    Raises:
        ModelError: No such model.
    """
    return _load_config(_resolve(section, observers).folder)[1]


def refuse_missing_model(section: ModelSection) -> None:
    """Refuse a model that is not where it is said to be, before anything is loaded or fetched.

    A packaged model and a hub id are taken as they are: whether they can be fetched is seen then.

    Args:
        section: As `load_base_model` takes it.

    Raises:
        ModelError: No such model, or a folder that cannot be used.
    """
    if _source(section.name) == "folder":
        _load_config(Path(section.name).expanduser())


def _resolve(section: ModelSection, observers: Sequence[Observer]) -> _Place:
    name, path = section.name, Path(section.name).expanduser()
    source = _source(name)
    if source == "packaged":
        return _converted(ensure_packaged(name, observers), source)
    if source == "folder":
        return _plain(path, source)
    if source == "gguf":
        return _converted(ensure_converted_gguf(path, observers), source)
    folder, commit = fetch_from_hub(name, section.revision, observers)
    return _plain(folder, source, revision=commit)


def _source(name: str) -> str:
    """Where a model comes from: `packaged`, `folder`, `gguf` or `hub`; refuses a name that is none of them."""
    path = Path(name).expanduser()
    if name in PACKAGED:
        return "packaged"
    if path.is_dir():
        return "folder"
    if path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise ModelError(name, "is not there", "a .gguf file", "Check the path.")
        return "gguf"
    if path.is_file():
        raise ModelError(name, "is a file", "a model folder, a .gguf file, a hub id or a packaged model")
    if _HUB_ID.fullmatch(name):
        return "hub"
    raise _unknown(name)


def _unknown(name: str) -> ModelError:
    if any(sign in name for sign in "/\\~") or name.startswith("."):
        return ModelError(name, "is not there", "a model folder", "Check the path.")
    near = difflib.get_close_matches(name.lower(), PACKAGED, n=1, cutoff=0.4)
    fix = f'Did you mean "{near[0]}"?' if near else ""
    wanted = f"a packaged model ({', '.join(PACKAGED)}), a folder, a .gguf file or a hub id `org/name`"
    return ModelError("model.name", repr(name), wanted, fix)


def _converted(folder: Path, source: str) -> _Place:
    origin = read_origin(folder)
    if origin is None:  # purged by another process since
        raise ModelError(str(folder), "was changed while it was read", "", "Run the command again.")
    return _Place(folder, source, origin.licence, origin.notes, origin.weights_sha256)


def _plain(folder: Path, source: str, revision: str | None = None) -> _Place:
    with quiet_transformers():
        read_config(folder)  # its errors say more than a missing fingerprint
    return _Place(folder, source, read_licence(folder), (), fingerprint_weights(folder), revision)


def _load_config(folder: Path) -> tuple[PretrainedConfig, Kind]:
    with quiet_transformers():
        config = read_config(folder)
    return config, find_kind(config, str(folder))


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model's folder.

    Raises:
        ModelError: There is none, or it cannot be read.
        MissingPackage: It needs a package that is not installed.
    """
    from transformers import AutoTokenizer

    known = ("tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")
    if not any((folder / name).is_file() for name in known):
        fix = "Copy the tokenizer files of the original model into the folder."
        raise ModelError(str(folder), "has no tokenizer", "tokenizer.json or the older vocabulary files", fix)
    try:
        _check_tokenizer_file(folder / "tokenizer.json")
        with quiet_transformers():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except ImportError as error:
        raise MissingPackage(str(folder), f"has a tokenizer that needs a package ({first_line(error)})") from error
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        found = f"has a tokenizer that cannot be read ({first_line(error)})"
        raise ModelError(str(folder), found, "", "Copy the tokenizer files again.") from error
    # Said once, and by us: what is too long is cut by the encoder, with a notice.
    tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True
    if tokenizer.pad_token is None and tokenizer.eos_token is not None:
        # GPT-2 and others have none. Padding is masked everywhere, so which token fills it changes nothing.
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _check_tokenizer_file(path: Path) -> None:
    """Find damage before the Rust library does, which reports it as a bare `Exception`."""
    if not path.is_file():
        return
    content = json.loads(path.read_text(encoding="utf-8"))
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not model.get("vocab"):
        raise ValueError(f"{path.name} has no vocabulary")
