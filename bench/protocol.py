"""What a worker process and the harness say to each other: JSON lines. Standard library only: peers import it too.

A worker is started with one job, loads once, says `ready`, and then does what it is told, one command at a time. While
it waits it reads from a pipe and uses no processor, so that both sides can be loaded and only one of them works.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Reply = dict[str, Any]


class Channel:
    """A worker's end: commands on standard input, replies on what was standard output.

    Libraries print; what they print goes to standard error, so that replies stay alone.
    """

    def __init__(self) -> None:
        """Take standard output away from everybody else."""
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def receive(self) -> Reply:
        """The next command; a closed pipe is the command to quit."""
        line = sys.stdin.readline()
        return json.loads(line) if line.strip() else {"do": "quit"}

    def reply(self, **content: Any) -> None:
        """Send one reply."""
        self._out.write(json.dumps(content) + "\n")
        self._out.flush()


class Clock:
    """Wall time and processor time of this process since it was made."""

    def __init__(self) -> None:
        """Start."""
        self._wall, self._times = time.perf_counter(), os.times()

    def read(self) -> dict[str, float]:
        """Seconds: `seconds` of the wall, `user` and `system` of all threads."""
        now = os.times()
        return {
            "seconds": time.perf_counter() - self._wall,
            "user": now.user - self._times.user,
            "system": now.system - self._times.system,
        }


def peak_bytes() -> int:
    """Highest resident memory of this process so far, in bytes (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def idle_share(pid: int, seconds: float) -> float:
    """Processor time that a process used over a while, as a share of one core (Linux)."""
    before = _process_seconds(pid)
    time.sleep(seconds)
    return (_process_seconds(pid) - before) / seconds


def _process_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def job() -> dict[str, Any]:
    """The job of this worker: the JSON file that its only argument names."""
    content: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    return content


def serve(channel: Channel, commands: Mapping[str, Callable[[Reply], Reply]]) -> None:
    """Say `ready`, then answer commands until `quit`. A fault ends the worker; its traceback is on standard error."""
    channel.reply(ready=True, peak=peak_bytes())
    while (command := channel.receive())["do"] != "quit":
        channel.reply(**commands[command["do"]](command))


class Steps:
    """For loops that belong to a library: stops after the ordered number of steps, answers, waits for the next order.

    The library's training loop calls `ended` after every optimiser step and does not know that time passes in between.
    """

    def __init__(self, channel: Channel) -> None:
        """Nothing is ordered yet: call `wait` before the loop begins."""
        self._channel = channel
        self._left = 0
        self._clock = Clock()
        self._losses: list[float] = []
        self._norms: list[float] = []
        self._done: dict[str, float] = {}

    def wait(self) -> bool:
        """Wait for the next order; False: it is to quit."""
        command = self._channel.receive()
        if command["do"] == "quit":
            return False
        self._left, self._losses, self._norms, self._done = int(command["steps"]), [], [], {}
        self._clock = Clock()
        return True

    def count(self, **amounts: float) -> None:
        """Add to what was done (`tokens`, `examples`, …)."""
        for name, amount in amounts.items():
            self._done[name] = self._done.get(name, 0.0) + amount

    def ended(self, loss: float | None = None, norm: float | None = None) -> bool:
        """One optimiser step is over; False: it is to quit."""
        if loss is not None:
            self._losses.append(loss)
        if norm is not None:
            self._norms.append(norm)
        self._left -= 1
        if self._left > 0:
            return True
        self._channel.reply(
            **self._clock.read(), **self._done, losses=self._losses, norms=self._norms, peak=peak_bytes()
        )
        return self.wait()
