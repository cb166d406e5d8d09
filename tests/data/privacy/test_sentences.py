from __future__ import annotations

import gzip
import html
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.privacy import contents
from metier.data.privacy.sentences import count_shared

RECORD = "The patient fell on the icy stairs of the old chapel and hurt her left wrist badly on Monday morning"


def test_a_sentence_of_a_record_is_found_in_every_kind_of_file(tmp_path: Path) -> None:
    part = " ".join(RECORD.split()[3:13])
    (tmp_path / "page.html").write_text(f"<p>Found:</p><q>{part.replace(' ', '<br> ')}</q>")
    (tmp_path / "items.jsonl").write_text(json.dumps({"gold": part.replace(" ", "\n")}))
    (tmp_path / "log.gz").write_bytes(gzip.compress(part.upper().encode()))
    pq.write_table(pa.table({"text": [part]}), tmp_path / "split.parquet")
    (tmp_path / "clean.txt").write_text("nothing of it")
    found = count_shared(tmp_path, ["something else that is long enough to be looked for", RECORD])
    assert (found.sentences, found.records, found.too_short, found.files) == (1, 2, 0, 5)
    assert {place.partition("!")[0] for place in found.places} == {
        "page.html", "items.jsonl", "log.gz", "split.parquet"
    }  # fmt: skip


def test_nothing_shared_is_zero(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The patient fell on the icy road. " + " ".join(RECORD.split()[::-1]))
    found = count_shared(tmp_path, [RECORD])
    assert found.sentences == 0 and found.places == () and found.unread == ()


def test_each_run_of_words_counts_once(tmp_path: Path) -> None:
    words = RECORD.split()
    (tmp_path / "a.txt").write_text(f"{' '.join(words[:8])} XX {' '.join(words[9:])}")
    (tmp_path / "b.txt").write_text(RECORD)
    assert count_shared(tmp_path, [RECORD] * 3).sentences == 3  # once a record: b.txt has it whole
    (tmp_path / "b.txt").unlink()
    assert count_shared(tmp_path, [RECORD]).sentences == 2


def test_short_records_are_looked_for_whole(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("she took five blue pills. where is my card")
    found = count_shared(tmp_path, ["She took five blue pills!", "took five blue pills twice", "my card", ""])
    assert (found.sentences, found.too_short, found.records) == (1, 2, 4)


def test_what_the_recipe_says_may_stand_there(tmp_path: Path) -> None:
    asked = "Read the text and answer with its label, which is one of the following"
    (tmp_path / "prompt.json").write_text(json.dumps({"instruction": asked}))
    record = f"{asked}: fall, sting"
    assert count_shared(tmp_path, [record]).sentences == 1
    assert count_shared(tmp_path, [record], known=[asked]).sentences == 0


def test_escapes_and_other_scripts(tmp_path: Path) -> None:
    text = "Größe & Gewicht wären für Frau Müller „ganz normal“ gewesen, sagt Özlem"
    (tmp_path / "a.json").write_text(json.dumps({"x": text}))
    (tmp_path / "b.html").write_text(html.escape(text).encode("ascii", "xmlcharrefreplace").decode())
    found = count_shared(tmp_path, [text])
    assert found.sentences == 1 and set(found.places) == {"a.json", "b.html"}


def test_weights_hold_no_words_and_places_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"\0" + RECORD.encode())
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "train.txt").write_text(RECORD)
    assert count_shared(tmp_path, [RECORD], skip=lambda place: place.startswith("private")).sentences == 0


def test_records_are_read_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(RECORD)

    def many() -> Iterator[str]:
        for number in range(5001):
            yield f"record {number} has so many words that it is looked for, number {number}"
        yield RECORD

    assert count_shared(tmp_path, many()).records == 5002
    assert count_shared(tmp_path, many()).sentences == 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), block=st.sampled_from([1 << 22, 70_000]))
def test_as_a_plain_count_of_windows_has_it(seed: int, block: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    random = Random(seed)
    words = ["alpha", "beta", "gamma", "delta"]
    records = [" ".join(random.choices(words, k=random.choice([3, 5, 7, 8, 9, 14]))) for _ in range(12)]
    written = " ".join(random.choices(words, k=400)) + " " + "omega " * 20_000 + random.choice(records)
    folder = tmp_path_factory.mktemp("plain")
    (folder / "a.txt").write_text(written)

    def runs(record: str) -> int:
        each, all_of_it = record.split(), f" {written} "
        size = 8 if len(each) >= 8 else len(each)
        if size < 5:
            return 0
        shared = [f" {' '.join(each[n : n + size])} " in all_of_it for n in range(len(each) - size + 1)]
        return sum(here and not before for before, here in zip([False, *shared], shared, strict=False))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents, "BLOCK", block)
        found = count_shared(folder, records)
    assert found.sentences == sum(map(runs, records))
    assert found.too_short == sum(len(record.split()) < 5 for record in records)


def test_planted_rows_are_counted(planted: Any, tmp_path: Path) -> None:
    (tmp_path / "rejected.jsonl").write_text("".join(json.dumps({"c": text}) + "\n" for text, _ in planted.rows))
    texts = [text for text, _ in planted.rows]
    found = count_shared(tmp_path, texts)
    assert found.sentences >= len(texts) and found.records == len(texts)
