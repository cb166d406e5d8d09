"""The hook that refuses outgoing connections in a process (PEP 578), and writes down who asked for them.

What it sees: everything that goes through Python's own sockets. What it does not: native code with sockets of its
own (gloo, NCCL, libraries in Rust or C++) and programs that are no Python. The former is kept from connecting by its
settings (`connections.OFFLINE`), the latter are counted by name.

A hook cannot be taken away again; this one does nothing while no state is on. Standard library only, and nothing of
metier: child processes load this file by its path, whatever they are (`start/sitecustomize.py`).
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

VARIABLE = "METIER_NO_CONNECTIONS"
"""Tells child processes to refuse connections too: JSON with `ledger`, `allowed` and `own`."""
REFUSED, ALLOWED, PROGRAM = "refused", "allowed", "program"
"""What became of an attempt; `program`: one was started that is not watched."""
LOCAL_NAMES = frozenset({"", "localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"})
"""Names of this machine, beside its own. Not whatever ends in `.localhost`: a resolver may ask others for it."""
STAYS_HERE = frozenset(
    getattr(socket, name) for name in ("AF_UNIX", "AF_NETLINK", "AF_ALG", "AF_SYSTEM") if hasattr(socket, name)
)
"""Families of sockets that lead to this machine's own kernel or processes."""
INTERNET = frozenset({socket.AF_INET, socket.AF_INET6})
CARRIERS = frozenset({
    "aiohappyeyeballs", "aiohttp", "anyio", "fsspec", "h11", "h2", "httpcore", "httpcore2", "httpx", "httpx2",
    "requests", "requests_file", "tenacity", "tqdm", "trio", "urllib3", "websockets",
})  # fmt: skip
"""Packages that connect for others: who called them is named."""
_LABELS, _LONGEST = 4, 80
"""Parts of a host name that are written down, and characters: the rest may carry anything."""
_IGNORES_SETTINGS = ("I", "E", "S")
"""Flags of Python that keep a child process from being told."""


class Attempt(NamedTuple):
    """Somebody wanted to leave this process."""

    outcome: str
    """`refused`, `allowed` or `program`."""
    host: str
    """Host, or name of the program."""
    port: int | None
    package: str
    """Who asked for it: a package, or `python` where only the standard library is to be seen."""
    event: str
    """As Python names it: `socket.connect`, …"""
    process: int


class State:
    """While it is on: what is allowed, and what was attempted."""

    def __init__(
        self,
        ledger: str | None,
        allowed: Sequence[str] = (),
        own: Sequence[str] = (),
        fault: Callable[[Attempt], Exception] | None = None,
    ) -> None:
        """Nothing is attempted yet.

        Args:
            ledger: File to which each attempt is appended as a line of JSON; None: only remembered here.
            allowed: Hosts to which connections are allowed, as they are asked for.
            own: Addresses of this machine's network cards: what goes there does not leave it.
            fault: Makes the exception that a refused attempt ends in. None: a PermissionError.
        """
        self.ledger = ledger
        self.allowed = frozenset(host.lower().rstrip(".") for host in allowed)
        self.fault = fault or _permission_error
        self.own = frozenset(own)
        self.here = LOCAL_NAMES | self.own | {socket.gethostname().lower()}
        self.attempts: list[Attempt] = []
        self._names: dict[str, str] = {}
        self._resolver: int | None = None

    def note(self, attempt: Attempt) -> None:
        """Remember an attempt, and write it down in one go: processes may append to one file."""
        self.attempts.append(attempt)
        if self.ledger is None:
            return
        line = json.dumps(attempt._asdict()) + "\n"
        descriptor = os.open(self.ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line.encode("ascii"))
        finally:
            os.close(descriptor)

    def leads_here(self, host: str) -> bool:
        """Whether a host is this machine."""
        name = host.lower().rstrip(".").partition("%")[0]
        return name in self.here or _is_loopback(name)

    def allowed_name(self, host: str) -> str | None:
        """The allowed host that this is, by name or by address; None where it is none."""
        name = host.lower().rstrip(".")
        if name in self.allowed:
            return name
        if self.allowed and _is_number(name):
            if name not in self._names:  # addresses of a name change: it is asked for again
                self._resolve()
            return self._names.get(name)
        return None

    @property
    def resolves(self) -> bool:
        """Whether this thread looks up the allowed hosts right now, which is no attempt."""
        return self._resolver == threading.get_ident()

    def _resolve(self) -> None:
        self._resolver = threading.get_ident()
        try:
            for name in sorted(self.allowed):
                for found in socket.getaddrinfo(name, None):
                    self._names[str(found[4][0])] = name
        except OSError:  # it has no address now: then nothing can be connected to it either
            pass
        finally:
            self._resolver = None


_states: list[State] = []
_installed = False


def switch_on(state: State) -> None:
    """Refuse connections in this process from now on; the last state that was switched on decides."""
    global _installed
    if not _installed:
        sys.addaudithook(_look)
        _installed = True
    _states.append(state)


def switch_off(state: State) -> None:
    """Take a state away."""
    _states.remove(state)


def current() -> State | None:
    """The state that decides; None while everything is allowed."""
    return _states[-1] if _states else None


def settings_of(state: State) -> str:
    """What child processes are told in `VARIABLE`."""
    return json.dumps({"ledger": state.ledger, "allowed": sorted(state.allowed), "own": sorted(state.own)})


def obey(settings: str) -> State:
    """Switch on what a parent process told this one."""
    told = json.loads(settings)
    state = State(told["ledger"], told["allowed"], told["own"])
    switch_on(state)
    return state


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    """The hook: called for every audit event of the process, so that the first line must be cheap."""
    if event not in _READERS or not _states:
        return
    state = _states[-1]
    read = _READERS[event](arguments)
    if read is None or state.resolves:
        return
    where, port = read
    if event in _PROGRAMS:
        if not _started_by_subprocess(event):
            state.note(Attempt(PROGRAM, where, None, _caller(), event, os.getpid()))
        return
    if state.leads_here(where):
        return
    allowed = state.allowed_name(where)
    if allowed is None:
        attempt = Attempt(REFUSED, _shown(where), port, _caller(), event, os.getpid())
        state.note(attempt)
        raise state.fault(attempt)
    if event in _SENDS:  # looking up a name is no connection
        state.note(Attempt(ALLOWED, allowed, port, _caller(), event, os.getpid()))


def _permission_error(attempt: Attempt) -> Exception:
    said = f"no connections are allowed: {attempt.host} was asked for by {attempt.package}"
    return PermissionError(errno.EACCES, said)


Read = tuple[str, int | None] | None
"""Host and port, or the name of a program; None: stays here."""


def _socket_address(arguments: tuple[Any, ...]) -> Read:
    sock, address = arguments[0], arguments[1]
    if sock.family in STAYS_HERE or address is None:  # None: a connected socket, which was looked at then
        return None
    if sock.family not in INTERNET:
        return f"family-{int(sock.family)}", None
    return _host(address[0]), _port(address[1])


def _name_and_port(arguments: tuple[Any, ...]) -> Read:
    return _host(arguments[0]), _port(arguments[1])


def _name(arguments: tuple[Any, ...]) -> Read:
    return _host(arguments[0]), None


def _numeric_address(arguments: tuple[Any, ...]) -> Read:
    return _host(arguments[0][0]), None


def _url(arguments: tuple[Any, ...]) -> Read:
    from urllib.parse import urlsplit

    host = urlsplit(str(arguments[0])).hostname
    return (host, None) if host else None


def _started(arguments: tuple[Any, ...]) -> Read:
    """`subprocess.Popen`: executable, arguments, folder, environment."""
    executable, given, _, environment = arguments
    return _unwatched(executable, given, environment)


def _replaced(arguments: tuple[Any, ...]) -> Read:
    """`os.exec` and `os.posix_spawn`: path, arguments, environment."""
    return _unwatched(*arguments)


def _spawned(arguments: tuple[Any, ...]) -> Read:
    """`os.spawn`: mode, path, arguments, environment."""
    return _unwatched(*arguments[1:])


def _shell(arguments: tuple[Any, ...]) -> Read:
    return "shell", None


_PROGRAMS: dict[str, Callable[[tuple[Any, ...]], Read]] = {
    "subprocess.Popen": _started,
    "os.exec": _replaced,
    "os.posix_spawn": _replaced,
    "os.spawn": _spawned,
    "os.system": _shell,
}
_READERS: dict[str, Callable[[tuple[Any, ...]], Read]] = {
    "socket.connect": _socket_address,
    "socket.sendto": _socket_address,
    "socket.sendmsg": _socket_address,
    "socket.getaddrinfo": _name_and_port,
    "socket.gethostbyname": _name,
    "socket.gethostbyaddr": _name,
    "socket.getnameinfo": _numeric_address,
    "webbrowser.open": _url,
    **_PROGRAMS,
}
"""Audit event -> where it leads."""
_SENDS = ("socket.connect", "socket.sendto", "socket.sendmsg")


def _host(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes | bytearray) else str(value or "")


def _port(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _is_loopback(name: str) -> bool:
    import ipaddress

    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    inner = getattr(address, "ipv4_mapped", None) or address
    return bool(inner.is_loopback or inner.is_unspecified)  # 0.0.0.0 as a destination is this machine


def _shown(host: str) -> str:
    """A host as it is written down: the end of its name, without what could carry a text."""
    labels = "".join(letter if letter.isprintable() else "?" for letter in host).split(".")
    cut = labels if len(labels) <= _LABELS or _is_number(host) else ["…", *labels[-_LABELS:]]
    return ".".join(cut)[-_LONGEST:]


def _is_number(host: str) -> bool:
    return all(letter in "0123456789abcdefABCDEF.:" for letter in host)


def _unwatched(program: Any, given: Any, environment: Any) -> Read:
    """The name of a program, without its arguments; None for a Python that will refuse connections too."""
    # A list of arguments, or, on Windows, the whole command line.
    words = (
        _split(os.fsdecode(given)) if isinstance(given, str | bytes | os.PathLike) else list(map(_text, given or ()))
    )
    called = _text(program) if program is not None else (words or ["?"])[0]
    name = os.path.basename(called)  # noqa: PTH119 - a path of either system
    flags = itertools.takewhile(lambda word: word.startswith("-") and word not in ("-c", "-m", "-"), words[1:])
    deaf = any(flag in word for word in flags if not word.startswith("--") for flag in _IGNORES_SETTINGS)
    is_python = name.lower().startswith(("python", "pypy")) or name == os.path.basename(sys.executable)  # noqa: PTH119
    told = VARIABLE in (os.environ if environment is None else set(map(_text, environment)))
    return None if is_python and told and not deaf else (name[:_LONGEST], None)


def _split(line: str) -> list[str]:
    """A command line of Windows as its program and the rest, roughly: only flags are read from it."""
    if line.startswith('"'):
        program, _, rest = line[1:].partition('"')
        return [program, *rest.split()]
    return line.split() or ["?"]


def _text(value: Any) -> str:
    return os.fsdecode(value) if isinstance(value, str | bytes | os.PathLike) else str(value)


def _started_by_subprocess(event: str) -> bool:
    """Whether `subprocess` starts a program by other means, after its own event."""
    return event != "subprocess.Popen" and sys._getframe(2).f_globals.get("__name__") == "subprocess"


def _caller() -> str:
    """The package that wanted to connect: the innermost one that is neither Python's own nor a carrier."""
    frame, carrier = sys._getframe(1), ""
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        ours = frame.f_code.co_filename == __file__
        if not ours and package and package not in sys.stdlib_module_names:
            if package not in CARRIERS:
                return "your script" if package == "__main__" else package
            carrier = carrier or package
        frame = frame.f_back  # type: ignore[assignment]
    return carrier or "python"
