"""No network: loaded by the test session and, by its place in PYTHONPATH, by every Python process that it starts.

A hook of the interpreter (PEP 578) sees every connection that Python's own sockets open, whoever asks for it, in any
thread and at any time of the session. Loopback, Unix sockets and this machine's own addresses stay open. Standard
library only: child processes may be ones without metier.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from pathlib import Path
from typing import Any

VARIABLE = "METIER_TESTS_NETWORK"
"""`closed` or `open`; told to child processes."""
CONNECTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
RESOLVES = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
STAYS_HERE = frozenset(
    getattr(socket, name) for name in ("AF_UNIX", "AF_NETLINK", "AF_ALG", "AF_SYSTEM") if hasattr(socket, name)
)
LOCAL = frozenset({"", "localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "::1", "0.0.0.0", "::"})

_closed = False
_installed = False


class NetworkIsClosedError(RuntimeError):
    """A test, or what it called, reached for another machine."""


def close() -> None:
    """Refuse from now on."""
    global _closed, _installed
    if not _installed:
        sys.addaudithook(_look)
        _installed = True
    _closed = True


def open(wanted: bool) -> None:
    """Let everything through, or refuse again."""
    global _closed
    _closed = not wanted


def is_local(host: object) -> bool:
    """Whether a host is this machine: by loopback, or by the name or an address of its own."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    host = str(host or "").lower().rstrip(".").partition("%")[0]
    if host in LOCAL or host.startswith(("127.", "::ffff:127.")):
        return True
    return host in _own()


def _own() -> set[str]:
    """This machine's name and addresses: Ray's processes speak to each other by those."""
    own = {socket.gethostname().lower()}
    psutil = sys.modules.get("psutil")
    if psutil is not None:
        own |= {each.address.partition("%")[0].lower() for card in psutil.net_if_addrs().values() for each in card}
    else:
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind(("0.0.0.0", 0))
                own.add(probe.getsockname()[0])
        except OSError:  # a machine without that family has no address of it either
            pass
    return own


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if not _closed or event not in CONNECTS | RESOLVES or _strict_refuses():
        return
    if event in CONNECTS:
        asking, address = arguments[0], arguments[1]
        if asking.family in STAYS_HERE or not isinstance(address, tuple):
            return
        host = address[0]
    else:
        host = arguments[0]
    if not is_local(host):
        raise NetworkIsClosedError(f"a test reached for {host} ({event}); mark it `network` if that is meant")


def _strict_refuses() -> bool:
    """Whether this is a child process in which metier itself refuses connections: its own hook, added later, tells."""
    audit = sys.modules.get("metier.data.privacy.audit") if __name__ == "sitecustomize" else None
    return bool(getattr(audit, "_states", ()))


def _load_the_hidden_one() -> None:
    """Whatever module of this name this one hides, such as metier's own for `privacy: strict`."""
    here = Path(__file__).resolve().parent
    kept = list(sys.path)
    sys.path[:] = [entry for entry in kept if not entry or Path(entry).resolve() != here]
    ours = sys.modules.pop("sitecustomize", None)
    try:
        found = importlib.util.find_spec("sitecustomize")
        if found is not None and found.loader is not None:
            module = importlib.util.module_from_spec(found)
            sys.modules["sitecustomize"] = module
            found.loader.exec_module(module)
    finally:
        if ours is not None:
            sys.modules.setdefault("sitecustomize", ours)
        sys.path[:] = kept


if __name__ == "sitecustomize":
    if os.environ.get(VARIABLE) == "closed":
        close()
    _load_the_hidden_one()
