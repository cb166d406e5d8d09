"""What the user could have had without training: each system built and set up on validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metier.engine.features import FeatureStore
from metier.engine.forward import TreeRunner
from metier.engine.trunk import TrunkCache
from metier.evaluation.answering.heads import ALL_BLOCKS
from metier.evaluation.answering.language_model import Ground
from metier.evaluation.answering.readers import ReadingGround
from metier.evaluation.answering.writers import WritingGround
from metier.evaluation.files import write_evaluation
from metier.evaluation.results import Evaluation
from metier.evaluation.systems import Material, System, build_system
from metier.events import Table, tell
from metier.model.base import BaseModel
from metier.model.blocks import blocks_of
from metier.model.chat_encode import ChatEncoder
from metier.model.encode import Encoder, cut_policy
from metier.recipe.sections import ModelSection, Recipe
from metier.recipe.tasks import ASKED_TO_WRITE, WRITES
from metier.stages.workshop import Workshop

LANGUAGE_MODEL_SYSTEMS = frozenset({"zero_shot", "few_shot"})
WITHOUT_MODEL = frozenset({"majority", "tfidf", "copy_input", "nearest_answer", "dictionary", "tagger"})
"""What is set up once a run; the others hold a model that leaves memory before the test set is opened."""
HEADLINES: Mapping[str, tuple[str, ...]] = {
    "classification": ("accuracy",), **dict.fromkeys(WRITES, ("chrf", "loss")), "text": (),
    "multilabel": ("micro_f1", "exact_match"), "extraction": ("span_f1_overlap", "invalid"),
}  # fmt: skip
"""Task -> what a short table shows beside the primary metric."""


def baseline_systems(shop: Workshop, trunk: TrunkCache | None = None) -> list[System]:
    """Build every system of the recipe; all their choices are made on validation.

    Args:
        shop: The run.
        trunk: Boundary states to be shared with the tuned model, when it is the same language model.
    """
    wanted = shop.recipe.evaluation.systems
    extras: dict[str, object] = {}
    if LANGUAGE_MODEL_SYSTEMS & set(wanted):
        extras["ground"] = _ground_of(shop, trunk)
    if "probe" in wanted:
        base = shop.base(ModelSection(name=shop.recipe.evaluation.probe_model))
        stores = _probe_stores(shop, base)
        extras |= {
            "probe_stores": stores,
            "probe_store": list(stores.values())[-1],  # of those that read one depth
            "probe_encoder": Encoder(base.tokenizer, base.context, cut_policy(shop.recipe.data.too_long)),
            "probe_parameters": base.parameters,
            "probe_name": base.name,
        }
    material = Material(
        train=shop.train, validation=shop.validation, labels=shop.data.labels,
        section=shop.recipe.evaluation.for_choices(), seed=shop.recipe.seed, observers=shop.observers, extras=extras,
        task=shop.recipe.task,
    )  # fmt: skip
    return [_built(shop, name, material) for name in wanted]


def _built(shop: Workshop, name: str, material: Material) -> System:
    if name not in WITHOUT_MODEL:
        return build_system(name, material)
    if name not in shop.without_model:
        shop.without_model[name] = build_system(name, material)
    return shop.without_model[name]


def _probe_stores(shop: Workshop, base: BaseModel) -> dict[str, FeatureStore]:
    """Stored features at every depth that the probe tries, by what a person calls it, the deepest last."""
    shares = shop.recipe.evaluation.probe_depths
    blocks = len(blocks_of(base.network).modules) if min(shares) < 1 else 1
    depths = sorted({max(1, round(share * blocks)) for share in shares})
    return {
        f"{depth} of {blocks} blocks" if depth < blocks else ALL_BLOCKS:
            shop.features(base, depth if depth < blocks else None)
        for depth in depths
    }  # fmt: skip


def language_model_candidate(shop: Workshop) -> Recipe:
    """The recipe whose model zero_shot and few_shot use: the first candidate that is a language model."""
    for recipe in shop.candidates.values():
        if shop.base(recipe.model).kind == "decoder":
            return recipe
    fallback = ModelSection(name=shop.recipe.evaluation.baseline_model)
    return shop.recipe.model_copy(update={"model": fallback})


def measure_baselines(shop: Workshop, systems: Sequence[System]) -> list[Evaluation]:
    """Evaluate the systems on the validation records that they were set up on, and show them."""
    section = shop.recipe.evaluation
    records = shop.validation[: section.selection_examples]
    found = [shop.judged(system, "selection", records, section) for system in systems]
    if shop.team.is_first:
        for evaluation in found:
            write_evaluation(evaluation, shop.folder.evaluation_of("selection").path)
    shown = list(dict.fromkeys((*HEADLINES[shop.recipe.task], section.primary_metric)))
    rows = [[e.system, *(_number(e, metric) for metric in shown), e.trained_on] for e in found]
    title = f"What is there without training, on {len(records)} validation records on which it was set up"
    tell(shop.observers, Table(title=title, columns=("system", *shown, "saw"), rows=rows))
    return found


def _number(evaluation: Evaluation, metric: str) -> str:
    value = evaluation.metrics[metric].value
    return "unknown" if value is None else f"{value:.3f}"


def _ground_of(shop: Workshop, trunk: TrunkCache | None) -> Ground | WritingGround | ReadingGround:
    """What zero_shot and few_shot are built on, by task."""
    if shop.recipe.task == "classification":
        return _ground(shop, trunk)
    recipe = language_model_candidate(shop)
    base = shop.base(recipe.model)
    encoder, runner = shop.encoder(base, recipe), TreeRunner(base.network, None, shop.observers)
    budget = recipe.training.tokens_per_microbatch
    if shop.recipe.task not in ASKED_TO_WRITE:
        return ReadingGround(
            name=base.name, runner=runner, encoder=encoder, parameters=base.parameters, bytes=base.bytes, budget=budget
        )
    chat = ChatEncoder(encoder)
    return WritingGround(
        name=base.name, context=base.context, runner=runner, encoder=chat, prompt=shop.chat_prompt(recipe),
        decoding=shop.decoding(recipe, chat), parameters=base.parameters, bytes=base.bytes, budget=budget,
        store=shop.answers(base),
    )  # fmt: skip


def _ground(shop: Workshop, trunk: TrunkCache | None) -> Ground:
    recipe = language_model_candidate(shop)
    base = shop.base(recipe.model)
    prompt = shop.prompt(recipe)
    return Ground(
        name=base.name,
        context=base.context,
        runner=TreeRunner(base.network, trunk, shop.observers),
        encoder=shop.encoder(base, recipe),
        prompt=prompt,
        list_labels=recipe.prompt.list_labels,
        parameters=base.parameters,
        bytes=base.bytes,
        budget=recipe.training.tokens_per_microbatch,
        store=shop.scores(base),
        tuned_prompt_hash=prompt.hash if trunk is not None else None,
    )
