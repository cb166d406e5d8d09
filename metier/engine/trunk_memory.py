"""The trunk's weights leave memory while its states are read from the cache, and come back from the base's files.

A weight is only let go when its file holds the same numbers, bit for bit, in the type in which it was in memory:
what was changed, merged or quantised since it was read stays where it is. A weight that is gone keeps its shape
and type but is not-a-number throughout, and any forward pass that would need one brings all of them back first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from safetensors import safe_open
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from metier.device import release_freed_memory
from metier.engine.network import block_outputs, stored_trunk
from metier.engine.trunk import TrunkCache
from metier.errors import ModelError
from metier.events import Notice, Observer, tell
from metier.model.base import BaseModel
from metier.model.blocks import blocks_of
from metier.model.weights import weight_files

_Mark = tuple[str, int, int]
"""Path, size and time of change of a weight file."""


@dataclass(frozen=True, eq=False)
class _Away:
    """A weight that is out of memory, and where it comes back from."""

    parameter: nn.Parameter
    file: Path
    key: str
    bytes: int


@dataclass(eq=False)
class _Release:
    """The weights of one network that are out of memory."""

    away: list[_Away]
    marks: list[_Mark]
    hooks: list[RemovableHandle] = field(default_factory=list)


_RELEASED: WeakKeyDictionary[PreTrainedModel, _Release] = WeakKeyDictionary()


def release_trunk(base: BaseModel, depth: int) -> int:
    """Let the weights of the lowest `depth` blocks go, and the embedding where nothing else is tied to it.

    Args:
        base: The model; adapters may be in place above.
        depth: Blocks whose states are stored.

    Returns:
        The bytes that left memory; 0 when none could.
    """
    network = base.network
    bring_back(network)
    block_outputs(network)  # found out by a forward pass, once: not when the weights are gone
    files = weight_files(base.folder)
    marks = [_mark(path) for path in files]
    wanted = {id(p): p for block in blocks_of(network).modules[:depth] for p in block.parameters()}
    embedding = network.get_input_embeddings()
    if _is_spare(network, embedding, depth):
        wanted |= {id(p): p for p in embedding.parameters()}
    names = {id(p): name for name, p in network.named_parameters()}
    places = _places(files)
    away = []
    for number, parameter in wanted.items():
        place = _find(places, names[number], network.base_model_prefix)
        if place is not None and not parameter.requires_grad and _same(parameter, *place):
            away.append(_Away(parameter, *place, parameter.numel() * parameter.element_size()))
    if not away:
        return 0
    release = _Release(away, marks)
    _RELEASED[network] = release
    for each in away:
        nothing = torch.full((1,), math.nan, dtype=each.parameter.dtype, device=each.parameter.device)
        each.parameter.data = nothing.expand(each.parameter.shape)
    release_freed_memory()
    gone = {id(each.parameter) for each in away}
    for module in [*blocks_of(network).modules[:depth], embedding]:
        if any(id(p) in gone for p in module.parameters()):
            release.hooks.append(module.register_forward_pre_hook(lambda *_: bring_back(network)))
    return sum(each.bytes for each in away)


def bring_back(network: PreTrainedModel) -> None:
    """Read all weights that were let go again; nothing happens where none were.

    Raises:
        ModelError: The files changed meanwhile.
    """
    release = _RELEASED.pop(network, None)
    if release is None:
        return
    for hook in release.hooks:
        hook.remove()
    for mark in release.marks:
        path = Path(mark[0])
        if not path.is_file() or _mark(path) != mark:
            _RELEASED[network] = release
            fix = "Put the model back as it was and run the same command with --resume."
            raise ModelError(mark[0], "changed while its weights were out of memory", "the file as it was", fix)
    for file in dict.fromkeys(each.file for each in release.away):
        with safe_open(file, framework="pt") as opened:
            for each in release.away:
                if each.file == file:
                    like = each.parameter
                    each.parameter.data = opened.get_tensor(each.key).to(like.device, like.dtype, copy=True)


@contextmanager
def trunk_out_of_memory(base: BaseModel, trunk: TrunkCache | None, observers: Sequence[Observer] = ()) -> Iterator[int]:
    """Inside, the weights below a stored trunk are out of memory.

    Args:
        base: The model.
        trunk: What is read in their place; None: nothing happens.
        observers: Told how much memory that frees.

    Yields:
        The bytes that left memory.
    """
    freed = release_trunk(base, trunk.identity.depth) if trunk is not None else 0
    if trunk is not None and freed:
        message = (
            f"The weights below block {trunk.identity.depth} ({freed / 1e6:,.1f} MB) are out of memory while the "
            "stored trunk is read in their place."
        )
        tell(observers, Notice(topic="memory", message=message))
    try:
        yield freed
    finally:
        bring_back(base.network)


def _places(files: Sequence[Path]) -> dict[str, Path]:
    places = {}
    for path in files:
        with safe_open(path, framework="pt") as file:
            places.update(dict.fromkeys(file.keys(), path))
    return places


def _find(places: dict[str, Path], name: str, prefix: str) -> tuple[Path, str] | None:
    """File and key of a parameter; some files leave the name of the inner model out, or add it."""
    for key in (name, name.removeprefix(f"{prefix}."), f"{prefix}.{name}"):
        if key in places:
            return places[key], key
    return None


def _same(parameter: nn.Parameter, file: Path, key: str) -> bool:
    """Whether the file holds the same numbers."""
    with safe_open(file, framework="pt") as opened:
        stored = opened.get_tensor(key)
        if stored.shape != parameter.shape or not stored.dtype.is_floating_point:
            return False
        return torch.equal(stored.to(parameter.device, parameter.dtype), parameter.data)


def _is_spare(network: PreTrainedModel, embedding: nn.Module, depth: int) -> bool:
    """Whether the embedding is needed by nothing above a stored trunk, found out on two tokens."""
    table = getattr(embedding, "weight", None)
    owners = [name for name, p in network.named_parameters(remove_duplicate=False) if p is table]
    if table is None or len(owners) != 1 or table.shape[1] != network.config.get_text_config().hidden_size:
        return False
    output = network.get_output_embeddings()  # type: ignore[no-untyped-call]
    if output is not None and getattr(output, "weight", None) is table:
        return False
    ids = torch.zeros(1, 2, dtype=torch.long, device=network.device)
    states = torch.ones(1, 2, table.shape[1], dtype=table.dtype, device=network.device)
    options: dict[str, Any] = {"use_cache": False} if network.can_generate() else {}
    found = []
    for spared in (False, True):
        try:
            with torch.no_grad(), stored_trunk(network, depth, states, spare_embedding=spared):
                found.append(network.base_model(input_ids=ids, **options).last_hidden_state)
        except (AttributeError, TypeError, RuntimeError):  # this family does more with its embedding
            return False
    return torch.equal(found[0], found[1])


def is_released(network: PreTrainedModel) -> bool:
    """Whether weights of `network` are out of memory."""
    return network in _RELEASED


def _mark(path: Path) -> _Mark:
    stat = path.stat()
    return str(path), stat.st_size, stat.st_mtime_ns
