"""Seconds and memory of the screens that look for wrong labels, rare labels, outliers and poison.

    python -m bench.data_screens --rows 100000 --tokens 100 --labels 20

Texts are drawn anew from a seed each time they are read, as they would come from a file. To be run on a machine that
does nothing else. Time that drawing takes is measured alone and given beside the rest.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator

import numpy as np

from metier.data.cleaning.out_of_fold import Chances, out_of_fold_chances
from metier.data.cleaning.outliers import screen_outliers
from metier.data.cleaning.poison import screen_poison
from metier.data.cleaning.rare_labels import screen_rare_labels
from metier.data.cleaning.rows import Row
from metier.data.cleaning.wrong_answers import screen_wrong_answers
from metier.data.cleaning.wrong_labels import screen_wrong_labels

WORDS = 50_000
"""Different words; how often each is drawn falls with its rank (Zipf)."""


class MadeRows:
    """Rows of drawn words: a tenth of each text are words of its label. A text is the same whenever it is read."""

    def __init__(self, rows: int, tokens: int, labels: int, *, labelled: bool) -> None:
        """Choose the words.

        Args:
            rows: How many.
            tokens: Words of each text.
            labels: How many.
            labelled: Whether answers are labels, or a dozen drawn words.
        """
        self.rows, self.tokens, self.labels, self.labelled = rows, tokens, labels, labelled
        self.words = [f"{word:x}word"[:7] for word in np.random.default_rng(1).permutation(WORDS * 9)[:WORDS].tolist()]
        weight = 1 / np.arange(1, WORDS + 1)
        self.edges = np.cumsum(weight / weight.sum())

    def __len__(self) -> int:
        """How many."""
        return self.rows

    def __iter__(self) -> Iterator[Row]:
        """Every row, drawn by blocks."""
        for start in range(0, self.rows, 1000):
            random = np.random.default_rng(start)
            drawn = np.minimum(np.searchsorted(self.edges, random.random((1000, self.tokens + 12))), WORDS - 1)
            label = random.integers(0, self.labels, 1000)
            own = random.integers(0, 200, (1000, self.tokens // 10)) + 1000 + 200 * label[:, None]
            drawn[:, : self.tokens // 10] = own % WORDS
            for at in range(min(1000, self.rows - start)):
                words = [self.words[word] for word in drawn[at].tolist()]
                answer = f"label {label[at]}" if self.labelled else " ".join(words[self.tokens :])
                text = " ".join(words[: self.tokens])
                key = start + at
                yield Row(
                    key=key, split="train", text=text, answer=answer, labelled=self.labelled, group=None,
                    source=f"made{key % 3}.jsonl", row=key + 1,
                )  # fmt: skip


def main() -> None:
    """Measure every screen and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--labels", type=int, default=20)
    asked = parser.parse_args()
    rows = MadeRows(asked.rows, asked.tokens, asked.labels, labelled=True)
    written = MadeRows(asked.rows, asked.tokens, asked.labels, labelled=False)
    made: list[Chances] = []
    steps: dict[str, Callable[[], object]] = {
        "drawing the texts once": lambda: sum(1 for _ in rows),
        "out-of-fold probabilities": lambda: made.append(out_of_fold_chances(rows)),
        "wrong labels": lambda: screen_wrong_labels(made[0]),
        "rare labels": lambda: screen_rare_labels(rows, chances=made[0]),
        "outliers": lambda: screen_outliers(rows),
        "poison, labels": lambda: screen_poison(rows),
        "poison, written answers": lambda: screen_poison(written),
        "wrong answers": lambda: screen_wrong_answers(written),
    }
    print(f"{asked.rows:,} rows of {asked.tokens} words, {asked.labels} labels")
    for name, step in steps.items():
        wall, used = time.perf_counter(), time.process_time()
        step()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        wall, used = time.perf_counter() - wall, time.process_time() - used
        print(f"{name:28} {wall:7.1f} s, {used:7.1f} s of processor, peak {peak:6.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
