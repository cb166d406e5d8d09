"""From a row's repeats to what the page says: rates, ratios, shares of the machine's rate, gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.spread import Spread, ratio

LOWER_IS_BETTER = ("memory",)


@dataclass(frozen=True)
class Compared:
    """One comparison of a row, ready to be shown."""

    metier: Spread
    peer: Spread
    ratio: Spread
    unit: str
    """Of the two sides: `examples/s`, `tokens/s`, `inputs/s`, `s`, `GB`."""


def compared(result: Mapping[str, Any]) -> dict[str, Compared]:
    """All comparisons of one row's result, by the names that its goals have."""
    found = {}
    if "repeats" in result.get("metier", {}):
        found["speed"] = _speed(result)
    if "memory" in result:
        found["memory"] = _memory(result["memory"])
    for name, pair in result.get("times", {}).items():
        mine, theirs = Spread.of(pair["metier"]), Spread.of(pair["peer"])
        found[name] = Compared(mine, theirs, Spread.of([b / a for a in pair["metier"] for b in pair["peer"]]), "s")
    return found


def rates(repeats: Sequence[Mapping[str, float]], unit: str) -> list[float]:
    """Of every repeat what was done a second; seconds themselves where the unit is `seconds`."""
    if unit == "seconds":
        return [each["seconds"] for each in repeats]
    return [each[unit] / each["seconds"] for each in repeats]


def _speed(result: Mapping[str, Any]) -> Compared:
    unit = result["unit"]
    mine, theirs = (rates(result[side]["repeats"], unit) for side in ("metier", "peer"))
    times = ratio(theirs, mine) if unit == "seconds" else ratio(mine, theirs)
    return Compared(Spread.of(mine), Spread.of(theirs), times, "s" if unit == "seconds" else f"{unit}/s")


def _memory(memory: Mapping[str, Sequence[float]]) -> Compared:
    """The lower of the two ways of handling memory, for either side."""
    mine, theirs = (min(memory[side]) / 1e9 for side in ("metier", "peer"))
    return Compared(Spread.of([mine]), Spread.of([theirs]), Spread.of([mine / theirs]), "GB")


def meets(value: float, wanted: float, name: str) -> bool:
    """Whether a ratio is at least (of memory: at most) what is wanted."""
    return value <= wanted if name in LOWER_IS_BETTER else value >= wanted


def computes_in(setting: Mapping[str, Any]) -> str:
    """The type in which matrix products of a setting run."""
    precision = str(setting["precision"])
    return "bfloat16" if "bfloat16" in precision or "autocast" in precision else "float32"


def shares(result: Mapping[str, Any], side: str) -> Spread | None:
    """The side's useful operations a second as a share of the rate of matrix products; None where not known.

    Useful is what the work needs: of metier the distinct tokens, of a peer that shares nothing all real tokens, padding
    left out. The rate is that of 2,048 rows in the type that the side computes in, measured in the same run.
    """
    if "flops" not in result or "gemm" not in result:
        return None
    unit = "inputs" if result["unit"] == "inputs" else "examples"
    limit = result["gemm"][f"{computes_in(result[side]['setting'])} 2048"]
    done = rates(result[side]["repeats"], unit)
    return Spread.of([each * result["flops"][side] / limit for each in done])


def system_share(repeats: Sequence[Mapping[str, float]]) -> float | None:
    """System time as a share of user time; None where it was not taken."""
    user = sum(each.get("user", 0.0) for each in repeats)
    return sum(each.get("system", 0.0) for each in repeats) / user if user else None


def doubts(result: Mapping[str, Any], idle_limit: float) -> list[str]:
    """What speaks against a measurement, in words; empty when nothing does."""
    found = []
    if result.get("tiny"):
        found.append("a dry run with tiny budgets: its numbers mean nothing")
    if not result.get("parity", {}).get("equal", False):
        found.append("parity was not shown")
    for side, idle in result.get("idle", {}).items():
        if idle and sorted(idle)[len(idle) // 2] > idle_limit:
            found.append(f"{side} used {max(idle):.0%} of a core while it had to wait")
    return found
