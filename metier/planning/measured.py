"""Which passes of a task are measured: the run's own texts, few enough for seconds, as many as fill a pass."""

from __future__ import annotations

import math
from collections.abc import Sequence

from metier.engine.tree import Ints, TokenSequence
from metier.planning.count import Counter, distinct_tokens
from metier.planning.probes import ROWS, STEPS, TEXTS, Probes, features, read, score, train_head, train_words, write
from metier.planning.taught import Taught
from metier.recipe.sections import Recipe


def label_probes(counter: Counter, recipe: Recipe, *, solved: bool) -> Probes:
    """The passes of a model that answers with labels.

    Args:
        counter: How records are met, and some of them.
        recipe: Batch and budget.
        solved: Whether nothing of it is trained step by step.
    """
    section, asking = recipe.training, counter.asking
    sequences = counter.sequences
    mean = sum(len(each.ids) for each in sequences) / max(1, len(sequences))
    if asking.prompt is None:
        texts = [each.ids for each in sequences]
        kinds = {"features": features(texts[:TEXTS])}
        if not solved:
            kinds = {"train": train_head(texts, max(2, len(asking.labels)), section), **kinds}
        return Probes(by_kind=kinds, lengths=dict.fromkeys(kinds, mean), about=_about(texts))
    labels = asking.encoder.answers(asking.prompt)
    prompts = [each.ids[~each.targets] for each in sequences]
    own = max(1.0, mean - counter.shared_start) + counter.label_tokens[0]
    few = prompts[: max(2, min(TEXTS, math.ceil(section.tokens_per_microbatch / own)))]
    kinds = {"score": score(few, labels, section.tokens_per_microbatch)}
    if not solved:
        kinds = {"train": train_words([(each,) for each in sequences], section), **kinds}
    about = [*_about([each.ids for each in sequences]), [len(label) for label in labels]]
    return Probes(by_kind=kinds, lengths=dict.fromkeys(kinds, mean), about=about)


def text_probes(taught: Taught, recipe: Recipe) -> Probes:
    """The passes of a model that writes or reads on.

    Args:
        taught: What it learns, and some of it.
        recipe: Batch, budget, and how many answers are written together.
    """
    section, budget = recipe.training, recipe.training.tokens_per_microbatch
    flat = [sequence for example in taught.sample for sequence in example]
    if not flat:
        return Probes(by_kind={})  # nothing can be learned, which is told as a fault
    mean = sum(len(each.ids) for each in flat) / len(flat)
    some = _first_tokens(flat, budget)
    kinds = {
        "train": train_words(taught.sample, section),
        "read": read(some, budget, distinct_tokens(some, budget)),
    }
    lengths = dict.fromkeys(kinds, mean)
    if taught.about.max_new_tokens is not None:
        rows = min(ROWS, recipe.generation.batch_size)
        prompts = [each.ids[: int(each.targets.argmax())] for each in flat]
        prompts = [prompt for prompt in prompts if len(prompt)][:rows]
        prompts = [prompts[place % len(prompts)] for place in range(rows)] if prompts else []
        if prompts:
            tokens = distinct_tokens([_bare(prompt) for prompt in prompts], budget)
            kinds |= {"prompt": write(prompts, 1, budget, tokens), "write": write(prompts, STEPS, budget, tokens)}
            lengths |= {"prompt": taught.asked["train"], "write": taught.asked["train"] + STEPS / 2}
    return Probes(by_kind=kinds, lengths=lengths, about=_about([each.ids for each in flat]))


def _first_tokens(sequences: Sequence[TokenSequence], budget: int) -> list[TokenSequence]:
    """As many as fill one pass."""
    taken, tokens = [], 0
    for sequence in sequences:
        taken.append(sequence)
        tokens += len(sequence.ids)
        if tokens >= budget:
            break
    return taken


def _bare(ids: Ints) -> TokenSequence:
    return TokenSequence(ids, ids < 0)


def _about(texts: Sequence[Ints]) -> list[object]:
    """What tells one set of texts from another, for what they cost."""
    return [len(texts), [len(text) for text in texts[:TEXTS]]]
