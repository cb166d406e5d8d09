"""Several processes on this machine that do one command together: `metier run --nproc-per-node N`.

Each gets its rank in the environment, as torchrun gives it, so that one flow serves both. Standard library
only: what starts processes loads no torch.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from metier.device import available_cores
from metier.errors import DONE, ArgumentError, InterruptedRun, MetierError

GRACE = 15.0
"""Seconds in which the others end by themselves after one has failed; after as many more they are killed."""
PAUSE = 0.05
"""Seconds between two looks at the processes."""
SHOWN_LINES = 20
"""Lines of the log of a process that failed."""


@dataclass(eq=False)
class _Crew:
    """The processes, by rank, and who failed first."""

    processes: list[subprocess.Popen[bytes]]
    logs: Path
    failed: list[int] = field(default_factory=list)
    """Ranks that ended with a fault, the first one first."""

    def wait(self) -> None:
        """Until all have ended; when one fails, the others get some time to end by themselves."""
        deadline = float("inf")
        while running := [process for process in self.processes if process.poll() is None]:
            for rank, process in enumerate(self.processes):
                if process.poll() not in (None, DONE) and rank not in self.failed:
                    self.failed.append(rank)
                    deadline = min(deadline, time.monotonic() + GRACE)
            late = time.monotonic() - deadline
            if late > 0:
                for process in running:
                    process.terminate() if late < GRACE else process.kill()
                    time.sleep(PAUSE)
            time.sleep(PAUSE)
        self.failed += [
            rank for rank, each in enumerate(self.processes) if each.returncode != DONE and rank not in self.failed
        ]

    def pass_on(self, wanted: signal.Signals) -> None:
        """Send a signal to all that still run."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(wanted)


def launch(arguments: Sequence[str], processes: int, say: Callable[[str], None]) -> int:
    """Run a metier command in several processes of this machine.

    Rank 0 writes and talks; what the others say is shown when one of them fails without rank 0 knowing why.
    The first Ctrl-C or SIGTERM asks all to save and stop, the second stops them at once.

    Args:
        arguments: What stands after `metier`, without the number of processes.
        processes: How many, at least 2.
        say: Shows something to a person.

    Returns:
        The exit code of the process that failed first, else 0 (or 3, where all say so).

    Raises:
        ArgumentError: this process is itself one of several.
        InterruptedRun: a process was killed, and no other could say so.
    """
    if int(os.environ.get("WORLD_SIZE") or 1) > 1:
        found = "was given to a process that torchrun started"
        raise ArgumentError("--nproc-per-node", found, "", "Use torchrun or --nproc-per-node, not both.")
    with tempfile.TemporaryDirectory(prefix="metier-launch-", ignore_cleanup_errors=True) as folder:
        crew = _Crew([], Path(folder))
        try:
            with _interrupts_passed_on(crew):
                _start(crew, arguments, processes)
                crew.wait()
        finally:
            for process in crew.processes:
                if process.poll() is None:
                    process.kill()
        return _outcome(crew, say)


def _start(crew: _Crew, arguments: Sequence[str], processes: int) -> None:
    port = _free_port()
    threads = max(1, available_cores() // processes)
    shared = {
        "WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
    }  # fmt: skip
    for rank in range(processes):
        environment = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        # A session of their own: Ctrl-C reaches this process alone, which asks each of them once.
        options = {"env": environment, "stdin": subprocess.DEVNULL, "start_new_session": True}
        command = _command(arguments)
        if rank == 0:
            crew.processes.append(subprocess.Popen(command, **options))  # type: ignore[call-overload]
            continue
        with (crew.logs / str(rank)).open("wb") as log:
            said = subprocess.Popen(command, stdout=log, stderr=log, **options)  # type: ignore[call-overload]
            crew.processes.append(said)


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "metier", *arguments]


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _interrupts_passed_on(crew: _Crew) -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM are for the processes: asked once to save and stop, then made to stop."""
    asked = 0

    def ask(_number: int, _frame: object) -> None:
        nonlocal asked
        asked += 1
        # On Windows to terminate is to kill: what was saved last stays.
        crew.pass_on(signal.SIGTERM if asked == 1 or sys.platform == "win32" else signal.SIGINT)

    before = {name: signal.signal(name, ask) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _outcome(crew: _Crew, say: Callable[[str], None]) -> int:
    codes = [process.returncode for process in crew.processes]
    if not crew.failed:
        return DONE
    first = crew.failed[0]
    if codes[first] >= 0:
        # Rank 0 may not know why; of a bug it knows only that there is one.
        if first > 0 and (codes[0] != codes[first] or codes[first] == MetierError.exit_code):
            say(_last_lines(crew.logs / str(first)))
        return codes[first]
    if first > 0 and codes[0] == InterruptedRun.exit_code:  # rank 0 has said so
        return InterruptedRun.exit_code
    raise InterruptedRun(
        f"process {first} of {len(codes)}", f"was ended by {_signal_name(-codes[first])}", "",
        "What was saved is whole; run the same command with --resume to go on.",
    )  # fmt: skip


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_lines(path: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LINES:])
