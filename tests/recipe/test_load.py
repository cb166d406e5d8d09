"""A recipe file becomes a recipe, or one error with every fault; nothing else ever comes out."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metier.errors import RecipeError
from metier.recipe.load import expand, load_recipe, recipe_from_values
from metier.recipe.sections import Recipe

Load = Callable[..., Recipe]

DESIGN = """
version: 1
task: classification
model: smollm2-135m
data:
  train: tickets.csv
  text: [subject, body]
  label: intent
adaptation:
  method: lora
  layers: top 10
training:
  num_train_epochs: 4
evaluation:
  primary_metric: macro_f1
  smallest_useful_gain: 0.02
"""


def test_the_recipe_of_the_design(load: Load, tmp_path: Path) -> None:
    recipe = load(DESIGN)
    assert recipe.model.name == "smollm2-135m"
    assert recipe.data.train == str(tmp_path / "tickets.csv")
    assert recipe.data.text == ["subject", "body"]
    assert (recipe.adaptation.layers, recipe.training.num_train_epochs) == ("top 10", 4.0)


def test_the_shortest_recipe(load: Load) -> None:
    assert load("data: {train: a.csv}").adaptation.method == "lora"


def test_empty_sections_are_their_defaults(load: Load) -> None:
    assert load("data: {train: a.csv}\ntraining:\n  # learning_rate: 1e-4\ncandidates:\n  a:\n").candidates == {"a": {}}


@pytest.mark.parametrize(
    ("written", "stays"),
    [("${DATA}/a.csv", True), ("~/a.csv", True), ("builtin:tickets", True), ("/x/a.csv", True), ("s3://b/a", True),
     ("a.csv", False), ("data/*.csv", False), ("./a.csv", False)],
)  # fmt: skip
def test_relative_data_paths_become_absolute(load: Load, tmp_path: Path, written: str, stays: bool) -> None:
    recipe = load(f"data: {{train: '{written}', test: b.csv}}")
    assert recipe.data.train == (written if stays else str(tmp_path / written))
    assert recipe.data.test == str(tmp_path / "b.csv")


def test_dots_upwards_are_resolved(load: Load, tmp_path: Path) -> None:
    assert load("data: {train: ../a.csv}").data.train == str(tmp_path.resolve().parent / "a.csv")


def test_expanding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "/x")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "/home/me")
    assert expand("${PLACE}/${PLACE}") == "/x//x"
    assert expand("~/a") == str(Path("/home/me/a"))
    assert expand("$PLACE") == "$PLACE"


@pytest.mark.parametrize("name", ["NOT_THERE_AT_ALL", ""])
def test_a_variable_that_is_not_set(name: str) -> None:
    with pytest.raises(RecipeError, match=rf"\${{{name}}}: is not set in the environment\. Set "):
        expand(f"${{{name}}}/x")


# files that are no recipe


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"recipe\.yaml: is empty, wanted a recipe\. `metier init DATA` writes one"),
        (b"# nothing\n---\n", "is empty"),
        (b"\x00\x01\x02", "is not text, wanted a YAML file in UTF-8"),
        (b"\x89PNG\r\n\x1a\n", "is not text"),
        ("Zürich".encode("latin-1"), "is not text"),
        (b"- a\n- b\n", r"holds a list, wanted sections such as `data:` and `model:`"),
        (b"tickets.csv", "holds a single value"),
        (b"data:\n\ttrain: a.csv\n", r"line 2: has a tab as indentation, wanted spaces\. YAML wants spaces"),
        (b"data: {train: a}\n---\ndata: {train: b}\n", r"line 2: begins a second document \(`---`\)"),
        (b"data: a: b\n", r"line 1: has a `:` where YAML expects none\. Put quotes"),
        (b"data: {train: a}\nname: -\n", r"line 2: has a `-` where YAML expects a value\. Put quotes around a `-`"),
        (b"data: {train: @a}\n", r"line 1: is no YAML: .*\. Look at the indentation, and at text that needs quotes"),
        (b"data: [a\n", r"is no YAML: while parsing a flow sequence"),
        (b"data: *there\n", "line 1: found undefined alias 'there'"),
        (b"data: &d {train: *d}\n", "line 1: an alias that contains itself"),
        (b"? [a]\n: b\n", "line 1: a list or a mapping as a key, wanted text"),
        (b"<<: 3\n", "line 1: a merge key .* without a mapping"),
        (b"[" * 5000, "is nested too deeply"),
        (b"seed: " + b"9" * 5000, "holds a number that is too long"),
        (b"a: " + b"x" * 1_000_001, "has more than 1,000,000 bytes, wanted a recipe file"),
        (
            b"data: {train: a}\nx:\n  !!python/object/apply:os.system [ls]\n",
            r"line 3: a YAML tag that would run code, wanted plain values\. Remove the tag",
        ),
        (b"!!python/name:os.system ''", "a YAML tag that would run code"),
        (b"seed: !env SEED\n", "the YAML tag '!env', which recipes do not have"),
        (b"seed: !!int 'x'\n", "the YAML tag '!!int'"),
        (b"seed: !!binary aGk=\n", "the YAML tag '!!binary'"),
    ],
    ids=["empty", "comments", "zeros", "binary", "latin-1", "list", "scalar", "tab", "documents", "colons", "dash",
         "at sign", "torn", "alias", "recursive alias", "list as key", "merge", "nested", "number", "large",
         "object tag", "name tag", "unknown tag", "wrong tag", "binary tag"],
)  # fmt: skip
def test_what_is_no_recipe(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(path)
    assert caught.value.exit_code == 2
    assert "recipe.yaml" in str(caught.value)


def test_aliases_cannot_grow_without_limit(load: Load) -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
    with pytest.raises(RecipeError, match="holds more than 50,000 values"):
        load("\n".join(lines))


def test_missing_and_folder(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"no\.yaml: does not exist, wanted a recipe file\. `metier init DATA` writes"
    ):
        load_recipe(tmp_path / "no.yaml")
    with pytest.raises(RecipeError, match="is a folder, wanted a recipe file"):
        load_recipe(tmp_path)
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe("a\0b")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_are_understood(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes("name: x\r\ndata: {train: Zürich.csv}\r\n".encode(encoding))
    assert Path(load_recipe(path).data.train).name == "Zürich.csv"


# YAML's own traps


@pytest.mark.parametrize("written", ["1e-4", "1E-4", "0.0001", "1.0e-4", "'1e-4'"])
def test_exponents_are_numbers(load: Load, written: str) -> None:
    assert load(f"data: {{train: a}}\ntraining: {{learning_rate: {written}}}").training.learning_rate == 1e-4


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "Y", "NO", "007", "1.10", "1_000", "0o17", "true", "TRUE",
                                  "2024-01-01", "12:30:45", "1e5", "=", "-x"])  # fmt: skip
def test_labels_stay_as_they_are_written(load: Load, word: str) -> None:
    recipe = load(
        "data:\n"
        "  train: a\n"
        f"  text: [x, {word}]\n"
        f"  ignore_labels: [{word}]\n"
        f"  label_names: {{{word}: {word}}}\n"
        f"  sheet: {word}\n"
    )
    assert recipe.data.text == ["x", word]
    assert recipe.data.ignore_labels == [word]
    assert recipe.data.label_names == {word: word}
    assert recipe.data.sheet == word


@pytest.mark.parametrize(("word", "value"), [("true", True), ("yes", True), ("off", False), ("False", False)])
def test_switches_may_be_written_either_way(load: Load, word: str, value: bool) -> None:
    assert load(f"data: {{train: a}}\nadaptation: {{use_dora: {word}}}").adaptation.use_dora is value


def test_leading_zeros_are_decimal(load: Load) -> None:
    assert load("data: {train: a}\nseed: 010").seed == 10


def test_merge_keys(load: Load) -> None:
    recipe = load(
        "data: {train: a}\n"
        "training: &t {num_train_epochs: 2, learning_rate: 1e-3}\n"
        "candidates:\n"
        "  a: {training: {<<: *t, learning_rate: 1e-4}}\n"
        "  b: {training: {<<: [*t, {weight_decay: 1}]}}\n"
    )
    assert recipe.candidates["a"]["training"] == {"num_train_epochs": 2, "learning_rate": 1e-4}
    assert recipe.candidates["b"]["training"] == {"num_train_epochs": 2, "learning_rate": 1e-3, "weight_decay": 1}


def test_duplicate_keys_are_reported_with_their_lines(load: Load) -> None:
    with pytest.raises(RecipeError, match=r"data\.train: is given twice, in lines 2 and 4\. Keep one of them"):
        load("data:\n  train: a.csv\n  label: x\n  train: b.csv\n")


# overrides


def test_overrides_are_as_if_written_in_the_file(load: Load, tmp_path: Path) -> None:
    recipe = load(
        DESIGN,
        "training.learning_rate=1e-4",
        "training.learning-rate=2e-4",
        "model=minilm",
        "data.train=b.csv",
        "data.label_names={0: no}",
        "data.ignore_labels=[007, n/a]",
        "evaluation.few_shot.k=[4, 8]",
        "name=other",
        "candidates.my-way.training.max-steps=3",
    )
    assert recipe.training.learning_rate == 2e-4
    assert recipe.model.name == "minilm"
    assert recipe.data.train == str(tmp_path / "b.csv")
    assert recipe.data.label_names == {"0": "no"}
    assert recipe.data.ignore_labels == ["007", "n/a"]
    assert recipe.evaluation.few_shot.k == [4, 8]
    assert recipe.name == "other"
    assert recipe.candidates == {"my-way": {"training": {"max_steps": 3}}}


def test_an_override_keeps_the_model_named_in_short(load: Load) -> None:
    dumped = load(DESIGN, "model.revision=main").model.model_dump(exclude_none=True)
    assert dumped == {"name": "smollm2-135m", "revision": "main"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "training.lr=1",
            r"training\.lr \(--set\): is no field of `training`\. It is called `training\.learning_rate`",
        ),
        (
            "training.learning_rate=fast",
            r"training\.learning_rate \(--set\): is 'fast', wanted a number above 0 or noth",
        ),
        ("training", r"--set training: is no override, wanted section\.field=value"),
        (".x=1", r"--set \.x=1: is no override"),
        ("data.train.x=1", r"data\.train\.x: leads through `data\.train`, which is a value, wanted a section"),
        ("seed=[1", r"--set seed, line 1: is no YAML"),
        ("search.trials=1", r"search \(--set\): is a section that this version does not have yet"),
    ],
)
def test_a_wrong_override_is_a_fault_like_any_other(load: Load, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load(DESIGN, override)


def test_an_override_repairs_what_the_file_has_wrong(load: Load) -> None:
    assert load("data: {train: a}\nseed: x", "seed=3").seed == 3


# plain values


def test_plain_values_make_the_same_recipe(load: Load, tmp_path: Path) -> None:
    values = {"data": {"train": "a.csv", "label_names": {0: "no", True: 1.5}}, "model": "minilm", "training": None}
    recipe = recipe_from_values(values, base=tmp_path, where="call")
    assert recipe == load("data: {train: a.csv, label_names: {0: no, true: 1.5}}\nmodel: minilm")


def test_plain_values_have_faults_too(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"call: has 1 fault\.\n  - seed: is -1, wanted a whole number, 0 or more and b"
    ):
        recipe_from_values({"data": {"train": "a"}, "seed": -1}, base=tmp_path, where="call")


# speed and imports


def test_loading_is_quick(load: Load) -> None:
    load(DESIGN)
    start = time.perf_counter()
    load(DESIGN)
    assert time.perf_counter() - start < 0.2


def test_the_room_loads_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, metier.recipe.load, metier.recipe.dump, metier.store.run_folder, metier.store.event_log;"
        "sys.exit(bool({'torch', 'numpy', 'transformers', 'pyarrow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# anything at all


def _load_text(text: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            return load_recipe(path)
        except RecipeError as error:
            assert str(error)
            return error


SCALAR = st.one_of(
    st.sampled_from(["1e-4", "null", "yes", "top 3", "head", "-1", ".inf", ".nan", "!!str x", "[1]", "{a: b}", "'\\0'",
                     '"\\0"', "&a b", "*a", "<<", "0x1F", "1_0", "2024-01-01", "${X}", "~nobody/x", "[]", "{}", "..",
                     '"\\ud800"']),
    st.text(max_size=8),
)  # fmt: skip
NAME = st.one_of(
    st.sampled_from([*Recipe.model_fields, "train", "r", "layers", "method", "lr", "k", "minimum", "class_weights",
                     "labels", "few_shot", "accuracy", "<<", "privacy", "batch_size"]),
    st.text(max_size=5),
)  # fmt: skip
LINE = st.builds(
    lambda depth, name, value: "  " * depth + f"{name}: {value}", st.integers(0, 3), NAME, st.just("") | SCALAR
)


@given(st.text())
@example("? ")
@example("\ufeff")
@example("%YAML 1.2\n---\n")
def test_any_text_is_a_recipe_or_a_recipe_error(text: str) -> None:
    _load_text(text)


@given(st.lists(LINE, max_size=8).map("\n".join))
@example('data:\n  train: "\\0"\n  test: "../\\0"')
@example("data: {train: ~nobody/x, test: ~nobody/x}")
@example("data: {train: a}\ngates: {minimum: {accuracy: .nan}}")
def test_anything_like_a_recipe_is_a_recipe_or_a_recipe_error(text: str) -> None:
    _load_text(text)
