"""The plan over a base model in 4 bits: its products have the sizes that they have without."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from metier.device import Hardware
from metier.model.base import load_base_model
from metier.planning.speed import Shape, measure_speed
from metier.recipe.sections import ModelSection

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="needs the extra `quantization`"
)


@needs_package
def test_sizes_are_those_of_the_model_and_bytes_those_of_its_weights(tiny_model: Callable[..., Path]) -> None:
    hardware = Hardware(device="cpu", dtype="float32", threads=1, reason="a test")
    name = str(tiny_model("llama"))
    whole = load_base_model(ModelSection(name=name), hardware)
    small = load_base_model(ModelSection(name=name, quantization="nf4"), hardware)
    plain, shape = (Shape.of(base.network, vocabulary=320, number_bytes=4) for base in (whole, small))
    assert shape == replace(plain, weight_bytes=small.bytes) and small.bytes < whole.bytes
    assert measure_speed(small.network, torch.float32) > 0
