"""Memory and time of a run that learns to choose among labels: counted tokens times operations, over a speed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from metier.planning.ablation import TUNED
from metier.planning.cost import (
    REPORT_SECONDS,
    Learner,
    Rows,
    Seconds,
    Work,
    assumptions,
    chosen_moments,
    disk_bytes,
    first_part,
    first_stages,
    fitted_stages,
    fixed_stage,
    learning_bytes,
    loading_stages,
    pass_stage,
    reading_back_bytes,
)
from metier.planning.count import Counter, Tokens, largest_batch, largest_pass
from metier.planning.looked import Answering, counting_stages, robustness_stages
from metier.planning.outlook import MemoryEstimate, Plan, StageEstimate
from metier.planning.retrained import Ways, fold_stages, seed_stages
from metier.planning.solving import Solving
from metier.planning.whole import Found, Ground, put_together
from metier.recipe.sections import Recipe

SCORE, FEATURES = Work(kind="score"), Work(kind="features")
SHOT_TOKENS = 60
"""An example in the prompt, with its answer and the turns around it, where few-shot takes short ones."""
LONGEST_SHOT, TURN_TOKENS = 96, 16
"""A nearest example is cut to so many tokens; its answer and the turns around it."""
STORED = "probe: features"
"""How the passes are called whose results are stored, so that folds do not compute them again."""
ONLY_IN_LANGUAGE_MODELS = frozenset({"zero_shot", "few_shot"})


@dataclass(frozen=True, kw_only=True)
class Writers:
    """A language model whose untrained answers are written, beside candidates that have heads."""

    stages: Callable[[Rows], Iterable[StageEstimate]]
    """What it does with some rows: set up on validation, then the test set."""
    base: str
    base_bytes: int
    answering: int
    """Bytes at the fullest moment of its answers."""


@dataclass(frozen=True, kw_only=True)
class Subject(Learner):
    """One model that answers with labels, and how a run asks it."""

    counter: Counter
    lengths: Mapping[str, Sequence[int]]
    """Tokens of every record, by split."""
    solving: Solving | None = None
    """What solving a head on its features takes; None where that was not measured."""

    @property
    def rows(self) -> Rows:
        """Records by split."""
        return Rows(**{split: len(self.lengths[split]) for split in ("train", "validation", "test")})

    def with_rows(self, rows: Rows) -> Subject:
        """The same over so many records, as long as those of all splits are.

        Args:
            rows: How many.
        """
        pool = [*self.lengths["train"], *self.lengths["validation"], *self.lengths["test"]]
        counts = {"train": rows.train, "validation": rows.validation, "test": rows.test}
        return replace(self, lengths={split: _spread(pool, count) for split, count in counts.items()})

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
    ground: Ground,
    writers: Writers | None = None,
) -> Plan:
    """Estimate a whole run.

    Args:
        recipe: The run's recipe.
        candidates: What is trained, in order.
        baselines: The model behind `probe`, `zero_shot` and `few_shot`, where they are asked for.
        seconds: What was measured.
        ground: What the machine says.
        writers: What baselines take that write their answers, on some rows; None where there are none.
    """
    rows, probe = candidates[0].rows, baselines.get("probe")
    loading, again = loading_stages(seconds, len(candidates))

    def within(fold: Rows) -> Iterator[StageEstimate]:
        # Of the probe only rows are read that no baseline has read before.
        unread = replace(fold, test=max(1, round(rows.test / (recipe.evaluation.folds or 1))))
        models = {n: each.with_rows(unread if n == "probe" else fold) for n, each in baselines.items()}
        for stage in fitted_stages(recipe, seconds):
            share = fold.train / max(1, rows.train)
            yield fixed_stage("baselines", stage.what, stage.seconds * share)
        every = [*_baselines(recipe, models), *_asked(recipe, models), *(writers.stages(fold) if writers else ())]
        yield from (stage for stage in every if not stage.what.startswith(STORED))

    ways = Ways(
        candidates=candidates, attempt=lambda one: _attempt(one, probe), answers=lambda one: _tuned(one, 0),
        baselines=within,
    )  # fmt: skip
    stages = [
        *first_stages(seconds), *fitted_stages(recipe, seconds), loading,
        *_baselines(recipe, baselines), *(writers.stages(rows) if writers else ()),
        *(stage for candidate in candidates for stage in _attempt(candidate, probe)),
    ]  # fmt: skip
    if recipe.evaluation.folds is not None:
        stages += fold_stages(recipe, ways, rows)
    else:
        stages += [again, *_asked(recipe, baselines), _dearest(recipe, candidates)]
        stages += robustness_stages(recipe, rows, _how(candidates), partial(_again, candidates))
    stages += [
        *counting_stages(recipe, rows, len(candidates), seconds),
        *seed_stages(recipe, ways, seconds.loading / max(1, len(candidates))),
        fixed_stage("report", "page, card and figures", REPORT_SECONDS),
    ]
    found = Found(
        stages=tuple(stages), moments=_moments(candidates, baselines, seconds, writers),
        disk_bytes=disk_bytes(candidates), cache_bytes=_cache(candidates, baselines),
        assumptions=assumptions(candidates),
    )  # fmt: skip
    return put_together(recipe, found, candidates[0].rates, ground)


def _baselines(recipe: Recipe, models: Mapping[str, Subject]) -> Iterator[StageEstimate]:
    """Setting up on validation; the measuring after it takes the same scores from the cache."""
    evaluation = recipe.evaluation
    for name, subject in models.items():
        some = subject.lengths["validation"][: evaluation.selection_examples]
        if name == "probe":
            if subject.solving is not None:
                depths = 1 + len(_lower_depths(subject, evaluation.probe_depths))
                took = depths * subject.solving.seconds(len(subject.lengths["train"]))
                what = f"probe: heads at {depths} depths" if depths > 1 else "probe: a head"
                yield fixed_stage("baselines", what, took, part="solving")
            every = [*subject.lengths["train"], *subject.lengths["validation"]]
            yield pass_stage(subject, "baselines", STORED, subject.counter.texts(every), FEATURES)
            for depth in _lower_depths(subject, evaluation.probe_depths):
                what, below = f"{STORED} after {depth} blocks", replace(FEATURES, forward=depth)
                yield pass_stage(subject, "baselines", what, subject.counter.texts(every), below)
        elif name == "zero_shot":
            listed = subject.recipe.prompt.list_labels
            tried = 2 if listed is None else 1
            start = subject.counter.label_tokens[1] if listed is not False else 0
            tokens = subject.counter.labels(some, longer_start=start).times(tried)
            yield pass_stage(subject, "baselines", f"zero_shot: {_prompts(tried)} on validation", tokens, SCORE)
        else:
            yield from _few_shot(recipe, subject, some)


def _few_shot(recipe: Recipe, subject: Subject, some: Sequence[int]) -> Iterator[StageEstimate]:
    """Examples at random, computed once for all inputs, and nearest ones, computed for each: some on a first part."""
    few, listings = recipe.evaluation.few_shot, 2 if subject.recipe.prompt.list_labels is None else 1
    if "random" in few.selection:
        tried = len(few.k) * few.seeds * listings
        tokens = subject.counter.labels(some, longer_start=_shots(recipe)).times(tried)
        yield pass_stage(subject, "baselines", f"few_shot: {_prompts(tried)} on validation", tokens, SCORE)
        listings = 1  # nearest examples are tried with the best one alone
    if "nearest" in few.selection:
        tried = len(few.k) * listings
        part = first_part(len(some), tried)
        longer = [length + _nearest(recipe, subject) for length in some]
        tokens = subject.counter.labels([*longer, *longer[:part] * (tried - 1)])
        what = f"few_shot: {_prompts(tried)} with the nearest examples on validation"
        yield pass_stage(subject, "baselines", what, tokens, SCORE)


def _lower_depths(subject: Subject, shares: Sequence[float]) -> list[int]:
    """Numbers of blocks below the top that the probe tries."""
    layers = subject.shape.layers
    return sorted({depth for share in shares if (depth := max(1, round(share * layers))) < layers})


def _attempt(subject: Subject, probe: Subject | None) -> Iterator[StageEstimate]:
    """One candidate: what is computed once, training, validations during it, and the whole validation split.

    Features that the probe of the same model has read are not computed again.
    """
    stage, counter, lengths = f"attempt {subject.name}", subject.counter, subject.lengths
    sample, top = lengths["validation"][: subject.sample], subject.shape.layers - subject.depth
    answer = SCORE if subject.in_words else FEATURES
    if not subject.in_words and not (probe is not None and _same_model(subject, probe)):
        tokens = counter.texts([*lengths["train"], *sample])
        yield pass_stage(subject, stage, "features, computed once", tokens, replace(FEATURES, part="trunk"))
    if subject.depth:
        what, once = f"lower {subject.depth} blocks, computed once", replace(answer, part="trunk", bare=True)
        once = replace(once, forward=subject.depth)
        yield pass_stage(subject, stage, what, counter.trunk(lengths["train"], labels=False), once)
        if subject.in_words:
            tokens = counter.trunk(lengths["validation"], labels=True)
            yield pass_stage(subject, stage, f"{what}, for validation", tokens, once)
    if not subject.in_words and subject.solving is not None:
        took = subject.solving.seconds(len(lengths["train"]))
        yield fixed_stage(stage, "solving the head", took, part="solving")
    judged = replace(answer, part="validation", forward=top if subject.in_words else subject.shape.layers)
    if not subject.solved:
        tokens = counter.training(subject.recipe.training, subject.sampler().stream)
        yield subject.training_stage(stage, tokens)
        validations = subject.validations()
        passes = f"{validations} validation{'s' * (validations > 1)} during training"
        times = validations
        if subject.in_words:
            passes, times = f"{passes}, and the choice of a scoring rule", validations + 1
        yield pass_stage(subject, stage, passes, _answering(subject, sample).times(times), judged)
    yield pass_stage(subject, stage, "the whole validation split", _answering(subject, lengths["validation"]), judged)


def _asked(recipe: Recipe, models: Mapping[str, Subject]) -> Iterator[StageEstimate]:
    """The baselines on the test set: with few-shot by the nearest examples, where they are tried."""
    for name, subject in models.items():
        test = subject.lengths["test"]
        if name == "probe":
            tokens = subject.counter.texts(test)
        elif name == "few_shot" and "nearest" in recipe.evaluation.few_shot.selection:
            tokens = subject.counter.labels([length + _nearest(recipe, subject) for length in test])
        else:
            tokens = subject.counter.labels(test, longer_start={"few_shot": _shots(recipe)}.get(name, 0))
        yield pass_stage(subject, "test", name, tokens, FEATURES if name == "probe" else SCORE)


def _dearest(recipe: Recipe, candidates: Sequence[Subject]) -> StageEstimate:
    """The one opening of the test set, by the dearest candidate, for nobody knows yet which it will be."""
    stages = [_tuned(candidate, recipe.evaluation.train_examples) for candidate in candidates]
    return max(stages, key=lambda stage: stage.seconds)


def _tuned(subject: Subject, train: int) -> StageEstimate:
    """The trained model on the test set, and on so many training records."""
    tokens = _answering(subject, [*subject.lengths["test"], *subject.lengths["train"][:train]])
    return pass_stage(subject, "test", TUNED, tokens, SCORE if subject.in_words else FEATURES)


def _again(candidates: Sequence[Subject], records: int, what: str) -> StageEstimate:
    """Changed test records, asked of the dearest candidate; the prompt's shared beginning is read once a pass."""
    stages = []
    for subject in candidates:
        tokens = _answering(subject, _spread(list(subject.lengths["test"]), records))
        stages.append(pass_stage(subject, "robustness", what, tokens, SCORE if subject.in_words else FEATURES))
    return max(stages, key=lambda stage: stage.seconds)


def _how(candidates: Sequence[Subject]) -> Answering:
    return "in words" if any(subject.in_words for subject in candidates) else "with a head"


def _spread(pool: Sequence[int], count: int) -> list[int]:
    """So many numbers, evenly out of the pool, again from its beginning where they are more."""
    return [pool[place * len(pool) // count] for place in range(count)] if pool else []


def _same_model(one: Subject, other: Subject) -> bool:
    return one.base == other.base


def _answering(subject: Subject, lengths: Sequence[int]) -> Tokens:
    return subject.counter.labels(lengths) if subject.in_words else subject.counter.texts(lengths)


def _moments(
    candidates: Sequence[Subject], baselines: Mapping[str, Subject], seconds: Seconds, writers: Writers | None
) -> tuple[MemoryEstimate, ...]:
    """Memory while baselines are measured, while the dearest candidate is trained, and while the test set is read."""
    every = [*candidates, *baselines.values()]
    loaded = {subject.base: subject.base_bytes for subject in every}
    loaded |= {writers.base: writers.base_bytes} if writers is not None else {}
    weights, program = sum(loaded.values()), seconds.program_bytes
    before = MemoryEstimate(
        moment="baselines", program=program, weights=weights, baselines=seconds.tfidf_bytes,
        logits=max([*map(_asking_bytes, baselines.values()), 0 if writers is None else writers.answering]),
    )  # fmt: skip
    program += seconds.tfidf_bytes  # what fitting took is kept for what comes, or scattered
    attempts = [_attempt_moments(subject, weights, program) for subject in candidates]
    test = MemoryEstimate(
        moment="test", program=program, weights=0, logits=max(map(_asking_bytes, candidates)),
        trunk=max(_boundary_bytes(subject) for subject in candidates),
    )  # fmt: skip
    dearest = max(attempts, key=lambda moments: max(moment.total for moment in moments))
    return (before, *dearest, *chosen_moments(candidates, program, test))


def _attempt_moments(subject: Subject, loaded: int, program: int) -> list[MemoryEstimate]:
    """While one candidate learns, and while it is validated."""
    weights = loaded
    if subject.plan is not None and subject.plan.weights:
        weights += subject.shape.weight_bytes - subject.base_bytes  # what learns takes the place of the base
    trunk = _boundary_bytes(subject)
    learning = 0 if subject.solved else learning_bytes(subject)
    best = 0 if subject.solved else reading_back_bytes(subject)
    validated = MemoryEstimate(
        moment="validation", program=program, weights=weights + best, learning=learning, trunk=trunk,
        logits=_asking_bytes(subject),
    )  # fmt: skip
    if subject.solved:
        return [validated]
    pace, tokens = subject.rates.pace("train"), _microbatch(subject)
    beside = round(pace.bytes(tokens, 0))
    trained = MemoryEstimate(
        moment="training", program=program, weights=weights, learning=learning, trunk=trunk, logits=beside,
        activations=round(pace.bytes(tokens, subject.shape.layers - subject.depth)) - beside,
    )  # fmt: skip
    return [trained, validated]


def _asking_bytes(subject: Subject) -> int:
    """While labels are scored under prompts, or features are read."""
    pace = subject.rates.pace("score" if subject.in_words else "features")
    return round(pace.bytes(pace.tokens, subject.shape.layers))


def _microbatch(subject: Subject) -> float:
    """Tokens of the largest forward and backward pass."""
    sequences, section = subject.counter.sequences, subject.recipe.training
    if subject.in_words:
        return max(largest_pass([(each,) for each in sequences], section), *subject.lengths["train"])
    return max(largest_batch([each.ids for each in sequences], section), *subject.lengths["train"])


def _boundary_bytes(subject: Subject) -> int:
    if not subject.depth:
        return 0
    tokens = subject.counter.trunk(subject.lengths["train"], labels=False).computed
    if subject.in_words:
        tokens += subject.counter.trunk(subject.lengths["validation"], labels=True).computed
    return round(tokens * subject.shape.hidden * subject.shape.number_bytes)


def _cache(candidates: Sequence[Subject], baselines: Mapping[str, Subject]) -> int:
    """Boundary states, and one vector a record for every model whose features are read."""
    reads = {subject.base: subject for subject in [*candidates, *baselines.values()] if not subject.in_words}
    features = sum(sum(map(len, each.lengths.values())) * each.shape.hidden * 4 for each in reads.values())
    return features + sum(_boundary_bytes(subject) for subject in candidates)


def _shots(recipe: Recipe) -> int:
    return max(recipe.evaluation.few_shot.k) * SHOT_TOKENS


def _nearest(recipe: Recipe, subject: Subject) -> int:
    """Tokens of the most examples that few-shot puts before one input where they are chosen for it."""
    own = _mean(subject.lengths["train"]) - subject.counter.shared_start
    return round(max(recipe.evaluation.few_shot.k) * (min(own, LONGEST_SHOT) + TURN_TOKENS))


def _prompts(count: int) -> str:
    return f"{count} prompt{'s' * (count > 1)}"


def _mean(lengths: Sequence[int]) -> float:
    return sum(lengths) / max(1, len(lengths))
