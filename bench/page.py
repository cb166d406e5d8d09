"""The page of results, written from the JSON files that rows left. No number comes from anywhere else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.results import Compared, compared, doubts, meets, rates, shares, system_share
from bench.side import IDLE_LIMIT
from bench.spread import Spread
from bench.table import ROWS, Row

NOT_MEASURED = "not measured"


def write_page(raw: Path, page: Path) -> Path:
    """Write the page.

    Args:
        raw: Folder of results, one JSON file a row.
        page: The Markdown file.
    """
    results = {name: read(raw / f"{name}.json") for name in ROWS}
    lines = [*opening(results.values()), "", *table(results), "", *reading(), ""]
    for name, result in results.items():
        if result is not None:
            lines += [*details(name, ROWS[name], result), ""]
    page.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return page


def read(path: Path) -> dict[str, Any] | None:
    """A row's result; None where it was not measured."""
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def opening(results: Iterable[Mapping[str, Any] | None]) -> list[str]:
    """Title, and what everything was measured on."""
    lines = [
        "# Performance: metier beside the best peers",
        "",
        "Written by `python -m bench` from the JSON files in `performance/` beside this page; do not edit. Each row is "
        "measured side by side in one run: both sides are loaded, one works while the other waits, in turn "
        "(A-B-B-A). Rows where metier has no trick come first. To measure again: `python -m bench.peers make`, then "
        "`METIER_BENCH_DATA=FOLDER python -m bench all --again`, on two cores that nobody else uses.",
    ]
    known = [each for each in results if each is not None]
    if any(each.get("tiny") for each in known):
        lines += ["", "**A dry run with tiny budgets: the numbers mean nothing.**"]
    if known:
        lines += ["", *machines(known)]
    return lines


def machines(results: list[Mapping[str, Any]]) -> list[str]:
    """Machines and versions; one line each where rows differ."""
    found: dict[str, list[str]] = {}
    for each in results:
        machine = each["machine"]
        versions = "; ".join(
            f"{name}: {', '.join(f'{package} {number}' for package, number in some.items())}"
            for name, some in machine["versions"].items()
            if some
        )
        text = (
            f"{each['model']}; {machine['cpu']}, cores {each['cores']}, {machine['memory_bytes'] / 1e9:.0f} GB, "
            f"{machine['system']}, Python {machine['python']}. {versions}."
        )
        found.setdefault(text, []).append(each["row"])
    if len(found) == 1:
        return list(found)
    return [f"- {', '.join(rows)}: {text}" for text, rows in found.items()]


def table(results: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    """All rows, measured or not."""
    lines = [
        "| comparison | metier | peer | ratio | n | gate | goal | | of matrix rate |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, result in results.items():
        row = ROWS[name]
        found = compared(result) if result is not None else {}
        for what, goal in row.goals.items():
            title = f"[{heading(name, row, what)}](#{name})" if result is not None else heading(name, row, what)
            wanted = f"{goal.gate:g}x | {goal.goal:g}x"
            if what not in found or result is None:
                lines.append(f"| {title} | {NOT_MEASURED} | | | | {wanted} | | |")
                continue
            one = found[what]
            verdict = "goal" if meets(one.ratio.median, goal.goal, what) else (
                "gate" if meets(one.ratio.median, goal.gate, what) else "**below**"
            )  # fmt: skip
            if doubts(result, IDLE_LIMIT):
                verdict += " (see below)"
            lines.append(
                f"| {title} | {number(one.metier)} {one.unit} | {number(one.peer)} {one.unit} | "
                f"**{spread(one.ratio, 'x')}** | {one.metier.n} | {wanted} | {verdict} | {limit(result, what)} |"
            )
    return lines


def heading(name: str, row: Row, what: str) -> str:
    """What one line of the table compares."""
    if what == "speed":
        return row.title
    short = row.title.rpartition(",")[0] if "/s" in row.title else row.title
    return f"{short}: {what if what != 'memory' else 'peak memory'}"


def limit(result: Mapping[str, Any], what: str) -> str:
    """Both sides' share of the measured rate of matrix products."""
    if what != "speed":
        return ""
    both = [shares(result, side) for side in ("metier", "peer")]
    return " / ".join("unknown" if each is None else f"{each.median:.0%}" for each in both) if any(both) else ""


def number(value: Spread) -> str:
    """A median in three digits."""
    return f"{value.median:.3g}"


def spread(value: Spread, unit: str = "") -> str:
    """Median with its middle half."""
    if value.n == 1:
        return f"{value.median:.3g}{unit}"
    return f"{value.median:.3g}{unit} ({value.low:.3g} to {value.high:.3g})"


def reading() -> list[str]:
    """How the table is read."""
    return [
        "Medians over n repeats; in brackets the first and third quartile. *ratio*: metier's rate over the peer's, "
        "repeat by repeat; of times the peer's over metier's; of memory metier's over the peer's, lower is better. "
        "*of matrix rate*: operations that the work needs (metier: distinct tokens; peer: all real tokens, no padding) "
        "a second, as a share of the rate of matrix products of the model's shapes with 2,048 rows, metier / peer; the "
        "rate is measured in the same run. Memory is the highest resident memory of a fresh process that does two "
        "steps: of the settings within a tenth of the fastest the one with the smallest micro-batch, and the lower of "
        "two settings of glibc, on both sides. Peers run at the best setting of a grid, each "
        "tried by a short measurement; all of them are listed.",
    ]


def details(name: str, row: Row, result: Mapping[str, Any]) -> list[str]:
    """All there is to know about one row."""
    lines = [f"## {name}", "", f"{row.title}. Peer: {row.peer}. `{result['command']}`, {result['date']}, "]
    lines[-1] += f"{result['seconds_in_all'] / 60:.0f} minutes; load of the machine {result['machine']['load']:.1f}."
    lines += ["", *[f"- Doubt: {doubt}." for doubt in doubts(result, IDLE_LIMIT)]]
    if "data" in result:
        lines.append("- Data, means an example: " + ", ".join(f"{k} {v:.4g}" for k, v in result["data"].items()) + ".")
    if "parity" in result:
        lines.append(f"- Parity: {facts(result['parity'])}.")
    for what, one in compared(result).items():
        lines.append(
            f"- {what}: metier {spread(one.metier)} {one.unit}, peer {spread(one.peer)} {one.unit}, ratio "
            f"{spread(one.ratio)}."
        )
    lines += [*sides(result), *extras(result)]
    if "gemm" in result:
        products = ", ".join(f"{key} rows {value / 1e9:.0f}" for key, value in result["gemm"].items())
        lines.append(f"- Matrix products, GFLOP/s: {products}.")
    return lines


def sides(result: Mapping[str, Any]) -> list[str]:
    """Settings, repeats and the grid of both sides."""
    lines = []
    for side in ("metier", "peer"):
        one = result.get(side)
        if not one or "repeats" not in one:
            continue
        name = one.get("name", side)
        each = ", ".join(f"{value:.4g}" for value in rates(one["repeats"], result["unit"]))
        system = system_share(one["repeats"])
        lines.append(f"- {name}: {facts(one['setting'])}. Repeats: {each}.")
        if system is not None:
            lines[-1] += f" System time {system:.0%} of user time."
        for tried in one.get("tried", []):
            came = f"{tried['rate']:.4g}" if tried["rate"] is not None else f"does not run ({tried['fault']})"
            lines.append(f"    - {facts(tried['setting'])}: {came}")
    return lines


def extras(result: Mapping[str, Any]) -> list[str]:
    """What some rows have besides: a variant of the peer, a confirmation, notes."""
    lines = []
    if "variant" in result:
        variant = result["variant"]
        theirs = Spread.of(rates(variant["repeats"], result["unit"]))
        mine = Spread.of(rates(result["metier"]["repeats"], result["unit"]))
        lines.append(
            f"- {variant['name']}, another task that a user may prefer: {spread(theirs)} {result['unit']}/s; metier "
            f"with the list does {mine.median / theirs.median:.3g} times as many."
        )
    if "confirmed" in result:
        whole = result["confirmed"]
        lines.append(f"- Confirmed by {whole['what']}: {facts({k: v for k, v in whole.items() if k != 'what'})}.")
    if "agreement" in result:
        same = result["agreement"]
        lines.append(
            f"- Same label as float32 at the measured settings: metier {same['metier']}, peer {same['peer']} of "
            f"{same['of']}."
        )
    return [*lines, *[f"- {note}" for note in result.get("notes", [])], *listed(result.get("beside", []))]


def listed(rows: list[Mapping[str, Any]]) -> list[str]:
    """A small table of values that all have the same names."""
    if not rows:
        return []
    names = list(rows[0])
    lines = ["", f"| {' | '.join(names)} |", f"| {' | '.join('---' for _ in names)} |"]
    return lines + [f"| {' | '.join(shown(row[name]) for name in names)} |" for row in rows] + [""]


def facts(values: Mapping[str, Any]) -> str:
    """Names and values in a line."""
    return ", ".join(f"{name} {shown(value)}" for name, value in values.items())


def shown(value: Any) -> str:
    """A value in few characters."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return f"({facts(value)})"
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    return NOT_MEASURED if value is None else str(value)


__all__ = ["Compared", "write_page"]
