"""The folder of a PEFT adapter: what has to be in it before it is put on a model. Loads no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from metier.errors import ModelError

ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
_PICKLED = ("adapter_model.bin", "adapter_model.pt")


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """What PEFT wrote about an adapter.

    Args:
        folder: What PEFT's `save_pretrained` wrote.

    Raises:
        ModelError: There is no such folder, no safetensors adapter in it, or no readable config.
    """
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        raise ModelError(str(folder), found, "the folder of a PEFT adapter", "Check the path.")
    if not (folder / ADAPTER).is_file():
        pickled = [name for name in _PICKLED if (folder / name).is_file()]
        fix = f"Save it again with safe_serialization=True: {pickled[0]} is never opened." if pickled else ""
        raise ModelError(str(folder), f"has no {ADAPTER}", "a PEFT adapter as safetensors", fix)
    path, wanted = folder / ADAPTER_CONFIG, "the file that PEFT's save_pretrained writes"
    if not path.is_file():
        raise ModelError(str(folder), f"has no {ADAPTER_CONFIG}", wanted, "Copy it from where the adapter was trained.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise ModelError(str(path), "is no readable JSON", wanted, "Copy it again.") from fault
    if not isinstance(config, dict):
        raise ModelError(str(path), "is no JSON object", wanted, "Copy it again.")
    return config
