"""The harness's end of a worker: starts it in its environment, on its cores, and asks it for measurements."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.protocol import Reply, idle_share

ROOT = Path(__file__).resolve().parent.parent
QUIET = {
    "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1", "WANDB_MODE": "disabled", "WANDB_DISABLED": "true", "TRL_EXPERIMENTAL_SILENCE": "1",
    "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1", "KMP_BLOCKTIME": "0", "METIER_OFFLINE": "1",
}  # fmt: skip
"""Nothing goes out, nothing is reported home, and threads that wait do not spin."""
MALLOC = {
    "default": {},
    "large": {"MALLOC_TRIM_THRESHOLD_": str(4 << 30), "MALLOC_MMAP_THRESHOLD_": str(4 << 30), "MALLOC_TOP_PAD_": "0"},
}
"""glibc's memory handling: as it is, or with freed blocks kept instead of given back and faulted in again."""
IDLE_LIMIT = 0.02
"""Share of a core above which a waiting worker counts as working."""


class WorkerFailed(Exception):
    """A worker ended before its answer."""


@dataclass(frozen=True)
class Place:
    """Where workers run: interpreters of the environments, cores, threads."""

    environments: Path
    cores: tuple[int, ...]
    work: Path
    """Folder for jobs, logs and token files."""

    @property
    def threads(self) -> int:
        """One thread a core."""
        return len(self.cores)

    def python(self, environment: str) -> str:
        """The interpreter of an environment; `metier` is the one that runs the harness.

        Raises:
            FileNotFoundError: the environment was not made.
        """
        if environment == "metier":
            return sys.executable
        path = self.environments / environment / "bin" / "python"
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing: run `python -m bench.peers make {environment}` first")
        return str(path)

    def variables(self, malloc: str) -> dict[str, str]:
        """The environment variables of a worker."""
        threads = str(self.threads)
        path = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        return {**os.environ, **QUIET, **path, **MALLOC[malloc]}


@dataclass(eq=False)
class Side:
    """One loaded worker."""

    name: str
    setting: Mapping[str, Any]
    process: subprocess.Popen[str]
    log: Path
    idle: list[float] = field(default_factory=list)
    """Shares of a core that it used while it had to wait."""

    def ask(self, **command: Any) -> Reply:
        """Send a command and wait for the answer.

        Raises:
            WorkerFailed: the worker ended instead.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: said below, with its log
        return self.answer()

    def answer(self) -> Reply:
        """The next answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            tail = "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])
            raise WorkerFailed(f"{self.name} {dict(self.setting)} ended with {code}:\n{tail}")
        reply: Reply = json.loads(line)
        return reply

    def check_idle(self, seconds: float = 0.5) -> None:
        """Note how much processor time it takes while it waits."""
        self.idle.append(idle_share(self.process.pid, seconds))

    def close(self) -> None:
        """End the worker."""
        if self.process.poll() is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()

    def __enter__(self) -> Side:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the worker."""
        self.close()


def start(place: Place, name: str, worker: tuple[str, str], setting: Mapping[str, Any], job: Mapping[str, Any]) -> Side:
    """Start a worker and wait until it is loaded.

    Args:
        place: Where.
        name: `metier` or the peer's name.
        worker: Environment and module.
        setting: What may differ between settings of one side; `malloc` is taken by the harness.
        job: What all settings share.

    Raises:
        WorkerFailed: it did not come up.
    """
    environment, module = worker
    place.work.mkdir(parents=True, exist_ok=True)
    path = place.work / f"job-{name}-{os.getpid()}.json"
    path.write_text(json.dumps({**job, "setting": dict(setting), "threads": place.threads}), encoding="utf-8")
    log = place.work / f"log-{name}-{os.getpid()}.txt"
    command = [*pinned(place.cores), place.python(environment), "-m", module, str(path)]
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8",
            env=place.variables(str(setting.get("malloc", "default"))), cwd=place.work,
        )  # fmt: skip
    side = Side(name, setting, process, log)
    try:
        side.answer()
    except BaseException:
        side.close()
        raise
    return side


def pinned(cores: Sequence[int]) -> list[str]:
    """The beginning of a command that runs on these cores only."""
    return ["taskset", "-c", ",".join(map(str, cores))]
