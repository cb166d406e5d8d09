"""Stand-ins: for every piece of personal data another of the same kind and form, that is nobody's where that can be.

Which one is drawn by HMAC-SHA256 (RFC 2104) under the user's key: the same value gets the same stand-in, and without
the key nobody can try values until one fits. Where ranges are reserved for examples, stand-ins come from them:

    EMAIL_ADDRESS, URL   example.com, .net, .org (RFC 2606)
    IP_ADDRESS           192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24 (RFC 5737); 2001:db8::/32 (RFC 3849)
    PHONE_NUMBER         555-01xx (North America); 01632 960xxx and 07700 900xxx (Ofcom, United Kingdom)
    CREDIT_CARD          4000 00… for Visa's (test cards, with a right check digit); all others with a wrong one
    IBAN_CODE            check digits 00, which no bank gives (ISO 13616)
    US_SSN               area 000, which is never issued

Telephone numbers of other countries have no such range: theirs may be somebody's. Names are frequent ones, of the
same gender where the lists know it.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from metier.data.privacy.checks import digits_of, luhn_digit
from metier.data.privacy.names import PARTICLES, name_lists
from metier.errors import ArgumentError

KEY_BYTES = 16
"""Shortest key."""
SCOPES = ("record", "set")
"""Where the same value has the same stand-in. `set`: everywhere, so that rows about one person stay together, and may
be brought together by whoever sees them; two values may then also share one."""

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ATTEMPTS = 50
_PLACES = (
    "Fairview", "Midway", "Oak Grove", "Franklin", "Riverside", "Centerville", "Mount Pleasant", "Georgetown", "Salem",
    "Greenwood", "Springfield", "Pleasant Hill", "Lakeview", "Clinton", "Newport", "Bristol", "Ashland", "Burlington",
    "Manchester", "Milton", "Oxford", "Auburn", "Dayton", "Lexington", "Milford", "Winchester", "Hudson", "Kingston",
    "Dover", "Clayton", "Oakland", "Marion", "Shady Grove", "Five Points", "Union Hill", "Cedar Creek",
)  # fmt: skip
_STREETS = ("Oak", "Maple", "Cedar", "Elm", "Lake", "Hill", "Park", "Pine", "Walnut", "Church", "Mill", "Spring")
_ENDS = ("Street", "Road", "Avenue", "Lane")


class Draw:
    """Numbers that follow from a key and what they are drawn for: HMAC-SHA256 in counter mode."""

    def __init__(self, key: bytes, *about: str) -> None:
        """Begin.

        Args:
            key: Secret.
            about: What is drawn for.
        """
        self._key = key
        self._about = b"".join(
            len(part := each.encode(errors="surrogatepass")).to_bytes(8, "big") + part for each in about
        )
        self._block = 0
        self._bytes = b""

    def below(self, bound: int) -> int:
        """A whole number from 0 to `bound` - 1; `bound` far below 2^64."""
        if len(self._bytes) < 8:
            message = self._block.to_bytes(8, "big") + self._about
            self._bytes += hmac.digest(self._key, message, hashlib.sha256)
            self._block += 1
        value, self._bytes = int.from_bytes(self._bytes[:8], "big"), self._bytes[8:]
        return value % bound

    def pick(self, choices: Sequence[str]) -> str:
        """One of them."""
        return choices[self.below(len(choices))]

    def digits(self, count: int) -> str:
        """So many digits."""
        return "".join(str(self.below(10)) for _ in range(count))


class StandIns:
    """Makes stand-ins under a key."""

    version = 1

    def __init__(self, key: bytes, scope: str = "record") -> None:
        """Take the key.

        Args:
            key: At least 16 bytes, kept secret.
            scope: One of `SCOPES`.

        Raises:
            ArgumentError: The key is too short, or there is no such scope.
        """
        if len(key) < KEY_BYTES:
            raise ArgumentError("privacy.key", f"has {len(key)} bytes", f"at least {KEY_BYTES}")
        if scope not in SCOPES:
            raise ArgumentError("privacy.scope", f"is `{scope}`", f"one of {', '.join(SCOPES)}")
        self._key, self.scope = key, scope

    def for_record(self, text: str, values: Iterable[tuple[str, str]]) -> RecordStandIns:
        """The stand-ins of one record.

        Args:
            text: What the record is known by, such as its prompt; the same text, the same stand-ins.
            values: Kind and value of all that will be replaced in it.
        """
        salt = text if self.scope == "record" else ""
        return RecordStandIns(self._key, salt, values, distinct=self.scope == "record")


class RecordStandIns:
    """Stand-ins of one record: the same value has one, whatever its letters' case and its separators."""

    def __init__(self, key: bytes, salt: str, values: Iterable[tuple[str, str]], *, distinct: bool) -> None:
        """See `StandIns.for_record`; `distinct`: two values never share a stand-in."""
        self._key, self._salt, self._distinct = key, salt, distinct
        self._attempts: dict[tuple[str, str], int] = {}
        values = sorted(set(values))
        persons = [value for kind, value in values if kind == "PERSON"]
        self._roles = _roles_of(persons)
        words = {word.casefold() for value in persons for word in _WORD.findall(value)}
        # Over a whole set, what else is in the record must not decide.
        self._taken = {_plain(value) for _, value in values} | words if distinct else set()

    def stand_in(self, kind: str, value: str) -> str:
        """What stands for a value.

        Args:
            kind: Of the value.
            value: As it stands in the text.
        """
        if kind == "PERSON":
            return _WORD.sub(lambda word: self._name(word[0]), value)
        if kind == "DATE_TIME":
            return _shifted(value, 1 + self._draw("days", "").below(180)) or f"<{kind}>"
        maker = MAKERS.get(kind, _same_form)
        return self._unlike((kind, _plain(value)), lambda draw: maker(value, draw), _plain)

    def _name(self, word: str) -> str:
        if word in PARTICLES:
            return word
        role = self._roles.get(word.casefold(), "l")
        if len(word) == 1:
            return self._draw("initial", word.casefold()).pick(_LETTERS.upper())
        names = name_lists().frequent(role) if role != "u" else _either()
        made = self._unlike((f"name {role}", word.casefold()), lambda draw: draw.pick(names), str.casefold)
        return made.upper() if word.isupper() else made.lower() if word.islower() else made

    def _unlike(self, about: tuple[str, str], make: Callable[[Draw], str], plain: Callable[[str], str]) -> str:
        """A stand-in that is no value of the record, nor, where they are distinct, another's stand-in."""
        # The attempt is kept and not what it made: the same value in another form is drawn alike, in that form.
        attempt = self._attempts.get(about, 0)
        made = make(self._draw(*about, str(attempt)))
        if about not in self._attempts:
            while attempt < _ATTEMPTS and (plain(made) == about[1] or plain(made) in self._taken):
                attempt += 1
                made = make(self._draw(*about, str(attempt)))
            self._attempts[about] = attempt
            if self._distinct:
                self._taken.add(plain(made))
        return made

    def _draw(self, *about: str) -> Draw:
        return Draw(self._key, self._salt, *about)


def _roles_of(persons: Iterable[str]) -> dict[str, str]:
    """Whether each word of names is a first name (m, f, u) or a surname (l); full names tell more than single words."""
    lists = name_lists()
    roles: dict[str, str] = {}
    for value in sorted(persons, key=lambda value: (-len(_WORD.findall(value)), value)):
        words = [word for word in _WORD.findall(value) if word not in PARTICLES]
        for place, word in enumerate(words):
            last = place == len(words) - 1 and (place > 0 or not lists.is_first(word))
            roles.setdefault(word.casefold(), "l" if last else lists.gender(word) or "u")
    return roles


def _either() -> tuple[str, ...]:
    return tuple(sorted((*name_lists().frequent("m"), *name_lists().frequent("f"))))


def _plain(value: str) -> str:
    return "".join(character for character in value.casefold() if character.isalnum())


def _filled(form: str, digits: str) -> str:
    """`form` with its digits replaced, one by one, by those of the same number."""
    rest = iter(digits)
    return "".join(next(rest) if character in "0123456789" else character for character in form)


def _email(value: str, draw: Draw) -> str:
    lists = name_lists()
    first, last = draw.pick(_either()), draw.pick(lists.frequent("l"))
    separator = next((mark for mark in "._-" if mark in value.split("@")[0]), "" if value != value.lower() else ".")
    local = f"{first}{separator}{last}{draw.digits(2)}"
    local = local.lower() if value == value.lower() else local
    return f"{local}@example.{draw.pick(('com', 'net', 'org'))}"


def _url(value: str, draw: Draw) -> str:
    scheme = re.match(r"(?i)(?:https?|ftp)://", value)
    rest = value[scheme.end() :] if scheme else value
    host = "www.example.com" if rest.lower().startswith("www.") else "example.com"
    path = f"/{draw.digits(8)}" if "/" in rest.rstrip("/") else "/" if rest.endswith("/") else ""
    return f"{scheme[0] if scheme else ''}{host}{path}"


def _ip(value: str, draw: Draw) -> str:
    if ":" in value:
        return f"2001:db8::{draw.below(1 << 16):x}:{draw.below((1 << 16) - 1) + 1:x}"
    return f"{draw.pick(('192.0.2', '198.51.100', '203.0.113'))}.{1 + draw.below(254)}"


def _card(value: str, draw: Draw) -> str:
    digits = digits_of(value)
    if len(digits) < 12:
        return _same_form(value, draw)
    if digits.startswith("4") and len(digits) == 16:
        made = "400000" + draw.digits(9)
        return _filled(value, made + luhn_digit(made))
    made = digits[:2] + draw.digits(len(digits) - 3)
    return _filled(value, made + str((int(luhn_digit(made)) + 1 + draw.below(9)) % 10))


def _iban(value: str, draw: Draw) -> str:
    made, count = [], 0
    for character in value:
        count += character.isalnum()
        if not character.isalnum() or count <= 2:
            made.append(character)
        else:
            made.append("0" if count <= 4 else _same_form(character, draw))
    return "".join(made)


def _ssn(value: str, draw: Draw) -> str:
    if len(digits_of(value)) != 9:
        return _same_form(value, draw)
    return _filled(value, f"000{1 + draw.below(98):02}{draw.digits(4)}")


def _phone(value: str, draw: Draw) -> str:
    digits = digits_of(value)
    if len(digits) < 7:
        return _same_form(value, draw)
    north = len(digits) == 11 and digits[0] == "1"
    if north or (len(digits) == 10 and digits[0] != "0" and "+" not in value):
        made = f"{digits[:-10]}{2 + draw.below(8)}{draw.below(9)}{draw.below(10)}55501{draw.digits(2)}"
    elif len(digits) == 7:
        made = f"55501{draw.digits(2)}"
    elif (british := re.fullmatch(r"(440?|00440?|0)([1-9])\d{9}", digits)) is not None:
        made = f"{british[1]}{'7700900' if british[2] == '7' else '1632960'}{draw.digits(3)}"
    elif "+" in value or digits.startswith("00"):
        # Past the country code, 00 begins no number of a subscriber.
        kept = 5 if digits.startswith("00") else 3
        made = f"{digits[:kept]}00{draw.digits(len(digits) - kept - 2)}"
    else:
        made = digits[0] + draw.digits(len(digits) - 1)
    return _filled(value, made)


def _location(value: str, draw: Draw) -> str:
    if value[:1].isdigit():
        length = min(len(value) - len(value.lstrip("0123456789")), 4)
        return f"{1 + draw.below(9)}{draw.digits(length - 1)} {draw.pick(_STREETS)} {draw.pick(_ENDS)}"
    made = draw.pick(_PLACES)
    return made.upper() if value.isupper() else made


def _same_form(value: str, draw: Draw) -> str:
    """Another letter for every letter, capitals kept, and another digit for every digit."""
    made = []
    for character in value:
        if character.isdigit():
            made.append(draw.digits(1))
        elif character.isalpha():
            letter = draw.pick(_LETTERS)
            made.append(letter.upper() if character.isupper() else letter)
        else:
            made.append(character)
    return "".join(made)


MAKERS: Mapping[str, Callable[[str, Draw], str]] = {
    "EMAIL_ADDRESS": _email,
    "URL": _url,
    "IP_ADDRESS": _ip,
    "CREDIT_CARD": _card,
    "IBAN_CODE": _iban,
    "US_SSN": _ssn,
    "PHONE_NUMBER": _phone,
    "LOCATION": _location,
}
"""How a stand-in of a kind is made; all others keep their form, letter for letter and digit for digit."""

_DATE = re.compile(r"(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})")


def _shifted(value: str, days: int) -> str | None:
    """A date in numbers so many days earlier, in the same form; None for what is no such date.

    Days and months in either order: read as month, day unless that is no date. All dates of a scope move by the same
    number of days, so that their distances stay.
    """
    found = _DATE.match(value)
    if found is None:
        return None
    first, mark, middle, last = found.groups()
    orders = ("ymd",) if len(first) == 4 else ("mdy", "dmy")
    for order in orders:
        part = dict(zip(order, (first, middle, last), strict=True))
        year = int(part["y"]) + (2000 if len(part["y"]) == 2 and int(part["y"]) < 50 else 0)
        year += 1900 if len(part["y"]) == 2 and year < 100 else 0
        try:
            moved = datetime.date(year, int(part["m"]), int(part["d"])) - datetime.timedelta(days=days)
        except (ValueError, OverflowError):
            continue
        made = {"y": str(moved.year)[-len(part["y"]) :], "m": str(moved.month), "d": str(moved.day)}
        return mark.join(made[name].zfill(len(part[name])) for name in order) + value[found.end() :]
    return None
