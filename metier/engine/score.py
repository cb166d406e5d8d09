"""Log-probabilities of every label after every prompt: the labels are one tree under the prompt.

What all prompts begin with (system prompt, instruction, few-shot block) is computed once for the
whole data set and kept as key-value state.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from metier.engine.forward import Prefix, TreeRunner
from metier.engine.tree import Ints, TokenSequence, TokenTree, canonical_order, cut_into_groups, shared_length
from metier.events import Observer, Progress, tell

Floats = npt.NDArray[np.float64]


def label_sequences(prompts: Sequence[Ints], labels: Sequence[Ints]) -> list[TokenSequence]:
    """One sequence for each prompt and label, labels of one prompt together: number = prompt * C + label."""
    return [TokenSequence.of(prompt.tolist(), label.tolist()) for prompt in prompts for label in labels]


def score_labels(
    runner: TreeRunner,
    prompts: Sequence[Ints],
    labels: Sequence[Ints],
    *,
    budget: int,
    observers: Sequence[Observer] = (),
    title: str = "scoring",
) -> tuple[Floats, int]:
    """Sum of the log-probabilities of each label's tokens, end of turn included.

    Args:
        runner: The model.
        prompts: N prompts as token ids.
        labels: C labels as token ids.
        budget: Distinct tokens of one forward pass; changes memory, not results.
        observers: Told about progress.
        title: Name of the progress bar.

    Returns:
        Natural log-probabilities of shape (N, C), and the number of tokens that were computed.
    """
    sequences = label_sequences(prompts, labels)
    scores = np.zeros(len(sequences))
    shared = _common_start(prompts)
    prefix = runner.prefill(shared) if len(shared) and runner.probe(sequences[: len(labels)]) else None
    cut = len(shared) if prefix is not None else 0
    rest = [TokenSequence(s.ids[cut:], s.targets[cut:]) for s in sequences]
    done, computed = 0, cut
    for group in cut_into_groups(rest, budget):
        tree = TokenTree.build([rest[number] for number in group], offset=cut)
        whole = [sequences[number] for number in group]
        scores[group] = _group_scores(runner, tree, whole, prefix)
        done, computed = done + len(group), computed + (tree.logical_tokens if runner.plain else len(tree))
        tell(observers, Progress(label=title, done=done // len(labels), total=len(prompts)))
    return scores.reshape(len(prompts), len(labels)), computed


def _group_scores(
    runner: TreeRunner, tree: TokenTree, sequences: Sequence[TokenSequence], prefix: Prefix | None
) -> Floats:
    """Summed log-probability of each sequence's targets, shape (S,)."""
    picked = runner.log_probabilities(tree, sequences, prefix)
    sums = np.zeros(len(sequences))
    np.add.at(sums, tree.target_sequences, picked.double().cpu().numpy())
    return sums


def _common_start(prompts: Sequence[Ints]) -> Ints:
    """What all prompts begin with, at least one token short of each."""
    if len(prompts) < 2:
        return np.empty(0, dtype=np.int64)
    order = canonical_order(prompts)
    length = shared_length(prompts[order[0]], prompts[order[-1]])
    return prompts[0][: min(length, *(len(prompt) - 1 for prompt in prompts))]
