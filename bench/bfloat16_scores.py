"""How much bfloat16 changes label scores: token trees and the plain forward, beside float32, on a finished attempt.

    python bench/bfloat16_scores.py RUN/attempts/001/model RUN/data [ROWS]

For a language model that answers in words. Prints Markdown.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from metier.data.prepare import load_prepared
from metier.device import choose_hardware
from metier.engine.forward import TreeRunner
from metier.engine.score import score_labels
from metier.model.encode import Encoder
from metier.model.saved import load_model
from metier.recipe.sections import HardwareSection


def main() -> None:
    """Score the same validation records in four ways and compare."""
    model, data = Path(sys.argv[1]), Path(sys.argv[2])
    rows = int(sys.argv[3]) if len(sys.argv) > 3 else 10
    records = list(load_prepared(data).validation.records())[:rows]
    found = {}
    for dtype in ("float32", "bfloat16"):
        saved = load_model(model, choose_hardware(HardwareSection(dtype=dtype)))
        encoder = Encoder(saved.model.base.tokenizer, saved.max_length, saved.too_long)
        prompts = [encoder.prompt(saved.prompt, record.text).ids for record in records]
        answers = encoder.answers(saved.prompt)
        for way, plain, budget in (("trees of 2048", False, 2048), ("trees of 300", False, 300), ("plain", True, 2048)):
            runner = TreeRunner(saved.model.network, plain=plain)
            found[f"{dtype}, {way}"] = score_labels(runner, prompts, answers, budget=budget)[0]
    exact = found["float32, plain"]
    print("| scored in | mean difference | largest | other label |\n| --- | --- | --- | --- |")
    for name, scores in found.items():
        apart, other = np.abs(scores - exact), int((scores.argmax(1) != exact.argmax(1)).sum())
        print(f"| {name} | {apart.mean():.2g} | {apart.max():.2g} | {other} of {len(records)} |")
    print("\nDifferences of summed log-probabilities to transformers' plain float32 forward.")


if __name__ == "__main__":
    main()
