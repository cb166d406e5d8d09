"""How much memory this process holds, and how much a piece of work makes it hold at most."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from metier.device import resident_bytes

EVERY = 0.02
"""Seconds between two looks."""


@dataclass
class Growth:
    """What a piece of work took."""

    before: int
    most: int

    @property
    def grown(self) -> int:
        """Bytes beyond what was there before."""
        return max(0, self.most - self.before)


@contextmanager
def fullest() -> Iterator[Growth]:
    """Look at the memory of this process, many times a second, until the block ends."""
    growth = Growth(before=resident_bytes(), most=resident_bytes())
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(EVERY):
            growth.most = max(growth.most, resident_bytes())

    watcher = threading.Thread(target=look, name="metier-memory", daemon=True)
    watcher.start()
    try:
        yield growth
    finally:
        ended.set()
        watcher.join()
        growth.most = max(growth.most, resident_bytes())
