"""Optimisers by name: the same moments after a pause, near each other in what they learn, refused where they cannot."""

from __future__ import annotations

import importlib.util
from typing import Any, get_args

import numpy as np
import pytest
import torch

from metier.errors import LackingEnvironment, MissingPackage
from metier.recipe.sections import OptimizerName, TrainingSection
from metier.training.checkpoint import checkpoints, load_checkpoint
from metier.training.optimizer import DEVICES, OPTIMIZERS, check_optimizer, make_optimizer

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="needs the extra `quantization`"
)
FULL: dict[str, Any] = {"method": "full"}


def test_the_recipe_names_what_there_is() -> None:
    assert set(OPTIMIZERS) == set(DEVICES) == set(get_args(OptimizerName))


def test_norms_and_biases_do_not_decay() -> None:
    learning = {"w": torch.nn.Parameter(torch.ones(2, 2)), "b": torch.nn.Parameter(torch.ones(2))}
    optimizer = make_optimizer(TrainingSection(weight_decay=0.1, adam_beta2=0.95), learning, 0.5)
    assert [(group["weight_decay"], len(group["params"])) for group in optimizer.param_groups] == [(0.1, 1), (0.0, 1)]
    assert optimizer.defaults["lr"] == 0.5 and optimizer.defaults["betas"] == (0.9, 0.95)


@needs_package
def test_8_bits_learn_nearly_the_same(setting: Any) -> None:
    plain = setting.train("plain", adaptation=FULL, learning_rate=1e-3)
    small = setting.train("small", adaptation=FULL, learning_rate=1e-3, optim="adamw_bnb_8bit")
    np.testing.assert_allclose(small.losses, plain.losses, rtol=0.02)
    assert small.losses != plain.losses
    moments = load_checkpoint(checkpoints(small.folder)[-1]).moments
    sizes = {name.partition(".")[2]: tensor.dtype for name, tensor in moments.items()}
    assert torch.uint8 in {tensor.dtype for name, tensor in moments.items() if name.endswith("state1")}
    assert {"step", "state1", "state2", "absmax1", "absmax2"} <= set(sizes)


@needs_package
def test_a_resumed_training_ends_the_same_bit_for_bit(setting: Any) -> None:
    whole = setting.train("whole", adaptation=FULL, optim="adamw_bnb_8bit", save_steps=1, save_total_limit=99)
    for path in checkpoints(whole.folder):
        if int(path.name.rpartition("-")[2]) > 3:
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
    assert len(checkpoints(whole.folder)) == 3
    again = setting.train("whole", adaptation=FULL, optim="adamw_bnb_8bit", save_steps=1, save_total_limit=99)
    assert again.losses == whole.losses and again.same_weights(whole)


def test_paged_moments_want_a_gpu() -> None:
    with pytest.raises(LackingEnvironment) as refused:
        check_optimizer("paged_adamw_8bit", "cpu")
    assert refused.value.exit_code == 5
    assert str(refused.value) == (
        "training.optim: paged_adamw_8bit does not run on cpu, wanted cuda. Choose `adamw_torch` or `adamw_bnb_8bit`."
    )


def test_a_missing_package_is_said_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check_optimizer("adamw_torch", "mps")
    with pytest.raises(MissingPackage) as missing:
        check_optimizer("adamw_bnb_8bit", "cpu")
    assert str(missing.value) == (
        "training.optim: adamw_bnb_8bit needs the package bitsandbytes, which is not installed. "
        'Install it: pip install "metier[quantization]"'
    )
