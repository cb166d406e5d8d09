"""No connections to other machines, while a block runs: refused, counted, and named in the report.

Loopback, Unix sockets and the machine's own name and addresses stay open: torch's processes talk to each other over
them. (A proxy or a tunnel on this machine would be reached too: proxies are taken out of the settings.) Python
processes that are started inside the block refuse too: they inherit `METIER_NO_CONNECTIONS` and a PYTHONPATH whose
first folder holds a `sitecustomize`; that covers `subprocess`, `multiprocessing` by spawn or fork, and Ray's local
workers. Workers of a cluster that runs already inherit nothing: they enter the block themselves.
"""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from metier.data.privacy.account import Asked, Connections
from metier.data.privacy.audit import (
    ALLOWED,
    INTERNET,
    PROGRAM,
    REFUSED,
    VARIABLE,
    Attempt,
    State,
    settings_of,
    switch_off,
    switch_on,
)
from metier.errors import RefusedConnection, RunFolderError
from metier.store.files import SpeakingErrors

NO_TELEMETRY: Mapping[str, str] = {
    "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "RAY_USAGE_STATS_ENABLED": "0", "WANDB_MODE": "disabled",
    "TLDEXTRACT_PUBLIC_SUFFIX_LIST_URLS": "",
}  # fmt: skip
"""Set inside the block: what would report or fetch something unasked."""
OFFLINE: Mapping[str, str] = {
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_XET": "1",
}  # fmt: skip
"""Set where no host is allowed: so libraries do not try, native ones among them, which no hook sees."""
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy")
"""Taken away inside the block, in small and capital letters: a proxy on this machine would lead out of it."""
_START = Path(__file__).resolve().parent / "start"


class Watch:
    """What is attempted while a block runs; still there when it has ended."""

    def __init__(self, state: State) -> None:
        """Look at a state."""
        self._state = state
        self._seen_open: dict[str, None] = {}
        self._looks = 0

    def look(self) -> None:
        """Note the connections to other machines that are open now: native code's too. To be called after a stage."""
        found = open_connections(self._state)
        if found is not None:
            self._looks += 1
            self._seen_open |= dict.fromkeys(found)

    @property
    def connections(self) -> Connections:
        """Every attempt so far, of this process and of those that it started."""
        return count_attempts(self._attempts(), tuple(self._seen_open), self._looks)

    def _attempts(self) -> list[Attempt]:
        if self._state.ledger is None:
            return list(self._state.attempts)
        return read_attempts(Path(self._state.ledger))


@contextmanager
def no_connections(ledger: Path | None = None, *, allowed: Sequence[str] = ()) -> Iterator[Watch]:
    """Refuse connections to other machines while the block runs, in this process and in those that it starts.

    Args:
        ledger: File to which all processes append their attempts, one a line; an existing one is added to, so that
            a resumed run counts on. None: attempts of other processes are refused, not counted.
        allowed: Hosts to which connections are allowed, each named in the report.

    Raises:
        RunFolderError: The ledger cannot be written.
    """
    if ledger is not None:
        ledger = ledger.absolute()
        with SpeakingErrors(ledger):
            ledger.parent.mkdir(parents=True, exist_ok=True)
            ledger.touch(mode=0o600)
    state = State(None if ledger is None else str(ledger), allowed, own_addresses(), _refused)
    told = {VARIABLE: settings_of(state), **NO_TELEMETRY, **({} if allowed else OFFLINE)}
    told["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_START), os.environ.get("PYTHONPATH"))))
    proxies = [name for each in PROXIES for name in (each, each.upper())]
    before = {name: os.environ.get(name) for name in (*told, *proxies)}
    os.environ.update(told)
    for name in proxies:
        os.environ.pop(name, None)
    switch_on(state)
    try:
        yield Watch(state)
    finally:
        switch_off(state)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def own_addresses() -> list[str]:
    """The addresses of this machine's network cards: Ray's processes speak to each other by those."""
    import psutil

    found = [each for card in psutil.net_if_addrs().values() for each in card]
    return sorted({each.address.partition("%")[0].lower() for each in found if each.family in INTERNET})


def read_attempts(ledger: Path) -> list[Attempt]:
    """The attempts in a ledger; a last line that a kill tore is left out.

    Raises:
        RunFolderError: It is missing or damaged.
    """
    try:
        lines = ledger.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise RunFolderError(str(ledger), f"cannot be read ({error.strerror or error})") from error
    attempts = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            attempts.append(Attempt(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise RunFolderError(f"{ledger}, line {number}", "is damaged: no attempt") from error
    return attempts


def count_attempts(attempts: Sequence[Attempt], seen_open: Sequence[str] = (), looks: int = 0) -> Connections:
    """Attempts by package and host, the most frequent first.

    Args:
        attempts: In any order.
        seen_open: Connections that were seen open.
        looks: How often was looked for those.
    """

    def asked(outcome: str) -> tuple[Asked, ...]:
        pairs = Counter((each.package, each.host) for each in attempts if each.outcome == outcome)
        ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
        return tuple(Asked(package=package, host=host, times=times) for (package, host), times in ordered)

    programs = Counter(each.host for each in attempts if each.outcome == PROGRAM)
    return Connections(
        refused=asked(REFUSED), allowed=asked(ALLOWED), programs=dict(sorted(programs.items())),
        seen_open=tuple(seen_open), looks=looks,
    )  # fmt: skip


def open_connections(state: State) -> list[str] | None:
    """Sockets of this process that lead to other machines at this moment, as host and port.

    Those of native code are among them. One that was opened and closed in between is not seen.

    Args:
        state: What leads here, and what is allowed.

    Returns:
        None where the system does not show a process its sockets.
    """
    import psutil

    try:
        found = psutil.Process().net_connections(kind="inet")
    except (psutil.Error, OSError):
        return None
    hosts = [(each.raddr.ip, each.raddr.port) for each in found if each.raddr]
    outside = [(host, port) for host, port in hosts if not state.leads_here(host)]
    return [f"{host}:{port}" for host, port in outside if state.allowed_name(host) is None]


def _refused(attempt: Attempt) -> Exception:
    where = attempt.host if attempt.port is None else f"{attempt.host}:{attempt.port}"
    found = f"is another machine, and privacy: strict connects to none (asked for by {attempt.package})"
    fault = RefusedConnection(where, found, "", "Use local files, or list the host in privacy.allowed_hosts.")
    fault.errno = errno.EACCES
    return fault
