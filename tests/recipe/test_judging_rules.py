"""Rules of `systems` and of what is counted beside a task's metrics: every fault with its path, and no key in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from metier.errors import RecipeError
from metier.evaluation.elsewhere.named_systems import KINDS
from metier.recipe.evaluation_sections import STAND_INS
from metier.recipe.judging_rules import SYSTEM_FIELDS
from metier.recipe.load import load_recipe

DATA = "data: {train: a.csv, labels: [low, high]}\n"
WRITTEN = "task: generation\ndata: {train: a.jsonl}\n"
SYSTEMS = "systems: {a: {answers: a.csv}, b: {answers: b.csv}}\n"


def _load(text: str, folder: Path) -> object:
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    return load_recipe(folder / "recipe.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            DATA + "systems: {a: {}}",
            r"systems\.a .*has no fields, wanted one of run, answers, endpoint, lm_eval, model",
        ),
        (DATA + "systems: {a: {answers: a.csv, colum: x}}", r"systems\.a\.colum .*is no field of a system"),
        (DATA + "systems: {'a/b': {answers: a.csv}}", r"has a name that cannot be a file's"),
        (DATA + "systems: {a: {endpoint: 'ftp://h', model: m}}", r"systems\.a\.endpoint .*is no address"),
        (DATA + "systems: {a: {endpoint: 'https://h/v1'}}", r"systems\.a\.model .*is missing"),
        (DATA + "systems: {a: {endpoint: 'https://me:pw@h/v1', model: m}}", "holds more than host and path"),
        (DATA + "systems: {a: {endpoint: 'https://h/v1', model: m, parallel: many}}", r"a\.parallel .*a whole number"),
        (DATA + "systems: {a: {endpoint: 'https://h/v1', model: m, top_logprobs: 99}}", "from 1 to 20"),
        (
            DATA + "systems: {a: {endpoint: 'https://h/v1', model: m, most_spent: 2, price_in: 1}}",
            r"a\.most_spent .*cannot be held without price_out\. Add `price_out`",
        ),
        (
            DATA + "systems: {a: {answers: a.csv, answer: [x, y]}}",
            r"a\.answer .*names columns, .*for a task among multil",
        ),
        (DATA + "systems: {a: {answers: a.csv, answer: []}}", "wanted a column, or a list of columns"),
        ("task: text\ndata: {train: a.txt}\n" + SYSTEMS, r"systems .*do not fit `task: text`"),
        (DATA + "evaluation: {reference: a}", r"evaluation\.reference .*has no effect without `systems`"),
        (DATA + SYSTEMS + "evaluation: {reference: aa}", r"is 'aa', wanted one of a, b\. Did you mean `a`\?"),
        (DATA + "training: none", "is none, and there are no systems to judge"),
        (DATA + SYSTEMS + "training: none\ncandidates: {x: {seed: 3}}", "candidates .*have no effect"),
        (DATA + SYSTEMS + "training: none\ngates: {verdict: improved}", "gates .*have no effect"),
        (DATA + "evaluation: {costs: {lwo: {high: 3}}}", r"costs\.lwo .*is none of `data\.labels`.*`low`\?"),
        (DATA + "evaluation: {costs: {low: {hihg: 3}}}", r"costs\.low\.hihg .*wanted abstain, or one of low, high"),
        (DATA + "evaluation: {label_order: [low, low]}", "has 'low' 2 times"),
        (DATA + "evaluation: {label_order: [low, middle]}", "has other labels than"),
        (DATA + "evaluation: {primary_metric: cost}", r"is cost without `evaluation\.costs`"),
        (DATA + "evaluation: {primary_metric: quadratic_kappa}", r"without `evaluation\.label_order`"),
        (DATA + "evaluation: {scorer: 'a:b'}", r"scorer .*has no effect with `task: classification`"),
        (DATA + "evaluation: {similarity: true}", "similarity .*has no effect"),
        (WRITTEN + "evaluation: {costs: {a: {b: 1}}}", "costs .*has no effect with `task: generation`"),
        (WRITTEN + "evaluation: {scorer: score}", "is 'score', wanted module:function"),
        (WRITTEN + "evaluation: {scorer: '../x:score'}", "wanted module:function"),
        (WRITTEN + "evaluation: {format: {pattern: '('}}", r"format\.pattern .*is no regular expression"),
        (WRITTEN + "evaluation: {judge: {endpoint: nowhere, model: m}}", r"judge\.endpoint .*is no address"),
        (WRITTEN + "evaluation: {primary_metric: own_score}", r"is own_score without `evaluation\.scorer`"),
    ],
)
def test_what_cannot_be_judged_is_told_where_it_stands(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        _load(text, tmp_path)


@pytest.mark.parametrize("field", ["api_key", "api_key_env"])
def test_a_key_in_a_recipe_is_refused_and_not_repeated(field: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as told:
        _load(DATA + f"systems: {{a: {{endpoint: 'https://h/v1', model: m, {field}: sk-abc-123}}}}", tmp_path)
    assert f"systems.a.{field}" in str(told.value) and "sk-abc-123" not in str(told.value)


def test_strict_lets_no_text_go_to_a_host_that_is_not_named(tmp_path: Path) -> None:
    strict = "privacy: {level: strict, vault_key_env: K%s}\n"
    systems = DATA + "training: none\nsystems: {a: {endpoint: 'https://far.example/v1', model: m}}\n"
    judge = WRITTEN + "evaluation: {judge: {endpoint: 'https://far.example/v1', model: m}}\n"
    for text in (systems, judge):
        with pytest.raises(RecipeError, match=r"is a host that `privacy: strict` does not allow\. Add far\.example"):
            _load(text + strict % "", tmp_path)
        _load(text + strict % ", allowed_hosts: [far.example]", tmp_path)
    _load(systems.replace("model: m", "model: m, replay: true") + strict % "", tmp_path)


def test_files_are_those_beside_the_recipe(tmp_path: Path) -> None:
    judge = "{endpoint: 'https://h/v1', model: m, human: h.csv}"
    text = f"evaluation: {{scorer: 'checks.own:f', format: {{schema_file: s.json}}, judge: {judge}}}"
    recipe = _load(WRITTEN + text, tmp_path)
    evaluation = recipe.evaluation  # type: ignore[attr-defined]
    assert evaluation.scorer == f"{tmp_path / 'checks' / 'own'}.py:f"
    assert evaluation.format.schema_file == str(tmp_path / "s.json")
    assert evaluation.judge.human == str(tmp_path / "h.csv")
    # A resolved recipe loads to the same.
    from metier.recipe.dump import dump_recipe

    assert _load(dump_recipe(recipe), tmp_path).evaluation == evaluation  # type: ignore[arg-type,attr-defined]


def test_the_fields_of_a_system_are_those_that_it_is_built_from() -> None:
    assert {kind: set(fields) for kind, fields in SYSTEM_FIELDS.items()} == {
        kind: set(allowed) for kind, (allowed, _) in KINDS.items()
    }


def test_systems_choose_by_what_can_be_counted_from_answers_alone(tmp_path: Path) -> None:
    costs = DATA + "evaluation: {primary_metric: cost, costs: {low: {high: 3}}}"
    section = _load(costs, tmp_path).evaluation  # type: ignore[attr-defined]
    assert section.for_choices().primary_metric == STAND_INS["cost"] == "accuracy"
    plain = _load(DATA, tmp_path).evaluation  # type: ignore[attr-defined]
    assert plain.for_choices() is plain
