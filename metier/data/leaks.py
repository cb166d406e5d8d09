"""What one split knows of another, and what is done about it: `data.leaks`.

Test is what a result rests on, and validation what is chosen by, so train gives way to both and validation to test.

drop     the row that gives way leaves, with its reason
move     all that hangs together goes into one split: by equal texts, by groups, and by what a screen links
refuse   the run ends, and the rows are named
allow    they stay; the card and the report say so, and measured rows that are known are flagged

Equal texts and groups are settled while splits are drawn (`settle_leaks`), nearly equal texts when a screen has found
them (`apply_leaks`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metier.data.cleaning import leakage
from metier.data.division import NOWHERE, WEIGHT, Division
from metier.data.duplicates import Leak, shared_groups, shared_texts
from metier.data.reasons import REJECTIONS
from metier.data.roster import ALONE, Dropped, Places, Roster
from metier.data.table import counted, rows_at
from metier.errors import DataError
from metier.recipe.sections import DataSection

TEST, VALIDATION, TRAIN = (WEIGHT.index(split) for split in ("test", "validation", "train"))
MOST_MOVED = 0.5
"""Share of a split beyond which nothing is moved out of it: what hangs together is then nearly everything."""
IN_TRAIN, NEAR_IN_TRAIN, GROUP_IN_TRAIN = "in_train", "near_in_train", "group_in_train"
"""Flags of rows of validation and test that train knows, where `data.leaks` allows it."""


@dataclass(frozen=True, eq=False)
class _Found:
    """Leaks between the splits as they stand."""

    giving_way: Sequence[Leak]
    """Those of the row that gives way."""
    staying: Sequence[Leak]
    """Those of the other row, where a screen names both."""


def settle_leaks(division: Division, own: str, other: str, section: DataSection) -> None:
    """Settle equal texts and groups between two splits that are drawn.

    Args:
        division: Changed.
        own: The split that gives way: train, or validation.
        other: The other one.
        section: The recipe's data section.

    Raises:
        DataError: `data.leaks` refuses, or would move most of a split.
    """
    roster, places, away = division.roster, division.places(own), division.places(other)
    leaks = shared_texts(roster, places, away, other)
    if section.group is not None:
        leaks += shared_groups(roster, places, away, other)
    apply_leaks(division, leaks, section)


def apply_leaks(division: Division, leaks: Iterable[Leak], section: DataSection) -> dict[str, int]:
    """Do about leaks what the recipe says; rows that are in no split any more are passed over.

    Args:
        division: Changed; see `divide.close_division` for what has to be said anew.
        leaks: What a screen found, of both splits or only of the one that gives way.
        section: The recipe's data section.

    Returns:
        Rows by what was done: `dropped`, `moved`, `allowed`.

    Raises:
        DataError: `data.leaks` refuses, or would move most of a split.
    """
    numbers = division.numbers()
    giving_way: list[Leak] = []
    staying: list[Leak] = []
    for leak in leaks:
        own, away = int(numbers[leak.place]), _weightiest(numbers, leak)
        if NOWHERE in (own, away) or own == away:
            continue
        (giving_way if own > away else staying).append(leak)
    if giving_way:
        return POLICIES[section.leaks](division, _Found(giving_way, staying))
    return {}


def _weightiest(numbers: NDArray[np.int8], leak: Leak) -> int:
    """The number of the weightiest split that another row of a leak stands in."""
    there = [number for other in leak.others if (number := int(numbers[other])) != NOWHERE]
    return min(there, default=NOWHERE)


def _dropped(leaks: Iterable[Leak]) -> Iterator[Dropped]:
    for leak in leaks:
        screened = leak.reason not in REJECTIONS
        yield Dropped(
            place=leak.place, reason=leak.reason, detail=leak.detail, step=leakage.STEP if screened else "",
            version=leakage.VERSION if screened else 0,
        )  # fmt: skip


def _drop(division: Division, found: _Found) -> dict[str, int]:
    return {"dropped": division.leave(_dropped(found.giving_way))}


def _refuse(division: Division, found: _Found) -> dict[str, int]:
    by_reason: dict[str, dict[int, None]] = {}
    for leak in found.giving_way:
        by_reason.setdefault(leak.reason, {})[leak.place] = None
    parts = [f"{len(places):,} {reason} ({_rows(division.roster, places)})" for reason, places in by_reason.items()]
    count = len({leak.place for leak in found.giving_way})
    knows = "is known" if count == 1 else "are known"
    says = f"is refuse, and {counted(count, 'row')} {knows} to another split: {', '.join(parts)}"
    fix = "Repair the files, or set data.leaks: drop (rows of train leave), move or allow."
    raise DataError("data.leaks", says, "splits that share nothing", fix)


def _allow(division: Division, found: _Found) -> dict[str, int]:
    roster, numbers = division.roster, division.numbers()
    for flag, places in _known_to_train(roster, numbers, found).items():
        division.flag(flag, places, np.ones(len(places), np.bool_))
    counts = Counter((WEIGHT[numbers[leak.place]], leak.reason) for leak in found.giving_way)
    parts = [f"{counted(count, 'row')} of {split} {reason}" for (split, reason), count in sorted(counts.items())]
    flattered = f"leaks are allowed, and what is measured is flattered by them: {', '.join(parts)} (data.leaks: allow)"
    division.said.append(flattered)
    return {"allowed": len({leak.place for leak in found.giving_way})}


def _known_to_train(roster: Roster, numbers: NDArray[np.int8], found: _Found) -> dict[str, Places]:
    """Flag -> the rows of validation and test that train knows, with their copies, or all of their group."""
    known: dict[str, set[int]] = {}
    for reason, mine, away in (
        *((leak.reason, other, leak.place) for leak in found.giving_way for other in leak.others),
        *((leak.reason, leak.place, other) for leak in found.staying for other in leak.others),
    ):
        if numbers[away] == TRAIN:
            known.setdefault(_flag_of(reason), set()).add(mine)
    measured = np.flatnonzero((numbers == TEST) | (numbers == VALIDATION))
    flagged = {}
    for flag, rows in known.items():
        of = roster.group if flag == GROUP_IN_TRAIN else roster.key
        flagged[flag] = measured[np.isin(of[measured], of[sorted(rows)])]
    return flagged


def _flag_of(reason: str) -> str:
    return {"group": GROUP_IN_TRAIN, "near": NEAR_IN_TRAIN}.get(reason.partition(" ")[0], IN_TRAIN)


def _move(division: Division, found: _Found) -> dict[str, int]:
    """Put what hangs together into the weightiest of its splits; into a file of the user's nothing is moved."""
    roster, numbers = division.roster, division.numbers()
    places = np.flatnonzero(numbers != NOWHERE)
    links = [
        (leak.place, other)
        for leak in (*found.giving_way, *found.staying)
        for other in leak.others
        if numbers[other] != NOWHERE
    ]
    whole = _hanging_together(roster, places, links)
    weightiest = np.full(int(whole.max()) + 1, len(WEIGHT), np.int64)
    np.minimum.at(weightiest, whole, numbers[places])
    target = weightiest[whole]
    fixed = [number for number, split in enumerate(WEIGHT) if split in division.official]
    leaking = np.isin(whole, whole[np.searchsorted(places, [leak.place for leak in found.giving_way])])
    going = leaking & (target < numbers[places]) & ~np.isin(target, fixed) & ~np.isin(numbers[places], fixed)
    done: dict[str, int] = {}
    for number in (TEST, VALIDATION):
        moved = places[going & (target == number)]
        if len(moved):
            _refuse_too_many(division, moved, numbers, WEIGHT[number])
            division.move(moved, WEIGHT[number])
            said = f"{counted(len(moved), 'row')} moved to {WEIGHT[number]} with what they belong to (data.leaks: move)"
            division.said.append(said)
            done["moved"] = done.get("moved", 0) + len(moved)
    now = division.numbers()
    left = [leak for leak in found.giving_way if NOWHERE < _weightiest(now, leak) < now[leak.place]]
    if left and (count := division.leave(_dropped(left))):
        stays = "a file of its own is not changed by data.leaks: move"
        division.said.append(f"{counted(count, 'row')} left train or validation instead: {stays}")
        done["dropped"] = count
    return done


def _refuse_too_many(division: Division, moved: Places, numbers: NDArray[np.int8], target: str) -> None:
    for number in np.unique(numbers[moved]).tolist():
        count, rows = int((numbers[moved] == number).sum()), len(division.places(WEIGHT[number]))
        if count > MOST_MOVED * rows:
            found = f"is move, which would take {count:,} of {counted(rows, 'row')} of {WEIGHT[number]} to {target}"
            fix = "Set data.leaks: drop, or check whether data.group names rows that really belong together."
            raise DataError("data.leaks", found, f"at most {MOST_MOVED:.0%}", fix)


def _hanging_together(roster: Roster, places: Places, links: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """A number for each of `places`, equal for those that equal texts, groups or links join, directly or in turn."""
    from scipy.sparse import coo_array  # type: ignore[import-untyped]
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

    joined = np.searchsorted(places, np.array(links, np.int64).reshape(-1, 2))
    grouped = np.flatnonzero(roster.group[places] != ALONE)
    edges = np.concatenate(
        [joined, _chains(roster.key[places], np.arange(len(places))), _chains(roster.group[places[grouped]], grouped)]
    )
    size = len(places)
    graph = coo_array((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), (size, size))
    found: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return found


def _chains(values: NDArray[np.generic], nodes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs of `nodes` that hang all of an equal value together; shape (pairs, 2)."""
    order = np.argsort(values, kind="stable")
    same = values[order][1:] == values[order][:-1]
    return np.stack([nodes[order[:-1]][same], nodes[order[1:]][same]], axis=1)


def _rows(roster: Roster, places: Iterable[int]) -> str:
    """Where rows are, for a message."""
    by_source: dict[str, list[int]] = {}
    for source, row in map(roster.position, places):
        by_source.setdefault(source, []).append(row)
    return " and ".join(f"{rows_at(rows)} of {source}" for source, rows in by_source.items())


POLICIES: Mapping[str, Callable[[Division, _Found], dict[str, int]]] = {
    "drop": _drop,
    "move": _move,
    "refuse": _refuse,
    "allow": _allow,
}
"""`data.leaks` -> what is done; gives the rows by what was done with them."""
