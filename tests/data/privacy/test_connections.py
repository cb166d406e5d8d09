from __future__ import annotations

import _socket
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from metier.data.privacy import audit
from metier.data.privacy.account import Account, Asked, Connections, SharedText
from metier.data.privacy.connections import (
    OFFLINE,
    Watch,
    no_connections,
    own_addresses,
    read_attempts,
)
from metier.errors import RefusedConnection, RunFolderError, UserError

OUTSIDE = ("192.0.2.1", 443)  # TEST-NET-1 (RFC 5737): no machine has it
ROOT = Path(__file__).resolve().parents[3]


def connect(address: tuple[str, int], kind: int = socket.SOCK_STREAM, way: str = "connect") -> None:
    """As `socket.socket.connect`, below what the tests' own guard replaces."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, kind) as made:
        made.settimeout(0.01)
        getattr(_socket.socket, way)(made, address)


def send(address: tuple[str, int], way: str = "sendto") -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        if way == "sendto":
            made.sendto(b"text", address)
        else:
            made.sendmsg([b"text"], [], 0, address)


@pytest.fixture
def watch() -> Iterator[Watch]:
    with no_connections() as found:
        yield found


def test_a_connection_is_refused_and_counted(watch: Watch) -> None:
    for _ in range(2):
        with pytest.raises(RefusedConnection, match=r"192\.0\.2\.1:443: is another machine, and privacy: strict"):
            connect(OUTSIDE)
    found = watch.connections
    assert [(each.host, each.times) for each in found.refused] == [("192.0.2.1", 2)]
    assert found.made == 0 and found.attempts == 2 and not found.allowed


def test_a_library_takes_it_for_a_network_that_is_not_there(watch: Watch) -> None:
    with pytest.raises(OSError) as caught:
        connect(OUTSIDE)
    assert isinstance(caught.value, UserError) and isinstance(caught.value, PermissionError)
    assert caught.value.exit_code == 2 and caught.value.errno is not None


@pytest.mark.parametrize("call", [
    lambda: _socket.getaddrinfo("huggingface.co", 443),
    lambda: _socket.gethostbyname("huggingface.co"),
    lambda: _socket.gethostbyaddr("192.0.2.1"),
    lambda: _socket.getnameinfo(OUTSIDE, 0),
    lambda: connect(("2001:db8::1", 80)),
    lambda: connect(("8.8.8.8", 80), socket.SOCK_DGRAM),
    lambda: send(("192.0.2.1", 53)),
    lambda: send(("192.0.2.1", 53), "sendmsg"),
    lambda: connect(OUTSIDE, way="connect_ex"),
    lambda: sys.audit("webbrowser.open", "https://example.org/page"),
    lambda: sys.audit("socket.getaddrinfo", b"example.org", None, 0, 0, 0),
])  # fmt: skip
def test_every_way_out_is_closed(watch: Watch, call: object) -> None:
    with pytest.raises(RefusedConnection):
        call()  # type: ignore[operator]
    assert watch.connections.attempts == 1


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_this_machine_stays_open(watch: Watch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect(server.getsockname())
        port = server.getsockname()[1]
        socket.create_connection(("localhost", port), timeout=5).close()
    for host in ("127.8.9.1", "localhost", "LOCALHOST.", "::1", "::ffff:127.0.0.1", "", None, "0.0.0.0"):
        sys.audit("socket.getaddrinfo", host, 80, 0, 0, 0)
    sys.audit("socket.getaddrinfo", socket.gethostname(), 80, 0, 0, 0)
    for host in own_addresses():
        sys.audit("socket.getaddrinfo", host, 80, 0, 0, 0)
    sys.audit("webbrowser.open", "file:///index.html")
    if hasattr(socket, "AF_UNIX"):
        place = f"/tmp/metier-test-{os.getpid()}"  # the path of a socket must be short
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(place)
            server.listen()
            client.connect(place)
        Path(place).unlink()
    assert watch.connections == Connections()


def test_names_that_look_local_are_not(watch: Watch) -> None:
    for host in (
        "localhost.example.org",
        "127.0.0.1.example.org",
        "10.0.0.1",
        "169.254.169.254",
        "::ffff:8.8.8.8",
        "a.localhost",
    ):
        with pytest.raises(RefusedConnection):
            sys.audit("socket.getaddrinfo", host, 80, 0, 0, 0)


@pytest.mark.usefixtures("hooks_alone")
def test_outside_the_block_nothing_is_refused_and_everything_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:3128")
    before = dict(os.environ)
    with pytest.raises(KeyError), no_connections():
        assert os.environ["HF_HUB_OFFLINE"] == "1" and "https_proxy" not in os.environ
        raise KeyError
    assert dict(os.environ) == before
    assert audit.current() is None
    sys.audit("socket.getaddrinfo", "example.org", 80, 0, 0, 0)  # refused by nobody


def test_a_block_in_a_block_and_other_threads() -> None:
    with no_connections() as outer:
        with no_connections() as inner, pytest.raises(RefusedConnection):
            connect(OUTSIDE)
        faults: list[Exception] = []

        def work() -> None:
            try:
                connect(OUTSIDE)
            except OSError as fault:
                faults.append(fault)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert isinstance(faults[0], RefusedConnection)
        assert (inner.connections.attempts, outer.connections.attempts) == (1, 1)


@pytest.mark.usefixtures("hooks_alone")
def test_an_allowed_host_is_counted_and_named() -> None:
    with no_connections(allowed=["Models.Example.org"]) as watch:
        state = audit.current()
        assert state is not None
        state._names["192.0.2.7"] = "models.example.org"  # as its look-up would give
        sys.audit("socket.getaddrinfo", "models.example.org", 443, 0, 0, 0)
        with socket.socket() as made:
            sys.audit("socket.connect", made, ("192.0.2.7", 443))
            with pytest.raises(RefusedConnection):
                sys.audit("socket.connect", made, ("evil.example.org", 443))
        assert "HF_HUB_OFFLINE" not in os.environ or os.environ["HF_HUB_OFFLINE"] == BEFORE.get("HF_HUB_OFFLINE")
    found = watch.connections
    assert [(each.host, each.times) for each in found.allowed] == [("models.example.org", 1)] and found.made == 1


BEFORE = dict(os.environ)


def test_who_asked_is_named(watch: Watch) -> None:
    asked = "import sys\ndef ask(): sys.audit('socket.getaddrinfo', 'x.org', 80, 0, 0, 0)\n"
    package, carrier = {"__name__": "some_hub.download"}, {"__name__": "urllib3.connection"}
    exec(asked, carrier)
    exec("def fetch(ask): ask()", package)
    with pytest.raises(RefusedConnection, match="asked for by some_hub"):
        package["fetch"](carrier["ask"])  # type: ignore[operator]


def test_a_host_name_cannot_carry_a_text(watch: Watch) -> None:
    for host in ("anna-muster.born-1961.has-asthma.x.evil.example.org", "anna muster " * 20 + ".org"):
        with pytest.raises(RefusedConnection):
            sys.audit("socket.getaddrinfo", host, 80, 0, 0, 0)
    shown = [each.host for each in watch.connections.refused]
    assert "….x.evil.example.org" in shown
    assert all(len(host) <= 80 for host in shown)


CHILD = """
import json, socket, subprocess, sys, urllib.request
from multiprocessing import get_context

def ask(host):
    try:
        urllib.request.urlopen(f"http://{host}.example.invalid/", timeout=1)
    except OSError as fault:
        return str(fault)

if __name__ == "__main__":
    said = [ask("child")]
    code = "import socket\\ntry: socket.create_connection(('grandchild.example.invalid', 80), timeout=1)\\nexcept PermissionError: print('refused')"
    said.append(subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True).stdout.strip())
    with get_context("spawn").Pool(1) as pool:
        said += pool.map(ask, ["spawned"])
    print(json.dumps(said))
"""  # noqa: E501


def test_processes_that_are_started_refuse_too(tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(CHILD)
    ledger = tmp_path / "run" / "connections.jsonl"
    with no_connections(ledger) as watch:
        # Without metier on its path, and in another folder.
        done = subprocess.run(
            [sys.executable, str(tmp_path / "child.py")], capture_output=True, text=True, cwd=tmp_path, timeout=120
        )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert "no connections are allowed: child.example.invalid was asked for by your script" in said[0]
    assert said[1] == "refused" and "spawned.example.invalid" in said[2]
    hosts = {each.host for each in watch.connections.refused}
    assert hosts == {f"{name}.example.invalid" for name in ("child", "grandchild", "spawned")}
    assert not watch.connections.programs
    assert len({each.process for each in read_attempts(ledger)}) == 3


INSIDE = """
from metier.data.privacy.connections import no_connections
from metier.data.privacy import audit
import socket, sys
with no_connections() as watch:
    try:
        socket.create_connection(("x.example.invalid", 80), timeout=1)
    except OSError as fault:
        print(type(fault).__name__, watch.connections.attempts, len(audit._states))
import sitecustomize
print(getattr(sitecustomize, "MINE", None))
"""


def test_a_child_with_metier_goes_on_in_its_own_block_and_keeps_its_sitecustomize(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("MINE = 1")
    with no_connections(tmp_path / "ledger.jsonl"):
        paths = os.pathsep.join((os.environ["PYTHONPATH"], str(tmp_path), str(ROOT)))
        done = subprocess.run(
            [sys.executable, "-c", INSIDE], capture_output=True, text=True, timeout=120,
            env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip
    assert done.stdout.split() == ["RefusedConnection", "1", "2", "1"], done.stderr


def test_programs_that_are_not_watched_are_counted_without_their_arguments(watch: Watch) -> None:
    subprocess.run([sys.executable, "-c", ""], check=True)
    subprocess.run([sys.executable, "-I", "-c", ""], check=True)
    subprocess.run([sys.executable, "-c", ""], check=True, env={})
    sys.audit("subprocess.Popen", "/usr/bin/curl", ["curl", "https://x/?q=Anna"], None, None)
    sys.audit("os.system", b"curl https://x/?q=Anna")
    sys.audit("subprocess.Popen", None, '"C:\\Tools\\send it" --q Anna', None, None)  # as Windows has it
    sys.audit("os.exec", b"/usr/bin/send", [b"send", b"Anna"], None)
    python = Path(sys.executable).name
    assert watch.connections.programs == {python: 2, "curl": 1, "shell": 1, "send": 1, "C:\\Tools\\send it": 1}
    assert "Anna" not in repr(watch.connections)


def test_native_connections_are_seen_while_they_are_open(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    class Shown:
        def __init__(self, *addresses: tuple[str, int]) -> None:
            self.found = [type("S", (), {"raddr": type("A", (), {"ip": h, "port": p})}) for h, p in addresses]

        def net_connections(self, kind: str) -> list[object]:
            return list(self.found)

    watch.look()
    assert watch.connections.looks == 1 and watch.connections.seen_open == ()
    monkeypatch.setattr(psutil, "Process", lambda: Shown(("127.0.0.1", 5), ("192.0.2.9", 443), ("192.0.2.9", 443)))
    watch.look()
    assert watch.connections.seen_open == ("192.0.2.9:443",) and watch.connections.made == 1


def test_a_ledger_is_added_to_and_damage_is_told(tmp_path: Path) -> None:
    ledger = tmp_path / "connections.jsonl"
    for _ in range(2):  # a run that is resumed counts on
        with no_connections(ledger) as watch, pytest.raises(RefusedConnection):
            connect(OUTSIDE)
    assert watch.connections.attempts == 2
    with ledger.open("a") as file:
        file.write('{"outcome": "re')  # a kill tore it
    assert len(read_attempts(ledger)) == 2
    ledger.write_text("nothing\n")
    with pytest.raises(RunFolderError, match="line 1: is damaged: no attempt"):
        read_attempts(ledger)
    with pytest.raises(RunFolderError, match="cannot be read"):
        read_attempts(tmp_path / "none.jsonl")


def test_the_line_of_the_report() -> None:
    text = SharedText(sentences=0, words=8, records=100, too_short=0, files=12)
    assert Account(connections=Connections(), text=text).line == "0 connections, 0 sentences of record text"
    assert Account(connections=Connections()).line == "0 connections, sentences of record text not counted"
    asked = Asked(package="some_hub", host="example.org", times=3)
    found = Account(
        connections=Connections(refused=(asked,), programs={"lscpu": 1}, seen_open=("192.0.2.9:443",)),
        text=SharedText(
            sentences=1, words=8, records=9, too_short=2, files=3, unread=("a: b",), places=("report/index.html",)
        ),
    )
    assert found.line == (
        "1 connection (open at the end of a stage: 192.0.2.9:443; 3 attempts refused: some_hub to example.org 3; "
        "started without being watched: lscpu 1), 1 sentence of record text (in report/index.html; 2 texts too short "
        "to look for; 1 file not read)"
    )
    assert Account(connections=Connections(allowed=(asked,))).line.startswith(
        "3 connections (allowed by the recipe: some"
    )


def test_libraries_are_told_to_stay_offline(watch: Watch) -> None:
    assert all(os.environ[name] == value for name, value in OFFLINE.items())


GROUP = """
import os, sys
import torch, torch.distributed as dist
from metier.data.privacy.connections import no_connections
with no_connections() as watch:
    dist.init_process_group("gloo", rank=int(sys.argv[1]), world_size=2, init_method="env://")
    found = torch.ones(1) * (dist.get_rank() + 1)
    dist.all_reduce(found)
    watch.look()
    dist.destroy_process_group()
print(found.item(), watch.connections.attempts, watch.connections.seen_open)
"""


@pytest.mark.slow
def test_processes_of_torch_talk_to_each_other(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHONPATH": str(ROOT)}
    group = [
        subprocess.Popen([sys.executable, "-c", GROUP, str(rank)], stdout=subprocess.PIPE, text=True, env=environment)
        for rank in range(2)
    ]
    assert [each.communicate(timeout=240)[0].split() for each in group] == [["3.0", "0", "()"]] * 2


HUB = """
from metier.data.privacy.connections import no_connections
with no_connections(allowed=["nowhere.invalid"]) as watch:  # an allowed host leaves the hub's own offline mode alone
    import huggingface_hub
    try:
        huggingface_hub.HfApi().model_info("gpt2")
    except Exception as fault:
        print(type(fault).__name__)
[asked] = watch.connections.refused
print(asked.host, asked.package, watch.connections.made)
"""


@pytest.mark.slow
def test_a_real_library_is_refused_and_named() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", HUB], capture_output=True, text=True, timeout=240,
        env={**environment, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert "huggingface.co huggingface_hub 0" in done.stdout, done.stdout + done.stderr
