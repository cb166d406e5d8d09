"""What is shared out among processes is what one process computes: scores, answers, features, stored trunk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ENGINE = """
from pathlib import Path
import numpy as np
from metier.device import Hardware
from metier.engine.features import FeatureStore
from metier.engine.forward import TreeRunner
from metier.engine.generate import Decoding, generate
from metier.engine.score import score_labels, target_log_probabilities
from metier.engine.tree import TokenSequence
from metier.engine.trunk import TrunkCache, TrunkIdentity
from metier.model.base import load_base_model
from metier.recipe.sections import ModelSection
from metier.team import joined_team

hardware = Hardware(device="cpu", dtype="float32", threads=1, reason="a test")
base = load_base_model(ModelSection(name=arguments["model"]), hardware)
rng = np.random.default_rng(5)
start = rng.integers(3, 250, 40)
prompts = [np.concatenate([start, rng.integers(3, 250, 3 + number % 5)]) for number in range(arguments["prompts"])]
labels = [rng.integers(3, 250, 1 + number % 2) for number in range(3)]
place = Path(arguments["folder"])
with joined_team() as team:
    runner = TreeRunner(base.network)
    sums, tokens = score_labels(runner, prompts, labels, budget=64)
    targets = [TokenSequence.of(prompt.tolist(), labels[number % 3].tolist()) for number, prompt in enumerate(prompts)]
    decoding = dict(max_new_tokens=6, batch_size=2, stop_ids=frozenset({2}))
    greedy = generate(runner, prompts, Decoding(**decoding))
    drawn = generate(runner, prompts, Decoding(**decoding, temperature=0.9, seed=4))
    store = FeatureStore(place / "features", base.network, base.kind, base.weights_sha256)
    features = store.features(prompts)
    identity = TrunkIdentity(weights_sha256=base.weights_sha256, depth=1, dtype="float32")
    trunk = TrunkCache(place / "trunk", identity)
    sequences = [TokenSequence.of(prompt.tolist(), label.tolist()) for prompt in prompts for label in labels]
    built = trunk.build(base.network, sequences)
    again = trunk.build(base.network, sequences)
    states = [trunk.sequence_states(each.inputs).sum(0).tolist() for each in sequences]
    stored, _ = score_labels(TreeRunner(base.network, trunk), prompts, labels, budget=64)
    result = {
        "scores": sums.tolist(), "stored": stored.tolist(), "tokens": tokens,
        "targets": target_log_probabilities(runner, targets, budget=64),
        "greedy": [[each.ids.tolist(), each.stop] for each in greedy], "drawn": [each.ids.tolist() for each in drawn],
        "features": features.tolist(), "states": states, "misses": [built.misses > 0, again.misses],
    }
"""


def _run(in_processes: Any, size: int, model: Path, folder: Path, prompts: int) -> list[dict[str, Any]]:
    ended = in_processes(size, {"model": str(model), "folder": str(folder), "prompts": prompts}, code=ENGINE)
    assert ended.codes == [0] * size, ended.said
    results: list[dict[str, Any]] = ended.results
    return results


@pytest.mark.parametrize("prompts", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_two_processes_answer_what_one_answers(
    prompts: int, in_processes: Any, tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    """With more prompts than processes, and with fewer: then a process has nothing to do."""
    model = tiny_model("llama")
    one = _run(in_processes, 1, model, tmp_path / "one", prompts)[0]
    two = _run(in_processes, 2, model, tmp_path / "two", prompts)
    for name in ("scores", "stored", "targets", "features", "states"):
        np.testing.assert_allclose(two[0][name], one[name], rtol=1e-4, atol=1e-4, err_msg=name)
    assert two[0]["greedy"] == one["greedy"]
    assert two[0]["drawn"] == one["drawn"]
    assert two[0]["misses"] == one["misses"] == [True, 0]
    # Every process has everything, the same to the bit.
    assert {name: two[0][name] for name in ("scores", "targets", "greedy", "drawn", "features")} == {
        name: two[1][name] for name in ("scores", "targets", "greedy", "drawn", "features")
    }
    assert len(list((tmp_path / "two" / "features").rglob("*.safetensors"))) == 1
