"""Every fault is reported, each with its place, what was wanted, and the name that was probably meant."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from metier.errors import MetierError, RecipeError
from metier.recipe.hints import NOTES, OTHER_NAMES, OTHER_VALUES, SHORT_FORMS, WITHOUT_FIELD
from metier.recipe.sections import Recipe
from metier.recipe.wording import choices, field_at, known_paths, sections, wanted

Load = Callable[..., Recipe]


def test_three_mistakes_are_reported_together(load: Load) -> None:
    with pytest.raises(RecipeError) as caught:
        load(
            "data: {train: a.csv, test: a.csv}\n"
            "training:\n"
            "  learning_rate: fast\n"
            "  micro_batch_size: 4\n"
        )  # fmt: skip
    assert [str(fault) for fault in caught.value.faults] == [
        "data.test (line 1): train and test are the same file. "
        "What a model has seen cannot show what it has learned. Remove one of them.",
        "training.learning_rate (line 3): is 'fast', wanted a number above 0 or nothing.",
        "training.micro_batch_size (line 4): is no field of `training`. "
        "It is called `training.per_device_train_batch_size` here.",
    ]
    assert str(caught.value).splitlines()[0].endswith("recipe.yaml: has 3 faults.")
    assert len(str(caught.value).splitlines()) == 4
    assert all(isinstance(fault, MetierError) and fault.found for fault in caught.value.faults)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: x", r"data: is missing, wanted a mapping of fields\. Write `data: {train: FILE}`"),
        ("data: {label: x}", r"data\.train \(line 1\): is missing, wanted text\. Write `data: {train: FILE}`"),
        ("data: a.csv", r"data \(line 1\): is 'a\.csv', wanted a mapping of fields\. Did you mean `data: {train: a"),
        ("adaptation: lora", r"is 'lora', wanted a mapping of fields\. Did you mean `adaptation: {method: lora}`"),
        ("version: 2", r"version \(line 1\): is 2, wanted 1\. Use the metier version that this recipe was written for"),
        ("seed: -1", r"seed \(line 1\): is -1, wanted a whole number, 0 or more and below 2147483648"),
        ("seed: 1.5", "is 1.5, wanted a whole number"),
        ("version: true", "is 'true', wanted 1"),
        ("seed: true", "is 'true', wanted a whole number"),
        ("seed:", "seed .*: is nothing, wanted a whole number"),
        ("name: a b", "name .*: is 'a b', wanted up to 64 letters, digits, dots, dashes and under"),
        ("task: classify", "is 'classify', wanted one of classification, .*Did you mean `classif"),
        ("training: none", "training .*is none, and there are no systems to judge"),
        ("systems: []", "systems .*: is an empty list, wanted a mapping"),
        ("search: x", "search .*: is a section that this version does not have yet"),
        ("refinement:", "refinement .*: is a section that this version does not have yet"),
        ("data: {train: a, test_size: 1}", "data.test_size .*: is 1, wanted a number above 0 and below 1"),
        ("data: {train: [a]}", "data.train .*: is a list, wanted text"),
        ("data: {train: {a: b}}", "data.train .*: is a mapping, wanted text"),
        ("data: {train: a, labels: x}", "data.labels .*: is 'x', wanted a list of texts or nothing"),
        ("data: {train: a, label_names: [x]}", "data.label_names .*: is a list, wanted a mapping from texts to texts"),
        ("training: {learning_rate: .inf}", "is inf, wanted a number above 0"),
        ("training: {class_weights: balance}",
         "is 'balance', wanted one of none, balanced, or a mapping from texts to numbers. Did you mean `balanced`"),
        ("training: {class_weights: {a: x}}", "class_weights .*: is a mapping, wanted one of none, balanced, or a map"),
        ("training: {max_length: 3}", "is 3, wanted a whole number, 16 or more"),
        ("training: {lr_scheduler_type: cosin}", "Did you mean `cosine`"),
        ("adaptation: {use_dora: perhaps}", "is 'perhaps', wanted true or false"),
        ("adaptation: {lora_dropout: 1}", "is 1, wanted a number, 0 or more and below 1"),
        (
            "adaptation: {method: qlora}",
            r"Write `model: \{name: …, quantization: nf4\}` \(or int8\); the adapter stays `method: lora`",
        ),
        ("adaptation: {method: dora}", "Write `method: lora` and `use_dora: true`"),
        ("adaptation: {target_modules: all}", "is 'all', wanted all-linear or a list of texts"),
        ("evaluation: {primary_metric: f1}", "Did you mean `macro_f1`"),
        ("evaluation: {systems: [tfidf, knn]}", r"evaluation\.systems\.1 .*: is 'knn', wanted one of majority, tfidf"),
        ("evaluation: {few_shot: {k: [0]}}", r"evaluation\.few_shot\.k\.0 .*: is 0, wanted a whole number, 1 or more"),
        ("gates: {minimum: {accurcy: 0.5}}", "gates.minimum.accurcy .*: is no metric, wanted one of .*Did you"),
        ("gates: {minimum: {accuracy: high}}", "gates.minimum.accuracy .*: is 'high', wanted a number"),
        ("hardware: {dtype: float16}", "float16 is not offered: its small range needs loss scaling. Use bfloat16"),
        ("hardware: {device: gpu}", "Did you mean `cuda`"),
        ("candidates: [a]", "candidates .*: is a list, wanted a mapping"),
        ("candidates: {a: 5}", r"candidates\.a .*: is 5, wanted a mapping"),
    ],
)  # fmt: skip
def test_a_wrong_value_says_what_is_wanted(load: Load, text: str, message: str) -> None:
    if "data" not in text and text != "model: x":
        text = f"{text}\ndata: {{train: a}}"
    with pytest.raises(RecipeError, match=message):
        load(text)


def test_a_long_value_is_shortened(load: Load) -> None:
    with pytest.raises(RecipeError, match=r"seed \(line 2\): is 'x{37} …, wanted"):
        load("data: {train: a}\nseed: " + "x" * 500)


@pytest.mark.parametrize("section", ["", "training", "adaptation", "data", "model"])
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("micro_batch_size", "training.per_device_train_batch_size"),
        ("batch_size", "training.per_device_train_batch_size"),
        ("sequence_len", "training.max_length"),
        ("max_seq_length", "training.max_length"),
        ("lora_r", "adaptation.r"),
        ("lora_target_modules", "adaptation.target_modules"),
        ("n_epochs", "training.num_train_epochs"),
        ("num_epochs", "training.num_train_epochs"),
        ("model_name_or_path", "model"),
        ("base_model", "model"),
        ("val_set_size", "data.validation_size"),
        ("lr", "training.learning_rate"),
        ("dataset_path", "data.train"),
        ("output_dir", "output.dir"),
        ("warmup_ratio", "training.warmup_steps"),
        ("evaluation_strategy", "training.eval_steps"),
        ("torch_dtype", "hardware.dtype"),
        ("Warmup-Ratio", "training.warmup_steps"),
    ],
)
def test_names_of_other_tools_are_known(load: Load, section: str, name: str, meant: str) -> None:
    text = f"{name}: 1\n" if not section else f"{section}: {{{name}: 1}}\n"
    with pytest.raises(
        RecipeError, match=rf"{name} \(line 1\): is no field of .*It is called `{re.escape(meant)}` here"
    ):
        load(text if section == "data" else text + "data: {train: a}")


def test_a_hint_says_more_where_the_name_misleads(load: Load) -> None:
    with pytest.raises(RecipeError, match=r"`training\.warmup_steps` here\. A value below 1 is a share of all steps"):
        load("data: {train: a}\nwarmup_ratio: 0.1")


@pytest.mark.parametrize("name", ["load_in_4bit", "packing", "report_to", "trust_remote_code", "num_labels"])
def test_what_has_no_field_says_why(load: Load, name: str) -> None:
    with pytest.raises(RecipeError, match=rf"training\.{name} .*: is no field of `training`\. Remove it\. [A-Zm]"):
        load(f"data: {{train: a}}\ntraining: {{{name}: x}}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lora_alpha: 16", "lora_alpha .*: is no field of the recipe. It belongs in `adaptation.lora_alpha`"),
        ("training: {lora_alpha: 16}", "It belongs in `adaptation.lora_alpha`"),
        ("adaptation: {learning_rate: 1}", "It belongs in `training.learning_rate`"),
        ("label: intent", "It belongs in `data.label`"),
        ("evaluation: {k: [4]}", "It belongs in `evaluation.few_shot.k`"),
        ("training: {num_train_epoch: 3}", "Did you mean `training.num_train_epochs`"),
        ("training: {learning-rate: 3}", "Write `learning_rate`"),
        ("Training: {}", "Write `training`"),
        ("trainning: {}", "Did you mean `training`"),
        ("data: {train: a, lerning_rate: 3}", "Did you mean `training.learning_rate`"),
        ("model: {zzz: 3}", "model.zzz .*: is no field of `model`. There are name, revision, quantization"),
    ],
)
def test_the_right_place_or_the_nearest_name(load: Load, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load(text if text.startswith("data") else f"{text}\ndata: {{train: a}}")


def test_every_hint_leads_to_a_field() -> None:
    known = set(known_paths())
    assert set(OTHER_NAMES.values()) <= known
    assert {path for path, _ in OTHER_VALUES} <= known
    assert set(SHORT_FORMS) <= set(sections())
    assert set(NOTES) <= set(OTHER_NAMES)
    assert not set(OTHER_NAMES) & set(WITHOUT_FIELD)


def test_no_hint_hides_a_field_and_suggested_values_exist() -> None:
    for name, path in OTHER_NAMES.items():
        assert name != path.rpartition(".")[2]
        assert name not in Recipe.model_fields
    for (path, value), sentence in OTHER_VALUES.items():
        allowed = choices(field_at(tuple(path.split(".")))[1])
        assert value not in allowed
        if meant := re.search(r"Did you mean `(.+?)`", sentence):
            assert meant[1] in allowed


def test_every_field_can_say_what_it_wants() -> None:
    for path in known_paths():
        done, kind = field_at(tuple(path.split(".")))
        assert ".".join(done) == path
        words = wanted(kind)
        assert words
        assert not re.search(r"typing|<class|Annotated|None|\bstr\b|\bint\b", words), (path, words)
