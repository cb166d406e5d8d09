"""Counterfactual copies of rows: the same text, said of another group, for evaluation and for augmentation.

A model that answers a copy otherwise than its original has learned the group. Left out, and counted, are rows in which
a swap would change what is asked: the label names the group, the text speaks about a word (`"her"`), something in
it belongs to one group only (`pregnant`, `mosque`), or only some of its words could be swapped. A first name that is
in no list stays, whatever becomes of its pronouns.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from metier.data.bias.english import reads_as_english
from metier.data.bias.matching import plain, small, whole_words
from metier.data.bias.pronouns import Tagger
from metier.data.bias.swaps import Swap, Swapped, bound_words, is_partial, packaged_swaps, swapped
from metier.errors import DataError

LABEL_NAMES_GROUP, BOUND = "label names the group", "bound to its group"
QUOTED, PARTIAL = "speaks about the word", "could be swapped in part only"
_LABEL_WORDS = re.compile(r"[^\W_]+(?:'s)?")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class SwappedParts:
    """Several texts that belong together (turns and an answer), swapped by one swap."""

    dimension: str
    swap: str
    parts: tuple[str, ...]
    words: int
    reversible: bool


@dataclass(frozen=True, kw_only=True)
class _Dimension:
    swaps: tuple[Swap, ...]
    words: frozenset[str]
    bound: re.Pattern[str] | None
    names_label: frozenset[str]
    """Words of the swaps that are in a label's name."""


class Swapper:
    """Makes counterfactual copies of rows, one row at a time."""

    def __init__(
        self,
        labels: Sequence[str] = (),
        *,
        dimensions: Sequence[str] | None = None,
        partners: int = 3,
        tagger: Tagger | None = None,
    ) -> None:
        """Choose the swaps.

        Args:
            labels: All labels of the task: a dimension that one of them names is left out as a whole.
            dimensions: Keys of `swaps.packaged_swaps`; None: all.
            partners: Copies of a row in one dimension, where it has many groups; which ones goes around by key.
            tagger: Tells `her` as object from `her` as possessive; None: by rule.

        Raises:
            DataError: An unknown dimension.
        """
        packaged = packaged_swaps()
        for name in dimensions or ():
            if name not in packaged:
                near = difflib.get_close_matches(name, packaged, n=1)
                fix = f"Did you mean `{near[0]}`?" if near else ""
                wanted = f"one of {', '.join(packaged)}"
                raise DataError("data.bias.counterfactuals", f"`{name}` cannot be swapped", wanted, fix)
        self._partners, self._tagger = partners, tagger
        in_labels = {word for label in labels for word in _words_of(label)}
        self._dimensions = {
            name: _dimension(name, packaged[name], in_labels)
            for name in (packaged if dimensions is None else dict.fromkeys(dimensions))
        }
        every = frozenset[str]().union(*(one.words for one in self._dimensions.values()))
        self._pattern = whole_words(every) if every else None

    @property
    def refused(self) -> dict[str, tuple[str, ...]]:
        """Dimensions left out as a whole, with the words that labels have in common with them."""
        return {name: tuple(sorted(one.names_label)) for name, one in self._dimensions.items() if one.names_label}

    def swap_parts(
        self, parts: Sequence[str], *, answers: int = 0, turn: int = 0
    ) -> tuple[list[SwappedParts], dict[str, str]]:
        """Every swap of texts that belong together: for evaluation, the turns of one conversation.

        Args:
            parts: The texts, in order.
            answers: How many of them, at the end, are answers: a swap that changes nothing before them is none.
            turn: Decides which partners are taken where there are more than `partners`.

        Returns:
            The swapped texts, one a swap; and dimension -> why there is none, though a group is named.
        """
        made: list[SwappedParts] = []
        left_out: dict[str, str] = {}
        lowered = small("\n".join(parts))
        named = {plain(match.group()) for match in self._pattern.finditer(lowered)} if self._pattern else set()
        if named and not reads_as_english(lowered):
            return [], {}
        for name, dimension in self._dimensions.items():
            found = named & dimension.words
            if not found:
                continue
            chosen = self._some([swap for swap in dimension.swaps if not found.isdisjoint(swap.targets)], turn)
            copies = [copy for swap in chosen if (copy := self._swapped(parts, answers, swap)) is not None]
            reason = self._reason(dimension, copies, lowered)
            if reason is not None:
                left_out[name] = reason
            else:
                made.extend(copy for copy in copies if isinstance(copy, SwappedParts))
        return made, left_out

    def _reason(self, dimension: _Dimension, copies: Sequence[SwappedParts | str], lowered: str) -> str | None:
        for reason in (QUOTED, PARTIAL):
            if reason in copies:
                return reason
        if copies and dimension.names_label:
            return LABEL_NAMES_GROUP
        if copies and dimension.bound is not None and dimension.bound.search(lowered):
            return BOUND
        return None

    def _some(self, swaps: Sequence[Swap], turn: int) -> Sequence[Swap]:
        if len(swaps) <= self._partners:
            return swaps
        first = turn % len(swaps)
        return [*swaps[first:], *swaps[:first]][: self._partners]

    def _swapped(self, parts: Sequence[str], answers: int, swap: Swap) -> SwappedParts | str | None:
        """The parts swapped; `QUOTED` or `PARTIAL`; or None where nothing changes in what is asked."""
        found = [self.swap_text(part, swap) for part in parts]
        if any(one.about_the_word for one in found):
            return QUOTED
        if not any(one.words for one in found[: len(found) - answers]):
            return None  # An answer alone would be another answer to the same question.
        if is_partial(swap, found):
            return PARTIAL
        return SwappedParts(
            dimension=swap.dimension,
            swap=swap.name,
            parts=tuple(one.text for one in found),
            words=sum(one.words for one in found),
            reversible=all(self.swap_text(one.text, swap).text == part for one, part in zip(found, parts, strict=True)),
        )

    def swap_text(self, text: str, swap: Swap) -> Swapped:
        """One text swapped; of a conversation, turn by turn.

        Args:
            text: Any.
            swap: Which groups.
        """
        tags = self._tagger(text) if self._tagger is not None and swap.dimension == "gender" else None
        return swapped(text, swap, tags)


def _dimension(name: str, swaps: tuple[Swap, ...], in_labels: set[str]) -> _Dimension:
    words = frozenset(word for swap in swaps for word in swap.targets)
    bound = bound_words(name)
    return _Dimension(
        swaps=swaps,
        words=words,
        bound=whole_words(map(plain, bound)) if bound else None,
        names_label=words & in_labels,
    )


def _words_of(label: str) -> set[str]:
    """The words of a label's name: of `WomensClothing`, `women's_clothing` and `for women` each `women`."""
    found: set[str] = set()
    for match in _LABEL_WORDS.finditer(small(_CAMEL.sub(" ", label))):
        word = match.group()
        found |= {word, word.removesuffix("'s"), word.removesuffix("s")} if len(word) > 3 else {word}
    return found
