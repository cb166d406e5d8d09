"""What every test gets: its own state and cache, no network, and the way to the real data sets."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
USER_CACHE = os.environ.get("METIER_CACHE")

# Before anything imports torch or tokenizers: one thread each keeps small tests fast and repeatable.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


def pytest_configure(config: pytest.Config) -> None:
    """One temporary place for the whole session; workers and nested sessions get their own."""
    config.stash[_PLACE] = tempfile.TemporaryDirectory(prefix="metier-tests-", ignore_cleanup_errors=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove it."""
    config.stash[_PLACE].cleanup()


_PLACE: pytest.StashKey[tempfile.TemporaryDirectory[str]] = pytest.StashKey()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Choose cache and state before any fixture runs, module-wide fixtures included.

    A slow test reads the packaged models, which are worth keeping: it uses the user's cache. All other
    tests share an empty one. The ledger of test-set openings is never the user's.
    """
    place = Path(item.config.stash[_PLACE].name)
    if item.get_closest_marker("slow") is None:
        os.environ["METIER_CACHE"] = str(place / "cache")
    elif USER_CACHE is None:
        os.environ.pop("METIER_CACHE", None)
    else:
        os.environ["METIER_CACHE"] = USER_CACHE
    # One ledger a file: what one file's tests open is not counted in another's.
    os.environ["METIER_STATE"] = str(place / f"state-{zlib.crc32(str(item.path).encode()):08x}")


def _is_local(address: Any) -> bool:
    if not isinstance(address, tuple):  # a path: a socket of this machine
        return True
    host = str(address[0])
    return host in ("localhost", "::1", "0.0.0.0", "::", "") or host.startswith("127.")


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fast test that reaches for another machine fails, and says which."""
    if any(request.node.get_closest_marker(mark) for mark in ("network", "slow")):
        return
    connect, connect_ex, resolve = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def refuse(address: Any) -> None:
        if not _is_local(address):
            raise RuntimeError(f"a test opened a connection to {address}; mark it `network` if that is meant")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        refuse(address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        refuse(address)
        return connect_ex(self, address)

    def guarded_resolve(host: Any, *rest: Any, **options: Any) -> Any:
        refuse((host.decode() if isinstance(host, bytes) else host or "",))
        return resolve(host, *rest, **options)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_resolve)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the working tree."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Iterator[Callable[[str], Path]]:
    """A function from a name such as `customer_support/banking77` to its place; skips where there is none."""
    place = Path(os.environ.get("METIER_DATA", ROOT.parent / "shared" / "data"))

    def find(name: str) -> Path:
        path = place / name
        if not path.exists():
            pytest.skip(f"needs the data set {name} in METIER_DATA ({place})")
        return path

    yield find


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`tiny_model(kind, **changes)`: the folder of a tiny random model; changes go to its config.

    Kinds are the rows of `SIZES` in `tiny_models.py`. The same arguments give the same folder: copy it
    before changing anything in it.
    """
    spec = importlib.util.spec_from_file_location("tiny_models", ROOT / "tests" / "tiny_models.py")
    assert spec is not None and spec.loader is not None
    models = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(models)
    made: dict[str, Path] = {}

    def make(kind: str, **changes: Any) -> Path:
        key = json.dumps([kind, changes], sort_keys=True)
        if key not in made:
            made[key] = tmp_path_factory.mktemp(f"tiny-{kind}")
            models.save_tiny_model(kind, changes, made[key])
        return made[key]

    return make


@pytest.fixture(scope="session")
def tiny_base(tiny_model: Callable[..., Path]) -> Callable[..., Any]:
    """`tiny_base(kind, dtype="float32", **changes)`: the same as a `BaseModel`, its weights read anew."""
    from metier.device import Hardware
    from metier.model.base import load_base_model
    from metier.recipe.sections import ModelSection

    def load(kind: str, dtype: str = "float32", **changes: Any) -> Any:
        hardware = Hardware(device="cpu", dtype=dtype, threads=1, reason="a test")
        return load_base_model(ModelSection(name=str(tiny_model(kind, **changes))), hardware)

    return load
