"""Planted wrong answers and contradictions in real sets of written answers: how many the data room finds.

    METIER_DATA=FOLDER python -m bench.data_answers [--only NAME] [--rows 300] [--ranked NAME] [--again]

Contradictions: to a sample of the rows are added as many questions as make a tenth of it, asked again with the answer
of another row: a third of them word for word, a third in other case and punctuation, a third (of long questions) with
one word replaced. Found is a planted row that the step `wrong_answers` doubts beside the row whose question it is.

Swapped answers (`--ranked`, which needs the packaged model): a tenth of the rows get the answer of another row, and
`data.screening_model` ranks all of them by loss over loss alone. *Doubted* are those that the step names. *First k*:
the share that was planted among as many of the highest as were planted. AUROC: of all rows of train and validation.

One draw by seed 17, every other step off. The results are files in `docs/results/data/answers/`, and the tables of
`docs/results/data.md` between two marks are written from them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.data_table import PAGE, ROOT

RESULTS = ROOT / "docs" / "results" / "data" / "answers"
BEGIN, END = "<!-- answers: written by python -m bench.data_answers -->", "<!-- end of answers -->"
SETS = {
    "nl2bash": ("technical/nl2bash/all.nl", "text", "answer"),
    "tldr_pages": ("technical/tldr_pages/train.jsonl", "description", "command"),
    "bitext_responses": ("customer_support/bitext_responses/train.jsonl", "input_text", "output_text"),
    "gsm8k": ("general/gsm8k/train_2000.jsonl", "question", "answer"),
    "medquad": ("medical/medquad/train.jsonl", "question", "answer"),
    "mts_dialog": ("medical/mts_dialog/train.csv", "dialogue", "section_text"),
}
"""Name -> file, column of the question and of the answer; nl2bash has its answers line by line in a second file."""
SHARE = 0.1
LONG = 14
"""Different words of a question in which one may be replaced: a shorter one then asks something else."""
WAYS = ("word for word", "other case and signs", "one word replaced")
MODEL = "smollm2-135m"
SAME = ("another answer to the same question", "another answer to nearly the same question")
BY_LOSS = ("answer that its prompt does not help", "answer that is hard to believe")
ONLY_ANSWERS = {
    "leaks": "allow", "near_duplicates": "off", "quality": "off", "odd_texts": "off", "language": {"policy": "off"},
    "outliers": "off", "secrets": "off", "poison": "off", "bias": {"policy": "off"}, "duplicates": "keep",
}  # fmt: skip
Pairs = list[tuple[str, str]]


def sample(name: str, data: Path, rows: int) -> Pairs:
    """Some rows of a set, none of whose questions comes twice.

    Args:
        name: Of the set.
        data: The data folder.
        rows: How many.
    """
    from metier.data.sources import read_table

    file, asked, answered = SETS[name]
    table = read_table(data / file, format="lines" if file.endswith(".nl") else "auto").rows
    if file.endswith(".nl"):
        answers = read_table((data / file).with_suffix(".cm"), format="lines").rows
        table = [{asked: one["text"], answered: other["text"]} for one, other in zip(table, answers, strict=True)]
    every = {_plain(row[asked] or ""): (row[asked] or "", row[answered] or "") for row in table}
    whole = [pair for pair in every.values() if pair[0].strip() and pair[1].strip()]
    return random.Random(17).sample(whole, min(rows, len(whole)))


def with_contradictions(pairs: Pairs) -> tuple[Pairs, dict[int, tuple[int, str]]]:
    """The rows with some questions asked again.

    Args:
        pairs: Questions and answers.

    Returns:
        All rows; and the number of each that was added -> the number of the row that it contradicts, and how. From 1.
    """
    rng = random.Random(17)
    added: dict[int, tuple[int, str]] = {}
    rows = list(pairs)
    long = [place for place, (question, _) in enumerate(pairs) if len(set(question.lower().split())) >= LONG]
    for number, place in enumerate(rng.sample(range(len(pairs)), round(SHARE * len(pairs)))):
        way = WAYS[number % 3]
        if way == WAYS[2]:
            if not long:
                continue
            place = long.pop(rng.randrange(len(long)))
        question, own = pairs[place]
        other = rng.choice([answer for _, answer in pairs if _plain(answer) != _plain(own)])
        rows.append((_again(question, way, rng), other))
        added[len(rows)] = (place + 1, way)
    return rows, added


def _again(question: str, way: str, rng: random.Random) -> str:
    if way == WAYS[0]:
        return question
    if way == WAYS[1]:
        return f"{question.rstrip('.?! ').upper()} !"
    words = question.split(" ")
    places = [place for place, word in enumerate(words) if word.isalpha()]
    words[rng.choice(places)] = "somewhat"
    return " ".join(words)


def with_swapped(pairs: Pairs) -> tuple[Pairs, set[int]]:
    """The rows, a tenth of them with the answer of another; and the numbers of those, from 1.

    Args:
        pairs: Questions and answers.
    """
    rng = random.Random(17)
    chosen = rng.sample(range(len(pairs)), round(SHARE * len(pairs)))
    rows = list(pairs)
    for place in chosen:
        question, own = pairs[place]
        rows[place] = (question, rng.choice([answer for _, answer in pairs if _plain(answer) != _plain(own)]))
    return rows, {place + 1 for place in chosen}


def contradictions(name: str, data: Path, most: int) -> dict[str, Any]:
    """Plant contradictions in a set, and count what is found.

    Args:
        name: Of the set.
        data: The data folder.
        most: Rows that are taken.
    """
    rows, added = with_contradictions(sample(name, data, most))
    doubts, _, seconds = _prepared(rows, None)
    told: dict[int, set[int]] = {}
    for doubt in doubts:
        if doubt.reason in SAME:
            told.setdefault(doubt.place.row, set()).update(other.row for other in doubt.others)
    found = {way: [0, 0] for way in WAYS}
    for number, (asked, way) in added.items():
        found[way][1] += 1
        found[way][0] += number in told and asked in told and asked in told[number] and number in told[asked]
    planted = {*added, *(asked for asked, _ in added.values())}
    return {
        "set": name, "rows": len(rows), "planted": len(added), "found": found,
        "other rows doubted": len(set(told) - planted), "seconds": round(seconds, 1),
    }  # fmt: skip


def ranked(name: str, data: Path, most: int) -> dict[str, Any]:
    """Swap answers in a set, and count what the model's losses find.

    Args:
        name: Of the set.
        data: The data folder.
        most: Rows that are taken.
    """
    rows, swapped = with_swapped(sample(name, data, most))
    doubts, scores, seconds = _prepared(rows, MODEL)
    planted = swapped & set(scores)
    named = {doubt.place.row for doubt in doubts if doubt.reason in BY_LOSS} & set(scores)
    surest = sorted(scores, key=lambda row: -scores[row])[: len(planted)]
    return {
        "set": name, "rows": len(scores), "planted": len(planted), "doubted": len(named),
        "found": len(named & planted), "first": sum(row in planted for row in surest),
        "auroc": _auroc([scores[row] for row in planted], [scores[row] for row in set(scores) - planted]),
        "seconds": round(seconds, 1),
    }  # fmt: skip


def _prepared(rows: Pairs, model: str | None) -> tuple[list[Any], dict[int, float], float]:
    """Doubts of the step, loss over loss alone of each row of train and validation, and seconds."""
    from metier.data.lent import Lent
    from metier.data.prepare import prepare_data
    from metier.data.record.findings import read_doubts
    from metier.data.splits import conversations
    from metier.recipe.load import recipe_from_values
    from metier.stages.model_aid import screening_model

    with tempfile.TemporaryDirectory(prefix="metier-answers-") as place:
        folder = Path(place)
        lines = (json.dumps({"text": question, "answer": answer}) for question, answer in rows)
        (folder / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        fields = {"train": str(folder / "rows.jsonl"), "text": "text", "answer": "answer", "screening_model": model}
        recipe = recipe_from_values(
            {"task": "generation", "data": {**ONLY_ANSWERS, **fields}}, base=folder, where="recipe.yaml"
        )
        started = time.perf_counter()
        with screening_model(recipe) as aid:
            prepared = prepare_data(
                recipe.data, seed=17, folder=folder / "out", task=recipe.task, lent=Lent(aid=aid)
            )  # fmt: skip
            seconds = time.perf_counter() - started
            records = [one for split in (prepared.train, prepared.validation) for one in conversations(split.records())]
            losses = [] if aid is None else aid.sequence_loss(records)
        known = [(one.row, loss) for one, loss in zip(records, losses, strict=False) if loss is not None]
        scores = {row: loss.after / loss.alone for row, loss in known}
        doubts = [doubt for doubt in read_doubts(folder / "out") if doubt.step == "wrong_answers"]
    return doubts, scores, seconds


def _auroc(planted: Sequence[float], others: Sequence[float]) -> float:
    """Share of pairs of a planted and another row in which the planted one has the larger score; ties count half."""
    pairs = [(one > other) + 0.5 * (one == other) for one in planted for other in others]
    return round(sum(pairs) / len(pairs), 3)


def tables(found: Iterable[Mapping[str, Any]], swapped: Iterable[Mapping[str, Any]]) -> list[str]:
    """The lines of both tables.

    Args:
        found: Of `contradictions`.
        swapped: Of `ranked`.
    """
    lines = [f"| set | rows | planted | {' | '.join(WAYS)} | other rows doubted | s |", f"|{' --- |' * 8}"]
    for one in found:
        ways = " | ".join(f"{hit} of {count}" if count else "none is long" for hit, count in one["found"].values())
        lines.append(
            f"| {one['set']} | {one['rows']:,} | {one['planted']} | {ways} | {one['other rows doubted']} | "
            f"{one['seconds']:.0f} |"
        )
    lines += ["", "| set | rows | planted | doubted | planted ones found | precision | first k | AUROC | s |"]
    lines.append(f"|{' --- |' * 9}")
    for one in swapped:
        precision = f"{one['found'] / one['doubted']:.0%}" if one["doubted"] else "none doubted"
        lines.append(
            f"| {one['set']} | {one['rows']:,} | {one['planted']} | {one['doubted']} | "
            f"{one['found'] / one['planted']:.0%} | {precision} | {one['first'] / one['planted']:.0%} | "
            f"{one['auroc']:.2f} | {one['seconds']:,.0f} |"
        )
    return lines


def write_page(page: Path, lines: Iterable[str]) -> None:
    """Put lines between the marks of the page, which has them.

    Args:
        page: The Markdown file.
        lines: Of `tables`.
    """
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    body = "\n".join(lines)
    page.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}", encoding="utf-8")


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def main() -> None:
    """Measure what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", action="append", choices=SETS, help="Sets for contradictions. Default: all.")
    parser.add_argument("--ranked", action="append", choices=SETS, default=[], help="Sets for the model's ranking.")
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--again", action="store_true", help="Also those that have a result.")
    asked = parser.parse_args()
    data = Path(os.environ.get("METIER_DATA", ROOT.parent / "shared" / "data"))
    RESULTS.mkdir(parents=True, exist_ok=True)
    wanted = [(contradictions, name) for name in asked.only or ([] if asked.ranked else SETS)]
    for measure, name in [*wanted, *((ranked, name) for name in asked.ranked)]:
        file = RESULTS / f"{name}-{measure.__name__}.json"
        if file.exists() and not asked.again:
            continue
        result = measure(name, data, asked.rows)
        print(json.dumps(result), flush=True)
        file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    write_page(PAGE, tables(*(_results(kind) for kind in ("contradictions", "ranked"))))


def _results(kind: str) -> list[dict[str, Any]]:
    files = [RESULTS / f"{name}-{kind}.json" for name in SETS]
    return [json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]


if __name__ == "__main__":
    main()
