"""The recipe's data section: where the examples are, what they mean, and what is done about what is wrong in them.

A policy says what happens to the rows that a cleaning step doubts. `flag`: they stay, marked, and are listed for a
person. `drop`: those of train leave, with their reason. `off`: nobody looks. No policy but a repair touches test rows.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from metier.recipe.section import Count, Fraction, Section

Share = Annotated[float, Field(gt=0.0, le=1.0)]
Whole = Annotated[int, Field(ge=0)]
FlagOff = Literal["flag", "off"]
FlagDropOff = Literal["flag", "drop", "off"]
RepairName = Literal[
    "terminal codes", "mojibake", "leftover markup", "ligatures", "line ends", "invisible characters", "Unicode form",
    "white space", "white space at the ends",
]  # fmt: skip


class LanguageSection(Section):
    """Which languages the texts should be in."""

    policy: FlagDropOff = "flag"
    """What happens to rows in another language, and to answers in another language than their text."""
    expected: list[str] = Field(default_factory=list)
    """ISO 639 codes (`en`, `de`). Empty: the languages that at least `common_share` of the rows are in."""
    common_share: Share = 0.1
    """Share of the rows of known language that makes a language one of the data's own, above 0, at most 1."""
    shortest: Count = 20
    """Letters that a text needs; with fewer its language is unknown, and nothing is done."""
    least_score: Share = 0.6
    """How sure the best guess has to be, above 0, at most 1; below, the language is unknown."""


class LengthsSection(Section):
    """How short and how long a text to learn from may be."""

    unit: Literal["characters", "words"] = "characters"
    """What `shortest` and `longest` count. The limit in tokens is `training.max_length`, with `too_long`."""
    shortest: Count | None = None
    """Least length of the text. None: 2 characters; shorter ones are flagged, whatever the policy."""
    longest: Count | None = None
    """Greatest length of the text, and of a written answer with it. None: no limit but `training.max_length`."""
    policy: Literal["flag", "drop", "cut", "split", "refuse"] = "flag"
    """What happens to rows of train beyond the limits. cut: the beginning stays. split: several rows, each with the
    same label (classification and text only; what is too short is flagged). refuse: the run ends."""


class BiasSection(Section):
    """Who is named in the data, which labels and tones go with whom, and what to do about it."""

    policy: FlagOff = "flag"
    """flag: counted, compared and reported."""
    dimensions: list[str] | None = None
    """Dimensions of the packaged word lists (`gender`, `religion`, `age`, …). None: all."""
    words: dict[str, dict[str, list[str]]] = Field(default_factory=dict)
    """Your own group words: dimension, then group, then its words."""
    without: list[str] = Field(default_factory=list)
    """Listed words that mean something else in this data (`black`, in a shop for paint)."""
    names: bool = True
    """Whether common first names count for a gender."""
    columns: list[str] = Field(default_factory=list)
    """Columns of your own that divide people (`region`, `age_band`)."""
    fewest_rows: Count = 30
    """A group with fewer rows is counted and not compared."""
    fewest_outcomes: Count = 10
    """A label or tone that fewer of the compared rows have, or lack, is not compared."""
    smallest_gap: Fraction = 0.05
    """Difference of two shares below which nothing is flagged, however sure."""
    level: Fraction = 0.05
    """Chance of any false flag among everything that is compared (Holm)."""
    counterfactuals: bool = False
    """Whether the model is also asked the test set with names, pronouns and group words swapped, and the answers that
    change are counted."""
    reweight: bool = False
    """Whether rows to learn from are weighed so that labels go with groups as they go with all rows."""
    augment: bool = False
    """Whether rows to learn from get counterfactual copies."""
    most_copies: Count = 1
    """Copies of one row, where `augment` is on."""
    largest_share: Share = 0.5
    """Copies as a share of the rows that could be copied, where `augment` is on."""


class DataSection(Section):
    """Where the examples are and what they mean."""

    train: str
    """File, folder with train/validation/test files, or glob. Relative to the recipe file; `${VAR}` is expanded."""
    validation: str | None = None
    """A file of its own for validation. None: taken from train."""
    test: str | None = None
    """A file of its own for the test set, kept as it is. None: taken from train."""
    answers: str | None = None
    """A file with the answers to `train`: lines in its order, or a table joined by `answers_id`. None: in `train`."""
    validation_answers: str | None = None
    """The same for `validation`."""
    test_answers: str | None = None
    """The same for `test`."""
    answers_id: str | None = None
    """Column by which rows and the tables of answers belong together. None: answers are lines in the order of rows."""
    dataset: str | None = None
    """Name of an entry of the folder's `dataset_info.json`, as LLaMA-Factory has it. None: no such list is read."""
    format: Literal[
        "auto", "csv", "tsv", "json", "jsonl", "parquet", "arrow", "xlsx", "xml", "lines", "text"
    ] = "auto"  # fmt: skip
    """File format. auto: by content, then stated. lines: each line a row. text: each file one document."""
    shape: Literal[
        "auto", "columns", "messages", "sharegpt", "alpaca", "prompt_completion", "preference", "documents"
    ] = "auto"
    """How rows hold conversations. auto: by content, then stated. columns: `text` and `answer` say where."""
    records: str | None = None
    """Path of a list inside each row whose items are the records (`questions`). None: a row is a record."""
    delimiter: str | None = None
    """Column separator of text tables. None: found by itself, then stated."""
    encoding: str | None = None
    """Text encoding. None: UTF-8 with or without BOM, UTF-16 by its BOM, else Windows-1252 with a notice."""
    sheet: str | None = None
    """Sheet of a workbook. None: the first that has rows."""
    text: str | list[str] | None = None
    """One column, several (joined by a blank line), or a template (`"{subject}: {body}"`). None: found by itself."""
    label: str | list[str] | None = None
    """Column of the answer among labels. Several columns, one a label (1 or 0): what a row has, for `task: multilabel`.
    None: found by itself, then stated."""
    label_separator: str | None = None
    """What stands between the labels of one cell, for `task: multilabel` (`;`). None: found by itself, then stated."""
    answer: str | None = None
    """Column, or path in nested data (`questions.answer`), of the answer to be written. None: found by itself."""
    system: str | None = None
    """Column of a record's own system prompt. None: none, or as the shape has it."""
    group: str | None = None
    """Column whose equal values must stay in one split (customer, document, patient). None: no groups."""
    time: str | None = None
    """Column of dates or times: train gets the oldest rows, test the newest. None: splits are drawn by hash."""
    id: str | None = None
    """Column with the user's own row id, copied to outputs. None: none."""
    label_names: dict[str, str] = Field(default_factory=dict)
    """Renames labels: `{"0": dovish, "1": hawkish}`; two names for one thing map to the same."""
    ignore_labels: list[str] = Field(default_factory=list)
    """Label values whose rows are rejected, with that reason (`-`, `n/a`). Empty labels always are."""
    validation_size: Fraction = 0.15
    """Share of train (after the test split) that becomes validation when there is no validation file."""
    test_size: Fraction = 0.2
    """Share of the data that becomes test when there is no test file."""
    folds: Annotated[int, Field(ge=2, le=100)] | None = None
    """Folds that train and validation are also dealt into, groups and copies kept whole. None: none."""
    examples_per_label: Count | None = None
    """Keep at most this many training examples of a label (validation drawn first). None: all."""
    labels: list[str] | None = None
    """Keep only rows with these labels (after `label_names`); others are rejected with that reason. None: all."""
    max_examples: Count | None = None
    """Keep at most this many training examples in all, drawn by hash. None: all."""
    max_test_examples: Count | None = None
    """Keep at most this many test examples, drawn by hash. None: all."""
    repairs: list[RepairName] | None = None
    """Repairs of every text, those to come included, in their stated order. None: as the task has them. Empty: none."""
    duplicates: Literal["drop", "keep"] = "drop"
    """Exact duplicates (same text, same label) within train. In the test set they are only flagged."""
    near_duplicates: FlagDropOff = "flag"
    """Rows that say nearly what an earlier row of their split says. drop: from train, where the answer is the same."""
    near_threshold: Share = 0.8
    """Share of their runs of two words that two texts must have in common to be nearly the same (Jaccard index)."""
    contradictions: Literal["drop", "keep"] = "drop"
    """Same text with different labels within train. drop rejects all of them, with the reason."""
    leaks: Literal["drop", "move", "refuse", "allow"] = "drop"
    """Texts that are the same or nearly the same in two splits, groups in two splits, and rows that give items of
    `evaluation_files` away. drop: from train (and from validation what is in test). move: the whole cluster into one
    split. refuse: the run ends. allow: they stay, and the report says so."""
    evaluation_files: list[str] = Field(default_factory=list)
    """Files of items that the model will be judged by elsewhere: rows of train that give them away are leaks."""
    giveaway: Literal["warn", "refuse", "off"] = "warn"
    """Columns that give the label away. warn: said before training. refuse: the run ends where one is in the text."""
    lengths: LengthsSection = LengthsSection()
    """How short and how long texts may be."""
    too_long: Literal["cut_end", "cut_start", "cut_middle", "reject"] = "cut_end"
    """Policy for a text longer than `training.max_length` allows. Test rows are never rejected, only cut."""
    odd_texts: FlagDropOff = "flag"
    """Texts that look unlike the others: in length, kinds of characters, repetition."""
    language: LanguageSection = LanguageSection()
    """Which languages the texts should be in."""
    quality: FlagOff = "flag"
    """Published quality rules of Gopher and C4, as flags."""
    quality_rules: list[str] | None = None
    """Names of those rules (`gopher_word_length`). None: all that mean something for such texts."""
    secrets: Literal["flag", "mask", "drop", "off"] = "flag"
    """Keys, tokens and passwords. mask: `<SECRET>` stands in their place, in every text to come as well."""
    label_likeness: FlagOff = "flag"
    """Labels whose names look like two names for one thing."""
    rare_labels: Literal["keep", "merge", "reject"] = "keep"
    """Labels with fewer than `rare_below` rows. merge: they become `rare_name`. reject: their rows leave train."""
    rare_below: Count = 5
    """Rows below which a label is rare; those of a test file are not counted."""
    rare_name: str = "other"
    """What rare labels are called where they are merged."""
    wrong_labels: FlagDropOff = "flag"
    """Labels that models which learned from other rows speak against (confident learning)."""
    wrong_answers: FlagDropOff = "flag"
    """Written answers that another row contradicts."""
    outliers: FlagDropOff = "flag"
    """Rows that have little in common with the others of their label."""
    screening_model: str | None = None
    """A model, named as `model.name`, that helps to find doubtful rows: by its features wrong labels and outliers, by
    its losses (a language model) written answers that are hard to believe. Rows of test never go through it. None:
    wrong labels and outliers are sought by their words, and answers are not ranked."""
    poison: Literal["flag", "drop", "refuse", "off"] = "flag"
    """Groups of rows that look planted to teach a hidden behaviour, and texts that hide something. drop: the groups."""
    bias: BiasSection = BiasSection()
    """Who is named, and which labels and tones go with whom."""
    decisions: str | None = None
    """File of a person's decisions about rows, as `metier data review apply` writes it. None: none."""
    licenses: dict[str, str] = Field(default_factory=dict)
    """SPDX id of the licence of each source, by file name; `*` stands for the others."""
    unknown_license: Literal["warn", "refuse", "allow"] = "warn"
    """What happens where the licence of a source is not known."""
    ablation: bool = False
    """Whether the model is trained once more on the rows as they were read, to measure what cleaning changed."""
