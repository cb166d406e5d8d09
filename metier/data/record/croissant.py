"""The prepared data as Croissant JSON-LD: what is in the three files, where it came from, under which licence.

Written by hand after the Croissant format specification 1.1 (docs.mlcommons.org/croissant, its appendix
1 for the context), with PROV-O for the sources and Croissant RAI 1.0 for the cleaning, as that
specification recommends. A data set that has no address is named by its hash (RFC 6920, `ni:`).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metier.data.card import DataCard, SourceFile, StageHash
from metier.data.record.licences import Licences, SourceLicence
from metier.data.record.summary import StepRecord
from metier.store.files import write_bytes
from metier.store.fingerprint import file_sha256
from metier.store.run_folder import DataFolder

VERSION = "http://mlcommons.org/croissant/1.1"
RAI_VERSION = "http://mlcommons.org/croissant/RAI/1.0"
CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "annotation": "cr:annotation",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "excludes": "cr:excludes",
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "readLines": "cr:readLines",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sdVersion": "cr:sdVersion",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
    "unArchive": "cr:unArchive",
    "value": "cr:value",
}
"""Appendix 1, with what mlcroissant 1.1 has beyond it, and PROV-O."""
_PARQUET = "application/x-parquet"
_TEXT, _INTEGER = "sc:Text", "sc:Integer"
_COLUMNS: Mapping[str, tuple[str, str]] = {
    "id": (_TEXT, "Hash of the normalised text, then its occurrence."),
    "text": (_TEXT, "What a system is asked."),
    "label": ("cr:Label", "The right answer."),
    "messages": (_TEXT, "The turns of the conversation as a JSON list of role and content."),
    "tools": (_TEXT, "Tools that the assistant may call, as a JSON list."),
    "chosen": (_TEXT, "The better answer."),
    "rejected": (_TEXT, "The worse answer."),
    "group": (_TEXT, "Records of equal group stay in one split."),
    "source": (_TEXT, "Name of the file that the record came from."),
    "row": (_INTEGER, "Data row in that file, counted from 1, header not counted."),
    "user_id": (_TEXT, "The id that the data's owner gave it."),
}
_SPLIT_WORDS = {"train": "Learned from.", "validation": "Chosen by.", "test": "Judged on; never learned from."}


@dataclass(frozen=True, kw_only=True)
class About:
    """What a person says about the data; None: not said, and left out."""

    name: str
    published: str | None = None
    """When it was prepared, as an ISO 8601 date."""
    description: str | None = None
    url: str | None = None
    creator: str | None = None
    languages: tuple[str, ...] = ()
    """ISO 639-1 codes."""


def write_croissant(
    folder: Path,
    card: DataCard,
    licences: Licences,
    about: About,
    *,
    steps: Sequence[StepRecord] = (),
    stages: Sequence[StageHash] = (),
) -> Path:
    """Write `croissant.json` beside the splits.

    Args:
        folder: The run's data folder, with its splits in place.
        card: What preparation found and did.
        licences: Of every source.
        about: What a person says about the data.
        steps: What the cleaning steps found and did.
        stages: Content hashes, in order.

    Returns:
        Its path.
    """
    path = DataFolder(folder).croissant
    value = describe_croissant(folder, card, licences, about, steps=steps, stages=stages)
    write_bytes(path, json.dumps(value, ensure_ascii=False, indent=2).encode("utf-8") + b"\n")
    return path


def describe_croissant(
    folder: Path,
    card: DataCard,
    licences: Licences,
    about: About,
    *,
    steps: Sequence[StepRecord] = (),
    stages: Sequence[StageHash] = (),
) -> dict[str, Any]:
    """The same as a JSON-LD object.

    Args:
        folder: The run's data folder, with its splits in place.
        card: What preparation found and did.
        licences: Of every source.
        about: What a person says about the data.
        steps: What the cleaning steps found and did.
        stages: Content hashes, in order.
    """
    by_source = {licence.source: licence for licence in licences.sources}
    value: dict[str, Any] = {
        "@context": dict(CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": [VERSION, RAI_VERSION],
        "name": about.name,
        "description": about.description or _description(card),
        "url": about.url or hash_name(card.fingerprint),
        "identifier": hash_name(card.fingerprint),
        "version": "1.0.0",
        "license": _licences(licences),
    }
    if about.published:
        value["datePublished"] = about.published
    if about.creator:
        value["creator"] = {"@type": "sc:Organization", "name": about.creator}
    if about.languages:
        value["inLanguage"] = list(about.languages)
    value["prov:wasDerivedFrom"] = [_source(source, by_source.get(source.name)) for source in card.files]
    value["prov:wasGeneratedBy"] = {"@type": "prov:Activity", "prov:label": "metier: data preparation"}
    value["rai:dataPreprocessingProtocol"] = _protocol(card, steps, stages)
    names = [name for name, split in card.splits.items() if split.rows]
    value["distribution"] = [_file(folder, name, card) for name in names]
    value["recordSet"] = [*([_labels(card)] if card.labels else []), *(_records(folder, name, card) for name in names)]
    return value


def hash_name(sha256: str) -> str:
    """A URI that names content by its hash (RFC 6920).

    Args:
        sha256: 64 hex digits.
    """
    return "ni:///sha-256;" + base64.urlsafe_b64encode(bytes.fromhex(sha256)).decode("ascii").rstrip("=")


def _description(card: DataCard) -> str:
    rows = ", ".join(f"{split.rows:,} {name}" for name, split in card.splits.items())
    labels = f" with {len(card.labels):,} labels" if card.labels else ""
    sources = ", ".join(source.name for source in card.sources[:5])
    more = f" and {len(card.sources) - 5:,} more files" if len(card.sources) > 5 else ""
    return f"Records for {card.task}{labels} ({rows}), prepared from {sources}{more}."


def _licences(licences: Licences) -> list[Any]:
    """Addresses of the licences; what has none is a work with a name, an unknown one says so."""
    found: dict[str, Any] = {}
    for source in licences.sources:
        if source.licence is None:
            name = f"unknown: {source.source}"
            found[name] = {"@type": "sc:CreativeWork", "name": name}
        elif source.urls == (f"https://spdx.org/licenses/{source.licence}.html",):
            found[source.licence] = source.urls[0]
        else:
            found[source.licence] = {"@type": "sc:CreativeWork", "name": source.licence}
    return list(found.values())


def _source(source: SourceFile, licence: SourceLicence | None) -> dict[str, Any]:
    named = licence.licence if licence is not None and licence.licence is not None else "unknown"
    return {
        "@id": hash_name(source.sha256),
        "@type": "prov:Entity",
        "prov:label": source.name,
        "sha256": source.sha256,
        "dct:license": named,
    }


def _protocol(card: DataCard, steps: Sequence[StepRecord], stages: Sequence[StageHash]) -> list[str]:
    """What was done to the rows, as sentences; first repairs and rejections, then every cleaning step."""
    said = [f"Repair: {name} ({count:,} records changed)" for name, count in card.changed.items()]
    said += [f"Rejected: {reason} ({count:,} rows)" for reason, count in card.rejected.items()]
    for step in steps:
        done = ", ".join(f"{count:,} {what}" for what, count in step.done.items()) or "nothing done"
        said.append(
            f"Step {step.step}, version {step.version}: {step.looked_at:,} rows looked at, "
            f"{step.doubts:,} doubts, {done}"
        )
    said += [f"After {stage.name}: {stage.rows:,} rows, SHA-256 {stage.sha256}" for stage in stages]
    return said


def _file(folder: Path, name: str, card: DataCard) -> dict[str, Any]:
    path = DataFolder(folder).split(name)
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "description": f"{card.splits[name].rows:,} records. {_SPLIT_WORDS.get(name, '')}".strip(),
        "contentUrl": path.name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": _PARQUET,
        "sha256": file_sha256(path),
    }


def _every_label(card: DataCard) -> list[str]:
    return sorted({*card.labels, *(label for split in card.splits.values() for label in split.label_counts)})


def _labels(card: DataCard) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "labels",
        "name": "labels",
        "description": "Every label that a record has.",
        "dataType": "sc:Enumeration",
        "key": {"@id": "labels/name"},
        "field": [{"@type": "cr:Field", "@id": "labels/name", "name": "name", "dataType": _TEXT}],
        # Those that only test has too: a record whose label is not here would be lost in a join.
        "data": [{"labels/name": label} for label in _every_label(card)],
    }


def _records(folder: Path, name: str, card: DataCard) -> dict[str, Any]:
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    columns = [column for column in pq.read_schema(DataFolder(folder).split(name)).names if column in _COLUMNS]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": _SPLIT_WORDS.get(name, name),
        "key": {"@id": f"{name}/id"},
        "field": [_field(name, column, labelled=bool(card.labels)) for column in columns],
    }


def _field(split: str, column: str, *, labelled: bool) -> dict[str, Any]:
    kind, words = _COLUMNS[column]
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{split}/{column}",
        "name": column,
        "description": words,
        "dataType": [_TEXT, kind] if kind.startswith("cr:") else kind,
        "source": {"fileObject": {"@id": f"{split}.parquet"}, "extract": {"column": column}},
    }
    if column == "label" and labelled:
        field["references"] = {"field": {"@id": "labels/name"}}
    return field
