"""What `privacy: strict` promised and what came of it, as frozen values without torch: `data/privacy.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Attempts of one package to reach one host."""

    package: str
    host: str
    times: int


@dataclass(frozen=True, kw_only=True)
class Connections:
    """Every attempt of a run's processes to reach another machine."""

    refused: tuple[Asked, ...] = ()
    allowed: tuple[Asked, ...] = ()
    """To hosts that the recipe lists in `privacy.allowed_hosts`."""
    programs: Mapping[str, int] = field(default_factory=dict)
    """Programs that were started and could not be watched, because they are no Python: name to times."""
    seen_open: tuple[str, ...] = ()
    """Connections of native code to other machines that were open at the end of a stage."""
    looks: int = 0
    """How often was looked for those; 0: nobody did, or the system does not show them."""

    @property
    def made(self) -> int:
        """How many connections were made, as far as can be seen."""
        return sum(each.times for each in self.allowed) + len(self.seen_open)

    @property
    def attempts(self) -> int:
        """How many were refused."""
        return sum(each.times for each in self.refused)


@dataclass(frozen=True, kw_only=True)
class SharedText:
    """Sentences of records that stand in the files of a run."""

    sentences: int
    """Runs of at least `words` words of a record that stand in a file; one that stands in many files counts once."""
    words: int
    records: int
    """Records that were looked for."""
    too_short: int
    """Records that are shorter than what can be told from chance, and were not looked for."""
    files: int
    """Files that were read."""
    unread: tuple[str, ...] = ()
    """Files that could not be looked into, with the reason."""
    places: tuple[str, ...] = ()
    """The first files in which something was found."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """What the report says about a strict run."""

    connections: Connections
    text: SharedText | None = None
    """None: the files were not searched."""
    vault_entries: int | None = None
    """Entries of the vault after the run; None: the run has none."""
    vault_head: str | None = None
    """As `VaultState.head`."""

    @property
    def line(self) -> str:
        """The report's line: `0 connections, 0 sentences of record text`."""
        return f"{_connections(self.connections)}, {_sentences(self.text)}"


def _connections(found: Connections) -> str:
    text = _counted(found.made, "connection")
    more = []
    if found.allowed:
        more.append(f"allowed by the recipe: {_asked(found.allowed)}")
    if found.seen_open:
        more.append(f"open at the end of a stage: {', '.join(found.seen_open)}")
    if found.refused:
        more.append(f"{_counted(found.attempts, 'attempt')} refused: {_asked(found.refused)}")
    if found.programs:
        names = ", ".join(f"{name} {times}" for name, times in sorted(found.programs.items()))
        more.append(f"started without being watched: {names}")
    return f"{text} ({'; '.join(more)})" if more else text


def _sentences(found: SharedText | None) -> str:
    if found is None:
        return "sentences of record text not counted"
    text = f"{_counted(found.sentences, 'sentence')} of record text"
    more = []
    if found.places:
        more.append(f"in {', '.join(found.places)}")
    if found.too_short:
        more.append(f"{_counted(found.too_short, 'text')} too short to look for")
    if found.unread:
        more.append(f"{_counted(len(found.unread), 'file')} not read")
    return f"{text} ({'; '.join(more)})" if more else text


def _asked(found: tuple[Asked, ...]) -> str:
    return ", ".join(f"{each.package} to {each.host} {each.times}" for each in found)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
