"""The suite runs without network: sockets to other machines are closed for every test, and for what tests start."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

import pytest

ELSEWHERE = "198.51.100.7"
"""An address of TEST-NET-2 (RFC 5737): it belongs to nobody."""


def test_another_machine_is_not_reached() -> None:
    with socket.socket() as asking, pytest.raises(RuntimeError, match=rf"reached for {ELSEWHERE}"):
        asking.connect((ELSEWHERE, 80))
    with socket.socket(type=socket.SOCK_DGRAM) as asking, pytest.raises(RuntimeError, match="reached for"):
        asking.sendto(b"x", (ELSEWHERE, 53))


def test_no_name_of_another_machine_is_looked_up() -> None:
    with pytest.raises(RuntimeError, match=r"reached for example\.com"):
        socket.getaddrinfo("example.com", 443)


def test_nor_by_a_thread() -> None:
    found: list[BaseException] = []

    def reach() -> None:
        try:
            socket.create_connection((ELSEWHERE, 80), timeout=1)
        except RuntimeError as error:
            found.append(error)

    thread = threading.Thread(target=reach)
    thread.start()
    thread.join()
    assert len(found) == 1


@pytest.fixture(scope="session")
def reached_in_a_fixture() -> str:
    """What a fixture of the whole session is told."""
    try:
        socket.create_connection((ELSEWHERE, 80), timeout=1).close()
    except RuntimeError as error:
        return str(error)
    return "reached"


def test_nor_by_a_fixture(reached_in_a_fixture: str) -> None:
    assert "mark it `network`" in reached_in_a_fixture


def test_nor_by_a_process_that_a_test_starts() -> None:
    code = f"import socket; socket.create_connection(('{ELSEWHERE}', 80), timeout=1)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert child.returncode == 1
    assert "NetworkIsClosedError: a test reached for" in child.stderr


def test_this_machine_is_reached() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        socket.create_connection(listening.getsockname(), timeout=5).close()
        socket.create_connection(("localhost", listening.getsockname()[1]), timeout=5).close()
    assert socket.getaddrinfo(socket.gethostname(), 80) is not None
