"""How the result is judged, as frozen values: the sections `evaluation` and `gates`, and the names in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from metier.recipe.section import Count, Fraction, Section

SystemName = Literal[
    "majority", "tfidf", "probe", "dictionary", "tagger", "copy_input", "nearest_answer", "zero_shot", "few_shot"
]  # fmt: skip
ScoringRule = Literal["sum", "mean_per_byte", "sum_minus_mean"]
MetricName = Literal[
    "accuracy", "macro_f1", "micro_f1", "weighted_f1",
    "macro_precision", "micro_precision", "weighted_precision",
    "macro_recall", "micro_recall", "weighted_recall",
    "mcc", "exact_match", "token_f1", "rouge1", "rouge2", "rougeL", "chrf", "bleu", "json_valid", "field_f1", "loss",
    "bits_per_byte", "span_f1", "span_precision", "span_recall", "span_f1_overlap",
    "cost", "ordinal_error", "quadratic_kappa", "own_score", "embedding_similarity",
]  # fmt: skip
ShotSelection = Literal["random", "nearest"]
SliceKind = Literal["label", "length", "language", "source", "group", "cluster"]
ChangeName = Literal[
    "typos", "lower_case", "upper_case", "no_punctuation", "spacing", "instruction", "option_order"
]  # fmt: skip
STAND_INS: Mapping[MetricName, MetricName] = {
    "cost": "accuracy", "ordinal_error": "accuracy", "quadratic_kappa": "accuracy", "own_score": "chrf",
    "embedding_similarity": "chrf",
}  # fmt: skip
"""Metric that needs more than answers and labels -> what systems choose by in its place."""
Depth = Annotated[float, Field(gt=0, le=1)]
_SYSTEMS: tuple[SystemName, ...] = ("majority", "tfidf", "probe", "zero_shot", "few_shot")
_SCORING_RULES: tuple[ScoringRule, ...] = ("sum", "mean_per_byte", "sum_minus_mean")
_SELECTIONS: tuple[ShotSelection, ...] = ("random", "nearest")
_SLICES: tuple[SliceKind, ...] = ("label", "length", "language", "source", "group", "cluster")


class FormatSection(Section):
    """What a written answer must look like; each is counted as a metric of its own."""

    schema_file: str | None = None
    """A JSON Schema (draft 2020-12) that an answer must meet. Relative to the recipe file. None: none."""
    pattern: str | None = None
    """A regular expression that the whole answer must match. None: none."""


class JudgeSection(Section):
    """A judge model behind an endpoint, audited before it is believed."""

    endpoint: str
    """Address of an API that speaks OpenAI's chat completions, up to `/v1`."""
    model: str
    """Its name there."""
    api_key_env: str | None = None
    """Environment variable with the key. None: none is sent."""
    human: str | None = None
    """Table of what people said of some pairs: columns `id` and `winner` (ours, theirs, tie). None: nobody judged, and
    the judge's number is no headline."""
    items: Count = 200
    """Test records whose answers it compares."""


class FewShotSection(Section):
    """The few-shot baseline's choices; the best on validation is used."""

    k: list[Count] = Field(default_factory=lambda: [4, 8])
    """Numbers of examples to try."""
    seeds: Count = 1
    """Random draws to try for each k."""
    selection: list[ShotSelection] = Field(default_factory=lambda: list(_SELECTIONS))
    """Which examples: drawn at random for all inputs alike, or for each input those nearest to it by its words."""


class EvaluationSection(Section):
    """How the result is judged."""

    primary_metric: MetricName = "macro_f1"
    """The one metric that the verdict is about."""
    smallest_useful_gain: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """A gain below this is not worth having, in units of the metric (0.02 is two points)."""
    not_worse_margin: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Margin of a non-inferiority claim. None: no such claim."""
    systems: list[SystemName] = Field(default_factory=lambda: list(_SYSTEMS))
    """What the user could have had without training; each is measured."""
    baseline_model: str = "smollm2-135m"
    """Language model of zero_shot and few_shot when no candidate is one. Otherwise the first candidate's model."""
    probe_model: str = "minilm"
    """Encoder whose frozen features the probe reads."""
    scoring_rules: list[ScoringRule] = Field(default_factory=lambda: list(_SCORING_RULES))
    """How a label's score is made from its tokens' log-probabilities; chosen on validation."""
    selection_examples: Count = 100
    """Validation records on which base systems choose rule, prompt, shots; candidates that write are judged on them."""
    few_shot: FewShotSection = FewShotSection()
    """The few-shot baseline."""
    probe_depths: list[Depth] = Field(default_factory=lambda: [0.5, 1.0])
    """Depths at which the probe tries features, as shares of the encoder's blocks; chosen on validation."""
    train_examples: Count = 100
    """Training records on which the promoted system is scored, to show overfitting."""
    resamples: Annotated[int, Field(ge=200, le=100_000)] = 2000
    """Bootstrap resamples for intervals that have no closed form."""
    split: Literal["test", "validation"] = "test"
    """What the verdict is about. validation: the test set stays closed, for development; not counted as an opening."""
    folds: Annotated[int, Field(ge=2, le=20)] | None = None
    """Small data: every row is a test row once, answered by a model that was trained without its fold; the model that
    is kept is trained on all rows. None: one test set."""
    seeds: Annotated[int, Field(ge=1, le=50)] = 1
    """Trainings of the promoted candidate with different seeds, for what is said about the recipe beside this model;
    from five on with an interval."""
    calibrate: bool = True
    """Whether a temperature is fitted on validation, kept with the model and used by `metier predict`."""
    promise_accuracy: Annotated[float, Field(gt=0.5, lt=1)] | None = None
    """Share of right answers that the model promises for what it answers by itself; the rest goes to a person.
    None: the highest of 0.9, 0.95 and 0.99 that validation supports."""
    promise_confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    """How sure that promise is for new inputs."""
    slices: list[SliceKind] = Field(default_factory=lambda: list(_SLICES))
    """Kinds of slice that the result is looked at by. Empty: none."""
    slice_columns: list[str] = Field(default_factory=list)
    """Columns of the data whose values are slices too."""
    robustness: list[ChangeName] | None = None
    """Changes of wording that must not change an answer. None: as the task has them. Empty: none."""
    robustness_items: Count = 100
    """Test records that are asked again for each change."""
    explain_errors: Annotated[int, Field(ge=0)] = 200
    """Wrong answers beside which the nearest training rows are shown. 0: none."""
    label_order: list[str] = Field(default_factory=list)
    """Labels from lowest to highest, for errors by distance. Empty: labels have no order."""
    costs: dict[str, dict[str, Annotated[float, Field(ge=0)]]] = Field(default_factory=dict)
    """What a wrong answer costs: right label to answer to cost; `abstain` is the answer of none. Empty: not counted."""
    format: FormatSection = FormatSection()
    """What a written answer must look like."""
    scorer: str | None = None
    """A function of yours that scores a written answer: `module:function` in a file beside the recipe. None: none."""
    similarity: bool = False
    """Whether written answers are compared with the right ones by the packaged encoder's vectors too."""
    judge: JudgeSection | None = None
    """A judge model that compares written answers. None: none."""
    reference: str | None = None
    """The system that the others are judged against where a recipe names `systems`. None: the first named."""

    def for_choices(self) -> EvaluationSection:
        """The section by which a system makes its own choices on validation, such as a rule or a number of examples.

        Where the primary metric is counted from more than answers and labels, another one stands in for it.
        """
        stand_in = STAND_INS.get(self.primary_metric)
        return self if stand_in is None else self.model_copy(update={"primary_metric": stand_in})


class GatesSection(Section):
    """What must hold, or the command ends with exit code 3. Judged on the interval's lower bound."""

    verdict: Literal["improved", "not_worse"] | None = None
    """Required overall verdict. None: no such gate."""
    minimum: dict[MetricName, float] = Field(default_factory=dict)
    """Lower bounds that the promoted system's intervals must reach on the test set."""
    minimum_coverage: Fraction | None = None
    """Share that the model must answer by itself at `evaluation.promise_accuracy`. None: no such gate."""
    largest_gap: dict[str, Fraction] = Field(default_factory=dict)
    """Kind of slice to the widest gap between its best and worst slice, at the interval's upper bound."""
