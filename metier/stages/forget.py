"""Delete what is kept of some records of a run: states, features, scores, answers, recordings, and stored stages."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from metier.data.prepare import load_prepared
from metier.data.privacy.by_recipe import is_strict
from metier.data.records import Conversation, Record, as_input
from metier.engine.features import forget_features
from metier.engine.tree import Ints, shared_length
from metier.engine.trunk_forget import StoredPath, forget_paths
from metier.errors import ArgumentError
from metier.evaluation.answering.answer_store import AnswerStore
from metier.evaluation.answering.keyed_store import owner_of
from metier.evaluation.answering.score_store import ScoreStore
from metier.evaluation.elsewhere.answer_journal import AnswerJournal
from metier.evaluation.files import RESULTS, read_evaluations
from metier.events import Observer
from metier.model.base import BaseModel
from metier.model.chat_encode import ChatEncoder
from metier.model.encode import Encoder, cut_policy
from metier.model.passages import passage_sequences
from metier.recipe.candidates import resolve_candidates
from metier.recipe.load import expand, load_recipe
from metier.recipe.sections import ModelSection, Recipe
from metier.recipe.tasks import ASKED_TO_WRITE, WRITES
from metier.stages.judge_answers import RECORDED
from metier.stages.workshop import SIMILARITY_MODEL, Workshop
from metier.store.cache import cache_folder
from metier.store.locks import alone_in
from metier.store.run_folder import RunFolder, read_state

_ADDED = "\n\nADDED"
"""Put behind a text to find where in its prompt the text ends."""


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What was deleted."""

    records: int
    trunk_tokens: int
    features: int
    scores: int
    answers: int
    stages: int
    """Stored stages of the run, which hold its data."""
    recorded: Mapping[Path, int]
    """Recordings of endpoints -> the answers that were deleted from each; those that had none are left out."""


def forget_records(
    folder: RunFolder, rows: Sequence[int], source: str | None = None, observers: Sequence[Observer] = ()
) -> Forgotten:
    """Delete from the cache all that was computed from some records of a run, and what endpoints said about them.

    Besides its recordings the run folder is not touched, and neither are the data files: they are the user's.

    Args:
        folder: A run whose data stage is done.
        rows: Row numbers as messages and `rejected.jsonl` count them.
        source: Name of the data file; None: any.
        observers: Told about progress.

    Raises:
        ArgumentError: A row is not among the run's records, or the run was strict.
        RunFolderError: The run is being written by another process, or a recording is damaged.
    """
    if is_strict(folder):
        found = "the run was made under privacy: strict, which leaves nothing of it in the cache"
        raise ArgumentError("metier cache forget", found, "another run")
    recipe = load_recipe(folder.recipe)
    shop = Workshop(recipe, resolve_candidates(recipe), folder, load_prepared(folder.data), observers)
    records = _find(shop, rows, source)
    with alone_in(folder.path, folder.state):
        recorded = _forget_recorded(shop, {record.id for record in records})
    paths, texts = [], _likened(shop, records)
    for way in shop.candidates.values() if recipe.training.enabled else ():  # a comparison trains none
        base = shop.base(way.model)
        paths += [path for record in records for path in _paths(shop, way, base, record)]
        texts += [shop.encoder(base, way).text(record.text).ids for record in records]
    if "probe" in recipe.evaluation.systems and recipe.training.enabled:
        base = shop.base(ModelSection(name=recipe.evaluation.probe_model))
        encoder = Encoder(base.tokenizer, base.context, cut_policy(recipe.data.too_long))
        texts += [encoder.text(record.text).ids for record in records]
    if recipe.data.screening_model is not None and recipe.task not in WRITES:
        base = shop.base(ModelSection(name=recipe.data.screening_model))
        encoder = Encoder(base.tokenizer, base.context, cut_policy(recipe.data.too_long))
        texts += [encoder.text(record.text).ids for record in records]
    owners = {owner_of(as_input(record)) for record in records}
    return Forgotten(
        records=len(records),
        trunk_tokens=forget_paths(cache_folder("trunk"), paths),
        features=forget_features(cache_folder("features"), texts),
        scores=sum(ScoreStore.forget(path, owners) for path in sorted(cache_folder("scores").glob("*.jsonl"))),
        answers=sum(AnswerStore.forget(path, owners) for path in sorted(cache_folder("answers").glob("*.jsonl"))),
        stages=_forget_stages(folder),
        recorded=recorded,
    )


def recordings(recipe: Recipe, folder: RunFolder) -> list[Path]:
    """The files in which a run keeps what endpoints said: its own, and those that its recipe names.

    Args:
        recipe: The run's.
        folder: The run's.
    """
    own = sorted((folder.path / RECORDED).glob("*.jsonl"))
    said = [Path(expand(str(each["journal"]))) for each in recipe.systems.values() if each.get("journal") is not None]
    return list(dict.fromkeys([*own, *(path for path in said if path.is_file())]))


def _forget_recorded(shop: Workshop, ids: Collection[str]) -> dict[Path, int]:
    gone = {path: AnswerJournal.forget(path, ids) for path in recordings(shop.recipe, shop.folder)}
    return {path: count for path, count in gone.items() if count}


def _likened(shop: Workshop, records: Sequence[Record]) -> list[Ints]:
    """Right and given answers to the records, as tokens of the encoder that likened them."""
    if not shop.recipe.evaluation.similarity:
        return []
    ids, texts = {record.id for record in records}, [record.gold for record in records]
    for results in sorted(shop.folder.evaluation.glob(f"*/{RESULTS}")):
        for evaluation in read_evaluations(results.parent):
            texts += [item.answer for item in evaluation.items if item.id in ids and item.answer is not None]
    base = shop.base(ModelSection(name=SIMILARITY_MODEL))
    encoder = Encoder(base.tokenizer, base.context)
    return [encoder.text(text).ids for text in dict.fromkeys(texts)]


def _find(shop: Workshop, rows: Sequence[int], source: str | None) -> list[Record]:
    splits = (shop.data.train, shop.data.validation, shop.data.test)
    wanted = set(rows)
    found = [
        record
        for split in splits
        for record in split.records()
        if record.row in wanted and source in (None, record.source)
    ]
    missing = sorted(wanted - {record.row for record in found})
    if missing:
        names = ", ".join(sorted({record.source for split in splits for record in split.records()}))
        what = f"no record of row {', '.join(map(str, missing))}" + (f" of {source}" if source else "")
        raise ArgumentError("metier cache forget", f"the run has {what}", f"a row of {names}")
    return found


def _paths(shop: Workshop, way: Recipe, base: BaseModel, record: Record) -> Iterator[StoredPath]:
    """Every way in which a candidate's trunk may hold a record."""
    encoder = shop.encoder(base, way)
    section = way.adaptation
    head = section.head if section.head is not None else (base.kind == "encoder" or section.method == "head")
    if way.task == "text":
        for ids, _ in passage_sequences(encoder, record.text):
            yield StoredPath(ids[:-1], len(ids) - 1)
    elif head:
        ids = encoder.text(record.text).ids
        yield StoredPath(ids, len(ids))
    elif isinstance(record, Conversation) and way.task in ASKED_TO_WRITE:
        yield from _turns(shop, way, ChatEncoder(encoder), record)
    else:
        prompt = shop.prompt(way)
        ids = encoder.prompt(prompt, record.text).ids
        yield StoredPath(ids, shared_length(ids, encoder.prompt(prompt, record.text + _ADDED).ids))


def _turns(shop: Workshop, way: Recipe, encoder: ChatEncoder, record: Conversation) -> Iterator[StoredPath]:
    """The prompts of a conversation's turns, each with the place where the last turn of its text ends."""
    prompt = shop.chat_prompt(way)
    room = int(shop.generation(way, encoder)["max_new_tokens"])

    def prompts(of: Conversation, loss_on: str) -> list[Ints]:
        return [ids for ids, _ in encoder.turns(prompt, of, loss_on, room=room).sequences]

    for loss_on in dict.fromkeys((way.training.loss_on, "last")):
        longer = [prompts(_longer(record, place), loss_on) for place in range(len(record.messages) - 1)]
        for number, ids in enumerate(prompts(record, loss_on)):
            ends = [shared_length(ids, each[number]) for each in longer if number < len(each)]
            yield StoredPath(ids, max((end for end in ends if end < len(ids)), default=len(ids)))


def _longer(record: Conversation, place: int) -> Conversation:
    """The same conversation with something added to one turn."""
    turns = list(record.messages)
    turns[place] = replace(turns[place], content=turns[place].content + _ADDED)
    return replace(record, messages=tuple(turns))


def _forget_stages(folder: RunFolder) -> int:
    """Remove the stored stages of a run: they hold its splits, and are computed again when they are needed."""
    removed = 0
    for key in set(read_state(folder).stages.values()):
        place = cache_folder("stages") / key
        if place.is_dir():
            shutil.rmtree(place)
            removed += 1
    return removed
