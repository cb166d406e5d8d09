"""How much personal data of which kind stands in which rows: counted, never a value."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from metier.data.cleaning.rows import SPLITS, Doubt, Finding
from metier.data.privacy.detectors import Detector
from metier.data.privacy.policies import POLICIES, PolicySettings
from metier.data.table import rows_at
from metier.errors import DataError

STEP = "personal data"
VERSION = 1
PARTS = ("prompt", "answer")
_NOWHERE = -1

Summary = tuple[tuple[str, str, int], ...]
"""What is in one row: part, kind, how often; the prompt's first."""


def summary_of(found: Iterable[tuple[str, str]]) -> Summary:
    """What is in one row.

    Args:
        found: A name in `PARTS` and a kind for every finding.
    """
    counts = Counter(found)
    ordered = sorted(counts.items(), key=lambda item: (PARTS.index(item[0][0]), item[0][1]))
    return tuple((part, kind, times) for (part, kind), times in ordered)


def said(summary: Summary) -> str:
    """The same as a phrase: `2 EMAIL_ADDRESS in the prompt; 1 PERSON in the answer`."""
    by_part = {part: [f"{times} {kind}" for of, kind, times in summary if of == part] for part in PARTS}
    return "; ".join(f"{', '.join(counts)} in the {part}" for part, counts in by_part.items() if counts)


@dataclass(eq=False)
class Tally:
    """Rows that were looked at; 12 bytes for each that has something in it, for equal contents are kept once."""

    looked_at: int = 0
    _keys: array[int] = field(default_factory=lambda: array("q"))
    _what: array[int] = field(default_factory=lambda: array("i"))
    _summaries: dict[Summary, int] = field(default_factory=dict)

    def add(self, key: int | None, summary: Summary) -> None:
        """Count a row.

        Args:
            key: Its place among all rows. None: it is not among them any more.
            summary: What is in it; may be empty.
        """
        self.looked_at += 1
        if summary:
            self._keys.append(_NOWHERE if key is None else key)
            self._what.append(self._summaries.setdefault(summary, len(self._summaries)))

    def __len__(self) -> int:
        """Rows with something in them."""
        return len(self._keys)

    def totals(self) -> Counter[str]:
        """Findings by kind."""
        rows = Counter(self._what)
        totals: Counter[str] = Counter()
        for summary, number in self._summaries.items():
            for _, kind, times in summary:
                totals[kind] += times * rows[number]
        return totals

    def finding(
        self,
        settings: PolicySettings,
        detector: Detector,
        split_of: Callable[[int], str],
        *,
        left: Callable[[str], bool] = lambda kind: True,
        seconds: float = 0.0,
    ) -> Finding:
        """All that there is to say.

        Args:
            settings: What is to happen to which kind.
            detector: What found it.
            split_of: Where the row of a key stands: a name in `SPLITS`.
            left: Whether a kind still stands in the texts; a row is doubted for those alone.
            seconds: What looking took.
        """
        totals, table = self.totals(), _Table()
        details: dict[str, str] = {}
        doubts = []
        for key, summary in self._entries():
            split = "unsplit" if key == _NOWHERE else split_of(key)
            table.add(split, summary)
            still = tuple(each for each in summary if left(each[1]))
            if still and key != _NOWHERE:
                detail = said(still)
                suggestion = _suggestion({settings.of(kind) for _, kind, _ in still}, split)
                detail = details.setdefault(detail, detail)  # each sentence once: most rows share one
                doubts.append(Doubt(key=key, step=STEP, reason="personal data", detail=detail, suggestion=suggestion))
        return Finding(
            step=STEP,
            version=VERSION,
            looked_at=self.looked_at,
            doubts=tuple(doubts),
            counts={"rows with personal data": len(self), **{k: totals[k] for k in detector.kinds if totals[k]}},
            tables={"personal data": table.rows(detector.kinds)},
            notes=(
                f"Found by {detector.name} (version {detector.version}), which looked for "
                f"{', '.join(detector.kinds)}. What it misses is not counted: the measured recall by kind is in "
                "docs/results/data-privacy.md.",
                *detector.notes,
            ),
            seconds=seconds,
        )

    def _entries(self) -> Iterator[tuple[int, Summary]]:
        summaries = list(self._summaries)
        for key, what in zip(self._keys, self._what, strict=True):
            yield key, summaries[what]


@dataclass(eq=False)
class _Table:
    """Findings by kind, split and part."""

    occurrences: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    with_any: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Rows."""

    def add(self, split: str, summary: Summary) -> None:
        """Count a row."""
        for part, kind, times in summary:
            self.occurrences[kind, split, part] += times
            self.with_any[kind, split, part] += 1

    def rows(self, kinds: Sequence[str]) -> list[dict[str, object]]:
        """Rows of cells, in the order of the kinds."""
        return [
            {
                "kind": kind, "split": split, "part": part,
                "occurrences": self.occurrences[kind, split, part], "rows": self.with_any[kind, split, part],
            }
            for kind in dict.fromkeys((*kinds, *sorted({kind for kind, _, _ in self.occurrences})))
            for split in SPLITS
            for part in PARTS
            if self.occurrences[kind, split, part]
        ]  # fmt: skip


def refusal(refused: Sequence[tuple[str, int]], totals: Counter[str]) -> DataError:
    """The error that ends a run whose policy is to refuse: rows by number, kinds with counts, no text.

    Args:
        refused: File and number of the rows that have what must not be there.
        totals: Findings in all rows, by kind.
    """
    by_source: dict[str, list[int]] = {}
    for source, row in refused:
        by_source.setdefault(source, []).append(row)
    shown = "; ".join(f"{source} {rows_at(numbers)}" for source, numbers in by_source.items())
    rows = "1 row has" if len(refused) == 1 else f"{len(refused)} rows have"
    found = ", ".join(f"{times} {kind}" for kind, times in sorted(totals.items()))
    return DataError(
        "privacy.policy",
        f"is `refuse`, and {rows} personal data that it stands for ({shown}; in all rows {found})",
        "none",
        "Take it out of the source, or choose `mask`, `surrogate` or `drop`.",
    )


def _suggestion(policies: set[str], split: str) -> str | None:
    """The strongest of the policies that does something to the row, in the order drop, surrogate, mask."""
    for policy in reversed(tuple(POLICIES)):
        if policy in policies and policy not in ("report", "refuse") and not (policy == "drop" and split == "test"):
            return policy
    return None
