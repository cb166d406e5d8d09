"""The lock file: what a run was made of and made with, so that it can be replayed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from metier import __version__
from metier.device import describe_machine, peak_memory_bytes
from metier.engine.attention_choice import choose_attention
from metier.model.adapt import AdaptedModel
from metier.model.summary import ModelSummary
from metier.stages.workshop import Workshop
from metier.store.files import read_json, write_json
from metier.store.run_folder import AttemptFolder
from metier.store.values import from_plain, to_plain

if TYPE_CHECKING:
    from metier.stages.attempt import Attempt
    from metier.stages.layers import SettledLayers

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "tokenizers",
    "safetensors",
    "numpy",
    "scipy",
    "scikit-learn",
    "pyarrow",
    "bitsandbytes",
)


def tool_versions() -> dict[str, str | None]:
    """Versions of metier and of every package that can change a result."""
    return {"metier": __version__, **{name: _version(name) for name in PACKAGES}}


def write_attempt_lock(
    shop: Workshop, folder: AttemptFolder, model: AdaptedModel, seed: int, layers: SettledLayers | None = None
) -> None:
    """Write what one attempt is made of and made with, and how `layers: auto` was decided."""
    content = {
        "model": {
            "name": model.base.name,
            "revision": model.base.revision,
            "weights_sha256": model.base.weights_sha256,
            "quantization": model.base.quantization,
        },
        "seed": seed,
        "data": {name: card.fingerprint for name, card in shop.data.card.splits.items() if name != "test"},
        "hardware": {"device": shop.hardware.device, "dtype": shop.hardware.dtype, "threads": shop.hardware.threads},
        "weights_dtype": str(model.network.dtype).removeprefix("torch."),
        "autocast": model.autocast,
        "trunk_layers": model.plan.trunk_layers,
        "layers": {"used": model.section.layers, **(to_plain(layers) if layers is not None else {})},
        "versions": tool_versions(),
    }
    write_json(folder.lock, content, format="attempt_lock")


def write_lock(shop: Workshop, attempts: Sequence[Attempt], recipe_hash: str) -> None:
    """Write versions, fingerprints, hardware and chosen paths of a run, and its peak memory so far."""
    hardware = shop.hardware
    content: dict[str, Any] = {
        "metier": __version__,
        "recipe_hash": recipe_hash,
        "seed": shop.recipe.seed,
        "machine": describe_machine(),
        "hardware": {
            "device": hardware.device, "dtype": hardware.dtype, "threads": hardware.threads, "reason": hardware.reason,
            "processes": hardware.team.size, "batch_processes": shop.batch_processes,
        },
        "attention": to_plain(choose_attention(hardware.device)),
        "packages": {name: _version(name) for name in PACKAGES},
        "data": {
            "fingerprint": shop.data.card.fingerprint,
            "files": {source.name: source.sha256 for source in shop.data.card.sources},
            "splits": {name: card.fingerprint for name, card in shop.data.card.splits.items()},
        },
        "models": {attempt.name: _model(shop, attempt) for attempt in attempts},
        "peak_memory_bytes": peak_memory_bytes(),
    }  # fmt: skip
    write_json(shop.folder.lock, content, format="lock")


def _model(shop: Workshop, attempt: Attempt) -> dict[str, Any]:
    path = shop.folder.attempt(attempt.number).summary
    summary = from_plain(ModelSummary, read_json(path, format="model"), where=str(path))
    history = read_json(shop.folder.attempt(attempt.number).history_summary, format="history")
    return {
        "name": summary.name, "weights_sha256": summary.weights_sha256, "trunk_layers": summary.trunk_layers,
        "method": summary.method, "quantization": attempt.recipe.model.quantization,
        "optim": attempt.recipe.training.optim,
        "gradient_checkpointing": bool(history.get("gradient_checkpointing", False)),
    }  # fmt: skip


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
