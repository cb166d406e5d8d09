"""Loaded by every Python process that starts while connections are refused, so that it refuses them too.

Its folder stands first in PYTHONPATH then. It loads the hook by its path, because the process may be one without
metier, and then whatever module of this name it hides.
"""

import importlib.util
import os
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_HOOK = "metier.data.privacy.audit"


def _obey() -> None:
    settings = os.environ.get("METIER_NO_CONNECTIONS")
    if not settings:
        return
    spec = importlib.util.spec_from_file_location(_HOOK, _HERE.parent / "audit.py")
    assert spec is not None and spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    sys.modules[_HOOK] = hook  # what imports it later, in a process with metier, finds the one that is switched on
    spec.loader.exec_module(hook)
    hook.obey(settings)


def _load_the_hidden_one() -> None:
    kept = list(sys.path)
    sys.path[:] = [entry for entry in kept if not entry or Path(entry).resolve() != _HERE]
    ours = sys.modules.pop("sitecustomize", None)
    try:
        found = importlib.util.find_spec("sitecustomize")
        if found is not None and found.loader is not None:
            module = importlib.util.module_from_spec(found)
            sys.modules["sitecustomize"] = module
            found.loader.exec_module(module)
    finally:
        if ours is not None:
            sys.modules.setdefault("sitecustomize", ours)
        sys.path[:] = kept


_obey()
_load_the_hidden_one()
