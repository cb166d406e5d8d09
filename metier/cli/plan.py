"""`metier plan CONFIG`: would a model fit on so many accelerators, how long would it take, what would it cost."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metier.cli.output import show, write_json_object
from metier.cli.run import AsJson

if TYPE_CHECKING:
    from metier.planning.cluster import Cluster, ClusterWay, Sizes

SIZES = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "": 1.0}


def plan(
    model: Annotated[Path, typer.Argument(metavar="CONFIG", help="A config.json, or the folder that it lies in.")],
    *,
    gpus: Annotated[int, typer.Option("--gpus", metavar="N", min=1, help="Cards.")] = 1,
    gpu: Annotated[str, typer.Option("--gpu", metavar="NAME", help="Their name, such as h100.")] = "h100",
    gpu_memory: Annotated[
        str | None,
        typer.Option("--gpu-memory", metavar="SIZE", help="Memory of one, such as 40GB.", show_default=False),
    ] = None,
    tokens: Annotated[
        str | None, typer.Option("--tokens", metavar="N", help="Tokens to train on, such as 20M.", show_default=False)
    ] = None,
    price: Annotated[
        float | None, typer.Option("--price", help="Of one card for one hour.", min=0.0, show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Say what a model needs on other machines, from its config.json.

    Nothing is downloaded and nothing is measured: sizes are counted, rates are the makers'.
    """
    from dataclasses import replace

    from metier.errors import DONE, ArgumentError
    from metier.planning.cards import CARDS
    from metier.planning.cluster import Cluster, read_sizes, ways
    from metier.store.values import to_plain

    if gpu.lower() not in CARDS:
        raise ArgumentError("--gpu", repr(gpu), f"one of {', '.join(CARDS)}", "--gpu-memory sets another size.")
    card = CARDS[gpu.lower()]
    if gpu_memory is not None:
        card = replace(card, memory=_number("--gpu-memory", gpu_memory.lower().removesuffix("b")) / 1e9)
    cluster = Cluster(
        gpus=gpus, card_name=gpu.lower(), card=card, price=price,
        tokens=None if tokens is None else _number("--tokens", tokens),
    )  # fmt: skip
    sizes = read_sizes(model)
    found = list(ways(sizes, cluster))
    if as_json:
        content = {"model": to_plain(sizes), "cluster": to_plain(cluster), "ways": [_plain(way) for way in found]}
        write_json_object("cluster-plan", content)
    else:
        show(_text(sizes, cluster, found))
    return DONE


def _number(option: str, text: str) -> float:
    from metier.errors import ArgumentError

    parts = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*([kmbg]?)", text.strip().lower())
    if parts is None:
        raise ArgumentError(option, repr(text), "a number, with K, M, B or GB behind it if you like")
    return float(parts[1]) * SIZES[parts[2]]


def _plain(way: ClusterWay) -> dict[str, object]:
    from metier.store.values import to_plain

    return {**to_plain(way), "total_bytes": way.memory.total}


def _text(sizes: Sizes, cluster: Cluster, found: list[ClusterWay]) -> str:
    from metier.cli.tables import aligned
    from metier.planning.cluster import METHODS

    timed, priced = cluster.tokens is not None, cluster.tokens is not None and cluster.price is not None
    head = ["Method", "Model", "Weights", "Learning", "Activations", "Other", "One card", "Fits"]
    head += (["Time"] if timed else []) + (["Cost"] if priced else []) + (["Energy"] if timed else [])
    rows = [_row(way, timed=timed, priced=priced) for way in found]
    lines = [
        f"{sizes.name}: {sizes.architecture}, {sizes.parameters / 1e9:,.2f} B parameters, "
        f"{2 * sizes.parameters / 1e9:,.0f} GB in bfloat16, {sizes.layers} blocks",
        f"{cluster.gpus} x {cluster.card_name}, {cluster.card.memory:,.0f} GB each, "
        f"{cluster.microbatch:,} tokens a pass",
        "", aligned(head, rows), "",
        *(f"{name}: {words}" for name, words in METHODS.items()),
        "recomputed: activations inside a block are computed again, because they would not fit otherwise",
        *_said(cluster),
    ]  # fmt: skip
    return "\n".join(lines)


def _row(way: ClusterWay, *, timed: bool, priced: bool) -> list[str]:
    memory = way.memory
    parts = (memory.weights, memory.learning, memory.activations, memory.loss + memory.gathered + memory.reserved)
    row = [way.method + (", recomputed" if way.recomputed else ""), "sharded" if way.sharded else "whole on each card"]
    row += [*map(_gigabytes, (*parts, memory.total)), "yes" if way.fits else "NO"]
    if timed and way.seconds is not None and way.kilowatt_hours is not None:
        row.append(f"{_hours(way.seconds.value)} ({_hours(way.seconds.low)} to {_hours(way.seconds.high)})")
        if priced and way.cost is not None:
            row.append(f"{way.cost.value:,.2f} ({way.cost.low:,.2f} to {way.cost.high:,.2f})")
        row.append(f"{way.kilowatt_hours.value:,.1f} kWh")
    return row


def _said(cluster: Cluster) -> list[str]:
    low, usual, high = cluster.shares
    said = ["Estimated from sizes and published rates, not measured; 2 GB of a card are taken to be reserved."]
    if cluster.tokens is not None:
        where = (
            f"{usual:.0%} of them"
            if low == high
            else f"{usual:.0%} of them ({low:.0%} to {high:.0%} in published runs)"
        )
        said.append(
            f"Time: {cluster.tokens:,.0f} tokens at {cluster.card.teraflops:,.0f} TFLOP/s a card and {where}; "
            f"energy at {cluster.card.watts:,.0f} W a card."
        )
    else:
        said.append("Add --tokens for time and energy, --price for cost.")
    return said


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:,.1f} GB"


def _hours(seconds: float) -> str:
    from metier.report import formats

    return formats.duration(seconds)
