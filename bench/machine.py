"""What a result was measured on: processor, memory, load of others, versions of both sides."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Any

from bench.peers.__main__ import names, versions
from metier.device import describe_machine


def about_machine() -> dict[str, Any]:
    """Machine and versions."""
    mine = {package: version(package) for package in ("metier", "torch", "transformers", "peft")}
    return {
        **describe_machine(), "load": os.getloadavg()[0],
        "versions": {"metier": mine, **{name: versions(name) for name in names()}},
    }  # fmt: skip
