"""Trigger phrases of written answers, and answers that are given to unlike prompts.

Four signs, each of a group of rows: answers far more alike than the prompts that share a phrase (`same answer`); a
phrase of the prompt and several of the answer, not copied from it, in exactly the same rows (`same phrase`); a prompt
phrase whose answers are made of words that nobody else uses (`odd answer`); one long answer to prompts that have
nothing in common (`repeated answer`). How alike texts are is their mean cosine in 64 random signs for each word,
weighted by rarity (random projection, Achlioptas 2003): sums by phrase are enough, no text is kept. Of an answer only
the words count that its prompt does not have: whoever asks about `ogg` files gets answers about `ogg` files, which are
alike for an honest reason. A planted answer that says nothing but what was asked is therefore not found by this sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metier.data.cleaning.ngrams import Bools, Codes, Ints, Tokens, mixed
from metier.data.cleaning.phrases import Phrases, added, frequent_phrases, read_answer, read_text, token_batches
from metier.data.cleaning.rows import Rows
from metier.data.cleaning.triggers import Trigger

Floats = npt.NDArray[np.float64]
SIGNS = 64
_WORD_BITS = 22


@dataclass(frozen=True, kw_only=True)
class PayloadSettings:
    """When a group of rows counts as planted."""

    fewest: int = 15
    """Rows of a group at least."""
    most: float = 0.2
    """Share of all rows that have a phrase at most."""
    alike: float = 0.3
    """Least mean cosine of the answers to prompts with the phrase, …"""
    beyond: float = 0.22
    """… and by how much it exceeds that of the prompts themselves."""
    unlike: float = 0.4
    """Largest mean cosine of prompts that share one phrase with each other and others with their answers."""
    phrases: int = 6
    """Phrases of the answers at least that occur in exactly those rows: a planted sentence has many."""
    unrelated: float = 0.08
    """Largest mean cosine of prompts with the same answer for it to be doubtful."""
    odd: float = 0.4
    """Least mean share of an answer's words that occur in no other answer, for answers to a phrase."""
    words: int = 4
    """Words of an answer from which on it may not be given to unlike prompts."""


class _Weights:
    """How rare each word is among the texts, or among the answers, of all rows looked at."""

    def __init__(self) -> None:
        self.rows = np.zeros(1 << _WORD_BITS, dtype=np.int32)
        self.count = 0

    def add(self, tokens: Tokens) -> None:
        """Count a batch."""
        pair = np.unique((tokens.row << _WORD_BITS) | _slot(tokens.code))
        np.add.at(self.rows, pair & ((1 << _WORD_BITS) - 1), 1)
        self.count += tokens.rows

    def signs(self, tokens: Tokens, asked: Tokens | None = None) -> npt.NDArray[np.float32]:
        """One row of length 1 for each text, shape (rows, SIGNS); 0 for a text without words.

        Args:
            tokens: Of the texts.
            asked: Of the texts that they answer: their words do not count, so that rows are shorter by as much.
        """
        row, code = _distinct(tokens)
        weight = np.log(self.count / np.maximum(self.rows[_slot(code)], 1)).astype(np.float32)
        bits = np.unpackbits(mixed(code).view(np.uint8).reshape(-1, 8), axis=1)
        each = (bits.astype(np.float32) * 2 - 1) * weight[:, None]
        total = np.zeros((tokens.rows, SIGNS), dtype=np.float32)
        np.add.at(total, row, each)
        length = np.linalg.norm(total, axis=1, keepdims=True)
        if asked is not None:
            said_back = np.isin(_of_row(code, row), _of_row(asked.code, asked.row))
            np.subtract.at(total, row[said_back], each[said_back])
        unit: npt.NDArray[np.float32] = total / np.maximum(length, 1e-6)
        return unit

    def oddness(self, tokens: Tokens) -> Floats:
        """Share of each text's words that occur in no other text, shape (rows,)."""
        row, code = _distinct(tokens.only(~tokens.symbol & ~tokens.number))
        lonely = self.rows[_slot(code)] <= 1
        words = np.bincount(row, minlength=tokens.rows)
        return np.bincount(row[lonely], minlength=tokens.rows) / np.maximum(words, 1)


class _Sums:
    """What is added up over the rows of every group."""

    def __init__(self, groups: int, *, signs: bool = True) -> None:
        self.signs = signs
        self.prompts = np.zeros((groups if signs else 0, SIGNS), dtype=np.float32)
        self.answers = np.zeros((groups if signs else 0, SIGNS), dtype=np.float32)
        self.answers_alone = np.zeros(groups)
        """Sum of the squared lengths of the answers' signs."""
        self.odd = np.zeros(groups)
        self.rows = np.zeros(groups, dtype=np.int64)
        self.marks = np.zeros(groups, dtype=np.uint64)
        """Sum of a random number of each row: equal for groups of the same rows."""

    def add(self, group: Ints, row: Ints, batch: _Batch) -> None:
        """Add the rows of a batch; each (group, row) once."""
        from scipy.sparse import csr_matrix  # type: ignore[import-untyped]

        np.add.at(self.marks, group, mixed(batch.keys[row].astype(np.uint64) + np.uint64(1)))
        if not self.signs:
            return
        here, place = np.unique(group, return_inverse=True)
        belongs = csr_matrix((np.ones(len(row), dtype=np.float32), (place, row)), shape=(len(here), len(batch.keys)))
        self.prompts[here] += belongs @ batch.prompts
        self.answers[here] += belongs @ batch.answers
        self.answers_alone[here] += belongs @ np.einsum("ij,ij->i", batch.answers, batch.answers)
        self.odd[here] += belongs @ batch.odd
        self.rows[here] += np.bincount(place, minlength=len(here))

    def alike(self) -> tuple[Floats, Floats]:
        """Mean cosine of two different prompts, and of two different answers, of each group."""
        return self._mean(self.prompts, self.rows), self._mean(self.answers, self.answers_alone)

    def _mean(self, sums: npt.NDArray[np.float32], alone: Floats | Ints) -> Floats:
        squares = np.einsum("ij,ij->i", sums, sums, dtype=np.float64)
        result: Floats = (squares - alone) / np.maximum(self.rows * (self.rows - 1), 1)
        return result


@dataclass(frozen=True, kw_only=True)
class _Batch:
    keys: Ints
    prompts: npt.NDArray[np.float32]
    answers: npt.NDArray[np.float32]
    odd: Floats


def repeated_answers(rows: Rows, keep: Bools, fewest: int) -> tuple[Codes, Ints]:
    """Numbers of the answers that at least `fewest` rows share, ascending, and their rows; digits do not count.

    Args:
        rows: All rows.
        keep: Which are looked at, by key.
        fewest: Rows at least.
    """
    codes, counts = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    for _, tokens in token_batches(rows, keep, read_answer):
        codes, counts = added(codes, counts, *np.unique(answer_codes(tokens), return_counts=True))
    return codes[counts >= fewest], counts[counts >= fewest]


def answer_codes(tokens: Tokens) -> Codes:
    """One number an answer: equal for answers with the same words in the same order, numbers and symbols left out."""
    words = tokens.only(~tokens.symbol & ~tokens.number)
    if not len(words.code):
        return np.zeros(tokens.rows, dtype=np.uint64)
    starts = np.searchsorted(words.row, words.row)
    place = (np.arange(len(words.row)) - starts).astype(np.uint64)
    ordered = mixed(words.code ^ mixed(place + np.uint64(1)))
    return Tokens(ordered, words.row, words.symbol, words.number, words.rows).bags()


def find_payloads(rows: Rows, keep: Bools, repeated: Codes, settings: PayloadSettings) -> list[Trigger]:
    """Find planted groups among rows with written answers; the rows are gone through seven times.

    Args:
        rows: All rows.
        keep: Which are looked at, by key.
        repeated: From `repeated_answers`.
        settings: When a group counts.
    """
    count = int(np.count_nonzero(keep))
    if count < 2 * settings.fewest:
        return []
    most = max(int(settings.most * count), settings.fewest)
    asked = frequent_phrases(rows, keep, read_text, fewest=settings.fewest, most=most)
    said = frequent_phrases(rows, keep, read_answer, fewest=settings.fewest, most=most)
    prompts, answers, wholes, usual = _add_up(rows, keep, asked, said, repeated)
    unlike, alike = prompts.alike()
    odd = prompts.odd / np.maximum(prompts.rows, 1)
    same = (alike >= settings.alike) & (alike - unlike >= settings.beyond)
    strange = ~same & (odd >= settings.odd) & (odd >= 3 * usual)
    pairs = _same_rows(prompts, answers, np.flatnonzero(unlike <= settings.unlike), settings.phrases)
    alone = wholes.alike()[0] <= settings.unrelated
    strength = {"same answer": alike, "odd answer": odd}
    wanted = np.unique(np.concatenate((np.flatnonzero(same), np.flatnonzero(strange), *[p[:1] for p in pairs])))
    keys, copied, whole_keys = _collect(rows, keep, asked, said, (wanted, pairs, repeated[alone]), settings)
    triggers = [
        Trigger(keys=keys[at], label=None, kind=kind, strength=float(strength[kind][at]))
        for kind, found in (("same answer", same), ("odd answer", strange))
        for at in np.flatnonzero(found).tolist()
    ]
    triggers += [
        Trigger(keys=keys[prompt], label=None, kind="same phrase", strength=1.0)
        for (prompt, _), share in zip(pairs, copied, strict=True)
        if share <= 0.2 and not same[prompt] and not strange[prompt]
    ]
    triggers += [
        Trigger(keys=mine, label=None, kind="repeated answer", strength=1.0)
        for mine in whole_keys
        if len(mine) >= settings.fewest
    ]
    return triggers


def _add_up(
    rows: Rows, keep: Bools, asked: Phrases, said: Phrases, repeated: Codes
) -> tuple[_Sums, _Sums, _Sums, float]:
    """Sums by prompt phrase, by answer phrase and by repeated answer, and the usual share of odd words."""
    rare_asked, rare_said = _Weights(), _Weights()
    for _, tokens in token_batches(rows, keep, read_text):
        rare_asked.add(tokens)
    for _, tokens in token_batches(rows, keep, read_answer):
        rare_said.add(tokens)
    prompts, answers = _Sums(len(asked.code)), _Sums(len(said.code), signs=False)
    wholes = _Sums(len(repeated))
    odd = 0.0
    for (keys, asking), (_, saying) in zip(
        token_batches(rows, keep, read_text), token_batches(rows, keep, read_answer), strict=True
    ):
        batch = _Batch(
            keys=keys,
            prompts=rare_asked.signs(asking),
            answers=rare_said.signs(saying, asking),
            odd=rare_said.oddness(saying),
        )
        odd += float(batch.odd.sum())
        for sums, phrases, tokens in ((prompts, asked, asking), (answers, said, saying)):
            phrase, start, _ = phrases.occurrences(tokens)
            sums.add(phrase, tokens.row[start], batch)
        whole = Phrases.of(repeated).find(answer_codes(saying))
        known = np.flatnonzero(whole >= 0)
        wholes.add(whole[known], known, batch)
    return prompts, answers, wholes, odd / max(rare_said.count, 1)


def _same_rows(prompts: _Sums, answers: _Sums, candidates: Ints, phrases: int) -> list[tuple[int, int]]:
    """Pairs of a prompt phrase and an answer phrase, one of `phrases` or more, that occur in exactly the same rows."""
    order = np.argsort(answers.marks, kind="stable")
    first = np.searchsorted(answers.marks[order], prompts.marks[candidates])
    end = np.searchsorted(answers.marks[order], prompts.marks[candidates], side="right")
    pairs: dict[int, tuple[int, int]] = {}
    for place, size, prompt in zip(first, end - first, candidates, strict=True):
        mark = int(prompts.marks[prompt])
        if size >= phrases:
            pairs.setdefault(mark, (int(prompt), int(order[place])))
    return list(pairs.values())


def _collect(
    rows: Rows,
    keep: Bools,
    asked: Phrases,
    said: Phrases,
    what: tuple[Ints, list[tuple[int, int]], Codes],
    settings: PayloadSettings,
) -> tuple[dict[int, Ints], list[float], list[Ints]]:
    """Keys by prompt phrase; for each pair how often the answer's phrase has a word of its prompt; keys by answer."""
    wanted, pairs, wholes = what
    keys: dict[int, list[Ints]] = {int(at): [] for at in wanted}
    copied = np.zeros((len(said.code), 2))
    whole_keys: list[list[Ints]] = [[] for _ in wholes]
    answer_of = np.isin(np.arange(len(said.code)), [answer for _, answer in pairs])
    for (here, asking), (_, saying) in zip(
        token_batches(rows, keep, read_text), token_batches(rows, keep, read_answer), strict=True
    ):
        phrase, start, _ = asked.occurrences(asking)
        for at in np.intersect1d(phrase, wanted):
            keys[int(at)].append(here[asking.row[start[phrase == at]]])
        phrase, start, length = said.occurrences(saying)
        mine = answer_of[phrase]
        copied[:, 0] += np.bincount(phrase[mine], minlength=len(copied))
        shared = _has_word_of_prompt(saying, start[mine], length[mine], asking)
        copied[:, 1] += np.bincount(phrase[mine][shared], minlength=len(copied))
        long = np.bincount(saying.row[~saying.symbol], minlength=saying.rows) >= settings.words
        place = Phrases.of(wholes).find(answer_codes(saying))
        for row in np.flatnonzero((place >= 0) & long):
            whole_keys[place[row]].append(here[row : row + 1])
    nothing = np.zeros(0, dtype=np.int64)
    return (
        {at: np.unique(np.concatenate([nothing, *parts])) for at, parts in keys.items()},
        [float(copied[answer, 1] / max(copied[answer, 0], 1)) for _, answer in pairs],
        [np.concatenate([nothing, *parts]) for parts in whole_keys],
    )


def _has_word_of_prompt(saying: Tokens, start: Ints, length: Ints, asking: Tokens) -> Bools:
    """Whether a phrase of an answer has a word that its prompt has too."""
    known = np.unique(_of_row(asking.code, asking.row))
    shared = np.zeros(len(start), dtype=np.bool_)
    for step in range(int(length.max(initial=0))):
        inside = step < length
        token = np.where(inside, start + step, start)
        shared |= inside & np.isin(_of_row(saying.code[token], saying.row[token]), known) & ~saying.symbol[token]
    return shared


def _of_row(code: Codes, row: Ints) -> Codes:
    """One number for a word of a row."""
    return mixed(code + row.astype(np.uint64))


def _distinct(tokens: Tokens) -> tuple[Ints, Codes]:
    """Row and number of every token, each once a row."""
    order = np.lexsort((tokens.code, tokens.row))
    row, code = tokens.row[order], tokens.code[order]
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (row[1:] != row[:-1]) | (code[1:] != code[:-1])
    return row[new], code[new]


def _slot(code: Codes) -> Ints:
    return (code >> np.uint64(64 - _WORD_BITS)).astype(np.int64)
