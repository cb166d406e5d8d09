"""Gopher's rules against repetition (arXiv 2112.11446, table A1), with the thresholds printed there.

The paper leaves open what a duplicate's share counts; here, as in the pipelines that rebuilt it (datatrove,
RedPajama-V2), what repeats something earlier, and not its first occurrence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from metier.data.cleaning.measured import Measured

LEAST_WORDS = 50
"""Gopher kept no shorter document, so its thresholds for runs say nothing below."""
TOP_RUN = {2: 0.20, 3: 0.18, 4: 0.16}
"""Largest share of characters in the most frequent run of so many words."""
DUPLICATED_RUNS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
"""Largest share of characters in repeated runs of so many words."""
LINES = 0.30
"""Largest share of lines, and of paragraphs, that repeat an earlier one."""
CHARACTERS_OF_LINES = 0.20
"""Largest share of characters in such lines, and in such paragraphs."""


def duplicate_lines(text: Measured) -> bool:
    """More than 30 % of lines repeat an earlier one."""
    return _repeated(text.lines)[0] > LINES


def characters_in_duplicate_lines(text: Measured) -> bool:
    """More than 20 % of characters are in such lines."""
    return _repeated(text.lines)[1] > CHARACTERS_OF_LINES


def duplicate_paragraphs(text: Measured) -> bool:
    """More than 30 % of paragraphs repeat an earlier one; of three or more paragraphs."""
    return len(text.paragraphs) >= 3 and _repeated(text.paragraphs)[0] > LINES


def characters_in_duplicate_paragraphs(text: Measured) -> bool:
    """More than 20 % of characters are in such paragraphs; of three or more paragraphs."""
    return len(text.paragraphs) >= 3 and _repeated(text.paragraphs)[1] > CHARACTERS_OF_LINES


def _repeated(parts: Sequence[str]) -> tuple[float, float]:
    """Share of parts that repeat an earlier one, and of their characters."""
    if len(set(parts)) == len(parts):
        return 0.0, 0.0
    seen: set[str] = set()
    count = characters = 0
    for part in parts:
        if part in seen:
            count += 1
            characters += len(part)
        seen.add(part)
    return count / len(parts), characters / sum(map(len, parts))


def _more_in_runs(length: int, most: float) -> Callable[[Measured], bool]:
    return lambda text: text.run_shares[length] > most


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


RunRule = tuple[Callable[[Measured], bool], str, int, int]
REPETITION_RULES: dict[str, RunRule] = {
    "gopher_duplicate_lines": (duplicate_lines, "more than 30 % of its lines repeat an earlier one", 10, 3),
    "gopher_duplicate_paragraphs": (
        duplicate_paragraphs, "more than 30 % of its paragraphs repeat an earlier one", 10, 3,
    ),
    "gopher_duplicate_line_characters": (
        characters_in_duplicate_lines, "more than 20 % of its characters are in lines that repeat an earlier one", 10,
        3,
    ),
    "gopher_duplicate_paragraph_characters": (
        characters_in_duplicate_paragraphs,
        "more than 20 % of its characters are in paragraphs that repeat an earlier one", 10, 3,
    ),
    **{
        f"gopher_top_{length}_gram": (
            _more_in_runs(length, most),
            f"more than {_percent(most)} of its characters are in its most frequent run of {length} words",
            LEAST_WORDS, 1,
        )
        for length, most in TOP_RUN.items()
    },
    **{
        f"gopher_duplicate_{length}_grams": (
            _more_in_runs(length, most),
            f"more than {_percent(most)} of its characters are in runs of {length} words that stood before already",
            LEAST_WORDS, 1,
        )
        for length, most in DUPLICATED_RUNS.items()
    },
}  # fmt: skip
"""Name -> what flags a text, what it says, and from how many words and lines on it is applied."""
