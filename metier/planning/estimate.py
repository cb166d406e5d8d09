"""Memory and time of a run that learns to choose among labels: counted tokens times operations, over a speed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from metier.engine.forward import NORMALISED_TOGETHER
from metier.planning.cost import (
    FACTOR,
    LOGIT_BYTES,
    PROGRAM_BYTES,
    REPORT_SECONDS,
    Learner,
    Seconds,
    assumptions,
    disk_bytes,
    fixed_stage,
    learning_bytes,
    loading_stage,
    pass_stage,
)
from metier.planning.count import Counter, Tokens
from metier.planning.results import MemoryEstimate, Plan, StageEstimate
from metier.recipe.sections import Recipe

SHOT_TOKENS = 60
"""An example in the prompt, with its answer and the turns around it, where few-shot takes short ones."""
ONLY_IN_LANGUAGE_MODELS = frozenset({"zero_shot", "few_shot"})


@dataclass(frozen=True, kw_only=True)
class Subject(Learner):
    """One model that answers with labels, and how a run asks it."""

    counter: Counter
    lengths: Mapping[str, Sequence[int]]
    """Tokens of every record, by split."""

    @property
    def examples(self) -> int:
        """Training records."""
        return len(self.lengths["train"])

    @property
    def in_words(self) -> bool:
        """Whether it answers in words."""
        return self.counter.asking.prompt is not None

    @property
    def sample(self) -> int:
        """Validation records that are looked at during training."""
        return min(self.recipe.training.validation_examples, len(self.lengths["validation"]))

    @property
    def solved(self) -> bool:
        """Whether only a head learns, which is solved and not trained step by step."""
        return self.recipe.adaptation.method == "head" and not self.in_words


def plan_run(
    recipe: Recipe,
    candidates: Sequence[Subject],
    baselines: Mapping[str, Subject],
    seconds: Seconds,
    available: int | None,
) -> Plan:
    """Estimate a whole run.

    Args:
        recipe: The run's recipe.
        candidates: What is trained, in order.
        baselines: The model behind `probe`, `zero_shot` and `few_shot`, where they are asked for.
        seconds: What was measured.
        available: Free bytes of memory; None where they are not known.
    """
    fixed = [fixed_stage("data", "reading and preparing", seconds.data)]
    if "tfidf" in recipe.evaluation.systems:
        fixed.append(fixed_stage("baselines", "tfidf, fitted for validation and for test", 2 * seconds.tfidf))
    stages = [
        *fixed,
        loading_stage(seconds, len(candidates)),
        *_baselines(recipe, baselines),
        *(stage for candidate in candidates for stage in _attempt(candidate, baselines.get("probe"))),
        *_test(recipe, candidates, baselines),
        fixed_stage("report", "page, card and figures", REPORT_SECONDS),
    ]
    memory = _memory(candidates, baselines)
    return Plan(
        stages=tuple(stages),
        seconds=sum(stage.seconds for stage in stages),
        factor=FACTOR,
        memory=memory,
        memory_bytes=memory.total,
        memory_available=available,
        cache_bytes=_cache(candidates, baselines),
        disk_bytes=disk_bytes(candidates),
        flops_per_second=candidates[0].flops_per_second,
        assumptions=assumptions(candidates),
    )


def _baselines(recipe: Recipe, models: Mapping[str, Subject]) -> Iterator[StageEstimate]:
    """Setting up on validation; the measuring after it takes the same scores from the cache."""
    evaluation = recipe.evaluation
    for name, subject in models.items():
        some = subject.lengths["validation"][: evaluation.selection_examples]
        if name == "probe":
            every = [*subject.lengths["train"], *subject.lengths["validation"]]
            yield pass_stage(subject, "baselines", "probe: features", subject.counter.texts(every))
        elif name == "zero_shot":
            listed = subject.recipe.prompt.list_labels
            tried = 2 if listed is None else 1
            start = subject.counter.label_tokens[1] if listed is not False else 0
            tokens = subject.counter.labels(some, longer_start=start).times(tried)
            yield pass_stage(subject, "baselines", f"zero_shot: {_prompts(tried)} on validation", tokens)
        else:
            ways = 2 if subject.recipe.prompt.list_labels is None else 1
            tried = len(evaluation.few_shot.k) * evaluation.few_shot.seeds * ways
            tokens = subject.counter.labels(some, longer_start=_shots(recipe)).times(tried)
            yield pass_stage(subject, "baselines", f"few_shot: {_prompts(tried)} on validation", tokens)


def _attempt(subject: Subject, probe: Subject | None) -> Iterator[StageEstimate]:
    """One candidate: what is computed once, training, validations during it, and the whole validation split.

    Features that the probe of the same model has read are not computed again.
    """
    stage, counter, lengths = f"attempt {subject.name}", subject.counter, subject.lengths
    sample, top = lengths["validation"][: subject.sample], subject.shape.layers - subject.depth
    if not subject.in_words and not (probe is not None and _same_model(subject, probe)):
        tokens = counter.texts([*lengths["train"], *sample])
        yield pass_stage(subject, stage, "features, computed once", tokens)
    if subject.depth:
        what = f"lower {subject.depth} blocks, computed once"
        yield pass_stage(subject, stage, what, counter.trunk(lengths["train"], labels=False), forward=subject.depth)
        if subject.in_words:
            tokens = counter.trunk(lengths["validation"], labels=True)
            yield pass_stage(subject, stage, f"{what}, for validation", tokens, forward=subject.depth)
    if not subject.solved:
        tokens = counter.training(subject.recipe.training, subject.sampler().stream)
        yield subject.training_stage(stage, tokens)
        validations = subject.validations()
        passes = f"{validations} validation{'s' * (validations > 1)} during training"
        forward = top if subject.in_words else subject.shape.layers
        yield pass_stage(subject, stage, passes, _answering(subject, sample).times(validations), forward=forward)
    forward = top if subject.in_words else subject.shape.layers
    yield pass_stage(
        subject, stage, "the whole validation split", _answering(subject, lengths["validation"]), forward=forward
    )


def _test(recipe: Recipe, candidates: Sequence[Subject], models: Mapping[str, Subject]) -> Iterator[StageEstimate]:
    """The one opening of the test set, by the dearest candidate, for nobody knows yet which it will be."""
    for name, subject in models.items():
        test = subject.lengths["test"]
        start = {"few_shot": _shots(recipe)}.get(name, 0)
        tokens = subject.counter.texts(test) if name == "probe" else subject.counter.labels(test, longer_start=start)
        yield pass_stage(subject, "test", name, tokens)
    stages = []
    for subject in candidates:
        some = subject.lengths["train"][: recipe.evaluation.train_examples]
        tokens = _answering(subject, [*subject.lengths["test"], *some])
        stages.append(pass_stage(subject, "test", "tuned, on test and a sample of train", tokens))
    yield max(stages, key=lambda stage: stage.seconds)


def _same_model(one: Subject, other: Subject) -> bool:
    return one.counter.asking.base.weights_sha256 == other.counter.asking.base.weights_sha256


def _answering(subject: Subject, lengths: Sequence[int]) -> Tokens:
    return subject.counter.labels(lengths) if subject.in_words else subject.counter.texts(lengths)


def _memory(candidates: Sequence[Subject], baselines: Mapping[str, Subject]) -> MemoryEstimate:
    """The dearest candidate's training, while the base models that others need are loaded."""
    every = [*candidates, *baselines.values()]
    loaded = {subject.counter.asking.base.weights_sha256: subject.shape.weight_bytes for subject in every}
    promoted = max(subject.shape.weight_bytes for subject in candidates)
    return MemoryEstimate(
        program=PROGRAM_BYTES,
        weights=sum(loaded.values()) + promoted,
        learning=max(learning_bytes(subject) for subject in candidates),
        activations=max(_activations(subject) for subject in candidates),
        logits=max((_logits(subject) for subject in every), default=0),
        trunk=max(_boundary_bytes(subject) for subject in candidates),
    )


def _activations(subject: Subject) -> int:
    """What the blocks with a backward pass keep of one micro-batch."""
    blocks = 1 if subject.solved else subject.shape.layers - subject.depth
    return round(_microbatch(subject) * blocks * subject.shape.block_cells * subject.shape.number_bytes)


def _logits(subject: Subject) -> int:
    """Scores over the whole vocabulary at every node of the label trees in one pass, and what is normalised of them."""
    if not subject.in_words:
        return 0
    tree, _ = subject.counter.label_tokens
    own = max(1.0, _mean(subject.lengths["validation"]) - subject.counter.shared_start) + tree
    prompts = max(1.0, subject.recipe.training.tokens_per_microbatch / own)
    nodes = prompts * (tree + 1)
    normalised = min(nodes, NORMALISED_TOGETHER) * LOGIT_BYTES
    return round((nodes * subject.shape.number_bytes + normalised) * subject.shape.vocabulary)


def _microbatch(subject: Subject) -> float:
    """Tokens of one forward and backward pass."""
    section = subject.recipe.training
    lengths = subject.lengths["train"]
    batch = section.per_device_train_batch_size * section.gradient_accumulation_steps
    return float(max(max(lengths), min(section.tokens_per_microbatch, batch * _mean(lengths))))


def _boundary_bytes(subject: Subject) -> int:
    if not subject.depth:
        return 0
    tokens = subject.counter.trunk(subject.lengths["train"], labels=False).computed
    if subject.in_words:
        tokens += subject.counter.trunk(subject.lengths["validation"], labels=True).computed
    return round(tokens * subject.shape.hidden * subject.shape.number_bytes)


def _cache(candidates: Sequence[Subject], baselines: Mapping[str, Subject]) -> int:
    """Boundary states, and one vector a record for every model whose features are read."""
    reads = {
        subject.counter.asking.base.weights_sha256: subject
        for subject in [*candidates, *baselines.values()]
        if not subject.in_words
    }
    features = sum(sum(map(len, each.lengths.values())) * each.shape.hidden * 4 for each in reads.values())
    return features + sum(_boundary_bytes(subject) for subject in candidates)


def _shots(recipe: Recipe) -> int:
    return max(recipe.evaluation.few_shot.k) * SHOT_TOKENS


def _prompts(count: int) -> str:
    return f"{count} prompt{'s' * (count > 1)}"


def _mean(lengths: Sequence[int]) -> float:
    return sum(lengths) / max(1, len(lengths))
