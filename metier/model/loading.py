"""The weights of a folder become a network: in the type that the run computes in, or refused with a reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metier.device import free_memory_bytes
from metier.errors import ModelError, OutOfMemory
from metier.events import Notice, Observer, tell
from metier.model.folder import Kind, first_line
from metier.model.quiet import quiet_transformers
from metier.model.weights import damaged, read_cast, weight_bytes, weight_files
from metier.recipe.sections import Quantization

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

QUANTIZED_BYTES: Mapping[Quantization, float] = {"nf4": 0.56, "int8": 1.02}
"""Bytes of a quantised weight with its scales (nf4: 4.13 bits, arXiv 2305.14314, section 3), a little rounded up for
the embeddings, which are not quantised."""


@dataclass(frozen=True)
class Loading:
    """How weights are held in memory."""

    dtype: torch.dtype
    device: str
    quantization: Quantization | None = None

    def options(self) -> dict[str, Any]:
        """Arguments of transformers' `from_pretrained`."""
        if self.quantization is None:
            return {"dtype": self.dtype}
        from metier.model.quantized import quantization_config

        config = quantization_config(self.quantization, self.dtype, self.device)
        # What is quantised is so while it is loaded, on its device: it never lies there whole.
        return {"dtype": self.dtype, "quantization_config": config, "device_map": {"": self.device}}


def load_network(
    folder: Path, config: PretrainedConfig, kind: Kind, loading: Loading, observers: Sequence[Observer]
) -> PreTrainedModel:
    """The network of a folder in evaluation mode, in which nothing learns.

    Args:
        folder: Safetensors weights.
        config: What `config.json` says.
        kind: Decoder or encoder.
        loading: How the weights are held.
        observers: Told about a fallback.

    Raises:
        ModelError: The weights are damaged or not those of such a network.
        OutOfMemory: The device has too little memory for the weights.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_MAPPING, AutoModel, AutoModelForCausalLM

    auto, mapping = (AutoModelForCausalLM, MODEL_FOR_CAUSAL_LM_MAPPING) if kind == "decoder" else (
        AutoModel, MODEL_MAPPING
    )  # fmt: skip
    network_class = mapping[type(config)]
    attention = "sdpa" if getattr(network_class, "_supports_sdpa", False) else "eager"
    if attention == "eager":
        text = f"{config.model_type} has no fast attention (sdpa) in transformers; the slower one is used."
        tell(observers, Notice(topic="model", message=text))
    _check_room(folder, kind, loading)
    options = loading.options()
    try:
        with quiet_transformers():
            common = {"config": config, "attn_implementation": attention, "output_loading_info": True}
            loaded: Any = _load_cast(folder, network_class, loading, common)
            if loaded is None:
                loaded = auto.from_pretrained(
                    folder, use_safetensors=True, local_files_only=True, trust_remote_code=False, **common, **options
                )
            network: PreTrainedModel = loaded[0] if loading.quantization else loaded[0].to(loading.device)
    except SafetensorError as error:
        raise damaged(weight_files(folder)[0]) from error
    except (torch.OutOfMemoryError, MemoryError) as error:
        found = f"do not fit into the memory of {loading.device}"
        raise OutOfMemory(f"the weights of {folder}", found, "", "Choose a smaller model.") from error
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        raise ModelError(str(folder), f"cannot be loaded ({first_line(error)})") from error
    _check_loaded(folder, network, loaded[1]["missing_keys"], kind)
    network.train(False)
    network.requires_grad_(False)
    if loading.quantization is not None:
        from metier.model.quantized import keep_as_loaded

        keep_as_loaded(network)
    return network


def _check_room(folder: Path, kind: Kind, loading: Loading) -> None:
    """Refuse weights that the memory cannot hold before it is taken from everything else on the machine.

    Raises:
        OutOfMemory: They take more than is free.
    """
    import torch

    device = torch.device(loading.device)
    if device.type not in ("cpu", "cuda"):
        return
    itemsize = loading.dtype.itemsize if loading.quantization is None else QUANTIZED_BYTES[loading.quantization]
    needed, free = weight_bytes(folder, itemsize), free_memory_bytes(device)
    if needed > free:
        found = f"take {needed / 1e9:.1f} GB in {loading.quantization or str(loading.dtype).removeprefix('torch.')}"
        wanted = f"at most the {free / 1e9:.1f} GB that are free on this machine ({device.type})"
        fewer_bits = kind == "decoder" and loading.quantization != "nf4"
        others = (
            ", choose a smaller model, or set model.quantization: nf4" if fewer_bits else " or choose a smaller model"
        )
        raise OutOfMemory(f"the weights of {folder}", found, wanted, f"Close other programs{others}.")


def _load_cast(
    folder: Path, network_class: Any, loading: Loading, common: Mapping[str, Any]
) -> tuple[PreTrainedModel, Mapping[str, Any]] | None:
    """Network and loading report of weights that are cast one by one; None where that is no use, or names differ."""
    if loading.quantization is not None or loading.device != "cpu" or not isinstance(network_class, type):
        return None
    state = read_cast(folder, loading.dtype)
    if state is None:
        return None
    from transformers import GenerationConfig

    plain: Any = network_class
    network, report = plain.from_pretrained(None, state_dict=state, dtype=loading.dtype, **common)
    if report["missing_keys"] or report["unexpected_keys"]:  # transformers renames what it reads from files
        return None
    network.name_or_path = network.config._name_or_path = str(folder)
    if network.can_generate() and (folder / "generation_config.json").is_file():
        network.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    return network, report


def _check_loaded(folder: Path, network: PreTrainedModel, missing: set[str], kind: Kind) -> None:
    """Refuse weights that transformers would have filled with random numbers."""
    lacking = sorted(name for name in missing if not (kind == "encoder" and name.startswith("pooler.")))
    if lacking:
        found = f"lacks {len(lacking)} weights of a {type(network).__name__} (first: {lacking[0]})"
        raise ModelError(str(folder), found, "all of them", "Use the folder of a whole pre-trained model.")
    if missing:
        # A pooler that was never trained: its random output must not be there to be used.
        network.pooler = None  # type: ignore[assignment]
