"""Keys, tokens and passwords in texts: found by the shapes that detect-secrets knows, masked, never shown.

A model that learned a key can be made to say it. The plugins of detect-secrets (Apache-2.0) are used for their
regular expressions, on strings in memory: nothing is written to a file, and no key is tried out over the network.
Left out are those that guess from looks alone (high entropy), since ordinary text, ids and hashes look so too, and
public addresses (personal data, see `privacy`). A few shapes that detect-secrets 1.5 does not know are added, as
gitleaks (MIT) has them.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from metier.data.cleaning.rows import CountsOfPart, Doubt, Finding, Rows
from metier.errors import MissingPackage

if TYPE_CHECKING:
    from detect_secrets.plugins.keyword import KeywordDetector

STEP = "secrets"
VERSION = 2
MASK = "<SECRET>"
BASIC_AUTH = "Basic Auth Credentials"
JSON_TOKEN = "JSON Web Token"
NPM_TOKEN = "NPM tokens"
ROUNDS = 5
"""How often a text is masked at most: a mask may uncover what an overlapping secret hid."""
WINDOW, OVERLAP = 20_000, 2_000
"""Characters in which keys are looked for at a time, so that hostile text costs no more than its length."""
LONGEST_LINE = 2_000
"""Characters of a line in which assignments are looked for; longer lines are looked at in pieces."""

_PLUGINS = (
    "ArtifactoryDetector", "AWSKeyDetector", "AzureStorageKeyDetector", "BasicAuthDetector", "CloudantDetector",
    "DiscordBotTokenDetector", "GitHubTokenDetector", "GitLabTokenDetector", "IbmCloudIamDetector",
    "IbmCosHmacDetector", "JwtTokenDetector", "MailchimpDetector", "NpmDetector", "OpenAIDetector",
    "PypiTokenDetector", "SendGridDetector", "SlackDetector", "SoftlayerDetector", "SquareOAuthDetector",
    "StripeDetector", "TelegramBotTokenDetector", "TwilioKeyDetector",
)  # fmt: skip
"""Classes of detect-secrets whose regular expressions are used."""
_MORE = {
    "Anthropic API Key": r"sk-ant-(?:api|admin)\d\d-[\w-]{93}AA",
    "GitHub Token": r"github_pat_\w{82}",
    "Google API Key": r"AIza[\w-]{35}",
    "Hugging Face Token": r"hf_[A-Za-z]{34}",
    "Stripe Access Key": r"[rs]k_(?:test|live|prod)_[A-Za-z0-9]{24,99}",
}
"""Shapes that detect-secrets 1.5 lacks, from gitleaks' rules."""

LONG = 20
"""Characters of the shortest key that is looked for; passwords in addresses and assignments may be shorter."""
_KEYWORDS = ("key", "pass", "pwd", "secret", "contrase")
_BEGIN = r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
_PRIVATE_KEY = re.compile(
    rf"{_BEGIN}(?:(?!-----BEGIN).){{40,20000}}?-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
    # Cut off: headers, then lines of base64.
    rf"|{_BEGIN}(?:\\n|\s)*(?:[\w-]+: [^\n]*\n)*\s*(?:[A-Za-z0-9+/=]{{16,}}(?:\\n|\s)*)+"
    r"|PuTTY-User-Key-File-\d:.{40,20000}?Private-(?:MAC|Hash): *[0-9a-f]+",
    re.DOTALL,
)
_LONG_GAP = re.compile(" {9,}")
_REST = re.compile(r"[\w+/=-]*")
_REST_OF_TOKEN = re.compile(r"(?:[\w+/=-]|\.(?=[\w+/=-]))*")
_WORDS_FOR_PASSWORDS = frozenset(("password", "passwd", "pass", "pw", "pwd", "secret", "token", "key", "xxx"))
_REFERENCE = re.compile(r"[$%@{<\[].*|.*[\s(].*|[*.xX•_-]+", re.DOTALL)
"""What stands for a secret: `${NAME}`, `<your key>`, `get_key()`, `****`, several words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """Where a secret is in a text."""

    kind: str
    """As detect-secrets names it: `AWS Access Key`, `Private Key`, `Secret Keyword` (a password that is assigned)."""
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class SecretSettings:
    """Which secrets are looked for."""

    assignments: bool = True
    """Also values assigned to names such as `password` and `api_key`, in quotes, whatever their shape."""


def find_secrets(text: str, *, assignments: bool = True) -> tuple[Secret, ...]:
    """Secrets in `text`, in order, none overlapping another.

    Args:
        text: Any text.
        assignments: See `SecretSettings`.

    Raises:
        MissingPackage: detect-secrets is not installed, and the text has to be looked at with it.
    """
    found: list[Secret] = []
    if _may_have_key(text):
        found += _keys(text)
    if assignments and _may_assign(text):
        found += _assigned(text)
    return _apart(found) if found else ()


def mask_secrets(text: str) -> str:
    """`text` with `<SECRET>` in the place of each secret; masking twice changes nothing.

    Raises:
        MissingPackage: detect-secrets is not installed, and the text has to be looked at with it.
    """
    for _ in range(ROUNDS):
        secrets = find_secrets(text)
        if not secrets:
            break
        parts: list[str] = []
        end = 0
        for secret in secrets:
            parts += [text[end : secret.start], MASK]
            end = secret.end
        text = "".join([*parts, text[end:]])
    return text


def screen_secrets(
    rows: Rows, settings: SecretSettings | None = None, *, before: Mapping[int, CountsOfPart] = MappingProxyType({})
) -> Finding:
    """Doubt rows with a secret in the text or the written answer; the doubt says the kind and never the secret.

    Args:
        rows: All rows.
        settings: Default: `SecretSettings()`.
        before: Key of a row in which secrets were masked -> how often each kind was in `text` or `answer`.

    Raises:
        MissingPackage: detect-secrets is not installed, and a text has to be looked at with it.
    """
    start = time.perf_counter()
    settings = settings or SecretSettings()
    doubts: list[Doubt] = []
    kinds: Counter[tuple[str, str]] = Counter()
    looked_at = 0
    for row in rows:
        looked_at += 1
        for part, text in (("text", row.text), ("answer", "" if row.labelled else row.answer)):
            secrets = Counter(secret.kind for secret in find_secrets(text, assignments=settings.assignments))
            secrets.update(before[row.key](part) if row.key in before else {})
            if secrets:
                kinds.update((name, part) for name in secrets)
                doubts.append(_doubt(row.key, part, sorted(secrets), secrets.total()))
    return Finding(
        step=STEP,
        version=VERSION,
        looked_at=looked_at,
        doubts=tuple(doubts),
        counts=Counter(doubt.reason for doubt in doubts),
        tables={"secrets": [{"kind": kind, "in": part, "rows": n} for (kind, part), n in sorted(kinds.items())]},
        notes=(
            "secrets are known by their shape and were not tried out; passwords in running text, and keys of unknown "
            "shape without a name such as `api_key` before them, are not found",
        ),
        seconds=time.perf_counter() - start,
    )


def _doubt(key: int, part: str, names: Sequence[str], count: int) -> Doubt:
    what = "a secret" if count == 1 else f"{count} secrets"
    return Doubt(
        key=key,
        step=STEP,
        reason=f"secret in {part}",
        detail=f"its {part} has what looks like {what}: {', '.join(names)}",
        suggestion="mask",
    )


def _apart(found: Sequence[Secret]) -> tuple[Secret, ...]:
    """In order; overlapping ones as one, of the kind of the first (and of those the longest)."""
    apart: list[Secret] = []
    for secret in sorted(found, key=lambda secret: (secret.start, -secret.end)):
        if not apart or secret.start >= apart[-1].end:
            apart.append(secret)
        elif secret.end > apart[-1].end:
            apart[-1] = replace(apart[-1], end=secret.end)
    return tuple(apart)


def _keys(text: str) -> Iterator[Secret]:
    # Three optional runs of spaces stand side by side in some shapes: a long run would take its cube in time.
    text = _LONG_GAP.sub(lambda gap: " " * 8 + "\0" * (len(gap[0]) - 8), text)
    for found in _PRIVATE_KEY.finditer(text):
        yield Secret(kind="Private Key", start=found.start(), end=found.end())
    for kind, pattern in _library().shapes:
        if kind == NPM_TOKEN and "_authToken" not in text:
            continue  # its expression costs the square of a line's length
        for begin in range(0, len(text), WINDOW - OVERLAP):
            for found in pattern.finditer(text, begin, begin + WINDOW):
                start, end = _span(found)
                if _could_be_key(kind, found[0], text[start:end]):
                    yield Secret(kind=kind, start=start, end=_end(kind, text, end))
            if begin + WINDOW >= len(text):
                break


def _span(found: re.Match[str]) -> tuple[int, int]:
    """The secret in a match: the last group that is long, as in `key = (…)`; else all of it, white space aside."""
    groups = [number for number in range(1, (found.re.groups or 0) + 1) if found[number]]
    if groups and (len(found[groups[-1]]) >= 20 or found[0].startswith("://")):
        return found.span(groups[-1])
    first = len(found[0]) - len(found[0].lstrip(' \t\n=:"'))
    return found.start() + first, found.start() + len(found[0].rstrip(' \t\n"'))


def _end(kind: str, text: str, end: int) -> int:
    """Where the secret really ends: some shapes stop before the last characters (of a JWT, before its signature)."""
    if kind == BASIC_AUTH:
        return end
    rest = (_REST_OF_TOKEN if kind == JSON_TOKEN else _REST).match(text, end)
    return rest.end() if rest else end


def _could_be_key(kind: str, whole: str, secret: str) -> bool:
    if kind == BASIC_AUTH:
        return secret.lower() not in _WORDS_FOR_PASSWORDS and not _REFERENCE.fullmatch(secret)
    if kind == JSON_TOKEN:
        return _library().is_token(whole)
    # What stands for a key in a manual is words, `1234…`, or one letter again and again; a made key has both sorts.
    has_both = any(map(str.isdigit, secret)) and any(map(str.isalpha, secret))
    return (has_both or secret.startswith("hf_")) and len(set(secret)) > 6 and not _library().is_sequence(secret)


def _may_have_key(text: str) -> bool:
    return ("://" in text and "@" in text) or max(map(len, text.split()), default=0) >= LONG


def _may_assign(text: str) -> bool:
    if "=" not in text and ":" not in text and "(" not in text:
        return False
    lowered = text.lower()
    return any(word in lowered for word in _KEYWORDS)


def _assigned(text: str) -> Iterator[Secret]:
    plugin: KeywordDetector = _library().keyword
    start = 0
    for line in text.split("\n"):
        for piece in range(start, start + len(line), LONGEST_LINE):
            part = text[piece : min(piece + LONGEST_LINE, start + len(line))]
            for value in plugin.analyze_string(part) if _may_assign(part) else ():
                if _could_be_password(value):
                    at = piece + part.index(value)
                    yield Secret(kind=str(plugin.secret_type), start=at, end=at + len(value))
        start += len(line) + 1


def _could_be_password(value: str) -> bool:
    """Whether a value in quotes is more than a word, a placeholder, a call, a sequence or a row of stars."""
    if len(value) < 8 or len(set(value)) < 6 or _REFERENCE.fullmatch(value) or _library().is_sequence(value):
        return False
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value))


@dataclass(frozen=True, kw_only=True)
class _Library:
    """What is used of detect-secrets."""

    shapes: tuple[tuple[str, re.Pattern[str]], ...]
    """Kind and regular expression."""
    keyword: KeywordDetector
    is_token: Callable[[str], bool]
    """Whether a string decodes as a JSON Web Token."""
    is_sequence: Callable[[str], bool]
    """Whether a string is part of an alphabet or of digits in order."""


@lru_cache(maxsize=1)
def _library() -> _Library:
    try:
        from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
        from detect_secrets.filters.heuristic import is_sequential_string
        from detect_secrets.plugins.jwt import JwtTokenDetector
        from detect_secrets.plugins.keyword import KeywordDetector
    except ImportError as error:
        raise MissingPackage(
            "data.secrets", "looking for secrets needs the package detect-secrets", "",
            "Run `pip install detect-secrets`.",
        ) from error  # fmt: skip
    # Typed by nothing there: its own type variable has no bound that says what a plugin has.
    found: dict[str, Any] = get_mapping_from_secret_type_to_class()
    plugins = {plugin.__name__: plugin for plugin in found.values()}
    shapes = [(str(plugins[name].secret_type), pattern) for name in _PLUGINS for pattern in plugins[name]().denylist]
    more = [(kind, re.compile(rf"(?<!\w){pattern}(?![\w-])")) for kind, pattern in _MORE.items()]
    return _Library(
        shapes=(*shapes, *more),
        keyword=KeywordDetector(),
        is_token=JwtTokenDetector.is_formally_valid,
        is_sequence=is_sequential_string,
    )
