"""Gives a general-purpose language model a trade, and proves that it has learned one.

    from metier import load_recipe, run_recipe

    result = run_recipe(load_recipe("recipe.yaml"))

Importing this loads nothing: the two names come from `metier.recipe.load` and `metier.run` when
they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metier.recipe.load import load_recipe
    from metier.run import run_recipe

__version__ = "0.1.0"
__all__ = ["__version__", "load_recipe", "run_recipe"]

_HOMES = {"load_recipe": "metier.recipe.load", "run_recipe": "metier.run"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
