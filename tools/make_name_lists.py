"""Writes metier/data/privacy/names.tsv, the lists of names that detection and stand-ins read, out of Faker's.

    pip install --target build/faker faker==40.54.0
    python tools/make_name_lists.py build/faker PATH_TO_DATA_SETS

Faker (MIT licence, github.com/joke2k/faker) keeps first names and surnames of some 80 countries. Taken are the
single words in Latin letters, of three letters or more. Marked `w` are those that are everyday words as well: words
that stand in lower case at least three times in the texts of `CORPORA`; `p` those that are places: the names of one
word in Faker's lists, and `CITIES`. No set that detection is measured on is read.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CORPORA = (
    "customer_support/banking77/train.csv", "medical/medquad/train.jsonl", "technical/tldr_pages/train.jsonl",
    "general/gsm8k/train_2000.jsonl", "general/boolq/dev_1000.json", "general/piqa/valid.jsonl",
    "instruction/self_instruct/seed_tasks.jsonl", "instruction/self_instruct/user_oriented_instructions.jsonl",
)  # fmt: skip
WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)?\Z")
USES = (
    ("m", re.compile(r"first_names?_(?:male|masculine)\Z")),
    ("f", re.compile(r"first_names?_(?:female|feminine)\Z")),
    ("u", re.compile(r"(?:first_names|first_names?_nonbinary|first_name_\w*romanized\w*|\w*first\w*romanized\w*)\Z")),
    ("l", re.compile(r"(?:last_names|prefixed_last_names|last_names_\w+|unisex_last_names|\w*last\w*romanized\w*)\Z")),
)
PLACES = re.compile(r"(?:cities|city_names?|countries|states|provinces|regions|counties|districts|towns)\Z")
CALENDAR = set({
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "easter", "christmas",
})  # fmt: skip
CITIES = {
    "amsterdam", "athens", "austin", "berlin", "bern", "bogota", "boston", "brussels", "budapest", "cairo", "chicago",
    "copenhagen", "dallas", "delhi", "denver", "detroit", "dublin", "edinburgh", "florence", "frankfurt", "geneva",
    "glasgow", "hamburg", "havana", "helsinki", "houston", "istanbul", "jakarta", "kiev", "lima", "lisbon",
    "liverpool", "london", "lyon", "madrid", "manila", "melbourne", "memphis", "miami", "milan", "montreal", "moscow",
    "mumbai", "munich", "nairobi", "naples", "oslo", "ottawa", "paris", "philadelphia", "phoenix", "portland",
    "prague", "quito", "rio", "rome", "santiago", "seattle", "seoul", "shanghai", "sofia", "stockholm", "sydney",
    "tokyo", "toronto", "tunis", "turin", "venice", "vienna", "warsaw", "washington", "zagreb", "zurich",
}  # fmt: skip
STAND_INS = 300
"""How many of the most frequent names of en_US, of each use, are marked `s`: those that stand-ins are drawn from."""


def main() -> None:
    """Write the file."""
    sys.path.insert(0, sys.argv[1])
    uses: dict[str, set[str]] = {}
    for letter, name in names():
        uses.setdefault(name, set()).add(letter)
    words, towns = words_of(Path(sys.argv[2])), places()
    for name in stand_ins():
        uses[name].add("s")
    for name, letters in uses.items():
        if name.casefold() in words:
            letters.add("w")
        if name.casefold() in towns:
            letters.add("p")
    target = Path(__file__).parents[1] / "metier" / "data" / "privacy" / "names.tsv"
    lines = [f"{name}\t{''.join(sorted(uses[name]))}\n" for name in sorted(uses)]
    head = "# Names of Faker 40.54.0 (MIT, github.com/joke2k/faker), chosen by tools/make_name_lists.py.\n"
    target.write_text(head + "".join(lines), encoding="utf-8")


def names() -> Iterator[tuple[str, str]]:
    """Every name that is taken, with its use."""
    for _, fields in providers("person"):
        for field, value in fields.items():
            for letter, pattern in USES:
                if pattern.match(field):
                    yield from ((letter, each) for each in elements(value) if taken(each))


def places() -> set[str]:
    """Names of places that are one word."""
    found = set(CITIES)
    for _, fields in providers("address"):
        for field, value in fields.items():
            if PLACES.match(field):
                found.update(each.casefold() for each in elements(value) if taken(each))
    return found


def stand_ins() -> Iterator[str]:
    """The most frequent names of the United States."""
    for locale, fields in providers("person"):
        if locale == "en_US":
            for field in ("first_names_male", "first_names_female", "last_names"):
                weights: Mapping[str, float] = fields[field]
                frequent = sorted(filter(taken, weights), key=lambda name: (-weights[name], name))
                yield from frequent[:STAND_INS]


def providers(kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Locale and fields of every provider of a kind."""
    package = importlib.import_module(f"faker.providers.{kind}")
    for module in pkgutil.iter_modules(package.__path__):
        if module.ispkg:
            yield module.name, vars(importlib.import_module(f"faker.providers.{kind}.{module.name}").Provider)


def elements(value: Any) -> Iterator[str]:
    """The texts of a list of a provider."""
    if isinstance(value, (tuple, list, set, Mapping)):
        yield from (each for each in value if isinstance(each, str))


def taken(name: str) -> bool:
    """Whether it is one word of Latin letters."""
    letters = (unicodedata.name(letter, "") for letter in name if letter not in "'’-")
    return (
        len(name) >= 3
        and bool(WORD.match(name))
        and name[0].isupper()
        and all(letter.startswith("LATIN") for letter in letters)
    )


def words_of(folder: Path) -> set[str]:
    """Words that stand in lower case at least three times."""
    counted: Counter[str] = Counter()
    for path in CORPORA:
        counted.update(re.findall(r"(?<![\w@./-])[^\W\d_A-Z][^\W\d_A-Z]+", (folder / path).read_text(encoding="utf-8")))
    return {word for word, times in counted.items() if times >= 3} | CALENDAR


if __name__ == "__main__":
    main()
