"""Fetch one pinned wheel and check its hash. Only pip or uv talk to the network; they decide the index.

The order: a folder named by `METIER_WHEELS`; this Python's pip; the pip that Python bundles in
`ensurepip`; a `pip` or `uv` on the PATH. Wheels only, without dependencies: nothing of the package is
built, installed or run.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metier.errors import DownloadFailed
from metier.events import Notice, Observer, Progress, tell
from metier.store.files import disk_full
from metier.store.fingerprint import file_sha256

_TIME_LIMIT = 3600.0  # seconds; pip has its own, much shorter limits for a silent server
_POLL = 0.5
_PAUSES = (2.0, 10.0)  # seconds before the second and the third try of a download that broke off
_QUIET = ("--no-input", "--disable-pip-version-check")


_BROKEN = re.compile(
    r"IncompleteRead|ReadTimeout|ProtocolError|Connection reset|Remote end closed|error decoding response body", re.I
)
"""What pip and uv say of a transfer that began and did not end."""


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """One wheel on the package index, pinned by version and hash."""

    package: str
    version: str
    sha256: str
    bytes: int

    @property
    def requirement(self) -> str:
        """`package==version`."""
        return f"{self.package}=={self.version}"


def fetch_wheel(wheel: Wheel, folder: Path, observers: Sequence[Observer] = ()) -> Path:
    """Get the wheel, its hash checked.

    Args:
        wheel: Which one.
        folder: An existing, empty folder for the download.
        observers: Told who downloads, and how far it is.

    Returns:
        A `.whl` file (in `folder`, or in `METIER_WHEELS`), or a folder with its content where only uv
        could fetch it, which checks the hash itself and keeps no file.

    Raises:
        DownloadFailed: No network, no tool, or the hash is another one. The message has the command
            to run by hand.
    """
    given = _given_wheel(wheel)
    if given is not None:
        _check(given, wheel)
        tell(observers, Notice(topic="model", message=f"{wheel.requirement}: taken from {given}."))
        return given
    if os.environ.get("METIER_OFFLINE", "").strip() not in {"", "0"}:
        raise _failure(wheel, "is not in the cache, and METIER_OFFLINE is set")
    target = folder / "wheel"
    target.mkdir()
    name, command = _command(wheel, folder, target)
    megabytes = round(wheel.bytes / 1e6)
    tell(observers, Notice(topic="model", message=f"Downloading {wheel.requirement} ({megabytes} MB) with {name}."))
    _run_patiently(command, wheel, folder, observers)
    if name == "uv":
        return target
    found = [path for path in target.glob("*.whl") if _is_wheel_of(path, wheel)]
    if not found:
        raise _failure(wheel, f"was not downloaded: {name} ended well but left no wheel")
    _check(found[0], wheel)
    return found[0]


def read_members(source: Path, prefix: str, names: Sequence[str], target: Path) -> None:
    """Copy files out of a wheel.

    Args:
        source: A `.whl` file or a folder with its content.
        prefix: Folder inside of it, ending in `/`.
        names: Paths below `prefix`; each keeps its path below `target`.
        target: An existing folder.

    Raises:
        DownloadFailed: A file is not in the wheel, or the wheel is no zip file.
    """
    try:
        if source.is_dir():
            for name in names:
                place = target / name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / (prefix + name), place)
            return
        with zipfile.ZipFile(source) as archive:
            for name in names:
                place = target / name
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(prefix + name) as read, place.open("wb") as written:
                    shutil.copyfileobj(read, written, 1 << 20)
    except (KeyError, FileNotFoundError, zipfile.BadZipFile) as error:
        raise DownloadFailed(str(source), f"is not the wheel that was expected ({error})") from error


def command_by_hand(wheel: Wheel) -> str:
    """The shell command that downloads the wheel on a machine with network."""
    return f"pip download --no-deps --only-binary=:all: {wheel.requirement}"


def _given_wheel(wheel: Wheel) -> Path | None:
    place = os.environ.get("METIER_WHEELS", "").strip()
    if not place:
        return None
    folder = Path(place).expanduser()
    return next((path for path in sorted(folder.glob("*.whl")) if _is_wheel_of(path, wheel)), None)


def _is_wheel_of(path: Path, wheel: Wheel) -> bool:
    name, _, rest = path.name.partition("-")
    return _normal(name) == _normal(wheel.package) and rest.startswith(f"{wheel.version}-")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _check(path: Path, wheel: Wheel) -> None:
    found = file_sha256(path)
    if found != wheel.sha256:
        fix = "The file is damaged or another one was served. Delete it and download it again; it was not used."
        raise DownloadFailed(str(path), f"has the sha256 {found}", wheel.sha256, fix)


def _command(wheel: Wheel, folder: Path, target: Path) -> tuple[str, list[str]]:
    """The program's name for the user, and the command as a list (no shell ever sees it)."""
    download = ["download", "--no-deps", "--only-binary=:all:", "--progress-bar", "off", *_QUIET]
    download += ["--dest", str(target), wheel.requirement]
    if importlib.util.find_spec("pip") is not None:
        return "pip", [sys.executable, "-m", "pip", *download]
    bundled = _bundled_pip()
    if bundled is not None:
        return "the pip that Python bundles", [sys.executable, str(bundled / "pip"), *download]
    for name in ("pip", "pip3"):
        program = shutil.which(name)
        if program is not None:
            return program, [program, *download]
    uv = shutil.which("uv")
    if uv is not None:
        requirements = folder / "requirements.txt"
        requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
        options = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-progress"]
        place = ["--python", sys.executable, "--target", str(target), "-r", str(requirements)]
        return "uv", [uv, "pip", "install", *options, *place]
    raise _failure(wheel, "is not in the cache, and there is neither pip nor uv to download it")


def _bundled_pip() -> Path | None:
    """The pip wheel inside Python's own ensurepip; None where a distribution took it out."""
    spec = importlib.util.find_spec("ensurepip")
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted((Path(spec.origin).parent / "_bundled").glob("pip-*.whl"))), None)


class _BrokeOffError(Exception):
    """A transfer that began and did not end: worth another try. Its text is the reason."""


def _run_patiently(command: list[str], wheel: Wheel, folder: Path, observers: Sequence[Observer]) -> None:
    """Run it, again after a pause where the transfer broke off: pip itself only retries to connect."""
    for pause in (*_PAUSES, None):
        try:
            _run(command, wheel, folder, observers)
        except _BrokeOffError as error:
            if pause is None:
                raise _failure(wheel, f"could not be downloaded ({error})") from error
            message = f"{wheel.requirement}: the download broke off ({error}). Trying again in {pause:.0f} s."
            tell(observers, Notice(topic="model", message=message))
            time.sleep(pause)
        else:
            return


def _run(command: list[str], wheel: Wheel, folder: Path, observers: Sequence[Observer]) -> None:
    # Its own folder: `python -m` would import a stray pip.py from the user's. TMPDIR: what is half
    # downloaded lies where it is counted, and goes away with the folder.
    log = folder / "log.txt"
    environment = {**os.environ, "TMPDIR": str(folder)}
    start = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while process.poll() is None:
                if time.monotonic() - start > _TIME_LIMIT:
                    raise _failure(wheel, f"was not downloaded within {_TIME_LIMIT:.0f} seconds")
                _tell_progress(folder, wheel, observers)
                try:
                    process.wait(_POLL)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode != 0:
        words = log.read_text(encoding="utf-8", errors="replace")
        if "No space left on device" in words:
            raise disk_full(folder)
        if _BROKEN.search(words):
            raise _BrokeOffError(_reason(words))
        raise _failure(wheel, f"could not be downloaded ({_reason(words)})")
    done = Progress(label=f"download {wheel.package}", done=wheel.bytes, total=wheel.bytes, unit="bytes")
    tell(observers, done)


def _tell_progress(folder: Path, wheel: Wheel, observers: Sequence[Observer]) -> None:
    done = 0
    for path in folder.rglob("*"):
        try:
            done = max(done, path.stat().st_size if path.is_file() else 0)
        except FileNotFoundError:  # pip moves its files about
            continue
    label = f"download {wheel.package}"
    tell(observers, Progress(label=label, done=min(done, wheel.bytes - 1), total=wheel.bytes, unit="bytes"))


def _reason(words: str) -> str:
    """Why the tool failed: the last line that names an error, without passwords of an index."""
    # pip ends with "No matching distribution found" after it could not reach the index.
    if re.search(
        r"ConnectionError|ConnectTimeout|NameResolution|connection broken|dns error|connect error", words, re.I
    ):
        return "the package index was not reached"
    if "No matching distribution found" in words:
        return "the package index does not offer it, or was not reached"
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")] or lines or ["it said nothing"]
    if errors[-1] == "ERROR: Exception:":  # pip's own traceback follows; its last line has the reason
        errors = lines
    return re.sub(r"://[^/@\s]+@", "://…@", errors[-1])[:300]


def _failure(wheel: Wheel, found: str) -> DownloadFailed:
    fix = (
        f"On a machine with network run `{command_by_hand(wheel)}`, "
        "put the file into a folder here and set METIER_WHEELS to that folder."
    )
    return DownloadFailed(wheel.requirement, found, "", fix)
