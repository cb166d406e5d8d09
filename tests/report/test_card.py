"""The card is valid for the hub, complete, and says what is unknown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from metier.planning.receipt_values import Receipt, ReceiptLine
from metier.report.card import front_matter, render_card, write_model_card
from metier.report.summary import RunSummary


def parts(card: str) -> tuple[dict[str, Any], str]:
    """Front matter and body."""
    head, body = card.removeprefix("---\n").split("\n---\n", 1)
    return yaml.safe_load(head), body


def test_front_matter_has_what_the_hub_reads(summary: RunSummary, tmp_path: Path) -> None:
    path = write_model_card(summary, tmp_path / "README.md")
    front, _ = parts(path.read_text(encoding="utf-8"))
    assert front["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert front["base_model_relation"] == "finetune"
    assert front["library_name"] == "transformers"
    assert front["pipeline_tag"] == "text-classification"
    assert front["language"] == ["en"]
    assert front["license"] == "apache-2.0"
    assert front["tags"][0] == "metier"
    assert front["metrics"] == ["f1", "accuracy"]
    (result,) = front["model-index"][0]["results"]
    assert [(metric["type"], metric["value"]) for metric in result["metrics"]] == [("f1", 0.938), ("accuracy", 0.95)]


def test_the_hub_library_reads_the_results(summary: RunSummary) -> None:
    hub = pytest.importorskip("huggingface_hub")
    data = hub.ModelCard(render_card(summary)).data
    assert data.model_name == "support-tickets"
    assert {(result.metric_type, result.metric_value) for result in data.eval_results} == {
        ("f1", 0.938),
        ("accuracy", 0.95),
    }
    assert data.base_model == "sentence-transformers/all-MiniLM-L6-v2"


@pytest.mark.parametrize(
    ("name", "source", "method", "expected"),
    [
        ("smollm2-135m", "packaged", "lora", ("HuggingFaceTB/SmolLM2-135M-Instruct", "adapter", "peft")),
        ("org/model", "hub", "freeze", ("org/model", "finetune", "transformers")),
        ("/home/somebody/model", "folder", "lora", (None, None, "peft")),
    ],
    ids=["packaged", "hub", "local folder has no hub id"],
)
def test_base_model(summary: RunSummary, name: str, source: str, method: str, expected: tuple[str | None, ...]) -> None:
    attempt = next(attempt for attempt in summary.attempts if attempt.promoted)
    model = replace(attempt.model, name=name, source=source, method=method)
    front = front_matter(replace(summary, attempts=(replace(attempt, model=model),)))
    assert tuple(front.get(key) for key in ("base_model", "base_model_relation", "library_name")) == expected


def test_unknown_licence_and_language_are_not_invented(make_summary: Callable[..., RunSummary]) -> None:
    made = make_summary(recipe={"card": {"license": "other", "language": []}})
    front, body = parts(render_card(made))
    assert front["license"] == "other"
    assert front["license_name"] == "not-stated"
    assert "language" not in front
    assert "Licence of the result: not stated by its author" in body
    assert "Who answers for it: not stated" in body


def test_unknown_scores_stay_out_of_the_index(summary: RunSummary) -> None:
    tuned = summary.test[-1]
    unknown = {name: replace(found, value=None, low=None, high=None) for name, found in tuned.metrics.items()}
    made = replace(summary, test=(*summary.test[:-1], replace(tuned, metrics=unknown)))
    assert "model-index" not in front_matter(made)
    assert "metrics" not in front_matter(made)


def test_every_section_is_there_and_says_something(summary: RunSummary) -> None:
    _, body = parts(render_card(summary))
    sections = (
        "## Uses", "### Direct use", "### Downstream use", "### Out of scope", "## Bias, risks and limitations",
        "## Training data", "## Training procedure", "## Evaluation", "## Environmental impact", "## How to use",
        "## Reproduce",
    )  # fmt: skip
    places = [body.index(f"\n{section}\n") for section in sections]
    assert places == sorted(places)
    assert "More information needed" not in body
    assert "Energy and emissions were not measured." in body
    assert "opened twice" in body
    assert "metier predict support-tickets-5b1f5b1f" in body
    for system in summary.test:
        assert system.system.replace("_", "\\_") in body


def test_no_text_of_a_record_and_no_markup_from_outside(summary: RunSummary) -> None:
    _, body = parts(render_card(summary))
    assert "parcel" not in body
    assert "مرحبا" not in body
    assert "<script>" not in body.replace("`<script>", "")
    assert "The \\<support\\> team" in body


def test_tables_keep_their_columns_whatever_the_labels_hold(summary: RunSummary) -> None:
    _, body = parts(render_card(summary))
    rows = [line.replace("\\|", "") for line in body.splitlines() if line.startswith("| ")]
    widths = [row.count("|") for row in rows]
    heads = [number for number, row in enumerate(rows) if set(row) <= set("| -:")]
    for start, end in zip(heads, [*(head - 1 for head in heads[1:]), len(rows)], strict=True):
        assert set(widths[start - 1 : end]) == {widths[start]}


def test_overrides_of_the_promoted_candidate_are_the_training_procedure(summary: RunSummary) -> None:
    _, body = parts(render_card(summary))
    assert "- adaptation.method: full" in body


def benchmark(summary: RunSummary, **changes: Any) -> RunSummary:
    """The run on a benchmark of the hub."""
    card = {**summary.recipe["card"], "benchmark": "org/tickets-bench", **changes}
    return replace(summary, recipe={**summary.recipe, "card": card})


def test_results_on_a_benchmark_are_in_the_hubs_own_form(summary: RunSummary, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    write_model_card(benchmark(summary, benchmark_task="intents"), tmp_path / "README.md")
    (path,) = (tmp_path / ".eval_results").iterdir()
    assert path.name == "tickets-bench.yaml"
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    (entry,) = hub.parse_eval_result_entries(written)
    assert (entry.dataset_id, entry.task_id, entry.value) == ("org/tickets-bench", "intents", 0.938)
    assert "95 % interval" in entry.notes
    assert "test set opened twice" in entry.notes
    assert hub.eval_result_entries_to_yaml([entry]) == written
    front, body = parts((tmp_path / "README.md").read_text(encoding="utf-8"))
    assert front["model-index"][0]["results"][0]["dataset"]["type"] == "org/tickets-bench"
    assert "as a result on org/tickets-bench" in body


def test_without_a_benchmark_or_on_validation_there_is_no_such_file(summary: RunSummary, tmp_path: Path) -> None:
    write_model_card(summary, tmp_path / "README.md")
    look = replace(benchmark(summary), comparison=replace(summary.comparison, set="validation", openings=None))
    write_model_card(look, tmp_path / "README.md")
    assert not (tmp_path / ".eval_results").exists()
    (result,) = front_matter(look)["model-index"][0]["results"]
    assert result["dataset"]["split"] == "validation"
    assert "The test set stayed closed" in render_card(look)


def test_every_metric_survives_the_hubs_own_reader_and_writer(summary: RunSummary) -> None:
    hub = pytest.importorskip("huggingface_hub")
    from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

    index = front_matter(summary)["model-index"]
    name, results = model_index_to_eval_results(index)
    again = eval_results_to_model_index(name, results)
    metrics = [metric for result in again[0]["results"] for metric in result["metrics"]]
    wanted = index[0]["results"][0]["metrics"]
    assert [(metric["type"], metric["value"], metric["name"]) for metric in metrics] == [
        (metric["type"], metric["value"], metric["name"]) for metric in wanted
    ]
    assert isinstance(hub.ModelCard(render_card(summary)).data, hub.ModelCardData)


def test_what_it_must_not_be_used_for_stands_there(make_summary: Callable[..., RunSummary]) -> None:
    made = make_summary(recipe={"card": {"out_of_scope": "Deciding about a refund.", "limitations": "Sarcasm."}})
    _, body = parts(render_card(made))
    scope = body[body.index("### Out of scope") : body.index("## Bias")]
    assert "Deciding about a refund." in scope
    assert "Sarcasm." not in scope
    assert "- Sarcasm." in body


def _energy(measured: float | None) -> Receipt:
    line = ReceiptLine(what="energy", unit="Wh", predicted=3.0, measured=measured, note="by the CPU's own meter")
    return Receipt(lines=(line,), how="measured before the run")


def test_energy_is_told_where_it_was_measured(summary: RunSummary) -> None:
    _, body = parts(render_card(replace(summary, receipt=_energy(12.345))))
    assert "Energy: 12.35 Wh (by the CPU's own meter). Emissions are unknown" in body
    assert "energy and emissions" not in body
    _, body = parts(render_card(replace(summary, receipt=_energy(None))))
    assert "Energy and emissions were not measured." in body
    impact = body[body.index("## Environmental impact") : body.index("## How to use")]
    assert "Tokens computed in 3 trainings: 144,000." in impact
