"""Small changes that must not change an answer: typing errors, case, spacing, other words around the text.

Each change of a text is a function of seed, kind and the record's id alone, so two systems see the same changed
texts and a second run sees them again. To add one: write a function (text, generator) -> text and give it a row
in `PERTURBATIONS`. Changes of the prompt (its instruction, the order of its options) are made by
`instruction_variants` and `option_orders`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from metier.device import derive_seed

Change = Callable[[str, np.random.Generator], str]
TYPO_SHARE = 0.08
"""Share of the words of four letters or more that get a typing error; at least one, where there is such a word."""
_WORD = re.compile(r"[^\W\d_]{4,}")
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
INSTRUCTION_FORMS: tuple[str, ...] = (
    "{instruction}",
    "Please do the following. {instruction}",
    "Task: {instruction}",
    "{instruction} Answer with nothing else.",
    "You are a careful assistant. {instruction}",
    "Here is what is asked of you: {instruction}",
)
"""Ways to say one instruction; the first is the instruction itself."""


def _beside(letter: str, generator: np.random.Generator) -> str:
    """A key beside this one on the keyboard, in the same case; the letter itself where it is on no row."""
    for row in _ROWS:
        place = row.find(letter.lower())
        if place >= 0:
            near = [at for at in (place - 1, place + 1) if 0 <= at < len(row)]
            key = row[near[int(generator.integers(len(near)))]]
            return key.upper() if letter.isupper() else key
    return letter


def _mistype(word: str, generator: np.random.Generator) -> str:
    """One typing error inside a word; the first letter stays, as it mostly does when people type."""
    place = int(generator.integers(1, len(word) - 1))
    swapped = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    lost = word[:place] + word[place + 1 :]
    doubled = word[:place] + word[place] + word[place:]
    beside = word[:place] + _beside(word[place], generator) + word[place + 1 :]
    made = (swapped, lost, doubled, beside)[int(generator.integers(4))]
    return lost if made == word else made  # two equal neighbours swapped, or a letter without a key


def with_typos(text: str, generator: np.random.Generator) -> str:
    """The text with typing errors: neighbours swapped, a letter lost, doubled, or the key beside it.

    Args:
        text: Any text; words of fewer than four letters, digits and spacing stay.
        generator: Where the errors come from.
    """
    words = list(_WORD.finditer(text))
    if not words:
        return text
    count = max(1, round(TYPO_SHARE * len(words)))
    chosen = sorted(int(place) for place in generator.choice(len(words), size=count, replace=False))
    parts, end = [], 0
    for place in chosen:
        found = words[place]
        parts += [text[end : found.start()], _mistype(found.group(), generator)]
        end = found.end()
    return "".join([*parts, text[end:]])


def _lower(text: str, generator: np.random.Generator) -> str:
    return text.lower()


def _upper(text: str, generator: np.random.Generator) -> str:
    return text.upper()


def _without_punctuation(text: str, generator: np.random.Generator) -> str:
    """Without commas, full stops and the like; those inside a word or number stay (`3.5`, `don't`, `a.b@c.d`)."""
    return re.sub(r"[.,;:!?\"()]+(?=\s|$)|(?<=\s)[\"(]+|^[\"(]+", "", text)


def _spacing(text: str, generator: np.random.Generator) -> str:
    """Line breaks and runs of spaces, as copying from a mail or a PDF leaves them."""

    def gap(found: re.Match[str]) -> str:
        drawn = generator.random()
        return "  " if drawn < 0.2 else "\n" if drawn < 0.3 else " "

    return re.sub(" ", gap, text)


PERTURBATIONS: Mapping[str, Change] = {
    "typos": with_typos,
    "lower_case": _lower,
    "upper_case": _upper,
    "no_punctuation": _without_punctuation,
    "spacing": _spacing,
}
"""Name of a change of the text -> the change."""


def perturb(text: str, kind: str, *, seed: int, record_id: str) -> str:
    """One text, changed.

    Args:
        text: What is asked.
        kind: A row of `PERTURBATIONS`.
        seed: Of the run.
        record_id: Of the record; the change is a function of it.
    """
    return PERTURBATIONS[kind](text, np.random.default_rng(derive_seed(seed, "perturb", kind, record_id)))


def instruction_variants(instruction: str, own: Sequence[str] = ()) -> list[str]:
    """The instruction said in other ways, itself first and none twice.

    Args:
        instruction: As the recipe has it.
        own: The user's own ways to say it, whole instructions; they come before the built-in forms.
    """
    said = [instruction, *own, *(form.format(instruction=instruction) for form in INSTRUCTION_FORMS)]
    return list(dict.fromkeys(said))


def option_orders(options: Sequence[str], count: int, *, seed: int) -> list[tuple[str, ...]]:
    """Different orders of the options, the given one first.

    Rotations come first, so that every option stands in first and last place as early as may be; then random ones.

    Args:
        options: As the prompt lists them.
        count: Orders wanted, the given one included; fewer come back where there are not so many.
        seed: Of the run.
    """
    given = tuple(options)
    wanted = dict.fromkeys([given, given[::-1]])
    step = max(1, len(given) // max(1, count - 1))
    for turn in range(step, len(given), step):
        wanted.setdefault(given[turn:] + given[:turn])
    generator = np.random.default_rng(derive_seed(seed, "option orders"))
    for _ in range(20 * count):
        if len(wanted) >= count:
            break
        wanted.setdefault(tuple(given[int(place)] for place in generator.permutation(len(given))))
    return list(wanted)[:count]
