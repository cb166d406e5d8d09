"""Rules across sections."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from metier.errors import RecipeError
from metier.recipe.check import layers_wanted
from metier.recipe.methods import OPTIONS_READ, options_without_effect
from metier.recipe.sections import AdaptationSection, Recipe, SystemName
from metier.recipe.tasks import METRICS_OF, SYSTEMS_OF, TASK_DEFAULTS
from metier.recipe.wording import choices, field_at

Load = Callable[..., Recipe]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adaptation: {method: head, head: false}", "adaptation.head .*: is false with `method: head`. Remove"),
        ("adaptation: {method: freeze}", "adaptation.*: is freeze with `layers: all`, which freezes nothing"),
        (
            "model: {quantization: nf4}\nadaptation: {method: full}",
            r"model\.quantization.*: is nf4, but with `method: full` the model's own weights learn, which nf4 cannot\. "
            "Choose `method: lora` or `head`, or remove it",
        ),
        ("adaptation: {method: full, layers: top 2}", "adaptation.layers .*: has no effect with `method: full`. "
         "Remove it, or choose `method: freeze` or `method: lora`"),
        ("adaptation: {method: full, r: 16}", "adaptation.r .*: has no effect with `method: full`. .*`method: lora`"),
        ("adaptation: {method: freeze, layers: top 2, use_dora: true}", "use_dora .*: has no effect with"),
        ("adaptation: {layers: top 0}", "is 'top 0', wanted `all`, `auto`, `top N` with N of 1 or more, or a list"),
        ("adaptation: {layers: 4}", "is '4', .*Did you mean `top 4`"),
        ("adaptation: {layers: last 3}", "Did you mean `top 3`"),
        ("adaptation: {layers: []}", "adaptation.layers .*: names no layers"),
        ("adaptation: {target_modules: []}", "adaptation.target_modules .*: is empty"),
        ("data: {train: a, test: ./a}", "data.test .*: train and test are the same file"),
        ("data: {train: a, test: x/../a}", "data.test .*: train and test are the same file"),
        ("data: {train: a, validation: a}", "data.validation .*: train and validation are the same file"),
        ("data: {train: a, validation: b, test: b}", "data.test .*: validation and test are the same file"),
        ("data: {train: ''}", "data.train .*: is empty, wanted a file"),
        ('data: {train: "a\\0b"}', "data.train .*: is no file name, wanted a file"),
        ("data: {train: a, text: []}", "data.text .*: names no column"),
        ("data: {train: a, text: '{a'}", "data.text .*: is no template"),
        ("data: {train: a, text: '{}'}", "data.text .*: is no template, wanted column names in braces"),
        ("data: {train: a, label: y, text: [x, y]}", "data.text .*: holds the label column 'y', wanted the input"),
        ("data: {train: a, label: y, text: '{x} {y}'}", "holds the label column 'y'"),
        ("data: {train: a, delimiter: '\\t'}", r'data.delimiter .*: is .*, wanted one character. Write "\\t" in'),
        ("data: {train: a, labels: [x]}", "data.labels .*: names 1 label, wanted two or more"),
        ("data: {train: a, labels: [x, y, x]}", "data.labels .*: has 'x' 2 times, wanted each once"),
        ("data: {train: a, labels: [x, y], ignore_labels: [y]}", "keeps 'y', which `data.ignore_labels` rejects"),
        ("evaluation: {systems: []}", "evaluation.systems .*: is empty, wanted at least one"),
        ("evaluation: {systems: [tfidf, tfidf]}", "evaluation.systems .*: has 'tfidf' 2 times"),
        ("evaluation: {scoring_rules: []}", "evaluation.scoring_rules .*: is empty"),
        ("evaluation: {few_shot: {k: []}}", "evaluation.few_shot.k .*: is empty, .*Leave `few_shot` out"),
        ("evaluation: {few_shot: {k: [4, 4]}}", "evaluation.few_shot.k .*: has '4' 2 times"),
        ("gates: {minimum: {accuracy: 1}}", "gates.minimum.accuracy .*: is 1, wanted a number above 0"),
        ("gates: {minimum: {accuracy: 0}}", "gates.minimum.accuracy .*: is 0, wanted a number above 0"),
        ("gates: {verdict: not_worse}", "gates.verdict .*: is not_worse without a margin. Set `evaluation"),
        ("evaluation: {primary_metric: chrf}",
         "evaluation.primary_metric .*: is 'chrf', which does not fit `task: classification`, wanted one of accuracy"),
        ("evaluation: {systems: [nearest_answer]}",
         "evaluation.systems .*: has 'nearest_answer', which does not fit `task: classification`, wanted among major"),
        ("task: generation\nevaluation: {primary_metric: macro_f1}",
         "is 'macro_f1', which does not fit `task: generation`, wanted one of exact_match, token_f1"),
        ("task: chat\nevaluation: {systems: [zero_shot, tfidf]}",
         "has 'tfidf', which does not fit `task: chat`, wanted among copy_input, nearest_answer, zero_shot, few_shot"),
        ("task: text\nevaluation: {systems: [zero_shot, few_shot]}",
         "has 'few_shot', which does not fit `task: text`, wanted among zero_shot"),
        ("task: text\nevaluation: {primary_metric: chrf}", "does not fit `task: text`, wanted one of loss, bits_per"),
        ("task: generation\ngates: {minimum: {accuracy: 0.9}}",
         "gates.minimum.accuracy .*: is 'accuracy', which does not fit `task: generation`"),
        ("task: generation\nevaluation: {primary_metric: loss}",
         r"is 'loss', which copy_input and nearest_answer do not have. Set `evaluation.systems: \[zero_shot, few_s"),
        ("task: generation\ngates: {minimum: {loss: 0.9}}",
         "gates.minimum.loss .*: is a gate on loss. Lower values are better: a minimum would ask for worse. Use `ga"),
        ("training: {warmup_steps: 2.5}", "training.warmup_steps .*: is 2.5, wanted a whole number of steps"),
        ("training: {warmup_steps: 10, max_steps: 10}", "is 10 of 10 steps, wanted fewer than `training.max_steps`"),
        ("training: {class_weights: {a: 0}}", "training.class_weights.a .*: is 0, wanted a number above 0"),
        ("prompt: {label_texts: {a: ' '}}", "prompt.label_texts.a .*: is empty, wanted the words"),
        ("prompt: {label_texts: {a: x, b: x}}", "prompt.label_texts .*: has 'x' 2 times"),
        ("prompt: {label_texts: {c: x}}\ndata: {train: a, labels: [a, b]}", "label_texts.c .*: is none of `data"),
        ("training: {class_weights: {c: 1}}\ndata: {train: a, labels: [a, b]}", "class_weights.c .*wanted one of a"),
    ],
)  # fmt: skip
def test_a_rule_is_broken(load: Load, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load(text if "data:" in text else f"{text}\ndata: {{train: a}}")
    assert len(caught.value.faults) == 1


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("task: generation\nevaluation: {scoring_rules: [sum]}", "evaluation.scoring_rules"),
        ("task: chat\nevaluation: {probe_model: other}", "evaluation.probe_model"),
        ("task: text\nevaluation: {few_shot: {k: [3]}}", "evaluation.few_shot"),
        ("task: text\ndata: {train: a, too_long: reject}", "data.too_long"),
    ],
)
def test_what_the_task_does_not_read_is_refused(load: Load, text: str, field: str) -> None:
    task = text.split()[1]
    with pytest.raises(RecipeError, match=rf"{field} .*: has no effect with `task: {task}`\. Remove it"):
        load(text if "data:" in text else f"{text}\ndata: {{train: a}}")


def test_a_field_of_a_group_leaves_the_tasks_other_defaults(load: Load) -> None:
    few_shot = load("task: generation\ndata: {train: a}\nevaluation: {few_shot: {seeds: 2}}").evaluation.few_shot
    assert (few_shot.k, few_shot.seeds) == ([2, 4], 2)


@pytest.mark.parametrize(
    "text",
    [
        "adaptation: {method: head}",
        "adaptation: {method: head, layers: all, head: true}",
        "adaptation: {method: full, head: true}",
        "adaptation: {method: freeze, layers: top 2}",
        "adaptation: {method: lora, layers: ['*.11.*'], use_dora: true, target_modules: [q_proj]}",
        "gates: {verdict: not_worse, minimum: {accuracy: 0.9}}\nevaluation: {not_worse_margin: 0.01}",
        "training: {warmup_steps: 1, max_steps: 10, class_weights: {a: 2}}",
        "task: generation",
        "task: chat\nevaluation: {primary_metric: field_f1, systems: [nearest_answer]}\n"
        "gates: {minimum: {json_valid: 0.9}}",
        "task: text\nevaluation: {primary_metric: loss}",
        "task: chat\nevaluation: {primary_metric: loss, systems: [zero_shot]}",
        "task: chat\ndata: {train: a, shape: messages, system: persona}",
        "data: {train: a, text: '{subject}: {body}', label: y, delimiter: \"\\t\"}",
        "data: {train: a, labels: [0, 1], label_names: {0: '0'}}\nprompt: {label_texts: {0: no, 1: yes}}",
    ],
)
def test_what_is_allowed(load: Load, text: str) -> None:
    load(text if "data:" in text else f"{text}\ndata: {{train: a}}")


def test_the_same_file_behind_a_link_and_a_variable(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text("")
    monkeypatch.setenv("PLACE", str(tmp_path))
    with pytest.raises(RecipeError, match="train and test are the same file"):
        load("data: {train: a.csv, test: '${PLACE}/a.csv'}")
    try:
        (tmp_path / "b.csv").symlink_to("a.csv")
    except OSError:
        pytest.skip("links are refused here")
    with pytest.raises(RecipeError, match="train and test are the same file"):
        load("data: {train: a.csv, test: b.csv}")


def test_what_is_wrong_by_itself_does_not_hide_the_rules(load: Load) -> None:
    with pytest.raises(RecipeError) as caught:
        load("data: {train: a, test: a, nonsense: 1}\nadaptation: {method: head, r: x, head: false}\nseed: x")
    assert [fault.where for fault in caught.value.faults] == [
        "data.nonsense (line 1)",
        "data.test (line 1)",
        "adaptation.r (line 2)",
        "adaptation.head (line 2)",
        "seed (line 3)",
    ]


@pytest.mark.parametrize(("text", "top"), [("all", None), ("top 1", 1), (" top  12 ", 12)])
def test_layers_are_read(text: str, top: int | None) -> None:
    assert layers_wanted(text) == top


@pytest.mark.parametrize("text", ["", "top", "top 0", "top -1", "10", "top ten"])
def test_other_layers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        layers_wanted(text)


def test_the_defaults_of_every_task_fit_it() -> None:
    assert set(METRICS_OF) == set(SYSTEMS_OF) == (set(TASK_DEFAULTS) | {"classification"}) - {"preference"}
    for task in METRICS_OF:
        recipe = Recipe.model_validate({"task": task, "data": {"train": "a"}})
        assert recipe.evaluation.primary_metric in METRICS_OF[task]
        assert set(recipe.evaluation.systems) <= set(SYSTEMS_OF[task])


def test_every_metric_and_system_fits_a_task() -> None:
    metrics = choices(field_at(("evaluation", "primary_metric"))[1])
    assert set(metrics) == {metric for fitting in METRICS_OF.values() for metric in fitting}
    assert set(SystemName.__args__) == {name for answering in SYSTEMS_OF.values() for name in answering}


def test_every_method_has_a_row_and_every_option_a_reader() -> None:
    methods = choices(field_at(("adaptation", "method"))[1])
    assert set(OPTIONS_READ) == set(methods)
    options = set(AdaptationSection.model_fields) - {"method"}
    assert set().union(*OPTIONS_READ.values()) == options
    assert set(options_without_effect("lora")) == set()
