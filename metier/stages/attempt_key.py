"""The key of an attempt: equal keys mean that the same would be trained on the same, so that it is done once."""

from __future__ import annotations

from metier.data.instruction import with_instruction
from metier.stages.lock import tool_versions
from metier.stages.workshop import Workshop
from metier.store.fingerprint import file_sha256, fingerprint


def attempt_key(shop: Workshop, name: str, version: int) -> str:
    """All that an attempt reads, as a fingerprint.

    Args:
        shop: The run.
        name: The candidate.
        version: Of the stages.
    """
    recipe = shop.candidates[name]
    read = ("seed", "task", "model", "prompt", "adaptation", "training", "generation", "evaluation", "hardware")
    # The prompt as it is asked: an instruction may come from the data's shape and the name of its column.
    asked = recipe.model_copy(update={"prompt": with_instruction(recipe.prompt, shop.data.card)})
    told = {"hardware": {"price_per_hour", "currency", "watts"}}  # only the plan reads these
    fields = {field: asked.model_dump(mode="json", exclude=told)[field] for field in read}
    # The name alone would not do: other weights may lie in the same folder, or under the same hub branch, by now.
    weights = shop.weights(recipe.model)
    # Resolved: `auto` may lead elsewhere on the machine that filled the cache.
    place_of_work = [shop.hardware.device, shop.hardware.dtype, shop.batch_processes]
    data = [_what_attempts_read(shop), recipe.data.too_long, shop.recipe.seed]
    # The name stands in the results of an attempt.
    return fingerprint([version, "attempt", name, fields, weights, place_of_work, data, tool_versions()])


def _what_attempts_read(shop: Workshop) -> list[str]:
    """Train and validation to the byte: ids are blind to capitals and spaces, and know no group and no row.

    The name of the label's column stands in the prompt. The test set is not among it.
    """
    splits = [file_sha256(shop.folder.split(name)) for name in ("train", "validation")]
    return [shop.data.card.label_column or str(shop.data.card.answer_column), *splits, *shop.remedies]
