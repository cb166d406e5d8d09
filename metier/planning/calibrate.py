"""Measures what the passes of one model cost on this machine, on a few blocks of it, in seconds.

The same work runs over a model shortened to few blocks and to some more. The difference is what blocks
cost; what is left is what costs beside them: embedding, output layer, loss, the making of trees.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version

import torch

from metier import __version__
from metier.device import Hardware, describe_machine, release_freed_memory
from metier.errors import RunFolderError
from metier.model.adapt import AdaptedModel, adapt_model
from metier.model.base import BaseModel
from metier.planning.allocations import most_bytes
from metier.planning.probes import Passed, Probes, Short, Work
from metier.planning.rates import Pace, Rates
from metier.planning.resident import fullest
from metier.planning.shorten import shorten
from metier.planning.speed import Shape
from metier.recipe.sections import AdaptationSection, Recipe
from metier.store.cache import cache_folder
from metier.store.files import read_json, write_json
from metier.store.fingerprint import fingerprint
from metier.store.values import from_plain

VERSION = 1
"""Raise it when the same measurement would be read in another way."""
FEW, MORE, LARGE_MORE = 2, 6, 4
"""Blocks of the two shortened models; of a large model fewer."""
LARGE = 2e7
"""Weights of a block that make a model large here."""
REPEATS = 3
MOST_GAPS = 2.0
"""A short pass also fills buffers that no tensor is: beyond this they say nothing about a long one."""
BUDGET_SECONDS = 9.0
"""Of one calibration: a check with a candidate and two baselines stays below 30. Later kinds are repeated less."""
PACKAGES = ("torch", "transformers", "peft")


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """What is calibrated: a base model as one candidate or baseline uses it."""

    base: BaseModel
    recipe: Recipe
    labels: tuple[str, ...]
    shape: Shape
    hardware: Hardware
    flops_per_second: float
    learns: bool
    """Whether something is attached and trained; otherwise the base model answers as it is."""


@dataclass(eq=False)
class _Depth:
    """One shortened model and what was measured on it."""

    short: Short
    blocks: int
    works: dict[str, Work]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    passed: dict[str, Passed] = field(default_factory=dict)

    def warm(self, kind: str) -> None:
        """Warm everything up, and count the bytes."""
        device, work = self.short.base.network.device, self.works[kind]
        self.passed[kind] = work()
        self.bytes[kind] = most_bytes(work, device)
        self.seconds[kind] = []

    def run(self, kind: str) -> None:
        """Run once and look at the clock."""
        started = time.perf_counter()
        self.works[kind]()
        if self.short.base.network.device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds[kind].append(time.perf_counter() - started)


def calibrate(subject: Calibrated, probes: Probes) -> Rates:
    """The rates of a model, measured now or kept from an earlier measurement of the same on this machine.

    Args:
        subject: The model and its use.
        probes: What is run.
    """
    path = cache_folder("plans") / f"rates-{_key(subject, probes)[:32]}.json"
    try:
        kept = read_json(path, format="rates")
        return from_plain(Rates, kept, where=str(path))
    except RunFolderError:
        pass  # never measured, or damaged: measured now
    rates = _measure(subject, probes)
    write_json(path, rates, format="rates")
    return rates


def known_rates(subject: Calibrated, probes: Probes) -> Rates | None:
    """The rates as far as they were measured before; None where they were not."""
    path = cache_folder("plans") / f"rates-{_key(subject, probes)[:32]}.json"
    return from_plain(Rates, read_json(path, format="rates"), where=str(path)) if path.exists() else None


def _measure(subject: Calibrated, probes: Probes) -> Rates:
    began = time.perf_counter()
    few, more = (_set_up(subject, probes, blocks) for blocks in _depths(subject))
    paces: dict[str, Pace] = {}
    for kind in probes.by_kind:
        few.warm(kind)
        more.warm(kind)
        late = time.perf_counter() - began > BUDGET_SECONDS
        release_freed_memory()  # what is taken from now on is seen
        with fullest() as taken:
            for _ in range(1 if late else REPEATS):
                few.run(kind)
                more.run(kind)
        pace = _pace(kind, few, more, subject.shape.layers, probes.lengths.get(kind, 0.0))
        gaps = min(MOST_GAPS, max(1.0, taken.grown / more.bytes[kind])) if more.bytes[kind] else 1.0
        on_cpu = subject.hardware.device == "cpu"
        paces[kind] = replace(pace, gaps=gaps if on_cpu else 1.0)
    step = _optimizer_seconds(more.short.model) if more.short.model is not None and "train" in paces else 0.0
    return Rates(paces=paces, flops_per_second=subject.flops_per_second, step=step)


def _depths(subject: Calibrated) -> tuple[int, int]:
    layers = subject.shape.layers
    more = LARGE_MORE if subject.shape.block_weights > LARGE else MORE
    high = min(layers, more)
    return min(FEW, max(1, high - 1)), high


def _set_up(subject: Calibrated, probes: Probes, blocks: int) -> _Depth:
    section = subject.recipe.adaptation
    own = subject.learns and section.method in ("full", "freeze")
    base = shorten(subject.base, blocks, own=own)
    model = None
    if subject.learns:
        wanted = _all_blocks(section, blocks, subject.shape.layers)
        autocast = subject.hardware.dtype == "bfloat16"
        model = adapt_model(wanted, base, seed=subject.recipe.seed, labels=subject.labels, autocast=autocast)
    short = Short(base, model)
    return _Depth(short, blocks, {kind: probe(short) for kind, probe in probes.by_kind.items()})


def _all_blocks(section: AdaptationSection, blocks: int, layers: int) -> AdaptationSection:
    """The same adaptation of a short model, every block of which learns: what is frozen below is another pass."""
    top = isinstance(section.layers, str) and section.layers.startswith("top") and section.layers != f"top {layers}"
    return section.model_copy(update={"layers": f"top {blocks}" if top else "all"})


def _pace(kind: str, few: _Depth, more: _Depth, layers: int, length: float) -> Pace:
    """The differences, told for one token and one block."""
    between = more.blocks - few.blocks
    ours, theirs = few.seconds[kind], more.seconds[kind]
    if kind == "write" and "prompt" in few.seconds:
        # What is timed begins with reading the prompts.
        ours = [max(0.0, each - statistics.median(few.seconds["prompt"])) for each in ours]
        theirs = [max(0.0, each - statistics.median(more.seconds["prompt"])) for each in theirs]
    tokens, largest = more.passed[kind].tokens, more.passed[kind].largest
    high = statistics.median(theirs)
    # A model of one block has nothing to be compared with.
    each = max(0.0, high - statistics.median(ours)) / between if between else high
    each = min(each, high / more.blocks)
    rest = high - each * more.blocks
    whole = [more_s + max(0.0, more_s - less_s) / max(1, between) * (layers - more.blocks)
             for less_s, more_s in zip(ours, theirs, strict=True)]  # fmt: skip
    typical = max(1e-9, each * layers + rest)
    block_bytes = max(0.0, more.bytes[kind] - few.bytes[kind]) / max(1, between)
    rest_bytes = max(0.0, more.bytes[kind] - block_bytes * more.blocks)
    return Pace(
        block=each / tokens, rest=rest / tokens, length=length,
        low=min(1.0, min(whole) / typical), high=max(1.0, max(whole) / typical),
        block_bytes=block_bytes / largest, rest_bytes=rest_bytes, tokens=round(largest),
    )  # fmt: skip


def _optimizer_seconds(model: AdaptedModel) -> float:
    """Seconds that clipping and an AdamW step take for one parameter."""
    parameters = list(model.trainable().values())
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    optimizer = torch.optim.AdamW(parameters, lr=0.0)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        times.append(time.perf_counter() - started)
    return min(times) / sum(parameter.numel() for parameter in parameters)


def _key(subject: Calibrated, probes: Probes) -> str:
    """Everything that the measurement is a function of."""
    recipe, hardware = subject.recipe, subject.hardware
    adaptation = recipe.adaptation.model_dump(mode="json") if subject.learns else None
    batch = recipe.training.model_dump(mode="json", include={
        "per_device_train_batch_size", "gradient_accumulation_steps", "tokens_per_microbatch", "max_length",
    })  # fmt: skip
    machine = describe_machine()
    return fingerprint([
        VERSION, __version__, {name: _version(name) for name in PACKAGES}, machine["cpu"], machine["cores"],
        hardware.device, hardware.dtype, hardware.threads, subject.base.weights_sha256, subject.base.precision,
        adaptation, batch, list(probes.by_kind), list(probes.about),
    ])  # fmt: skip


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def machine_name(hardware: Hardware) -> Mapping[str, object]:
    """What measurements of other runs must share to be comparable."""
    about = describe_machine()
    return {"cpu": about["cpu"], "cores": about["cores"], "device": hardware.device, "threads": hardware.threads}
