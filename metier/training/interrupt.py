"""Ctrl-C and SIGTERM during training: noted, obeyed at the end of the step, so that a checkpoint is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any


@dataclass
class Interrupt:
    """Whether somebody asked to stop."""

    requested: bool = False


@contextmanager
def noted_interrupts() -> Iterator[Interrupt]:
    """Inside, the first Ctrl-C or SIGTERM sets `requested`; a second Ctrl-C stops at once."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before: dict[signal.Signals, Any] = {}

    def note(number: int, _frame: FrameType | None) -> None:
        if interrupt.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        interrupt.requested = True

    for name in (signal.SIGINT, signal.SIGTERM):
        before[name] = signal.signal(name, note)
    try:
        yield interrupt
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
