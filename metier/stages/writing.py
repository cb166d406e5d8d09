"""Learning to write: answers of conversations, or passages read on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice

from metier.data.records import Conversation, Record
from metier.data.splits import conversations
from metier.engine.forward import TreeRunner
from metier.engine.score import target_log_probabilities
from metier.engine.tree import TokenSequence
from metier.errors import DataError
from metier.events import Notice, tell
from metier.model.chat_encode import ChatEncoder, EncodedConversation
from metier.model.chat_prompt import ChatPrompt
from metier.model.passages import passage_sequences
from metier.stages.bench import Bench, Learned, fitting_records, shown_rows, train
from metier.store.files import append_json_line
from metier.training.history import History
from metier.training.objective import LanguageObjective

Example = tuple[TokenSequence, ...]
"""The sequences of one record: one an answer that is learned."""


def learn_to_write(bench: Bench) -> Learned:
    """Train a model that writes its answers; validation looks at their loss."""
    shop, prompt = bench.shop, bench.prompt
    assert isinstance(prompt, ChatPrompt)
    encoder = ChatEncoder(bench.encoder)
    loss_on = bench.recipe.training.loss_on
    records = conversations(shop.taught)
    generation = shop.generation(bench.recipe, encoder)
    room = int(generation["max_new_tokens"])  # what is learned is cut as it is when the model is asked
    encoded = [encoder.turns(prompt, record, loss_on, room=room) for record in records]
    places = fitting_records(bench, [each.cut and not each.fault for each in encoded])
    places = _learnable(bench, records, encoded, places)
    examples = [_sequences(encoded[place]) for place in places]
    asked = (encoder.turns(prompt, record, "last", room=room) for record in conversations(shop.validation))
    known = (each for turns in asked if (each := _sequences(turns)))
    sample = list(islice(known, bench.recipe.training.validation_examples))
    if not sample:
        raise DataError(
            "data.validation", f"none of {len(shop.validation)} right answers can be put into tokens",
            "an answer whose loss can be measured during training",
            f"Raise training.max_length (now {bench.recipe.training.max_length}), or give other validation records.",
        )  # fmt: skip
    history = _train_on(bench, examples, sample)
    return Learned(history=history, generation=generation)


def learn_passages(bench: Bench) -> Learned:
    """Train a model to read on."""
    shop = bench.shop
    examples = _windows(bench, shop.taught)
    sample = _windows(bench, shop.validation[: bench.recipe.training.validation_examples])
    return Learned(history=_train_on(bench, examples, sample))


def _windows(bench: Bench, records: Sequence[Record]) -> list[Example]:
    """Every window of every passage, each an example of its own: long documents weigh as much as they say."""
    return [
        (TokenSequence(ids, targets),)
        for record in records
        for ids, targets in passage_sequences(bench.encoder, record.text)
    ]


def _sequences(encoded: EncodedConversation) -> Example:
    return tuple(TokenSequence.of(prompt.tolist(), answer.tolist()) for prompt, answer in encoded.sequences)


def _learnable(
    bench: Bench, records: Sequence[Conversation], encoded: Sequence[EncodedConversation], places: Sequence[int]
) -> list[int]:
    """The places of records from which something can be learned; the others are told, and written down with why.

    Raises:
        DataError: nothing is left.
    """
    faults = {place: each.fault for place, each in enumerate(encoded) if each.fault}
    if bench.shop.team.is_first:
        bench.folder.left_out.unlink(missing_ok=True)
        for place, fault in faults.items():
            record = records[place]
            append_json_line(bench.folder.left_out, {"source": record.source, "row": record.row, "reason": fault})
    for fault, count in Counter(faults.values()).items():
        rows = shown_rows([records[place].row for place in faults if faults[place] == fault])
        message = f"{bench.name}: {count} of {len(records)} training records were left out: {fault} (rows {rows})."
        tell(bench.shop.observers, Notice(topic="mask", message=message))
    left = [place for place in places if place not in faults]
    _tell_lost_turns(bench, records, encoded, left)
    if not left:
        reason = Counter(faults.values()).most_common(1)[0][0] if faults else "none fits"
        raise DataError(
            "data.train", f"nothing can be learned from any of {len(records)} records: {reason}", "answers to learn",
            "`metier check` shows what is learned, token by token.",
        )  # fmt: skip
    return left


def _tell_lost_turns(
    bench: Bench, records: Sequence[Conversation], encoded: Sequence[EncodedConversation], places: Sequence[int]
) -> None:
    """Tell, and write down, the turns of used records that should be learned and cannot be."""
    lost = [(records[place], turn, why) for place in places for turn, why in encoded[place].left_out]
    for record, turn, why in lost if bench.shop.team.is_first else ():
        row = {"source": record.source, "row": record.row, "message": turn + 1, "reason": why}
        append_json_line(bench.folder.left_out, row)
    if lost:
        rows = shown_rows(list(dict.fromkeys(record.row for record, _, _ in lost)))
        message = f"{bench.name}: {len(lost)} turns of training records that are used are not learned (rows {rows})."
        tell(bench.shop.observers, Notice(topic="mask", message=message))


def _train_on(bench: Bench, examples: Sequence[Example], sample: Sequence[Example]) -> History:
    """Train on sequences and validate by the loss of a sample, over stored trunk states where there are."""
    shop, model = bench.shop, bench.model
    flat = [each for example in examples for each in example]
    held_out = [each for example in sample for each in example]
    runner = TreeRunner(model.network, bench.trunk, shop.observers, autocast=model.autocast)
    if bench.trunk is not None and runner.probe(flat[:2]):
        bench.trunk.build(model.network, [*flat, *held_out], f"{bench.name}: trunk of train and validation")
    objective = LanguageObjective(runner, examples, [1.0] * len(examples))
    budget = bench.recipe.training.tokens_per_microbatch

    def validate() -> Mapping[str, float]:
        scored = target_log_probabilities(runner, held_out, budget=budget)
        return {"loss": -sum(total for total, _ in scored) / sum(tokens for _, tokens in scored)}

    return train(bench, objective, validate, runner.trunk)
