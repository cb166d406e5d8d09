"""Resident memory before, while and after the weights below a stored trunk are out of memory.

    python bench/trunk_memory.py [MODEL] [TOP]

MODEL is what a recipe's `model` may be (default smollm2-135m), TOP the number of upper blocks that learn (10).
One training step over stored states is made in each state, so that what it needs is counted too.
"""

from __future__ import annotations

import gc
import sys
import tempfile
from pathlib import Path

import numpy as np
import psutil
import torch

from metier.device import choose_hardware, peak_memory_bytes, release_freed_memory
from metier.engine.forward import TreeRunner
from metier.engine.tree import TokenSequence, TokenTree
from metier.engine.trunk import TrunkCache, TrunkIdentity
from metier.engine.trunk_memory import bring_back, release_trunk
from metier.model.adapt import adapt_model
from metier.model.base import load_base_model
from metier.recipe.sections import AdaptationSection, HardwareSection, ModelSection


def main(model: str = "smollm2-135m", top: str = "10") -> None:
    """Print one line for each state."""
    base = load_base_model(ModelSection(name=model), choose_hardware(HardwareSection()))
    adapted = adapt_model(AdaptationSection(layers=f"top {top}"), base, seed=1)
    depth = adapted.plan.trunk_layers
    rng = np.random.default_rng(1)
    sequences = [TokenSequence.of(rng.integers(5, 1000, 60).tolist(), [7, 8, 9]) for _ in range(32)]
    with tempfile.TemporaryDirectory() as folder:
        trunk = TrunkCache(Path(folder), TrunkIdentity(weights_sha256="bench", depth=depth, dtype=base.precision))
        trunk.build(base.network, sequences)
        runner = TreeRunner(base.network, trunk, checked=True)
        print(f"{model}, {base.dtype}, trunk of {depth} of {base.layers} blocks, weights {base.bytes / 1e6:,.0f} MB")
        _step(runner, sequences)
        _say("with all weights")
        freed = release_trunk(base, depth)
        _step(runner, sequences)
        _say(f"{freed / 1e6:,.0f} MB of weights out of memory")
        bring_back(base.network)
        _step(runner, sequences)
        _say("weights back")
    print(f"peak {(peak_memory_bytes() or 0) / 1e6:,.0f} MB")


def _step(runner: TreeRunner, sequences: list[TokenSequence]) -> None:
    some = sequences[:8]
    tree = TokenTree.build(some)
    logits = runner.logits(tree, some)
    torch.nn.functional.cross_entropy(logits, torch.from_numpy(tree.target_ids)).backward()


def _say(what: str) -> None:
    gc.collect()
    release_freed_memory()
    print(f"{psutil.Process().memory_info().rss / 1e6:8,.0f} MB  {what}")


if __name__ == "__main__":
    main(*sys.argv[1:])
