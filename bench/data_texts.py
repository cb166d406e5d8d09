"""How long the steps that look at texts one by one take: repairs, language, quality, secrets, lengths, odd texts.

    python bench/data_texts.py [ROWS] [WORDS]

Rows are made up, always the same: words of English frequency with numbers, addresses, some mojibake, markup and other
languages among them; 100,000 rows of 75 words (about 100 tokens) by default. Prints the seconds of each step, single
process, and the rows per second.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator

from metier.data.cleaning.language import screen_language
from metier.data.cleaning.lengths import screen_lengths
from metier.data.cleaning.odd_texts import screen_odd_texts
from metier.data.cleaning.quality import screen_quality
from metier.data.cleaning.repairs import repair_text
from metier.data.cleaning.rows import Finding, Row, Rows
from metier.data.cleaning.secrets import screen_secrets
from metier.data.input_rules import REPAIRS, SECRETS

COMMON = (
    "the of and to a in that is was he for it with as his on be at by I this had not are but from or have an they "
    "which one you were her all she there would their we him been has when who will more no if out so said what up "
    "its about into than them can only other new some could time these two may then do first any my now such like our"
)
ODD = (
    "see https://www.example.org/orders/2024/11?id=12345678901234567890",
    "write to someone@example.org",
    "CafÃ© â€œnowâ€\x9d",
    "<p>the <b>price</b> is 5&nbsp;&euro;</p>",
    "l’été “naïve” – 12 €",
    "Das Paket ist noch nicht angekommen und niemand antwortet",
    "password is required: the key is under the mat",
    "a < b and b > c",
    "№ 7 ½ £ 3,50",
)


class MadeRows:
    """So many rows, made anew each time they are gone through, as rows are that are read from disk."""

    def __init__(self, count: int, words: int) -> None:
        chosen = random.Random(17)
        rare = ["".join(chosen.choices("aeioubcdfglmnprst", k=chosen.randint(4, 11))) for _ in range(20_000)]
        common = COMMON.split()
        self.texts = []
        for number in range(count):
            drawn = [chosen.choice(common) if chosen.random() < 0.5 else chosen.choice(rare) for _ in range(words)]
            if number % 10 == 0:
                drawn[chosen.randrange(words)] = chosen.choice(ODD)
            self.texts.append(" ".join(drawn) + ".")

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[Row]:
        for key, text in enumerate(self.texts):
            yield Row(
                key=key,
                split="train",
                text=text,
                answer="order",
                labelled=True,
                group=None,
                source="a.csv",
                row=key + 1,
            )


def repair(rows: Rows) -> Finding:
    """All repairs, those of the input rules among them, in the order in which they run."""
    table = {name: function for name, function in REPAIRS.items() if name != SECRETS}
    changed = sum(bool(repair_text(row.text, table, table)[1]) for row in rows)
    return Finding(step="repairs", version=1, looked_at=len(rows), counts={"changed": changed})


STEPS: dict[str, Callable[[Rows], Finding]] = {
    "repairs": repair,
    "language": screen_language,
    "quality": screen_quality,
    "secrets": screen_secrets,
    "lengths": screen_lengths,
    "odd texts": screen_odd_texts,
}


def main() -> None:
    """Measure and print a table."""
    count, words = ([int(value) for value in sys.argv[1:]] + [100_000, 75][len(sys.argv) - 1 :])[:2]
    rows = MadeRows(count, words)
    total = 0.0
    print(f"{count:,} rows of {words} words\n{'step':<12} {'seconds':>8} {'rows/s':>10}  doubts")
    for name, step in STEPS.items():
        start = time.perf_counter()
        finding = step(rows)
        taken = time.perf_counter() - start
        total += taken
        print(f"{name:<12} {taken:>8.2f} {count / taken:>10,.0f}  {len(finding.doubts):,} {dict(finding.counts)}")
    print(f"{'all':<12} {total:>8.2f} {count / total:>10,.0f}")


if __name__ == "__main__":
    main()
