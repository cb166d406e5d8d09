"""Answers written one at a time by transformers' own generation, for families that slots do not fit.

Tokens are chosen and answers ended by the same rules as elsewhere, so seeds and stop texts mean the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, PreTrainedModel, StoppingCriteria

from metier.engine.rows import Row
from metier.engine.sampling import choose


class _Choice(LogitsProcessor):
    """Leaves transformers one possible token: the one that we choose."""

    def __init__(self, row: Row) -> None:
        self.row = row

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Choose, and give the chosen token all the probability."""
        token = choose(scores, [self.row.history], [self.row.generator], self.row.decoding)[0]
        self.row.take(token)
        only = torch.full_like(scores, -torch.inf)
        only[0, token] = 0
        return only


class _Ended(StoppingCriteria):
    """Stops when the row has ended."""

    def __init__(self, row: Row) -> None:
        self.row = row

    def __call__(self, input_ids: Tensor, scores: Any, **_options: Any) -> Tensor:
        """One truth value."""
        return torch.full((1,), self.row.stop is not None, device=input_ids.device, dtype=torch.bool)


def write_plainly(network: PreTrainedModel, rows: Sequence[Row], report: Callable[[], None]) -> None:
    """Write every row, one after the other.

    Args:
        network: The model.
        rows: Rows without an answer; they have one afterwards.
        report: Called after every row.
    """
    own = network.generation_config
    # The model's own settings would change scores before we see them.
    network.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    try:
        for row in rows:
            started = time.perf_counter()
            ids = torch.from_numpy(row.prompt)[None].to(network.device)
            settings = GenerationConfig(  # type: ignore[no-untyped-call]
                max_new_tokens=row.decoding.max_new_tokens, do_sample=False, use_cache=True, pad_token_id=0
            )
            network.generate(  # type: ignore[operator]
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                generation_config=settings,
                logits_processor=[_Choice(row)],
                stopping_criteria=[_Ended(row)],
            )
            row.seconds = time.perf_counter() - started
            row.computed = len(row.prompt) + max(0, len(row.ids) - (row.stop == "length"))
            report()
    finally:
        network.generation_config = own
