"""What an OpenAI-compatible endpoint is, and what its answers mean: a reply, a passing fault, or a refusal."""

from __future__ import annotations

import email.utils
import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from metier.errors import ArgumentError, InterruptedRun, MetierError

AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""Statuses after which the same request is sent again."""
OF_THE_ITEM = frozenset({400, 413, 422})
"""Statuses by which a server refuses one request: its length, its content."""
LONGEST_WAIT = 300.0
"""Seconds that a server may ask to wait for; more is a quota that is used up."""
QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached", "quota_exceeded"})
"""Error codes that come as 429 and that no waiting helps against."""
_CODE = re.compile(r"[^A-Za-z0-9_.:-]")


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a service listens, and how patiently it is asked."""

    url: str
    """Its base, such as `https://host/v1`."""
    model: str
    api_key_env: str | None = None
    """Name of the environment variable that holds the key. None: no key is sent."""
    timeout: float = 60.0
    """Seconds that one request may take."""
    retries: int = 6
    """Further tries after the first."""
    backoff: float = 1.0
    """Seconds before the second try; doubled for each further one, up to a minute."""
    requests_per_minute: float | None = None
    """None: no limit of ours."""
    price_in: float | None = None
    """Price of a million tokens that are read. None: not known."""
    price_out: float | None = None
    """Price of a million tokens that are written."""
    currency: str = "USD"

    def price(self, read: int | None, written: int | None) -> float | None:
        """The price of one answer; None where a price or a count is not known."""
        if self.price_in is None or self.price_out is None or read is None or written is None:
            return None
        return (read * self.price_in + written * self.price_out) / 1e6


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back for one request."""

    text: str | None
    """None where the service wrote nothing: a refusal, a filter."""
    stop: str
    """The service's `finish_reason`: `stop`, `length`, `content_filter`, …"""
    tokens_in: int | None
    tokens_out: int | None
    seconds: float
    """Of the try that succeeded, from sending to the last byte."""
    tries: int = 1
    first_token: Mapping[str, float] | None = None
    """Log-probability of each of the most likely first tokens, where the service gives them."""
    served_by: str | None = None
    """The model that the service says has answered."""


class RequestRefusedError(Exception):
    """The service refuses this one request, whoever asks; `code` is its own short word for why."""

    def __init__(self, status: int, code: str) -> None:
        """Remember the HTTP status and the code."""
        super().__init__(f"HTTP {status}{f' ({code})' if code else ''}")
        self.status, self.code = status, code


class AgainError(Exception):
    """A fault that may pass: what it was, and how long the service asks to wait."""

    def __init__(self, what: str, wait: float | None = None) -> None:
        """Remember both; no wait where the service asks for none."""
        super().__init__(what)
        self.what, self.wait = what, wait


def public_address(endpoint: Endpoint) -> str:
    """The address without what could be secret in it."""
    address = urlsplit(endpoint.url)
    port = f":{address.port}" if address.port else ""
    return f"{address.scheme}://{address.hostname}{port}{address.path}"


def read_body(endpoint: Endpoint, status: int, headers: Mapping[str, str], data: bytes) -> Mapping[str, Any]:
    """The JSON of a good answer; anything else is an error of one of three kinds.

    Args:
        endpoint: Who answered.
        status: HTTP status.
        headers: By lower-case name.
        data: The body.

    Raises:
        AgainError: The fault may pass.
        RequestRefusedError: The service refuses this one request.
        MetierError: It refuses all of them.
    """
    if status == 200:
        try:
            value = json.loads(data.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise AgainError("an answer that is no JSON") from error
        if not isinstance(value, dict) or not isinstance(value.get("choices"), list) or not value["choices"]:
            raise AgainError("an answer without `choices`")
        _check_message(value["choices"][0])
        return value
    code = _error_code(data)
    if status in AGAIN and code not in QUOTA:
        wait = _asked_wait(headers.get("retry-after"))
        if wait is None or wait <= LONGEST_WAIT:
            raise AgainError(f"HTTP {status}{f' ({code})' if code else ''}", wait)
    if status in OF_THE_ITEM:
        raise RequestRefusedError(status, code)
    raise _refused(endpoint, status, code)


def _check_message(choice: Any) -> None:
    """Refuse what is no message, so that a fault of the service is not written down as a model that says nothing."""
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise AgainError("an answer without a message")
    if not isinstance(message.get("content"), str | list | None):
        raise AgainError("an answer whose content is no text")


def _refused(endpoint: Endpoint, status: int, code: str) -> MetierError:
    """The error for a status that concerns all requests."""
    said = f"answered HTTP {status}{f' ({code})' if code else ''}"
    if status in (401, 403):
        fix = f"Check the key in {endpoint.api_key_env}." if endpoint.api_key_env else "Name its key in api_key_env."
        return ArgumentError(public_address(endpoint), said, "a key that it accepts", fix)
    if status == 404:
        return ArgumentError(
            public_address(endpoint), said, f"an address with /chat/completions and a model {endpoint.model!r}",
            "Check endpoint and model; the address usually ends in /v1.",
        )  # fmt: skip
    if 300 <= status < 400:
        return ArgumentError(public_address(endpoint), f"{said}: it redirects", "the final address", "Name that one.")
    fix = "The answers so far are kept: run it again later and it goes on there."
    return InterruptedRun(public_address(endpoint), said, "", fix)


def read_reply(value: Mapping[str, Any], seconds: float, tries: int) -> Reply:
    """What a chat completion says, as `read_body` gave it; parts that are missing or of another type are unknown."""
    choice = value["choices"][0]
    message = choice["message"]
    content = message.get("content")
    if isinstance(content, list):  # parts, as some services give them
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    if not content and message.get("tool_calls"):
        # A turn that only calls tools says its calls, as gold answers do.
        content = json.dumps(message["tool_calls"], ensure_ascii=False)
    usage = value.get("usage") if isinstance(value.get("usage"), dict) else {}
    served = value.get("model")
    # Some services say in a field of its own that the model refuses; its words can quote the text, and are left.
    refused = content is None and isinstance(message.get("refusal"), str)
    return Reply(
        text=content if isinstance(content, str) else None,
        stop="refusal" if refused else str(choice.get("finish_reason") or "stop"),
        tokens_in=_count(usage, "prompt_tokens"),
        tokens_out=_count(usage, "completion_tokens"),
        seconds=seconds,
        tries=tries,
        first_token=_first_token(choice.get("logprobs")),
        served_by=served if isinstance(served, str) else None,
    )


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _first_token(logprobs: Any) -> dict[str, float] | None:
    """The alternatives of the first token, the likeliest of equal texts."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        return None
    found: dict[str, float] = {}
    for row in content[0].get("top_logprobs") or []:
        if isinstance(row, dict) and isinstance(row.get("token"), str) and isinstance(row.get("logprob"), int | float):
            found[row["token"]] = max(float(row["logprob"]), found.get(row["token"], -math.inf))
    return found or None


def _error_code(data: bytes) -> str:
    """The service's short word for a fault. Its message is left out: it can quote the text that was sent."""
    try:
        error = json.loads(data.decode("utf-8", "replace")).get("error")
    except (ValueError, RecursionError, AttributeError):
        return ""
    if not isinstance(error, dict):
        return ""
    word = error.get("code") or error.get("type") or ""
    return _CODE.sub("", str(word))[:60]


def _asked_wait(header: str | None) -> float | None:
    """Seconds that a `Retry-After` asks for, in seconds or as a date; None without one."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None
