"""What `privacy: strict` came to: every file that the run leaves is searched for the records' texts."""

from __future__ import annotations

from collections.abc import Iterator

from metier.data.privacy.strict_run import StrictRun
from metier.data.privacy.vault import state_of
from metier.data.records import Record
from metier.events import Notice, tell
from metier.recipe.tasks import WRITES
from metier.stages.workshop import Workshop
from metier.store.files import write_json


def settle_privacy(shop: Workshop, strict: StrictRun) -> None:
    """Count, write the counts down and tell them; called when everything else is written.

    Args:
        shop: The run.
        strict: What it writes with.
    """
    account = strict.account(_texts(shop, strict), known=_known(shop))
    write_json(shop.folder.privacy, account, format="privacy")
    tell(shop.observers, Notice(topic="privacy", message=f"privacy: strict: {account.line}"))


def _texts(shop: Workshop, strict: StrictRun) -> Iterator[str]:
    """Every question and every written answer of the run, and the rows that it rejected or changed."""
    written = shop.recipe.task in WRITES
    for split in (shop.data.train, shop.data.validation, shop.data.test):
        for record in split.records():
            yield from _texts_of(record, written=written)
    if state_of(strict.vault) is not None:
        for entry in strict.vault.entries():
            if entry.run == strict.run:
                yield entry.before
                if entry.after is not None:
                    yield entry.after


def _texts_of(record: Record, *, written: bool) -> Iterator[str]:
    yield record.text
    if written:
        yield record.gold


def _known(shop: Workshop) -> list[str]:
    """What may stand in the files although a record says it too: the user's own words, and names of classes."""
    texts = [shop.folder.recipe.read_text(encoding="utf-8"), *shop.data.labels]
    for recipe in shop.candidates.values():
        asked = shop.asked(recipe)
        texts += [part for part in (getattr(asked, "instruction", None), getattr(asked, "system", None)) if part]
    return texts
