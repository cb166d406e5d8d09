"""One answer in the making: its tokens so far, and the rule that ends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from metier.engine.sampling import Decoding
from metier.engine.tree import Ints

Stop = Literal["end of turn", "stop text", "length"]
Read = Callable[[Sequence[int]], str]


@dataclass(frozen=True, kw_only=True)
class Written:
    """An answer as token ids."""

    ids: Ints
    """Without the token that ended it, and without those of a stop text."""
    stop: Stop
    computed: int
    """Tokens that were computed for it; what is shared counts where it was computed first."""
    seconds: float
    """Its share of the time in which it was written with others."""
    text: str | None = None
    """Cut exactly before the stop text, where one ended it: that may be inside a token. Otherwise None."""

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it: how it travels between processes."""
        return {**vars(self), "ids": self.ids.tolist()}

    @staticmethod
    def from_plain(plain: dict[str, Any]) -> Written:
        """The answer that `to_plain` wrote."""
        return Written(**{**plain, "ids": np.array(plain["ids"], dtype=np.int64)})


@dataclass(eq=False)
class Row:
    """A prompt and the answer to it so far."""

    number: int
    """Its place among the prompts of the call."""
    prompt: Ints
    decoding: Decoding
    generator: np.random.Generator | None
    read: Read | None
    ids: list[int] = field(default_factory=list)
    stop: Stop | None = None
    text: str | None = None
    computed: int = 0
    seconds: float = 0.0

    @property
    def history(self) -> Ints:
        """Prompt and answer so far."""
        return np.concatenate([self.prompt, np.array(self.ids, dtype=np.int64)])

    def take(self, token: int) -> None:
        """Add a token; sets `stop` when the answer ends with it."""
        if token in self.decoding.stop_ids:
            self.stop = "end of turn"
            return
        self.ids.append(token)
        if self._cut_before_stop_text():
            self.stop = "stop text"
        elif len(self.ids) >= self.decoding.max_new_tokens:
            self.stop = "length"

    def written(self) -> Written:
        """The finished answer."""
        if self.stop is None:
            raise ValueError("the answer has not ended")
        ids = np.array(self.ids, dtype=np.int64)
        return Written(ids=ids, stop=self.stop, computed=self.computed, seconds=self.seconds, text=self.text)

    def _cut_before_stop_text(self) -> bool:
        """Whether a stop text was completed by the last token; then the answer is cut before it."""
        if self.read is None or not self.decoding.stop_texts:
            return False
        # A token is at least one byte, save a few that are none: so many tokens hold the longest stop text.
        reach = max(len(text.encode()) for text in self.decoding.stop_texts) + 8
        if not any(text in self.read(self.ids[-reach:]) for text in self.decoding.stop_texts):
            return False
        whole = self.read(self.ids)
        found = [whole.find(text) for text in self.decoding.stop_texts if text in whole]
        if not found:
            return False
        self.text = whole[: min(found)]
        while self.ids and not self.text.startswith(self.read(self.ids)):
            self.ids.pop()
        return True
