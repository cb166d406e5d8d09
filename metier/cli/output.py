"""Where the command line writes: results on standard output, everything said meanwhile on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any


def say(text: str) -> None:
    """Something for a person, on standard error."""
    print(text, file=sys.stderr, flush=True)


def show(text: str) -> None:
    """A result for a person, on standard output."""
    print(text, flush=True)


def write_json_object(kind: str, content: Mapping[str, Any]) -> None:
    """The one object that `--json` puts on standard output, with its `format` and `version` first."""
    value = {"format": f"metier.{kind}", "version": 1, **content}
    print(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2), flush=True)
