"""Licences are SPDX expressions; what nobody knows is said, or refused."""

from __future__ import annotations

import pytest

from metier.data.card import SourceFile
from metier.data.record.licences import USUAL, SourceLicence, check_licences
from metier.errors import DataError


def source(name: str) -> SourceFile:
    return SourceFile(
        name=name,
        path=f"/data/{name}",
        sha256="0" * 64,
        format="csv",
        encoding=None,
        delimiter=None,
        rows=1,
        columns=(),
    )


SOURCES = [source("a.csv"), source("b.csv"), source("c.jsonl")]


def test_names_win_over_patterns_and_earlier_patterns_over_later_ones() -> None:
    found = check_licences(SOURCES, {"*.csv": "MIT", "*": "CC0-1.0", "b.csv": "cc-by-4.0"})
    assert [one.licence for one in found.sources] == ["MIT", "CC-BY-4.0", "CC0-1.0"]
    assert found.unknown == ()
    assert found.notices == ()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("mit or apache-2.0", "MIT OR Apache-2.0"),
        ("gpl-2.0-only with classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("LicenseRef-Our-Contract", "LicenseRef-Our-Contract"),
        ("  CC-BY-SA-3.0 ", "CC-BY-SA-3.0"),
        ("unknown", None),
        ("Unknown", None),
    ],
)
def test_expressions_take_their_normal_form(given: str, wanted: str | None) -> None:
    assert check_licences(SOURCES[:1], {"a.csv": given}).sources[0].licence == wanted


@pytest.mark.parametrize("name", USUAL)
def test_the_usual_ids_are_in_the_list(name: str) -> None:
    assert check_licences(SOURCES[:1], {"*": name.lower()}).sources[0].licence == name


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"a.csv": "CC BY 4.0"}, r"data\.licenses\.a\.csv: `CC BY 4\.0` is no SPDX licence expression, wanted such as "
                                 r"CC-BY-4\.0, or unknown\. Did you mean CC-BY-4\.0\?"),
        ({"*": "our own"}, r"data\.licenses\.\*: `our own` is no SPDX .* your own: LicenseRef-<name>\."),
        ({"*": ""}, r"`` is no SPDX licence expression"),
        ({"*": "MIT OR"}, r"`MIT OR` is no SPDX licence expression"),
        ({"a.cvs": "MIT"}, r"data\.licenses: `a\.cvs` is no source, wanted one of a\.csv, b\.csv, c\.jsonl, or `\*`\. "
                           r"Did you mean `a\.csv`\?"),
    ],
)  # fmt: skip
def test_what_is_no_licence_is_refused(stated: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_licences(SOURCES, stated)


def test_an_unknown_licence_by_policy() -> None:
    stated = {"a.csv": "MIT", "b.csv": "unknown"}
    assert check_licences(SOURCES, stated, policy="allow").notices == ()
    assert check_licences(SOURCES, stated, policy="allow").unknown == ("b.csv", "c.jsonl")
    (notice,) = check_licences(SOURCES, stated).notices
    assert notice == "licence unknown: b.csv, c.jsonl; say it in data.licenses, or data.unknown_license: allow"
    with pytest.raises(DataError, match=r"the licence of b\.csv, c\.jsonl is not known, and data\.unknown_license is "
                                        r"refuse, wanted a licence for every source\. State it"):  # fmt: skip
        check_licences(SOURCES, stated, policy="refuse")


def test_no_commerce_is_said() -> None:
    found = check_licences(SOURCES, {"*": "MIT", "c.jsonl": "CC-BY-NC-SA-4.0"}, policy="allow")
    assert found.notices == ("licence forbids commercial use: c.jsonl",)


def test_ids_and_addresses_of_an_expression() -> None:
    one = SourceLicence(source="a", licence="(MIT OR GPL-2.0-or-later WITH Classpath-exception-2.0) AND LicenseRef-x")
    assert one.ids == ("MIT", "GPL-2.0-or-later", "LicenseRef-x")
    assert one.urls == ("https://spdx.org/licenses/MIT.html", "https://spdx.org/licenses/GPL-2.0-or-later.html")
