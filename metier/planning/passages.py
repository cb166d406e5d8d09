"""What is learned of passages, token by token, by the functions that training uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from metier.data.prepared import PreparedData
from metier.data.records import Record
from metier.engine.tree import TokenSequence
from metier.model.encode import Encoder
from metier.model.passages import Window, passage_sequences
from metier.planning.count import SAMPLED
from metier.planning.results import LearnedTokens, Lengths, PieceView, ShownPiece
from metier.planning.taught import (
    OTHER_CHARACTERS,
    TRAIN_CHARACTERS,
    Taught,
    draw_within,
    place_of,
    rows_by_reason,
    summarise_lengths,
    token_name,
)

SHOWN = 2
"""Passages of which windows are shown."""


@dataclass(frozen=True)
class _Seen:
    """One passage as windows."""

    record: Record
    windows: Sequence[Window]

    @property
    def tokens(self) -> int:
        """Its tokens, the one before it and the one that ends it included; no token counts twice."""
        return sum(len(ids) for ids, _ in self.windows) - max(0, len(self.windows) - 1)

    @property
    def learned(self) -> int:
        """Tokens that are predicted."""
        return sum(int(targets.sum()) for _, targets in self.windows)


def teach_passages(
    encoder: Encoder, data: PreparedData, train: Sequence[Record], *, seed: int, with_text: bool
) -> Taught:
    """Cut training passages into windows as training does, and count what is learned.

    Args:
        encoder: The candidate's tokenizer and length.
        data: The other splits.
        train: All training passages.
        seed: Seed of the order in which some are drawn.
        with_text: Whether texts may be shown.
    """
    end = int(encoder.tokenizer.eos_token_id) if encoder.tokenizer.eos_token_id is not None else -1
    drawn = draw_within([len(record.text) for record in train], TRAIN_CHARACTERS, seed)
    seen = [_see(encoder, train[place]) for place in drawn]
    used = [each for each in seen if each.windows]
    scale = sum(len(record.text) for record in train) / max(1, sum(len(each.record.text) for each in seen))
    left_out = [("no token to predict", each.record) for each in seen if not each.windows]
    windows = sum(len(each.windows) for each in used)
    learned = sum(each.learned for each in used)
    about = LearnedTokens(
        records=len(train), encoded=len(seen), used=len(train) - len(left_out), sequences=round(windows * scale),
        learned=round(learned * scale), read=round((sum(each.tokens for each in used) - learned) * scale),
        ends=sum(int(each.windows[-1][0][-1]) == end and bool(each.windows[-1][1][-1]) for each in used),
        looked_at=len(used), end_token=token_name(encoder, end), left_out=rows_by_reason(left_out),
    )  # fmt: skip
    measured = [_measure(encoder, list(split.records()), split.name, seed) for split in (data.validation, data.test)]
    own = _lengths("train", len(train), encoder, seen)
    faults = _faults(about, used, end)
    mixed = [(TokenSequence(ids, targets),) for each in used for ids, targets in each.windows]
    order = np.random.default_rng(seed).permutation(len(mixed))[:SAMPLED]
    return Taught(
        about=about, sample=tuple(mixed[int(place)] for place in order), examples=max(1, about.sequences),
        asked={"train": _mean(used), "validation": measured[0][1], "test": measured[1][1]}, answer=0.0, shared=1,
        pieces=_pieces(encoder, used, with_text=with_text), lengths=(own, measured[0][0], measured[1][0]),
        trained_part="" if faults else _trained_part(about), faults=faults, notices=(),
    )  # fmt: skip


def _see(encoder: Encoder, record: Record) -> _Seen:
    return _Seen(record, passage_sequences(encoder, record.text))


def _measure(encoder: Encoder, records: Sequence[Record], name: str, seed: int) -> tuple[Lengths, float]:
    """Lengths of another split's passages, and their mean."""
    drawn = draw_within([len(record.text) for record in records], OTHER_CHARACTERS, seed)
    seen = [_see(encoder, records[place]) for place in drawn]
    return _lengths(name, len(records), encoder, seen), _mean(seen)


def _lengths(name: str, rows: int, encoder: Encoder, seen: Sequence[_Seen]) -> Lengths:
    """Nothing is cut: a passage longer than a window goes on in the next one."""
    return summarise_lengths(name, rows, encoder.max_length, [each.tokens for each in seen], (), len(seen))


def _faults(about: LearnedTokens, used: Sequence[_Seen], end: int) -> tuple[str, ...]:
    if not about.learned:
        return ("nothing would be learned: no training passage has a token to predict",)
    faults = []
    if about.ends < about.looked_at:
        open_ends = about.looked_at - about.ends
        faults.append(
            f"{open_ends:,} of {about.looked_at:,} passages do not end with the end of text, so the model would not "
            "learn where a text ends"
        )
    crossing = [place_of(each.record) for each in used if any(end in ids[1:-1] for ids, _ in each.windows)]
    if crossing:
        rows = ", ".join(f"{place.source}:{place.row}" for place in crossing[:SHOWN])
        faults.append(f"windows of {len(crossing):,} passages go on after the end of a text ({rows})")
    return tuple(faults)


def _trained_part(about: LearnedTokens) -> str:
    return (
        "Every token is learned but the one before a window. No window holds text of two documents: each begins anew, "
        f"and the end of text is learned in all {about.looked_at:,} documents looked at ({about.end_token})."
    )


def _pieces(encoder: Encoder, used: Sequence[_Seen], *, with_text: bool) -> tuple[PieceView, ...]:
    """The first and the last window of the first passages."""
    views = []
    for each in sorted(used, key=lambda each: (each.record.source, each.record.row))[:SHOWN]:
        count = len(each.windows)
        for number in sorted({1, count}):
            ids, learned = each.windows[number - 1]
            borders = [0, *(int(place) + 1 for place in np.flatnonzero(learned[1:] != learned[:-1])), len(ids)]
            pieces = tuple(
                ShownPiece(
                    text=str(encoder.tokenizer.decode(ids[start:stop].tolist())) if with_text else None,
                    learned=bool(learned[start]), tokens=stop - start, end=stop == len(ids) and number == count,
                )
                for start, stop in pairwise(borders)
            )  # fmt: skip
            views.append(PieceView(place=place_of(each.record), about=f"window {number} of {count}", pieces=pieces))
    return tuple(views)


def _mean(seen: Sequence[_Seen]) -> float:
    return sum(each.tokens for each in seen) / max(1, len(seen))
