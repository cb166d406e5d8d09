"""Planted wrong labels: how many the data room finds by words alone, and how many with `screening_model`.

    METIER_DATA=FOLDER python -m bench.data_planted [--only NAME] [--rows 1500]

Of a sample of each set a tenth of the labels becomes another label. The sample is then prepared as any data, once
without a model and once with it, and the doubts of the step are counted against what was planted: rows of test are left
out, as no model looks at them. *First k*: the share that was planted among as many of the surest doubts as rows were
planted. Prints one line of a Markdown table for each set. Written answers: `data_answers.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from metier.data.lent import Lent
from metier.data.prepare import prepare_data
from metier.data.record.findings import Doubted, read_doubts
from metier.data.sources import read_table
from metier.recipe.load import recipe_from_values
from metier.stages.model_aid import screening_model

SHARE = 0.1


@dataclass(frozen=True)
class Planted:
    """One set, and what is planted in it."""

    file: str
    text: str
    answer: str


SETS = {
    "banking77": Planted("customer_support/banking77/train.csv", "text", "category"),
    "medical_abstracts": Planted("medical/medical_abstracts/train.csv", "medical_abstract", "condition_label"),
    "fomc_stance": Planted("finance/fomc_stance/manual-mm-split.xlsx", "sentence", "label"),
    "cuad_clauses": Planted("legal/cuad_clauses/clauses_train.jsonl", "clause", "label"),
}


def main() -> None:
    """Measure every set, or those that are named."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--only", action="append", choices=SETS)
    asked.add_argument("--rows", type=int, default=1500)
    asked.add_argument("--encoder", default="minilm")
    given = asked.parse_args()
    data = Path(os.environ["METIER_DATA"])
    print("| set | rows | planted | by | doubts | planted ones found | first k | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in given.only or SETS:
        _measure(name, SETS[name], data, given)


def _measure(name: str, one: Planted, data: Path, given: argparse.Namespace) -> None:
    rng = random.Random(17)
    rows = _rows(one, data, given.rows, rng)
    wrong = _plant(rows, rng)
    for by in (None, given.encoder):
        with tempfile.TemporaryDirectory(prefix="metier-planted-") as place:
            folder = Path(place)
            (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            doubts, looked, seconds = _prepared(folder, by)
        planted = wrong & looked
        found = {doubt.place.row for doubt in doubts}
        surest = sorted(doubts, key=lambda doubt: -(doubt.score or 0.0))[: len(planted)]
        first = sum(doubt.place.row in planted for doubt in surest)
        print(
            f"| {name} | {len(looked):,} | {len(planted)} | {by or 'words'} | {len(found)} | "
            f"{len(found & planted) / len(planted):.0%} | {first / len(planted):.0%} | {seconds:.0f} |",
            flush=True,
        )


def _rows(one: Planted, data: Path, most: int, rng: random.Random) -> list[dict[str, str]]:
    table = read_table(data / one.file)
    found = [{"text": str(row[one.text]), "answer": str(row[one.answer])} for row in table.rows]
    found = [row for row in found if row["text"].strip() and row["answer"].strip()]
    return rng.sample(found, min(most, len(found)))


def _plant(rows: list[dict[str, str]], rng: random.Random) -> set[int]:
    """Make some labels wrong; the numbers of their rows, from 1."""
    chosen = rng.sample(range(len(rows)), round(SHARE * len(rows)))
    right = {place: rows[place]["answer"] for place in chosen}
    every = sorted({row["answer"] for row in rows})
    for place in chosen:
        rows[place]["answer"] = rng.choice([answer for answer in every if answer != right[place]])
    return {place + 1 for place in chosen}


def _prepared(folder: Path, by: str | None) -> tuple[list[Doubted], set[int], float]:
    """Doubts of the step, the rows that it may doubt, and the seconds that preparation took."""
    fields = {"train": str(folder / "rows.jsonl"), "text": "text", "label": "answer", "screening_model": by}
    recipe = recipe_from_values({"data": {**fields, "contradictions": "keep"}}, base=folder, where="recipe.yaml")
    started = time.perf_counter()
    with screening_model(recipe) as aid:
        prepared = prepare_data(recipe.data, seed=17, folder=folder / "out", lent=Lent(aid=aid))
    seconds = time.perf_counter() - started
    doubts = [
        doubt for doubt in read_doubts(folder / "out") if doubt.step == "wrong_labels" and doubt.place.split != "test"
    ]  # fmt: skip
    looked = {record.row for split in (prepared.train, prepared.validation) for record in split.records()}
    return doubts, looked, seconds


if __name__ == "__main__":
    main()
