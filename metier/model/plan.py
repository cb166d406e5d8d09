"""What may learn: from the adaptation section to the exact names of parameters. Decides; changes nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from metier.errors import ModelError
from metier.model.blocks import blocks_of
from metier.recipe.sections import AdaptationSection


@dataclass(frozen=True, kw_only=True)
class LearningPlan:
    """What may learn in a network before anything is attached to it."""

    weights: tuple[str, ...]
    """The network's own parameters that learn (full, freeze); names as `named_parameters` gives them."""
    adapted: tuple[str, ...]
    """Linear modules that get an adapter (lora)."""
    trunk_layers: int
    """Lower blocks that never change, so that their output can be stored; 0 when the embeddings learn."""


def plan_learning(section: AdaptationSection, network: PreTrainedModel, *, head: bool = False) -> LearningPlan:
    """Resolve method and layers for a network.

    Args:
        section: Method and layers.
        network: The base model's network.
        head: Whether a classification head answers: the language model's own output layer is then not used.

    Raises:
        ModelError: `top N` names more blocks than there are, or the patterns match nothing.
    """
    depth = network.config.num_hidden_layers
    if section.method == "head":
        return LearningPlan(weights=(), adapted=(), trunk_layers=depth)
    if section.method == "lora":
        adapted = _adapted_modules(section, network)
        return LearningPlan(weights=(), adapted=adapted, trunk_layers=_frozen_blocks(network, adapted))
    weights = _learning_weights(section, network, head=head)
    return LearningPlan(weights=weights, adapted=(), trunk_layers=_frozen_blocks(network, weights))


def top_blocks(section: AdaptationSection, network: PreTrainedModel) -> range | None:
    """Numbers of the blocks that `top N`, `all` or, until it is decided, `auto` names; None for patterns.

    Raises:
        ModelError: N is larger than the number of blocks.
    """
    depth = network.config.num_hidden_layers
    if section.layers == "all":
        return range(depth)
    if section.layers == "auto":
        return range(depth - assumed_top(depth), depth)
    if isinstance(section.layers, str):
        blocks_of(network)  # says so where there is no stack
        wanted = int(section.layers.split()[1])
        if wanted > depth:
            raise ModelError(
                "adaptation.layers", f"top {wanted} of a model with {depth} blocks", f"at most top {depth}",
                'Write "all" to adapt every block.',
            )  # fmt: skip
        return range(depth - wanted, depth)
    return None


def assumed_top(depth: int) -> int:
    """Upper blocks that a plan counts with where `layers: auto` is not decided yet: half of them.

    Args:
        depth: Blocks of the model.
    """
    return max(1, depth - depth // 2)


def block_number(network: PreTrainedModel, name: str) -> int | None:
    """The block that a parameter or module belongs to; None outside the stack, and where there is none."""
    try:
        prefix = blocks_of(network).prefix
    except ModelError:
        return None
    found = re.match(re.escape(prefix) + r"\.(\d+)\.", name)
    return int(found.group(1)) if found else None


def _adapted_modules(section: AdaptationSection, network: PreTrainedModel) -> tuple[str, ...]:
    blocks_of(network)  # says so where there is no stack
    chosen = top_blocks(section, network)
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear | Conv1D)]
    inside = [name for name in linear if block_number(network, name) is not None]
    if chosen is None:
        inside = [name for name in inside if _matches(name, section.layers)]
    else:
        inside = [name for name in inside if block_number(network, name) in chosen]
    if section.target_modules != "all-linear":
        ends = tuple(section.target_modules)
        inside = [name for name in inside if any(name == end or name.endswith(f".{end}") for end in ends)]
    if not inside:
        kinds = sorted({name.rpartition(".")[2] for name in linear})
        raise ModelError(
            "adaptation.target_modules",
            f"{section.target_modules} in layers {section.layers!r} names no linear module",
            f"some of {', '.join(kinds)}",
        )  # fmt: skip
    return tuple(inside)


def _learning_weights(section: AdaptationSection, network: PreTrainedModel, *, head: bool) -> tuple[str, ...]:
    # An encoder's own pooler, and a language model's own output layer, are not on the way to our head.
    aside = ("pooler.", "lm_head.") if head else ("pooler.",)
    names = [name for name, _ in network.named_parameters() if not name.startswith(aside)]
    chosen = top_blocks(section, network)
    if chosen is None:
        found = [name for name in names if _matches(name, section.layers)]
    elif section.layers == "all":
        found = names
    else:
        above = [name for name in names if _is_above_the_stack(network, name)]
        found = [name for name in names if block_number(network, name) in chosen or name in above]
    if not found:
        raise ModelError(
            "adaptation.layers", f"{section.layers!r} matches no parameter", "patterns of parameter names",
            f"A name looks like {names[len(names) // 2]!r}.",
        )  # fmt: skip
    return tuple(found)


def _is_above_the_stack(network: PreTrainedModel, name: str) -> bool:
    """Whether a parameter is a norm beside the stack of blocks and no embedding's: the final norm of `top N`."""
    if block_number(network, name) is not None:
        return False
    try:
        beside = blocks_of(network).prefix.rpartition(".")[0]
    except ModelError:
        return False
    module, _, _ = name.rpartition(".")
    place, _, last = module.rpartition(".")
    return place == beside and "emb" not in last and bool(re.search(r"norm|(^|_)ln(_|$)", last.lower()))


def _frozen_blocks(network: PreTrainedModel, names: tuple[str, ...]) -> int:
    """Blocks below the lowest that learns; 0 when something below the stack learns."""
    numbers = [block_number(network, name) for name in names]
    outside = [n for n, number in zip(names, numbers, strict=True) if number is None]
    if any(not _is_above_the_stack(network, name) for name in outside):
        return 0
    inside = [number for number in numbers if number is not None]
    return min(inside, default=network.config.num_hidden_layers)


def _matches(name: str, patterns: str | list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
