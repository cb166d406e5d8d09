"""The client of an OpenAI-compatible endpoint: one chat completion, with retries and a rate limit.

Over the standard library alone. It connects to the host that the recipe names and to no other: it follows no
redirect and uses no proxy. The key is read from the environment when a request is sent, is never written, and never
goes over an unencrypted connection to another machine.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from metier import __version__
from metier.errors import ArgumentError, InterruptedRun, LackingEnvironment, MetierError
from metier.evaluation.elsewhere.chat_reply import AgainError, Endpoint, Reply, public_address, read_body, read_reply

LONGEST_BODY = 32 * 2**20
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(eq=False)
class ChatClient:
    """Sends chat completions to one endpoint; may be used by several threads."""

    endpoint: Endpoint
    sleep: Callable[[float], object] | None = None
    """Waits so many seconds. None: until then, or until `stop`."""
    clock: Callable[[], float] = time.monotonic
    _local: threading.local = field(default_factory=threading.local, init=False, repr=False)
    _open: list[http.client.HTTPConnection] = field(default_factory=list, init=False, repr=False)
    _stopped: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _next: float = field(default=-math.inf, init=False, repr=False)
    """When the next request may be sent."""

    def __post_init__(self) -> None:
        """Refuse an address or a key that cannot be used, before anything is sent."""
        _check_address(self.endpoint)
        read_key(self.endpoint)

    def complete(self, messages: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> Reply:
        """One chat completion, tried again while the fault may pass.

        Args:
            messages: Turns with role and content.
            settings: Other fields of the request: `max_tokens`, `temperature`, `logprobs`, …

        Raises:
            RequestRefusedError: The service refuses this request (its length, its content).
            ArgumentError: Key, model or address are refused.
            InterruptedRun: It does not answer, or not any more; what was answered before is kept by the caller.
        """
        body = json.dumps({"model": self.endpoint.model, "messages": list(messages), **settings}).encode("utf-8")
        for attempt in range(self.endpoint.retries + 1):
            self._wait_for_turn()
            try:
                started = self.clock()
                status, headers, data = self._send(body)
                value = read_body(self.endpoint, status, headers, data)
                return read_reply(value, self.clock() - started, attempt + 1)
            except AgainError as fault:
                if attempt == self.endpoint.retries or self._stopped.is_set():
                    raise _gave_up(self.endpoint, fault.what, attempt + 1) from fault
                self._rest(self._pause(attempt, fault.wait))
        raise AssertionError("the last try returns or raises")

    def stop(self) -> None:
        """Try nothing again, in any thread, until `go_on`."""
        self._stopped.set()

    def go_on(self) -> None:
        """Undo `stop`."""
        self._stopped.clear()

    def close(self) -> None:
        """Close the connections of all threads, once none of them asks any more."""
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()
            self._local = threading.local()

    def _rest(self, seconds: float) -> None:
        if self.sleep is None:
            self._stopped.wait(seconds)
        else:
            self.sleep(seconds)

    def _drop(self) -> None:
        """Close this thread's connection; the next request opens another."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            with self._lock:
                self._open.remove(connection)
            self._local.connection = None

    def _pause(self, attempt: int, asked: float | None) -> float:
        """Seconds until the next try: as the service asks, else doubled each time, up to 60, with a random part.

        The random part keeps many clients from coming back at the same moment; it is no result, so it has no seed.
        """
        if asked is not None:
            return asked
        return min(60.0, self.endpoint.backoff * 2.0**attempt) * (0.5 + 0.5 * random.random())

    def _wait_for_turn(self) -> None:
        limit = self.endpoint.requests_per_minute
        if limit is None:
            return
        with self._lock:
            now = self.clock()
            turn = max(now, self._next)
            self._next = turn + 60.0 / limit
        if turn > now:
            self._rest(turn - now)

    def _send(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of one request; a fault of the connection may pass."""
        path = f"{urlsplit(self.endpoint.url).path.rstrip('/')}/chat/completions"
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        headers["User-Agent"] = f"metier/{__version__}"
        key = read_key(self.endpoint)
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        connection = self._connection()
        try:
            connection.request("POST", path, body=body, headers=headers)
            response = connection.getresponse()
            data = self._read(response)
            found = {name.lower(): value for name, value in response.getheaders()}
            if response.will_close:
                self._drop()
            if len(data) > LONGEST_BODY:
                raise AgainError(f"an answer of more than {LONGEST_BODY // 2**20} MiB")
            return response.status, found, data
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            raise AgainError(_said(error)) from error

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        """The body, within the time of one request: a socket's own limit is only about the time between two parts."""
        until, parts, size = self.clock() + self.endpoint.timeout, [], 0
        while size <= LONGEST_BODY and (part := response.read1(65_536)):
            parts.append(part)
            size += len(part)
            if self.clock() > until:
                raise TimeoutError
        length = response.getheader("content-length")
        if length is not None and length.isdigit() and size < int(length) and size <= LONGEST_BODY:
            raise http.client.IncompleteRead(b"")
        response.close()  # of the answer, not of the connection: it is ready for the next request
        return b"".join(parts)

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            address = urlsplit(self.endpoint.url)
            host, timeout = str(address.hostname), self.endpoint.timeout
            if address.scheme == "https":
                context = ssl.create_default_context()
                connection = http.client.HTTPSConnection(host, address.port, timeout=timeout, context=context)
            else:
                connection = http.client.HTTPConnection(host, address.port, timeout=timeout)
            self._local.connection = connection
            with self._lock:
                self._open.append(connection)
        return connection


def read_key(endpoint: Endpoint) -> str | None:
    """The key out of the environment; None where the endpoint has none.

    Raises:
        LackingEnvironment: The variable is not set, or cannot be a key.
    """
    if endpoint.api_key_env is None:
        return None
    name, key = endpoint.api_key_env, os.environ.get(endpoint.api_key_env, "").strip()
    if not key:
        raise LackingEnvironment("api_key_env", f"the environment variable {name} is not set", "", f"Set {name}.")
    if not key.isascii() or not key.isprintable() or " " in key:
        # http.client would quote the key in its own message.
        raise LackingEnvironment("api_key_env", f"{name} holds what cannot be a key", "printable ASCII", f"Set {name}.")
    return key


def _check_address(endpoint: Endpoint) -> None:
    try:
        address = urlsplit(endpoint.url)
        known = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:  # a port that is no number, an unclosed bracket
        known = False
    if not known:
        raise ArgumentError("endpoint", "what it names is no address", "such as https://host/v1")
    if address.username or address.password or address.query:
        fix = "Name the environment variable of the key in api_key_env."
        raise ArgumentError("endpoint", "the address holds more than host and path", "https://host/v1", fix)
    if address.scheme == "http" and endpoint.api_key_env is not None and address.hostname not in _LOCAL:
        raise ArgumentError(
            "endpoint", "http, and the key would go over the network unencrypted", "https, or a service on this machine"
        )


def _gave_up(endpoint: Endpoint, what: str, tries: int) -> MetierError:
    fix = "The answers so far are kept: run it again and it goes on there."
    return InterruptedRun(
        public_address(endpoint), f"did not answer in {tries} tries, the last time with {what}", "", fix
    )


def _said(error: Exception) -> str:
    """A connection's fault in words that hold no content."""
    if isinstance(error, TimeoutError):
        return "a timeout"
    if isinstance(error, ConnectionRefusedError):
        return "a refused connection"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"a broken connection ({type(error).__name__})"
