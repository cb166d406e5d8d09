"""`layers: auto`: how many upper blocks learn, decided before training from training records alone.

Where a class is the answer, the states between the blocks are asked: a linear classifier on the frozen states of a
depth shows what the blocks above are given (linear probes, arXiv 1610.01644). The deepest trunk that keeps nearly what
the best depth has is taken: it costs least, and the blocks above can still learn to read what is not laid out plainly.

Where text is the answer there is no class to ask for. There the gradient is asked: low-rank adapters are put into
every block, and the loss of two samples is differentiated at the start. The product of the two gradients of a block
is how much a first small step on one sample, made in this block, would lower the loss of the other. The fewest upper
blocks that hold most of that are taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from metier.data.records import Record
from metier.data.splits import conversations
from metier.device import derive_seed
from metier.engine.depths import pooled_at_depths
from metier.engine.forward import TreeRunner
from metier.engine.tree import TokenSequence
from metier.events import Notice, tell
from metier.model.adapt import AdaptedModel, adapt_model, has_head
from metier.model.base import BaseModel
from metier.model.chat_encode import ChatEncoder
from metier.model.head import fit_head
from metier.model.passages import passage_sequences
from metier.model.plan import block_number
from metier.recipe.sections import AdaptationSection, Recipe
from metier.stages.workshop import Workshop
from metier.training.objective import LanguageObjective

TRUNKS = (0.0, 1 / 4, 1 / 2, 2 / 3, 3 / 4)
"""Shares of the blocks that may become the trunk; above the last too few are left to learn with."""
KEPT = 0.9
"""Share of what the best depth is right on beyond guessing that a trunk must keep."""
PROBED = 240
"""Training records of the classifier; more where there are many classes."""
FOLDS = 3
STRENGTH = 0.1
"""Inverse regularisation of the classifier, on standardised states."""
HALF = 16
"""Training records of each of the two samples whose gradients are compared."""
ENOUGH = 2 / 3
"""Share of what a first step gains in all blocks that the chosen ones must hold."""
_RANK = 4


@dataclass(frozen=True, kw_only=True)
class SettledLayers:
    """What `auto` became."""

    layers: str
    """As a recipe would say it: `top 10`."""
    why: str
    measured: Mapping[str, float]
    """What was measured, by depth of the trunk in blocks."""


def settle_layers(shop: Workshop, name: str, recipe: Recipe) -> tuple[Recipe, SettledLayers | None]:
    """The recipe with `layers: auto` decided, and how; as it is where it says something else."""
    if recipe.adaptation.layers != "auto":
        return recipe, None
    found = SettledLayers(**shop.team.once(lambda: asdict(_measure(shop, name, recipe))))
    message = f"{name}: layers: auto -> {found.layers}: {found.why}."
    tell(shop.observers, Notice(topic="layers", message=message))
    section = recipe.adaptation.model_copy(update={"layers": found.layers})
    return recipe.model_copy(update={"adaptation": section}), found


def _measure(shop: Workshop, name: str, recipe: Recipe) -> SettledLayers:
    base = shop.base(recipe.model)
    depths = sorted({int(share * base.layers) for share in TRUNKS})
    if recipe.task == "classification" or has_head(recipe.adaptation, base.kind):
        return _by_states(shop, name, recipe, base, depths)
    return _by_gradients(shop, recipe, base, depths)


def _by_states(shop: Workshop, name: str, recipe: Recipe, base: BaseModel, depths: Sequence[int]) -> SettledLayers:
    """The deepest trunk whose states a linear classifier reads nearly as well as any."""
    records = _in_turns(shop.train, shop.recipe.seed)
    encoder = shop.encoder(base, recipe)
    texts = [encoder.text(record.text).ids for record in records]
    asked = [*depths, base.layers]
    states = pooled_at_depths(base.network, texts, asked, observers=shop.observers, label=f"{name}: depths")
    labels = [record.stratum for record in records]  # of several labels the first
    right = {depth: float(right_answers(rows, labels).mean()) for depth, rows in zip(asked, states, strict=True)}
    guessing = Counter(labels).most_common(1)[0][1] / len(labels)
    depth, best = deepest_that_keeps(right, depths, guessing)
    measured = {str(each): share for each, share in right.items()}
    why = (
        f"a linear classifier on the states below block {depth} is right on {right[depth]:.3f} of {len(records)} "
        f"training records that it did not see; the best, below block {best}, on {right[best]:.3f}"
    )
    return SettledLayers(layers=f"top {base.layers - depth}", why=why, measured=measured)


def deepest_that_keeps(right: Mapping[int, float], depths: Sequence[int], guessing: float) -> tuple[int, int]:
    """The largest of `depths` that keeps `KEPT` of what the best depth has beyond guessing, and the best.

    Args:
        right: Share of records answered right, for each depth.
        depths: Those that may be chosen.
        guessing: Share that the most frequent label alone would get.
    """
    best = max(right, key=lambda depth: (right[depth], depth))
    enough = guessing + KEPT * (right[best] - guessing)
    fitting = [depth for depth in depths if right[depth] >= enough]
    return max(fitting, default=max(depths, key=lambda depth: (right[depth], depth))), best


def right_answers(states: npt.NDArray[np.float32], labels: Sequence[str]) -> npt.NDArray[np.float64]:
    """Whether a logistic regression on the other folds gives each record its label, as 1 or 0.

    Args:
        states: Shape (N, hidden).
        labels: N labels; the records of a label are dealt to the folds in turn.
    """
    names = sorted(set(labels))
    classes = np.array([names.index(label) for label in labels])
    folds = np.zeros(len(labels), dtype=np.int64)
    for number in range(len(names)):
        where = np.flatnonzero(classes == number)
        folds[where] = np.arange(len(where)) % FOLDS
    right = np.zeros(len(labels))
    for fold in range(FOLDS):
        seen, asked = folds != fold, folds == fold
        if asked.any() and len(set(classes[seen].tolist())) > 1:
            head = fit_head(states[seen], classes[seen].tolist(), len(names), STRENGTH)
            right[asked] = head.log_probabilities(states[asked]).argmax(axis=1) == classes[asked]
    return right


def _in_turns(records: Sequence[Record], seed: int) -> list[Record]:
    """Some records, labels in turn, in an order that is a function of seed and ids."""
    ordered = sorted(records, key=lambda record: derive_seed(seed, "layers", record.id))
    by_label: dict[str, list[Record]] = {}
    for record in ordered:
        by_label.setdefault(record.stratum, []).append(record)
    turns = [each for turn in zip_longest(*by_label.values()) for each in turn if each is not None]
    return turns[: max(PROBED, 2 * FOLDS * len(by_label))]


def _by_gradients(shop: Workshop, recipe: Recipe, base: BaseModel, depths: Sequence[int]) -> SettledLayers:
    """The fewest upper blocks that hold most of what a first step on one sample gains on another."""
    ordered = sorted(shop.train, key=lambda record: derive_seed(shop.recipe.seed, "layers", record.id))
    examples = _examples(shop, recipe, base, ordered)
    half = min(HALF, len(examples) // 2)
    if half == 0:
        depth = depths[len(depths) // 2]
        why = "there are too few training records to measure anything, so half of the blocks learn"
        return SettledLayers(layers=f"top {base.layers - depth}", why=why, measured={})
    section = AdaptationSection(method="lora", layers="all", r=_RANK)
    model = adapt_model(section, base, seed=shop.recipe.seed)
    try:
        budget = recipe.training.tokens_per_microbatch
        one, other = (
            block_gradients(model, some, budget=budget) for some in (examples[:half], examples[half : 2 * half])
        )
    finally:
        model.detach()
    gains = [max(0.0, float(np.dot(one[block], other[block]))) for block in range(base.layers)]
    depth = fewest_blocks(gains, depths)
    total = sum(gains) or 1.0
    measured = {str(each): sum(gains[each:]) / total for each in depths}
    why = (
        f"of what a first step on {half} training records gains on {half} others, the blocks from {depth} on hold "
        f"{measured[str(depth)]:.0%}"
    )
    return SettledLayers(layers=f"top {base.layers - depth}", why=why, measured=measured)


def fewest_blocks(gains: Sequence[float], depths: Sequence[int]) -> int:
    """The largest of `depths` above which at least `ENOUGH` of all gains lie; the smallest where there are none."""
    total = sum(gains)
    fitting = [depth for depth in depths if total > 0 and sum(gains[depth:]) >= ENOUGH * total]
    return max(fitting, default=min(depths))


def block_gradients(
    model: AdaptedModel, examples: Sequence[Sequence[TokenSequence]], *, budget: int
) -> list[npt.NDArray[np.float64]]:
    """The gradient of the mean loss of some examples, one vector for each block.

    Low-rank adapters start with one factor at zero, so the gradient of that factor is the block's own gradient seen
    through the other, random factor.

    Args:
        model: Adapters in every block, untrained.
        examples: The sequences of each.
        budget: Tokens of one forward pass.
    """
    objective = LanguageObjective(TreeRunner(model.network, autocast=model.autocast), examples, [1.0] * len(examples))
    numbers = range(len(examples))
    total = objective.weight(numbers)
    learning = model.trainable()
    for parameter in learning.values():
        parameter.grad = None
    for part in objective.parts(numbers, budget):
        (part.loss / total).backward()  # type: ignore[no-untyped-call]
    parts: list[list[Any]] = [[] for _ in range(model.base.layers)]
    for name in sorted(learning):
        block, gradient = block_number(model.network, name), learning[name].grad
        if block is not None and gradient is not None:
            parts[block].append(gradient.double().flatten().cpu().numpy())
        learning[name].grad = None
    return [np.concatenate(rows) if rows else np.zeros(1) for rows in parts]


def _examples(
    shop: Workshop, recipe: Recipe, base: BaseModel, records: Sequence[Record]
) -> list[tuple[TokenSequence, ...]]:
    """Enough records for two samples, as they are trained; records from which nothing is learned are left out."""
    encoder = shop.encoder(base, recipe)
    if recipe.task == "text":
        windows = (list(passage_sequences(encoder, record.text)) for record in records)
        found = [tuple(TokenSequence(ids, targets) for ids, targets in some[:1]) for some in windows if some]
        return found[: 2 * HALF]
    chat, prompt = ChatEncoder(encoder), shop.chat_prompt(recipe)
    room = int(shop.generation(recipe, chat)["max_new_tokens"])
    examples: list[tuple[TokenSequence, ...]] = []
    for record in conversations(records):
        turns = chat.turns(prompt, record, recipe.training.loss_on, room=room)
        if turns.sequences and not turns.fault:
            examples.append(tuple(TokenSequence.of(p.tolist(), a.tolist()) for p, a in turns.sequences))
        if len(examples) == 2 * HALF:
            break
    return examples
