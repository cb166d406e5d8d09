"""The probe: which depth of the frozen model it reads is chosen on validation, and only that much is computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metier.data.records import Choice, as_input
from metier.engine.features import FeatureStore
from metier.evaluation.answering.heads import ALL_BLOCKS
from metier.evaluation.systems import AnswerOptions, Material, build_system
from metier.model.encode import Encoder
from metier.recipe.sections import EvaluationSection

Records = Callable[..., list[Choice]]
Make = Callable[..., Material]
LABELS = ("cancel", "refund", "track")
TEXTS = [np.array(ids) for ids in ([2, 9, 3], [2, 9, 10, 11, 12, 3], [2, 3])]


@pytest.fixture
def make_material(tiny_base: Callable[..., Any], make_records: Records, tmp_path: Path) -> Make:
    """`make_material(kind, spoiled=…)`: a probe at two depths, the features of one of them made useless."""

    def make(kind: str, spoiled: str | None = None) -> Material:
        base = tiny_base(kind)
        stores = {
            f"1 of {base.layers} blocks": FeatureStore(tmp_path, base.network, base.kind, "w", depth=1),
            ALL_BLOCKS: FeatureStore(tmp_path, base.network, base.kind, "w"),
        }
        if spoiled is not None:
            real = stores[spoiled].features
            rng = np.random.default_rng(0)
            noise = lambda texts, label: rng.normal(size=real(texts, label).shape).astype(np.float32)  # noqa: E731
            stores[spoiled].features = noise  # type: ignore[method-assign, assignment]
        extras = {
            "probe_stores": stores, "probe_encoder": Encoder(base.tokenizer, base.context),
            "probe_parameters": base.parameters, "probe_name": "tiny",
        }  # fmt: skip
        return Material(
            train=make_records(60), validation=make_records(30, seed=1, prefix="v"), labels=LABELS,
            section=EvaluationSection(), seed=1, extras=extras,
        )  # fmt: skip

    return make


@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize("good", ["below", "top"])
def test_validation_chooses_the_depth(kind: str, good: str, make_material: Make) -> None:
    below, top = make_material(kind).extras["probe_stores"]
    best, bad = (below, top) if good == "below" else (top, below)
    system: Any = build_system("probe", make_material(kind, spoiled=bad))
    assert system.settings["depth"] == best
    assert system.kind == f"frozen features of tiny{' after ' + below if best == below else ''}, logistic regression"
    tried = system.settings["tried"]
    assert len(tried) == 14 and {about.split(", ")[0] for about in tried} == {below, top}
    assert tried[f"{best}, C={system.settings['C']:g}"] == min(tried.values())
    answers = list(system.answer([as_input(record) for record in make_material(kind).validation], AnswerOptions()))
    assert all(answer.label in LABELS and answer.seconds > 0 for answer in answers)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_features_between_the_blocks_are_the_means_that_the_model_has_there(
    kind: str, tiny_base: Callable[..., Any], tmp_path: Path
) -> None:
    base = tiny_base(kind)
    store = FeatureStore(tmp_path, base.network, base.kind, "w", depth=1)
    top = FeatureStore(tmp_path, base.network, base.kind, "w")
    assert store.folder != top.folder != FeatureStore(tmp_path, base.network, base.kind, "w", depth=2).folder
    before = top.features(TEXTS)
    for row, ids in zip(store.features(TEXTS), TEXTS, strict=True):
        with torch.no_grad():
            states = base.network(input_ids=torch.from_numpy(ids)[None], output_hidden_states=True).hidden_states[1][0]
        wanted = states if kind == "bert" or len(ids) == 1 else states[1:]
        np.testing.assert_allclose(row, wanted.mean(0).numpy(), rtol=1e-4, atol=1e-5)
    again = FeatureStore(tmp_path / "anew", base.network, base.kind, "w").features(TEXTS)
    np.testing.assert_array_equal(again, before)  # ending a pass early leaves the model as it was


def test_blocks_above_the_depth_are_not_computed(tiny_base: Callable[..., Any], tmp_path: Path) -> None:
    from metier.model.blocks import blocks_of

    base, ran = tiny_base("bert"), list[int]()
    for number, block in enumerate(blocks_of(base.network).modules):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    FeatureStore(tmp_path, base.network, base.kind, "w", depth=1).features(TEXTS)
    assert set(ran) == {0}
