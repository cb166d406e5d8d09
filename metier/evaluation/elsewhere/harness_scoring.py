"""Choices scored as lm-evaluation-harness scores them, on metier's own engine: to compare both, item by item.

The harness reads context and choice as one text, takes the choice's tokens from where the context's end, and adds
their log-probabilities without an end of turn. metier's own systems tokenise both apart and count the end of turn
(rule 1 of the rules of evidence), so their numbers differ on purpose; these do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from metier.engine.forward import TreeRunner
from metier.engine.score import target_log_probabilities
from metier.engine.tree import TokenSequence

Floats = npt.NDArray[np.float64]


def harness_sums(
    runner: TreeRunner, tokenizer: Any, contexts: Sequence[str], choices: Sequence[Sequence[str]], *, budget: int = 2048
) -> list[Floats]:
    """Of each context the sums of log-probabilities of its choices, shape (choices,).

    Args:
        runner: The model.
        tokenizer: Its tokenizer.
        contexts: N contexts.
        choices: The choices of each, as they are appended: with the delimiter in front.
        budget: Distinct tokens of one forward pass; changes memory, not results.
    """
    sequences = [
        encode_pair(tokenizer, context, choice)
        for context, each in zip(contexts, choices, strict=True)
        for choice in each
    ]
    scored = target_log_probabilities(runner, sequences, budget=budget)
    values, start = [], 0
    for each in choices:
        values.append(np.array([float(sums) for sums, _ in scored[start : start + len(each)]]))
        start += len(each)
    return values


def encode_pair(tokenizer: Any, context: str, choice: str) -> TokenSequence:
    """A context that is read and a choice that is predicted, split as the harness (0.4.13) splits them.

    Spaces at the context's end belong to the choice. The tokenizer adds its own special tokens, unless the text
    begins with the one that begins a text. An empty context is that token, else the one that ends a text.
    """
    end = len(context) - len(context.rstrip())
    if end:
        context, choice = context[:-end], context[-end:] + choice
    begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if not context:
        ids = _ids(tokenizer, choice, special=False)
        return TokenSequence.of(ids[:1], ids[1:]) if ids[:1] == [begin] else TokenSequence.of([begin], ids)
    special = not context.startswith(tokenizer.decode([begin]))
    before, whole = _ids(tokenizer, context, special=special), _ids(tokenizer, context + choice, special=special)
    return TokenSequence.of(before, whole[len(before) :])


def _ids(tokenizer: Any, text: str, *, special: bool) -> list[int]:
    return list(tokenizer(text, add_special_tokens=special, truncation=False)["input_ids"])
