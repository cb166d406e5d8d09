"""What a training step's memory is made of, on a CPU: resident memory as each part is added, and what is kept.

    python bench/memory_parts.py [MODEL] [EXAMPLES]

LoRA on all linear layers in the run's own precision; EXAMPLES (16) short ones that share 37 of 63 tokens, one pass.
"""

from __future__ import annotations

import sys
from collections import Counter

import psutil


def main(model: str = "smollm2-135m", examples: str = "16") -> None:
    """Print one line for each part."""
    say("Python and psutil")
    import torch

    say("torch")
    import numpy as np

    from metier.device import choose_hardware, peak_memory_bytes
    from metier.engine.forward import TreeRunner
    from metier.engine.tree import TokenSequence
    from metier.model.adapt import adapt_model
    from metier.model.base import load_base_model
    from metier.recipe.sections import AdaptationSection, HardwareSection, ModelSection, TrainingSection
    from metier.training.objective import LanguageObjective
    from metier.training.optimizer import make_optimizer

    say("transformers, peft and metier")
    base = load_base_model(ModelSection(name=model), choose_hardware(HardwareSection(device="cpu")))
    say(f"the model's weights ({base.bytes / 1e6:,.0f} MB in {base.dtype})")
    adapted = adapt_model(AdaptationSection(), base, seed=1)
    say("adapters")
    rng, count = np.random.default_rng(1), int(examples)
    start = rng.integers(5, base.vocabulary, 37).tolist()
    sequences = [TokenSequence.of([*start, *rng.integers(5, base.vocabulary, 20).tolist()], [7, 8, 9, 10, 11, 12])
                 for _ in range(count)]  # fmt: skip
    objective = LanguageObjective(TreeRunner(base.network), [(each,) for each in sequences], [1.0] * count)
    optimizer = make_optimizer(TrainingSection(), adapted.trainable(), 1e-4)
    for number in range(3):
        for part in objective.parts(range(count), 2048):
            part.loss.backward()  # type: ignore[no-untyped-call]
        say(f"forward and backward pass {number + 1}")
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        say(f"step {number + 1}")
    print(f"peak {(peak_memory_bytes() or 0) / 1e6:,.0f} MB")
    kept: Counter[str] = Counter()
    seen = {parameter.untyped_storage().data_ptr() for parameter in base.network.parameters()}
    held = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            held.append(tensor)
            kept[f"{tuple(tensor.shape[-2:])} {str(tensor.dtype).removeprefix('torch.')}"] += storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        part = next(iter(objective.parts(range(count), 2048)))
    print(f"kept for the backward pass of {part.computed} tokens: {sum(kept.values()) / 1e6:,.0f} MB, of it")
    for name, size in kept.most_common(6):
        print(f"{size / 1e6:8,.0f} MB  {name}")


def say(what: str) -> None:
    """Resident memory, and what was added last."""
    print(f"{psutil.Process().memory_info().rss / 1e6:8,.0f} MB  {what}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
