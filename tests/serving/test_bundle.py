"""Evidence: the same bytes for the same run, no text where none may be, and every change of it is found."""

from __future__ import annotations

import json
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from metier.errors import ArgumentError, DataError, RunFolderError
from metier.evaluation.evaluate import About, evaluate_items
from metier.evaluation.files import write_evaluation
from metier.evaluation.measures import MEASURES
from metier.evaluation.results import Item
from metier.report.pages import changed_front_matter
from metier.serving import bundle_reading
from metier.serving.bundle import MANIFEST, export_evidence
from metier.serving.bundle_reading import unpacked_evidence, verify_evidence
from metier.store.run_folder import RunFolder, claim_run_folder, finish_run

SECRET = "the patient is Anna Muster"


@pytest.fixture(scope="module")
def evidence(make_run: Callable[[str], RunFolder], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evidence of a finished run."""
    return export_evidence(make_run("bert").path, tmp_path_factory.mktemp("evidence") / "evidence.zip").path


def _files(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def _packed(path: Path, files: Mapping[str, bytes], *, honest: bool = False) -> Path:
    """An archive of these files; an honest one has a manifest that fits them."""
    files = dict(files)
    if honest:
        manifest = json.loads(files[MANIFEST])
        manifest["files"] = {
            name: {"sha256": sha256(data).hexdigest(), "bytes": len(data)}
            for name, data in files.items() if name != MANIFEST
        }  # fmt: skip
        files[MANIFEST] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def _checked(archive: Path) -> list[str]:
    """The places of all that differs."""
    with unpacked_evidence(archive) as (folder, changed):
        numbers = verify_evidence(folder)
        return [each.where for each in (*changed, *numbers, *(() if numbers else changed_front_matter(folder)))]


def test_the_same_run_gives_the_same_bytes(
    evidence: Path, make_run: Callable[[str], RunFolder], tmp_path: Path
) -> None:
    again = export_evidence(make_run("bert").path, tmp_path / "again.zip")
    assert again.path.read_bytes() == evidence.read_bytes()
    assert again.sha256 == sha256(evidence.read_bytes()).hexdigest()


def test_what_is_in_it(evidence: Path) -> None:
    names = set(_files(evidence))
    assert names >= {
        MANIFEST, "recipe.yaml", "lock.json", "README.md", "report/index.html", "data/card.json",
        "evaluation/test/results.json", "evaluation/test/comparison.json", "evaluation/test/items-tuned.jsonl",
        "evaluation/test/opening.json", "evaluation/overfitting.json", "attempts/001/training/history.json",
    }  # fmt: skip
    assert not [name for name in names if name.endswith((".safetensors", ".parquet")) or "prompt" in name]
    manifest = json.loads(_files(evidence)[MANIFEST])
    assert (manifest["format"], manifest["version"], manifest["hashed"]) == ("metier.evidence", 1, False)
    assert set(manifest["files"]) == names - {MANIFEST}


def test_untouched_evidence_holds(evidence: Path) -> None:
    assert _checked(evidence) == []


def _digit(files: dict[str, bytes]) -> str:
    results = json.loads(files["evaluation/test/results.json"])
    results["systems"]["tuned"]["metrics"]["accuracy"]["value"] += 0.01
    files["evaluation/test/results.json"] = json.dumps(results).encode()
    return "test/results.json: tuned.metrics.accuracy.value"


def _row(files: dict[str, bytes]) -> str:
    rows = [json.loads(row) for row in files["evaluation/test/items-majority.jsonl"].splitlines()]
    wrong = next(row for row in rows if row["answer"] != row["gold"])
    wrong["answer"] = wrong["gold"]
    files["evaluation/test/items-majority.jsonl"] = "\n".join(map(json.dumps, rows)).encode() + b"\n"
    return "test/results.json: majority.metrics.accuracy.value"


def _card(files: dict[str, bytes]) -> str:
    card = files["README.md"].decode()
    value = next(line for line in card.splitlines() if line.strip().startswith("value: "))
    files["README.md"] = card.replace(value, value.partition(":")[0] + ": 0.1234", 1).encode()
    return "README.md: model-index: Macro F1.value"


def _damage(files: dict[str, bytes]) -> str:
    files["evaluation/test/comparison.json"] = files["evaluation/test/comparison.json"][:-40]
    return "evaluation/test/comparison.json"


@pytest.mark.parametrize("change", [_digit, _row, _card, _damage])
@pytest.mark.parametrize("honest", [False, True], ids=["by its hash", "by its number"])
def test_a_change_is_found(
    evidence: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], str], honest: bool
) -> None:
    files = _files(evidence)
    before, where = dict(files), change(files)
    (changed,) = [name for name in files if files[name] != before[name]]
    found = _checked(_packed(tmp_path / "changed.zip", files, honest=honest))
    assert where in found
    assert (f"{MANIFEST}: {changed}" in found) is not honest


def test_files_too_many_or_too_few_are_found(evidence: Path, tmp_path: Path) -> None:
    files = _files(evidence)
    del files["README.md"]
    files["evaluation/test/items-better.jsonl"] = b"{}\n"
    assert {*_checked(_packed(tmp_path / "other.zip", files))} == {
        f"{MANIFEST}: README.md", f"{MANIFEST}: evaluation/test/items-better.jsonl",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["../out.txt", "a/../../out.txt", "/out.txt", "C:\\out.txt", "..\\out.txt"])
def test_names_that_lead_out_are_refused(evidence: Path, tmp_path: Path, name: str) -> None:
    archive = _packed(tmp_path / "evil.zip", {**_files(evidence), name: b"x"}, honest=True)
    with pytest.raises(DataError, match="leads out of the folder"), unpacked_evidence(archive):
        pass
    assert not (tmp_path.parent / "out.txt").exists()


def test_a_link_becomes_a_file_and_no_link(evidence: Path, tmp_path: Path) -> None:
    files = _files(evidence)
    files["evaluation/test/link"] = b"/etc/hostname"
    archive = _packed(tmp_path / "link.zip", files, honest=True)
    changed = tmp_path / "links.zip"
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(changed, "w") as new:
        for info in old.infolist():
            mode = stat.S_IFLNK if info.filename.endswith("/link") else stat.S_IFREG
            data, info.external_attr = old.read(info), (mode | 0o777) << 16
            new.writestr(info, data)
    with unpacked_evidence(changed) as (folder, _):
        place = folder.path / "evaluation" / "test" / "link"
        assert not place.is_symlink()
        assert place.read_bytes() == b"/etc/hostname"


def test_bombs_and_floods_are_refused(evidence: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("evaluation/test/results.json", bytes(2**27))
        archive.writestr(MANIFEST, b"{}")
    with pytest.raises(DataError, match="times larger when it is unpacked"), unpacked_evidence(bomb):
        pass
    monkeypatch.setattr(bundle_reading, "MOST_BYTES", 10_000)
    large = pytest.raises(DataError, match="is larger than evidence can be, wanted at most 10,000")
    with large, unpacked_evidence(evidence):
        pass


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (None, "holds no manifest.json, wanted evidence of a run"),
        (b"[1]", "is no list of evidence"),
        (b'{"format": "metier.evidence", "version": 2, "files": {}}', "is no list of evidence"),
        (b'{"format": "metier.evidence", "version": 1, "files": {"a": 3}}', "is no list of evidence"),
        (b"[" * 100_000, "is no list of evidence"),
    ],
)
def test_what_is_no_evidence_is_refused(tmp_path: Path, manifest: bytes | None, message: str) -> None:
    files = {"a.txt": b"a", **({} if manifest is None else {MANIFEST: manifest})}
    with pytest.raises(DataError, match=message), unpacked_evidence(_packed(tmp_path / "no.zip", files)):
        pass


@pytest.fixture
def talking(tmp_path: Path) -> Iterator[Callable[[bool], Path]]:
    """`talking(examples)`: a finished run whose answers are written, with a secret in them; only what is needed."""

    def make(examples: bool) -> Path:
        folder = RunFolder(tmp_path / "talking")
        claim_run_folder(
            folder.path, recipe_hash="ab", recipe_text=f"report: {{examples: {str(examples).lower()}}}\n", resume=False
        )
        items = [
            Item(id=f"{n}", group=None, gold=gold, answer=said, label_logprobs=None, prompt_hash=None, source="a.csv",
                 row=n, stop="end of turn")
            for n, (gold, said) in enumerate([(SECRET, SECRET), ("take two", SECRET)])
        ]  # fmt: skip
        counted = MEASURES["generation"].recount(items)
        items = [replace(item, counts=counts) for item, counts in zip(items, counted, strict=True)]
        about = About(system="tuned", task="generation")
        for place in (folder.evaluation_of("test").path, folder.attempt(1).evaluation / "validation"):
            write_evaluation(
                evaluate_items(items, about=about, set_name=place.name, labels=(), resamples=200, seed=1), place
            )
        (folder.evaluation_of("test").path / "notes.json").write_text(json.dumps({"said": SECRET}), encoding="utf-8")
        folder.readme.write_text("a card\n", encoding="utf-8")
        finish_run(folder, 0)
        return folder.path

    yield make
    shutil.rmtree(tmp_path / "talking")


@pytest.mark.parametrize("examples", [True, False])
def test_texts_become_hashes_where_the_report_may_not_show_them(
    talking: Callable[[bool], Path], tmp_path: Path, examples: bool
) -> None:
    done = export_evidence(talking(examples), tmp_path / "evidence.zip")
    assert done.hashed is not examples
    assert done.left_out == ("evaluation/test/notes.json",)
    inside = b"".join(_files(done.path).values())
    assert (SECRET.encode() in inside) is examples
    assert _checked(done.path) == []
    rows = [json.loads(row) for row in _files(done.path)["evaluation/test/items-tuned.jsonl"].splitlines()]
    assert [row["gold"] == row["answer"] for row in rows] == [True, False]


def test_evidence_is_refused_with_its_reason(
    make_run: Callable[[str], RunFolder], tmp_path: Path, talking: Callable[[bool], Path]
) -> None:
    run = make_run("bert").path
    with pytest.raises(ArgumentError, match=r"--evidence: is proof\.tar, wanted a name that ends in \.zip"):
        export_evidence(run, tmp_path / "proof.tar")
    (tmp_path / "there.zip").touch()
    with pytest.raises(ArgumentError, match="never overwrites evidence"):
        export_evidence(run, tmp_path / "there.zip")
    unfinished = talking(True)
    (unfinished / "README.md").unlink()
    with pytest.raises(RunFolderError, match="has no evidence yet"):
        export_evidence(unfinished, tmp_path / "none.zip")


def test_the_commands(
    make_run: Callable[[str], RunFolder], tmp_path: Path, metier: Callable[..., Any], evidence: Path
) -> None:
    archive = tmp_path / "proof.zip"
    made = metier("export", make_run("bert").path, "--evidence", archive)
    assert made.code == 0, made.err
    assert f"Check it: metier verify {archive}" in made.out
    assert metier("verify", archive).out == "Every reported number is what the items give.\n"
    assert metier("verify", make_run("bert").path).code == 0
    files = _files(archive)
    where = _digit(files)
    told = metier("verify", _packed(tmp_path / "changed.zip", files, honest=True))
    assert told.code == 2
    assert f"{where}: reported " in told.err
    mixed = metier("export", make_run("bert").path, tmp_path / "out", "--evidence", tmp_path / "b.zip")
    assert (mixed.code, "was given with what is about a model" in mixed.err) == (2, True)
    mixed = metier("verify", archive, "--replay")
    assert (mixed.code, "evidence holds neither data nor model" in mixed.err) == (2, True)
    as_json = json.loads(metier("verify", archive, "--json").out)
    assert as_json["mismatches"] == []
