"""The team of processes that do one run together: who is in it, and how its members agree, wait and add up.

Every process runs the same flow. A stage is either *once* (`Team.once`: rank 0 works, the others wait and
get its result) or *sharded* (each works on its `share`, and the shares are put together in order). What is
agreed travels as JSON and arrays, never as pickles. Which team a process belongs to is a fact of the
process, as its environment is: `current_team` gives it, and outside `joined_team` that is a team of one.

A process that fails tells the others, who then end with its exit code; one that is killed is noticed by its
closed connections. Nobody waits for ever.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from metier.errors import ArgumentError, InterruptedRun, MetierError, OtherProcessFailed, ProcessLost

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from torch.distributed.distributed_c10d import Store

T = TypeVar("T")

JOINING = timedelta(minutes=5)
"""How long the first processes wait for the last one."""
PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others in the middle of common work."""
LINGER = 10.0
"""Seconds for which the process that keeps the team's notes waits for the others to have read them."""
NEWS = 3.0
"""Seconds in which a process that failed will have told why, after its connections closed."""
FAULT, LEFT = "fault", "left"
"""Keys of the team's notes."""


@dataclass(frozen=True)
class Team:
    """The processes that do one run together. Stages are marked *once* (rank 0 works) or *sharded*."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """The rank among the processes of the same machine."""
    local_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    def share(self, items: int) -> range:
        """The item numbers that this process works on: contiguous, and all ranks together cover each once."""
        start = items * self.rank // self.size
        return range(start, items * (self.rank + 1) // self.size)

    def once(self, work: Callable[[], T]) -> T:
        """Let rank 0 work while the others wait; all get its result.

        Args:
            work: Gives something that JSON holds: numbers, texts, None, lists and dictionaries of them.

        Raises:
            OtherProcessFailed: on the others, when the work failed.
            ProcessLost: on the others, when rank 0 is no more.
        """
        return work() if self.size == 1 else _joined().once(self, work)

    def agree(self, value: T) -> T:
        """What rank 0 has as `value`, in every process; something that JSON holds."""
        return self.once(lambda: value)

    def add(self, *numbers: float) -> list[float]:
        """Each number summed over all processes, in double precision."""
        if self.size == 1:
            return list(numbers)
        import torch

        return self._reduced(torch.tensor(numbers, dtype=torch.float64), "SUM").tolist()

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Sum tensors of one device and type over all processes, in place."""
        if self.size == 1 or not tensors:
            return
        import torch

        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        at = flat if flat.device.type in ("cpu", "cuda") else flat.cpu()
        summed = self._reduced(at, "SUM").to(flat.device)
        parts = torch.split(summed, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def any_of(self, flags: Sequence[bool]) -> list[bool]:
        """For each place, whether the flag is up in any process."""
        if self.size == 1 or not flags:
            return list(flags)
        import torch

        return self._reduced(torch.tensor(flags, dtype=torch.uint8), "MAX").bool().tolist()

    def put_together(self, rows: npt.NDArray[np.generic], total: int) -> npt.NDArray[Any]:
        """The rows of all processes in order of rank.

        Args:
            rows: This process's rows, shape (len(share(total)), ...).
            total: Rows of all processes.

        Returns:
            Shape (total, ...).
        """
        if self.size == 1:
            return rows
        import numpy as np
        import torch

        sizes = [len(Team(rank, self.size).share(total)) for rank in range(self.size)]
        padded = np.zeros((max(sizes), *rows.shape[1:]), dtype=rows.dtype)
        padded[: len(rows)] = rows
        parts = self._gathered(torch.from_numpy(padded))
        return np.concatenate([part.numpy()[:size] for part, size in zip(parts, sizes, strict=True)])

    def put_values_together(self, values: Sequence[Any]) -> list[Any]:
        """The values of all processes in order of rank; each is something that JSON holds."""
        if self.size == 1:
            return list(values)
        import numpy as np
        import torch

        data = np.frombuffer(json.dumps(list(values)).encode(), dtype=np.uint8)
        sizes = [int(part) for part in self._gathered(torch.tensor([len(data)]))]
        padded = np.zeros(max(sizes), dtype=np.uint8)
        padded[: len(data)] = data
        parts = self._gathered(torch.from_numpy(padded))
        whole = [json.loads(part.numpy()[:size].tobytes()) for part, size in zip(parts, sizes, strict=True)]
        return [value for part in whole for value in part]

    def wait_for_all(self) -> None:
        """Go on when every process has come here."""
        self.add(0.0)

    def _reduced(self, tensor: torch.Tensor, how: str) -> torch.Tensor:
        import torch.distributed as dist

        with _joined().speaking():
            dist.all_reduce(tensor, op=getattr(dist.ReduceOp, how))
        return tensor

    def _gathered(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        import torch
        import torch.distributed as dist

        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        with _joined().speaking():
            dist.all_gather(parts, tensor)
        return parts


@dataclass(eq=False)
class _Link:
    """This process's connection to the others: notes that all can read, beside torch's collectives."""

    team: Team
    notes: Store
    said: int = 0
    """How many results of rank 0 were asked for."""

    def once(self, team: Team, work: Callable[[], T]) -> T:
        self.said += 1
        key = f"said/{self.said}"
        if team.is_first:
            result = work()
            with self.speaking():
                self.notes.set(key, json.dumps(result))
            return result
        pause = 0.001
        with self.speaking():
            while not self.notes.check([key]):
                if self.notes.check([FAULT]):
                    raise self._failed()
                time.sleep(pause)
                pause = min(0.1, pause * 1.5)
            return json.loads(self.notes.get(key))  # type: ignore[no-any-return]

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """Inside, a broken connection becomes the fault of the process that broke it."""
        try:
            yield
        except RuntimeError as fault:  # gloo and NCCL raise no class of their own
            raise self._what_happened() from fault

    def leave(self, fault: BaseException | None) -> None:
        """Tell the others why this process ends, if it fails, and close the connections.

        They wait in the middle of common work: only closed connections wake them, and then they read the notes.
        """
        import torch.distributed as dist

        try:
            if fault is not None and not isinstance(fault, (OtherProcessFailed, ProcessLost)):
                self.notes.compare_set(FAULT, "", json.dumps(_as_plain(self.team.rank, fault)))
            dist.destroy_process_group()
            left = self.notes.add(LEFT, 1)
            until = time.monotonic() + (0.0 if isinstance(fault, ProcessLost) else LINGER)
            while self.team.is_first and left < self.team.size and time.monotonic() < until:
                time.sleep(0.02)
                left = self.notes.add(LEFT, 0)
        except RuntimeError:  # the others are gone: nobody is left to be told
            return

    def _what_happened(self) -> MetierError:
        """Why common work broke off: what a process wrote before it left, or that it left without a word."""
        until = time.monotonic() + NEWS
        try:
            while time.monotonic() < until:
                if self.notes.check([FAULT]):
                    return self._failed()
                time.sleep(0.05)
        except RuntimeError:  # the process that keeps the notes is gone
            pass
        return ProcessLost(
            f"process {self.team.rank} of {self.team.size}", "another process ended without a word or did not answer",
            "", "What was saved is whole; run the same command with --resume to go on.",
        )  # fmt: skip

    def _failed(self) -> OtherProcessFailed:
        told = json.loads(self.notes.get(FAULT))
        return OtherProcessFailed(f"process {told['rank']}", told["text"], exit_code=told["exit_code"])


_team = Team()
_link: _Link | None = None


def current_team() -> Team:
    """The team that this process belongs to now: of one, unless it is inside `joined_team`."""
    return _team


@contextmanager
def working_alone() -> Iterator[None]:
    """Inside, this process is a team of its own: for what one process computes inside `Team.once`, where others wait.

    What belongs to the whole team (its files, its fault) is as before when the block ends.
    """
    global _team
    before, _team = _team, Team()
    try:
        yield
    finally:
        _team = before


def team_of_environment() -> Team:
    """The team that the environment describes: `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `LOCAL_WORLD_SIZE`.

    Raises:
        ArgumentError: they are no numbers that fit together.
    """
    size = _number("WORLD_SIZE", 1)
    if size <= 1:
        return Team()
    team = Team(_number("RANK", -1), size, _number("LOCAL_RANK", 0), _number("LOCAL_WORLD_SIZE", size))
    if not 0 <= team.rank < size or not 0 <= team.local_rank < team.local_size:
        found = f"RANK is {os.environ.get('RANK', 'not set')} with WORLD_SIZE {size}"
        raise ArgumentError(
            "environment", found, f"RANK from 0 to {size - 1}", "Start with torchrun or --nproc-per-node."
        )
    return team


@contextmanager
def joined_team() -> Iterator[Team]:
    """Inside, this process belongs to the team that the environment describes, and torch can reach the others.

    Raises:
        ArgumentError: the environment does not fit together.
        ProcessLost: not all processes came.
    """
    global _team, _link
    team = team_of_environment()
    if team.size == 1 or _link is not None:
        yield _team
        return
    _link = _connect(team)
    _team = team
    try:
        yield team
    finally:
        _link.leave(sys.exception())
        _team, _link = Team(), None


def _connect(team: Team) -> _Link:
    import torch
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore

    host, port = os.environ.get("MASTER_ADDR", "127.0.0.1"), _number("MASTER_PORT", 29500)
    # torchrun keeps the notes in its own process; without it rank 0 does.
    keeps = team.is_first and os.environ.get("TORCHELASTIC_USE_AGENT_STORE", "False") != "True"
    gpu = torch.cuda.is_available() and dist.is_nccl_available()
    if gpu:
        torch.cuda.set_device(team.local_rank % torch.cuda.device_count())
    try:
        store = dist.TCPStore(  # type: ignore[attr-defined]
            host, port, team.size, keeps, JOINING, wait_for_workers=False
        )
        notes = PrefixStore(f"metier/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if gpu else "gloo", store=PrefixStore("group", notes), rank=team.rank,
            world_size=team.size, timeout=PATIENCE,
        )  # fmt: skip
    except RuntimeError as fault:
        raise ProcessLost(
            f"process {team.rank} of {team.size}", f"the team did not come together at {host}:{port}", "",
            "Start all processes with torchrun or --nproc-per-node, and look at what the others say.",
        ) from fault  # fmt: skip
    return _Link(team, notes)


def _joined() -> _Link:
    assert _link is not None, "a team of several exists only inside `joined_team`"
    return _link


def _number(name: str, missing: int) -> int:
    text = os.environ.get(name, "").strip()
    try:
        return int(text) if text else missing
    except ValueError as error:
        raise ArgumentError("environment", f"{name} is {text!r}", "a whole number") from error


def _as_plain(rank: int, fault: BaseException) -> dict[str, Any]:
    """A fault as the others are told: of a bug only its kind, because its text may quote data."""
    if isinstance(fault, MetierError):
        return {"rank": rank, "exit_code": fault.exit_code, "text": fault.text()}
    if isinstance(fault, KeyboardInterrupt):
        return {"rank": rank, "exit_code": InterruptedRun.exit_code, "text": "interrupted"}
    return {"rank": rank, "exit_code": MetierError.exit_code, "text": f"a bug of metier: {type(fault).__name__}"}
