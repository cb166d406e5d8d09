"""What a run will need, as frozen values without torch: memory, time, money and energy, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MEMORY_PARTS: Mapping[str, str] = {
    "program": "libraries",
    "weights": "weights",
    "learning": "adapters and optimiser",
    "activations": "activations",
    "logits": "logits and loss",
    "trunk": "trunk cache",
    "keys_values": "key-value state",
    "packed": "weights packed for writing",
    "baselines": "n-gram baselines",
}
"""Field of `MemoryEstimate` -> what it holds, for a person."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """A number that is expected between two others."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Span:
        """The same, so many times."""
        return Span(value=self.value * factor, low=self.low * factor, high=self.high * factor)


@dataclass(frozen=True, kw_only=True)
class StageEstimate:
    """One part of a run: what is computed, and how long that may take."""

    stage: str
    what: str
    tokens: int
    """Tokens computed: shared beginnings count once."""
    logical_tokens: int
    """Tokens of the same work without sharing."""
    flops: float
    seconds: float
    low: float
    """Seconds at the fastest pace that was measured."""
    high: float
    """Seconds at the slowest."""
    part: str = ""
    """A name in `spent.PARTS`, or `report`."""


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes at one moment of a run, by what they hold."""

    moment: str = "training"
    """`loading`, `baselines`, `training`, `validation` or `test`."""
    program: int
    weights: int
    learning: int = 0
    """What learns: gradients and the optimiser's state, and adapters themselves."""
    activations: int = 0
    logits: int = 0
    trunk: int = 0
    keys_values: int = 0
    """What attention keeps of answers while they are written."""
    packed: int = 0
    """A second copy of the weights, laid out for writing one token at a time."""
    baselines: int = 0
    """n-grams and what they are fitted with."""

    @property
    def total(self) -> int:
        """All of it."""
        return sum(int(getattr(self, name)) for name in MEMORY_PARTS)


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """Another way to do the same work: what it needs, and whether that fits."""

    name: str
    settings: Mapping[str, str]
    """What to set in the recipe, as `--set` takes it; empty for the recipe as it is."""
    memory_bytes: int
    seconds: float
    cost: float | None
    fits: bool | None
    """None where the free memory is not known."""
    measured: bool = True
    """False where its passes were not measured themselves: they follow from those of the recipe and operations."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Memory and time of the whole run, estimated."""

    stages: tuple[StageEstimate, ...]
    seconds: float
    low: float
    """Seconds, at least."""
    high: float
    """Seconds, at most."""
    interval: str
    """Where the interval comes from, as a sentence without a full stop."""
    memory: MemoryEstimate
    """At the fullest moment."""
    moments: tuple[MemoryEstimate, ...]
    """At each moment."""
    memory_bytes: int
    """At the fullest moment, corrected by earlier runs where there are enough."""
    memory_low: int
    memory_high: int
    memory_available: int | None
    """Free on this machine now; None where the device's own memory is not known."""
    cache_bytes: int
    """Boundary states and features in the cache folder."""
    disk_bytes: int
    """Checkpoints and models in the run folder."""
    flops_per_second: float
    """Matrix products of this model's shapes and type, as measured now."""
    assumptions: tuple[str, ...]
    cost: Span | None = None
    """None where the recipe has no price."""
    currency: str = ""
    watt_hours: Span | None = None
    """None where nobody knows how much power the machine draws."""
    power: str = ""
    """Where the power comes from, as a sentence without a full stop."""
    alternatives: tuple[Alternative, ...] = ()
    parts: Mapping[str, float] = field(default_factory=dict)
    """Seconds by part of the run."""
