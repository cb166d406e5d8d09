"""Secrets are put together here at run time, so that no scanner takes this file for a leak."""

from __future__ import annotations

import base64
import builtins
import json
import random
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.data.cleaning import secrets
from metier.data.cleaning.rows import Row
from metier.data.cleaning.secrets import MASK, find_secrets, mask_secrets, screen_secrets
from metier.errors import MissingPackage

RANDOM = random.Random(17)
LETTERS_AND_DIGITS = string.ascii_letters + string.digits


def made(count: int, alphabet: str = LETTERS_AND_DIGITS) -> str:
    return "a1" + "".join(RANDOM.choice(alphabet) for _ in range(count - 2))


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


LOWER, HEX = string.ascii_lowercase + string.digits, "0123456789abcdef"
TOKEN = ".".join([_part({"alg": "HS256", "typ": "JWT"}), _part({"sub": "1234567890", "name": "x"}), made(43)])
PEM = "\n".join(
    ["-----BEGIN " + "RSA PRIVATE KEY-----", *(made(64) for _ in range(6)), "-----END RSA PRIVATE KEY-----"]
)
PLANTED = {
    "AWS Access Key": "AKIA" + made(16, string.ascii_uppercase + string.digits).upper(),
    "GitHub Token": "ghp_" + made(36),
    "GitLab Token": "glpat-" + made(20),
    "OpenAI Token": "sk-" + made(20) + "T3BlbkFJ" + made(20),
    "PyPI Token": "pypi-AgEIcHlwaS5vcmc" + made(80),
    "SendGrid API Key": f"SG.{made(22)}.{made(43)}",
    "Slack Token": "xoxb-" + "123456789012-1234567890123-" + made(24),
    "Square OAuth Secret": "sq0csp-" + made(43),
    "Stripe Access Key": "sk_live_" + made(24),
    "Telegram Bot Token": "1234567890:" + made(35),
    "Twilio API Key": "SK" + made(32, LOWER),
    "Mailchimp Access Key": made(32, LOWER) + "-us12",
    "Azure Storage Account access key": "AccountKey=" + made(86) + "==",
    "JSON Web Token": TOKEN,
    "Private Key": PEM,
    "Google API Key": "AIza" + made(35),
    "Hugging Face Token": "hf_" + "".join(RANDOM.choice(string.ascii_letters) for _ in range(34)),
    "Anthropic API Key": "sk-ant-api03-" + made(93) + "AA",
}


def row(key: int, text: str, answer: str = "", *, labelled: bool = True) -> Row:
    return Row(
        key=key, split="train", text=text, answer=answer, labelled=labelled, group=None, source="a.csv", row=key + 1
    )


@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize("around", ["{}", "my key is {} , please help", "first line\nkey={}\nlast line", '"k": "{}"'])
def test_a_planted_secret_is_found_where_it_is(kind: str, around: str) -> None:
    secret = PLANTED[kind]
    text = around.format(secret)
    found = find_secrets(text)
    assert kind in {one.kind for one in found}
    masked = mask_secrets(text)
    assert masked.count(MASK) == 1
    assert not any(secret[at : at + 12] in masked for at in range(0, len(secret) - 12))
    assert masked.replace(MASK, "").strip() == around.format("").strip()


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        pytest.param("see ftp://joe:hunter2x@host.org/x", f"see ftp://joe:{MASK}@host.org/x", id="in an address"),
        pytest.param('api_key = "9f8e7d6c5b4a"', f'api_key = "{MASK}"', id="assigned"),
        pytest.param("{'password': 'S3cure!pass99'}", f"{{'password': '{MASK}'}}", id="in an object"),
        pytest.param(
            "x\naws_secret_access_key = '" + "wJalrXUtnFEMI/K7MDENG/bPxRfiCY3x4mpl3K3y" + "'",
            f"x\naws_secret_access_key = '{MASK}'", id="the name stays",
        ),
    ],
)  # fmt: skip
def test_only_the_secret_is_masked(text: str, masked: str) -> None:
    assert mask_secrets(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I forgot my password: what is the secret? It's 'in the drawer'.",
        'password = "your password here"; api_key = "YOUR_API_KEY"; token: "<token>"; secret = "${SECRET}"',
        'db_password = get_secret("name"); password = "****************"; password = "password"',
        "curl ftp://user:password@host, https://user:{{pass}}@host, https://u:$PASS@host",
        "https://www.example.org/a/very/long/path/with-many-parts/and_a_name?id=1234567890123456789012",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "uuid 123e4567-e89b-12d3-a456-426614174000",
        "-----BEGIN " + "RSA PRIVATE KEY----- is the first line of such a file, which then has many lines of text",
        "AKIAIOSFODNN" + "EXAMPLE is not a key: it has no digit",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 abcdefghijklmnopqrstuvwxyz",
        "Donaudampfschifffahrtsgesellschaftskapitaen APFELSTRUDELUNDSAHNE",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert find_secrets(text) == ()
    assert mask_secrets(text) == text


def test_every_plugin_that_is_named_exists() -> None:
    kinds = {kind for kind, _ in secrets._library().shapes}
    assert len(secrets._library().shapes) > 40
    assert kinds >= set(PLANTED) - {"Private Key"}


@given(
    st.lists(
        st.sampled_from([*PLANTED.values(), "password = ", '"', "'", "://a:", "@", " ", "\n", "=", "key"])
        | st.text(max_size=4),
        max_size=8,
    ).map("".join)
)  # fmt: skip
def test_masking_twice_is_masking_once(text: str) -> None:
    masked = mask_secrets(text)
    assert mask_secrets(masked) == masked


def test_the_screen_names_kinds_and_never_a_secret() -> None:
    key = PLANTED["GitHub Token"]
    rows = [
        row(0, "nothing here"),
        row(1, f"token {key}"),
        row(2, "how?", f"use {PLANTED['Slack Token']} and {key}", labelled=False),
        row(3, "label", key),  # a label is no written answer
    ]
    finding = screen_secrets(rows)
    assert finding.looked_at == 4
    assert [(doubt.key, doubt.reason, doubt.suggestion) for doubt in finding.doubts] == [
        (1, "secret in text", "mask"),
        (2, "secret in answer", "mask"),
    ]
    assert finding.doubts[0].detail == "its text has what looks like a secret: GitHub Token"
    assert finding.doubts[1].detail == "its answer has what looks like 2 secrets: GitHub Token, Slack Token"
    assert finding.counts == {"secret in text": 1, "secret in answer": 1}
    assert finding.tables["secrets"] == [
        {"kind": "GitHub Token", "in": "answer", "rows": 1},
        {"kind": "GitHub Token", "in": "text", "rows": 1},
        {"kind": "Slack Token", "in": "answer", "rows": 1},
    ]
    assert key[6:] not in repr(finding)


@pytest.mark.parametrize("part", ["key ", " ", "//", "eyJ", "://a:", "-----BEGIN PRIVATE KEY-----\n", "password='"])
def test_hostile_text_costs_no_more_than_its_length(part: str) -> None:
    text = "key" + part * (60_000 // len(part)) + "x" * 30
    assert len(find_secrets(text)) <= 1  # must end: the cube of the spaces would take hours


@pytest.mark.parametrize("before", [17_990, 18_010, 19_990, 25_000])
def test_a_key_far_into_a_text_is_found(before: int) -> None:
    text = "word " * (before // 5) + PLANTED["GitHub Token"] + " end"
    assert mask_secrets(text) == "word " * (before // 5) + MASK + " end"


def test_a_long_line_is_looked_at_in_pieces() -> None:
    text = "word " * 3000 + 'password = "S3cure!pass99"'
    assert mask_secrets(text) == "word " * 3000 + f'password = "{MASK}"'


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: Callable[..., Any] = builtins.__import__

    def refuse(name: str, *rest: Any, **options: Any) -> Any:
        if name.startswith("detect_secrets"):
            raise ImportError(name)
        return imported(name, *rest, **options)

    secrets._library.cache_clear()
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingPackage, match=r"needs the package detect-secrets\. Run `pip install detect-secrets`\."):
        find_secrets(PLANTED["GitHub Token"])


@pytest.mark.parametrize(
    ("name", "most"),
    [("customer_support/banking77/train.csv", 0), ("technical/nl2bash/all.cm", 0), ("technical/nl2bash/all.nl", 0)],
)
def test_ordinary_text_has_no_secrets(real_data: Callable[[str], Path], name: str, most: int) -> None:
    lines = real_data(name).read_text(encoding="utf-8").splitlines()[:6000]
    assert sum(bool(find_secrets(line)) for line in lines) <= most
