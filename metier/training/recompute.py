"""Gradient checkpointing (arXiv 1604.06174): what a block keeps for its backward pass is computed again, not kept.

Only blocks that learn are wrapped: what lies below keeps nothing. The gradients are those without it, and the
random numbers of dropout are drawn again alike. It costs a second forward pass of these blocks, so `auto`
chooses it only where the first batch shows that memory would not do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from metier.device import free_memory_bytes
from metier.engine.network import without_dropout
from metier.errors import ModelError
from metier.events import Notice, Observer, tell
from metier.model.adapt import AdaptedModel
from metier.model.blocks import blocks_of
from metier.recipe.sections import TrainingSection
from metier.team import current_team
from metier.training.objective import Objective

SHARE = 0.8
"""Share of the free memory that activations may take."""
PLENTY = 0.5
"""Where the roughest upper limit of the activations is below this share of it, nothing is measured."""
MOMENTS = 3
"""Float32 numbers that each learning parameter will need beside itself: a gradient and two moments."""
QUERIES = 192
"""Attention is counted as if it kept keys and values anew for every so many queries: more than it does."""


def learning_blocks(model: AdaptedModel) -> list[nn.Module]:
    """The blocks from the lowest that learns, lowest first; none where the network has no stack of them."""
    try:
        blocks = blocks_of(model.network).modules
    except ModelError:
        return []
    return list(blocks[model.plan.trunk_layers :])


def decide_recomputing(
    section: TrainingSection, model: AdaptedModel, objective: Objective, numbers: Sequence[int],
    observers: Sequence[Observer] = (),
) -> bool:  # fmt: skip
    """Whether the blocks that learn compute their activations again in the backward pass.

    All processes of a team decide alike: where one has too little memory, all do.

    Args:
        section: Its `gradient_checkpointing`, and the size of a micro-batch.
        model: What learns.
        objective: What it learns; its first micro-batch is run once, where that is needed to decide.
        numbers: The examples of the first step.
        observers: Told where memory is why.
    """
    asked, budget, team = section.gradient_checkpointing, section.tokens_per_microbatch, current_team()
    if asked is False or not learning_blocks(model):
        return False
    if asked is True:
        return True
    device = model.network.device
    learning = sum(parameter.numel() for parameter in model.trainable().values())
    free = free_memory_bytes(device) // (1 if device.type == "cuda" else team.local_size)
    room = int(SHARE * (free - 4 * MOMENTS * learning))
    if not team.any_of([_at_most(model, objective, numbers, budget) > PLENTY * room])[0]:
        return False
    needed = activation_bytes(model, objective, numbers, budget)
    if not team.any_of([needed > room])[0]:
        return False
    message = (
        f"Activations of a micro-batch would take {needed / 1e9:.1f} GB, and {max(0, room) / 1e9:.1f} GB can be used: "
        "they are computed again in the backward pass (training.gradient_checkpointing: auto), which costs a second "
        "forward pass of the blocks that learn and gives the same gradients."
    )
    tell(observers, Notice(topic="memory", message=message))
    return True


def activation_bytes(model: AdaptedModel, objective: Objective, numbers: Sequence[int], budget: int) -> int:
    """Bytes that the blocks that learn keep for the backward pass of the first micro-batch of some examples.

    One block is measured and counted for all, while the others keep nothing: measuring needs little memory.

    Args:
        model: What learns.
        objective: What it learns.
        numbers: The examples.
        budget: Largest number of tokens of a micro-batch.
    """
    blocks = learning_blocks(model)
    measured = _Kept({tensor.untyped_storage().data_ptr() for tensor in _held(model.network)})
    # The lowest may get inputs without a gradient, and then keeps less than the others.
    chosen = blocks[-1]
    with recomputed(model, except_block=chosen), _wrapped(chosen, measured.around), without_dropout(model.network):
        part = next(iter(objective.parts(numbers, budget)))
        kept = measured.bytes
        del part
    return kept * len(blocks)


@contextmanager
def recomputed(model: AdaptedModel, *, except_block: nn.Module | None = None) -> Iterator[None]:
    """Inside, blocks that learn keep only their inputs; the rest is computed again in the backward pass.

    Args:
        model: What learns.
        except_block: A block that keeps everything.
    """
    blocks = [block for block in learning_blocks(model) if block is not except_block]
    network = model.network
    with ExitStack() as stack:
        for block in blocks:
            stack.enter_context(_wrapped(block, _again(network, block)))
        yield


Around = Callable[..., Any]
"""Called with a block's own forward and its arguments."""


@contextmanager
def _wrapped(block: nn.Module, around: Around) -> Iterator[None]:
    """Inside, `around(forward, …)` is called where the block's forward would be."""
    before = vars(block).get("forward")
    own = block.forward

    def forward(*args: Any, **options: Any) -> Any:
        return around(own, *args, **options)

    vars(block)["forward"] = forward
    try:
        yield
    finally:
        if before is None:
            del vars(block)["forward"]
        else:
            vars(block)["forward"] = before


def _again(network: PreTrainedModel, block: nn.Module) -> Around:
    """Keep what goes in, compute the rest again when it is needed."""
    inside = [module for module in block.modules() if module is not block]
    configs = list({id(module.config): module.config for module in inside if hasattr(module, "config")}.values())

    def around(own: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if not torch.is_grad_enabled():
            return own(*args, **options)
        # The backward pass runs after the engine has set the network back to what it was.
        state = _EngineState.of(inside, network.config._attn_implementation)

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), state.in_force(configs)

        return checkpoint(own, *args, use_reentrant=False, context_fn=contexts, **options)

    return around


@dataclass(frozen=True, eq=False)
class _EngineState:
    """What the engine changes in a block for one forward pass: how it attends, and how its modules compute."""

    attention: str | None
    forwards: Sequence[tuple[nn.Module, Any]]
    """Every module in the block, and the forward that stands in for its own; None: its own."""

    @staticmethod
    def of(modules: Sequence[nn.Module], attention: str | None) -> _EngineState:
        """The state as it is now."""
        return _EngineState(attention, [(module, vars(module).get("forward")) for module in modules])

    @contextmanager
    def in_force(self, configs: Sequence[Any]) -> Iterator[None]:
        """Inside, the block is in this state; `configs` are the configurations that its layers read."""
        now = _EngineState.of([module for module, _ in self.forwards], None)
        attentions = [config._attn_implementation for config in configs]
        self._set()
        for config in configs:
            config._attn_implementation = self.attention
        try:
            yield
        finally:
            now._set()
            for config, name in zip(configs, attentions, strict=True):
                config._attn_implementation = name

    def _set(self) -> None:
        for module, forward in self.forwards:
            if forward is None:
                vars(module).pop("forward", None)
            else:
                vars(module)["forward"] = forward


@dataclass(eq=False)
class _Kept:
    """Counts the memory that a forward pass keeps for its backward pass, each piece once."""

    known: set[int]
    """Places of memory that is there anyway: weights and adapters."""
    bytes: int = 0
    _seen: set[int] = field(default_factory=set)
    _inputs: list[Tensor] = field(default_factory=list)
    """Held, so that no piece that is kept can take the place of an input and be taken for it."""

    def around(self, own: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run a block's forward and count; a pass without gradients keeps nothing."""
        if not torch.is_grad_enabled():
            return own(*args, **options)
        self._inputs += [each for each in (*args, *options.values()) if isinstance(each, Tensor)]
        self._seen |= {each.untyped_storage().data_ptr() for each in self._inputs}
        with saved_tensors_hooks(self._count, lambda kept: kept):
            return own(*args, **options)

    def _count(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        place = storage.data_ptr()
        if place not in self.known and place not in self._seen:
            # What is counted is kept by the graph, so no other piece can take its place in memory.
            self._seen.add(place)
            self.bytes += storage.nbytes()
        return tensor


def _held(network: PreTrainedModel) -> Iterator[Tensor]:
    yield from network.parameters()
    yield from network.buffers()


def _at_most(model: AdaptedModel, objective: Objective, numbers: Sequence[int], budget: int) -> float:
    """Far more bytes than the blocks can keep of one micro-batch: every input and output of every product, twice."""
    blocks = learning_blocks(model)
    tokens = float(max([budget, *(len(objective.text(number)) for number in numbers)]))
    cells = sum(_sides(module) for module in blocks[-1].modules())
    hidden = float(model.base.hidden_size)
    attention = tokens / QUERIES * 2 * hidden
    return 4 * 2 * tokens * len(blocks) * (cells + 8 * hidden + attention)


def _sides(module: nn.Module) -> int:
    if isinstance(module, nn.Linear):
        return module.in_features + module.out_features
    return sum(module.weight.shape) if isinstance(module, Conv1D) else 0
