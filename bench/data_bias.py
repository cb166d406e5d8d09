"""How long the bias screen takes a row, and which part of it: finding group words, tones, associations, copies.

    python bench/data_bias.py [ROWS]

Rows are made from a seed, about 100 words each, a third of them naming somebody. Prints seconds, rows a second and
peak memory of the process. Run it on a quiet machine.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

from metier.data.bias.counterfactuals import Swapper
from metier.data.bias.groups import load_group_words
from metier.data.bias.screen import screen_bias
from metier.data.bias.tones import tone_of
from metier.data.cleaning.rows import Row

WORDS = (
    "parcel", "refund", "invoice", "kettle", "coffee", "address", "password", "box", "filter", "order", "late",
    "broken", "the", "a", "is", "was", "to", "of", "and",
)  # fmt: skip
PEOPLE = (
    "my mother and her sister",
    "my father and his brother",
    "a Muslim man",
    "an old lady",
    "two Canadians",
    "Sarah",
)
LABELS = tuple(f"label {number}" for number in range(20))


class MadeRows:
    """Rows made anew each time they are gone through."""

    def __init__(self, count: int) -> None:
        """So many rows."""
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Row]:
        random = np.random.default_rng(1)
        for key in range(self._count):
            words = [WORDS[place] for place in random.integers(0, len(WORDS), 100)]
            if key % 3 == 0:
                words[10] = PEOPLE[int(random.integers(len(PEOPLE)))]
            yield Row(
                key=key,
                split="train",
                text=" ".join(words),
                answer=LABELS[int(random.integers(len(LABELS)))],
                labelled=True,
                group=None,
                source="made",
                row=key + 1,
            )


def main() -> None:
    """Measure and print a table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    rows, words, swapper = MadeRows(count), load_group_words(), Swapper(LABELS)
    steps: dict[str, Callable[[], object]] = {
        "making the rows": lambda: sum(1 for _ in rows),
        "group words": lambda: sum(len(words.found_in(row.text)) for row in rows),
        "tones": lambda: sum(tone_of(row.text).score for row in rows),
        "whole screen": lambda: screen_bias(rows).counts,
        "copies": lambda: sum(len(swapper.swap_parts((row.text,), turn=row.key)[0]) for row in rows),
    }
    print(f"{count:,} rows of 100 words; every step makes the rows anew")
    print(f"{'step':<18} {'seconds':>8} {'rows/s':>10}")
    for name, step in steps.items():
        started = time.perf_counter()
        step()
        seconds = time.perf_counter() - started
        print(f"{name:<18} {seconds:>8.2f} {count / seconds:>10,.0f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory {peak / 1024:,.0f} MiB")


if __name__ == "__main__":
    main()
