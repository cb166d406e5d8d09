"""The recipe as frozen values: one class per section, each field with its unit, range and what None means.

Field names are the ecosystem's own where it has one (transformers' TrainingArguments, PEFT's
LoraConfig). `load.py` turns a YAML file into a `Recipe`; `check.py` holds rules across sections.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from metier.recipe.data_sections import BiasSection as BiasSection
from metier.recipe.data_sections import DataSection as DataSection
from metier.recipe.evaluation_sections import EvaluationSection as EvaluationSection
from metier.recipe.evaluation_sections import FewShotSection as FewShotSection
from metier.recipe.evaluation_sections import GatesSection as GatesSection
from metier.recipe.evaluation_sections import MetricName as MetricName
from metier.recipe.evaluation_sections import ScoringRule as ScoringRule
from metier.recipe.evaluation_sections import SystemName as SystemName
from metier.recipe.privacy_section import PrivacySection
from metier.recipe.section import Count, Section
from metier.recipe.tasks import with_task_defaults

Task = Literal["classification", "multilabel", "extraction", "generation", "chat", "preference", "text"]
AdaptationMethod = Literal["full", "freeze", "lora", "head"]
SchedulerName = Literal["linear", "cosine", "constant", "constant_with_warmup"]
Quantization = Literal["nf4", "int8"]
OptimizerName = Literal["adamw_torch", "adamw_bnb_8bit", "paged_adamw_8bit"]


class ModelSection(Section):
    """Which pre-trained model, and how it is loaded. `model: NAME` is short for `model: {name: NAME}`."""

    name: str = "smollm2-135m"
    """A packaged model (`smollm2-135m`, `minilm`), a local folder, a `.gguf` file, or a hub id `org/name`."""
    revision: str | None = None
    """Hub revision (branch, tag or commit). None: the hub's default branch, pinned in the lock file."""
    quantization: Quantization | None = None
    """How a frozen language model is held: nf4 (4 bits, QLoRA) or int8, by bitsandbytes (`metier[quantization]`).
    None: as `hardware.dtype` says."""


class PromptSection(Section):
    """How a record is put before a language model. Encoders see the text alone."""

    instruction: str | None = None
    """What the model is asked to do. None: a sentence made from the name of the column of the label or answer."""
    list_labels: bool | None = None
    """Whether the prompt names the labels. None: chosen on validation for base systems, off for training."""
    label_texts: dict[str, str] = Field(default_factory=dict)
    """The words that the model answers for a label. Missing: the label with `_` and `-` as spaces."""
    system: str | None = None
    """System prompt of conversations that bring none of their own. None: none."""
    system_file: str | None = None
    """A text file with the system prompt, read when the recipe is loaded. Relative to the recipe file."""


class AdaptationSection(Section):
    """What may learn."""

    method: AdaptationMethod = "lora"
    """full: all layers. freeze: the chosen layers' own weights. lora: low-rank adapters (PEFT) in the chosen
    layers. head: a classification head on frozen features."""
    layers: str | list[str] = "all"
    """`all`; `top N`: the last N blocks and the final norm; `auto`: a cheap measurement on training records chooses N
    and says why; or a list of parameter-name patterns (`*.11.*`)."""
    head: bool | None = None
    """A classification head on pooled features. None: encoders yes, language models no (they answer in words)."""
    r: Count = 16
    """LoRA rank."""
    lora_alpha: Annotated[float, Field(gt=0)] = 32.0
    """LoRA scale: the update is multiplied by `lora_alpha / r` (`/ sqrt(r)` with `use_rslora`)."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on the adapter's input, 0 to 1."""
    use_dora: bool = False
    """Weight-decomposed LoRA (arXiv 2402.09353)."""
    use_rslora: bool = False
    """Rank-stabilised scaling (arXiv 2312.03732)."""
    target_modules: Literal["all-linear"] | list[str] = "all-linear"
    """Linear modules that get an adapter: all of them, or module name endings (`q_proj`)."""


class TrainingSection(Section):
    """How it is trained. `training: none` is short for `training: {enabled: false}`."""

    enabled: bool = True
    """Whether anything is trained. False: the recipe only judges its `systems`, with `metier compare`."""

    num_train_epochs: Annotated[float, Field(gt=0)] = 3.0
    """Passes over the training records."""
    max_steps: Count | None = None
    """Optimiser steps; overrides `num_train_epochs`. None: by epochs."""
    per_device_train_batch_size: Count = 16
    """Examples of one optimiser step, per process and accumulation step."""
    gradient_accumulation_steps: Count = 1
    """Batches added up before an optimiser step."""
    per_device_eval_batch_size: Count = 32
    """Records scored together; changes speed, not results."""
    tokens_per_microbatch: Annotated[int, Field(ge=16)] = 2048
    """Upper limit of distinct tokens in one forward pass; changes memory, not results."""
    max_length: Annotated[int, Field(ge=16)] = 512
    """Tokens of prompt and answer together. Longer ones follow `data.too_long`."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate. None: 5e-4 lora, 5e-5 full and freeze, 1e-3 head."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW's decoupled weight decay; not applied to norms and biases."""
    optim: OptimizerName = "adamw_torch"
    """AdamW with its two moments in float32, in 8 bits, or in 8 bits that move to the CPU when the GPU is full (paged,
    CUDA only). The last two are bitsandbytes' (`metier[quantization]`)."""
    gradient_checkpointing: Literal["auto"] | bool = "auto"
    """Whether activations inside a block are computed again in the backward pass, not kept: less memory, more time,
    the same gradients. auto: only where the first batch shows that memory would not do; said and written down."""
    adam_beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """AdamW's first moment decay."""
    adam_beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """AdamW's second moment decay."""
    adam_epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """AdamW's epsilon."""
    warmup_steps: Annotated[float, Field(ge=0)] = 0.05
    """Warm-up: steps when 1 or more, a share of all steps when below 1."""
    lr_scheduler_type: SchedulerName = "linear"
    """Shape of the learning rate after warm-up."""
    max_grad_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Gradient clipping by global norm. None: off."""
    class_weights: Literal["none", "balanced"] | dict[str, float] = "none"
    """Weight of a record's loss by its label: none, inverse frequency, or given by label."""
    eval_steps: Count | None = None
    """Validate every so many optimiser steps. None: once per epoch."""
    validation_examples: Count = 200
    """Validation records used during training (drawn by hash). Between candidates the full split chooses; where answers
    are written, `evaluation.selection_examples` of it."""
    early_stopping_patience: Count | None = 2
    """Stop after this many validations without improvement. None: never."""
    save_steps: Count | None = None
    """Checkpoint every so many optimiser steps. None: at every validation."""
    save_total_limit: Count = 2
    """Checkpoints kept; the newest and the best are always among them."""
    log_steps: Count = 1
    """History rows are written every so many optimiser steps."""
    loss_on: Literal["assistant", "last"] = "assistant"
    """Which turns of a conversation are learned: all of the assistant's (without those of `weight: 0`), or the last."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, values: Any) -> Any:
        return {"enabled": False} if values == "none" else values


class GenerationSection(Section):
    """How answers are written."""

    max_new_tokens: Count | None = None
    """Longest answer in tokens. None: a little above the longest training answers, then stated."""
    temperature: Annotated[float, Field(ge=0, le=10)] = 0.0
    """0: greedy, always the most likely token. Above: sampling, seeded."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Sampling among the most likely tokens that together have this probability."""
    top_k: Count | None = None
    """Sampling among this many most likely tokens. None: all."""
    repetition_penalty: Annotated[float, Field(gt=0)] = 1.0
    """Logits of tokens that occurred are divided (or, below 0, multiplied) by it (arXiv 1909.05858). 1: off."""
    stop: list[str] = Field(default_factory=list)
    """Texts that end an answer besides the model's end of turn; they are not part of it."""
    batch_size: Count = 32
    """Answers written together; changes speed, not greedy answers in float32."""


class HardwareSection(Section):
    """Where it runs."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto: cuda if there is one, then mps, then cpu."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of frozen weights and activations. auto: bfloat16 where the hardware has it. What learns is float32."""
    threads: Count | None = None
    """CPU threads. None: all cores of this process's affinity."""
    shard: Literal["auto", "none", "full"] = "auto"
    """With several processes, whether each keeps only a part of the blocks in which something learns, of their
    gradients and moments. auto: where the model's own weights learn (`full`, `freeze`) with `optim: adamw_torch`."""
    price_per_hour: Annotated[float, Field(ge=0)] | None = None
    """What an hour of this machine costs, in `currency`; `metier check` then tells the cost. None: not known."""
    currency: str = "USD"
    """Name of the money that `price_per_hour` is in."""
    watts: Annotated[float, Field(gt=0)] | None = None
    """Power that the machine draws while it works, for the energy in the plan. None: measured where the machine
    can say it, otherwise not known."""


class OutputSection(Section):
    """Where results go."""

    dir: str | None = None
    """Run folder. None: `runs/<name>-<recipe hash>`."""


class ReportSection(Section):
    """What the report shows."""

    examples: bool = True
    """Whether texts of records appear in the report. False: ids and row numbers only."""
    max_examples: Count = 12
    """Right and wrong examples shown, each."""


class CardSection(Section):
    """What the model card says that cannot be measured."""

    license: str = "other"
    """SPDX id of the result's licence."""
    language: list[str] = Field(default_factory=list)
    """ISO 639-1 codes. Empty: left out."""
    author: str | None = None
    """Who answers for the model."""
    intended_use: str | None = None
    """What it is for."""
    out_of_scope: str | None = None
    """What it must not be used for."""
    limitations: str | None = None
    """What it is known to do badly."""
    benchmark: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")] | None = None
    """Hub id (`org/name`) of the benchmark that the test records are, for the hub's `.eval_results/`. None: the test
    records are no benchmark of the hub, and no such file is written."""
    benchmark_task: str = "default"
    """The task of that benchmark, as its `eval.yaml` calls it."""


class Recipe(Section):
    """Everything that the user asks for. Load with `metier.load_recipe`."""

    version: Literal[1] = 1
    """Version of the recipe format."""
    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Name of the run folder: letters, digits, dot, dash, underscore."""
    task: Task = "classification"
    """What kind of answer."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 17
    """Seed of everything random."""
    model: ModelSection = ModelSection()
    """The pre-trained model."""
    prompt: PromptSection = PromptSection()
    """How the model is asked."""
    data: DataSection
    """The examples."""
    adaptation: AdaptationSection = AdaptationSection()
    """What may learn."""
    training: TrainingSection = TrainingSection()
    """How it learns."""
    generation: GenerationSection = GenerationSection()
    """How answers are written."""
    candidates: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Ways to try, each a set of overrides of model, prompt, adaptation, training and seed. Empty: one, as above."""
    evaluation: EvaluationSection = EvaluationSection()
    """How it is judged."""
    systems: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Systems that `metier compare` judges on the test records, by name: each a run, a model made elsewhere, an
    endpoint, or a file of answers. Empty: none."""
    gates: GatesSection = GatesSection()
    """What must hold."""
    privacy: PrivacySection = PrivacySection()
    """What happens to personal data, and what the run may write. `privacy: strict` is short for `{level: strict}`."""
    hardware: HardwareSection = HardwareSection()
    """Where it runs."""
    output: OutputSection = OutputSection()
    """Where results go."""
    report: ReportSection = ReportSection()
    """What the report shows."""
    card: CardSection = CardSection()
    """What the card says."""

    @model_validator(mode="before")
    @classmethod
    def _by_task(cls, values: Any) -> Any:
        return with_task_defaults(values)


LATER_SECTIONS = ("search", "refinement")
"""Known section names that this version refuses with a clear message rather than ignoring them."""
