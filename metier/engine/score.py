"""Log-probabilities of labels and other targets. The labels of one prompt are one tree under the prompt.

What all prompts begin with (system prompt, instruction, few-shot block) is computed once for the
whole data set and kept as key-value state.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from metier.engine.forward import Prefix, TreeRunner
from metier.engine.tree import Ints, TokenSequence, TokenTree, common_start, cut_into_groups
from metier.events import Observer, Progress, tell
from metier.team import current_team

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

    All processes of a team call it with the same arguments; each scores its share of the prompts.

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
    team = current_team()
    mine = [prompts[number] for number in team.share(len(prompts))]
    scores, computed = _score_share(runner, mine, labels, budget, observers, title)
    return team.put_together(scores, len(prompts)), int(team.add(computed)[0])


def _score_share(
    runner: TreeRunner,
    prompts: Sequence[Ints],
    labels: Sequence[Ints],
    budget: int,
    observers: Sequence[Observer],
    title: str,
) -> tuple[Floats, int]:
    """The same for the prompts of this process."""
    sequences = label_sequences(prompts, labels)
    scores = np.zeros(len(sequences))
    shared = common_start(prompts)
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


def target_log_probabilities(
    runner: TreeRunner,
    sequences: Sequence[TokenSequence],
    *,
    budget: int,
    observers: Sequence[Observer] = (),
    title: str = "scoring",
) -> list[tuple[float, int]]:
    """Summed natural log-probability of each sequence's targets, and how many targets it has.

    All processes of a team call it with the same arguments; each scores its share of the sequences.

    Args:
        runner: The model.
        sequences: Token sequences with targets; one without has sum 0 of 0 tokens.
        budget: Distinct tokens of one forward pass; changes memory, not results.
        observers: Told about progress.
        title: Name of the progress bar.
    """
    team = current_team()
    mine = [sequences[number] for number in team.share(len(sequences))]
    sums = team.put_together(_score_targets(runner, mine, budget, observers, title), len(sequences))
    return list(zip(sums.tolist(), (int(s.targets.sum()) for s in sequences), strict=True))


def _score_targets(
    runner: TreeRunner, sequences: Sequence[TokenSequence], budget: int, observers: Sequence[Observer], title: str
) -> Floats:
    """Sums of the sequences of this process, shape (S,)."""
    sums, counts = np.zeros(len(sequences)), np.array([int(s.targets.sum()) for s in sequences], dtype=np.int64)
    places = np.flatnonzero(counts)
    some = [sequences[place] for place in places.tolist()]
    # The prefix leaves at least the token that predicts the first target.
    shared = common_start([s.ids[: int(np.argmax(s.targets))] for s in some])
    prefix = runner.prefill(shared) if len(shared) and runner.probe(some) else None
    cut = len(shared) if prefix is not None else 0
    rest = [TokenSequence(s.ids[cut:], s.targets[cut:]) for s in some]
    done = 0
    for group in cut_into_groups(rest, budget):
        tree = TokenTree.build([rest[number] for number in group], offset=cut)
        sums[places[group]] = _group_scores(runner, tree, [some[number] for number in group], prefix)
        done += len(group)
        tell(observers, Progress(label=title, done=done, total=len(some)))
    return sums


def _group_scores(
    runner: TreeRunner, tree: TokenTree, sequences: Sequence[TokenSequence], prefix: Prefix | None
) -> Floats:
    """Summed log-probability of each sequence's targets, shape (S,)."""
    picked = runner.log_probabilities(tree, sequences, prefix)
    sums = np.zeros(len(sequences))
    np.add.at(sums, tree.target_sequences, picked.double().cpu().numpy())
    return sums
