from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.sources import read_table
from metier.data.stream import HowToRead, stream_rows
from metier.data.xml_reader import compiled_path
from metier.errors import DataError, MissingPackage

Write = Callable[..., Path]
TICKETS = """<?xml version="1.0"?>
<tickets xmlns="http://example.org/t" version="2">
  <!-- made up -->
  <meta><row>not one of them by path</row></meta>
  <list>
    <row id="7">
      <subject lang="en">Late &amp; lost</subject><body>It is <b>very</b> late.</body><tag>a</tag><tag>b</tag>
    </row>
    <row id="8"><subject lang="de">Grüße</subject><body/></row>
    <row>only a text</row>
  </list>
</tickets>
"""


def rows(path: Path, records: str | None = ".//row") -> list[dict[str, str | None]]:
    return [row for batch in stream_rows(path, HowToRead(records=records)) for row in batch.rows]


def test_attributes_and_child_texts_become_columns(write: Write) -> None:
    path = write("d.xml", TICKETS)
    assert rows(path, "list/row") == [
        {"id": "7", "subject": "Late & lost", "subject_lang": "en", "body": "It is very late.", "tag": '["a", "b"]'},
        {"id": "8", "subject": "Grüße", "subject_lang": "de", "body": None},
        {"text": "only a text"},
    ]
    stream = stream_rows(path, HowToRead(records="list/row"))
    list(stream)
    assert stream.summary().source.columns == ("id", "subject", "subject_lang", "body", "tag", "text")
    assert len(rows(path)) == 4


trees = st.recursive(
    st.sampled_from("abc").map(lambda name: f"<{name}/>"),
    lambda inner: st.builds(
        lambda name, children: f"<{name}>{''.join(children)}</{name}>",
        st.sampled_from("abc"),
        st.lists(inner, max_size=3),
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(tree=trees, path=st.sampled_from([".//a", "a", "b/a", ".//b/c", "a//b", "./*", "*/a", ".//a/*/b"]))
def test_paths_mean_what_they_mean_in_the_standard_library(tree: str, path: str) -> None:
    root = ElementTree.fromstring(f"<root>{tree}</root>")
    fits = compiled_path(path)
    found = []

    def walk(element: ElementTree.Element, names: tuple[str, ...]) -> None:
        for child in element:
            if fits((*names, child.tag)):
                found.append(child)
            walk(child, (*names, child.tag))

    walk(root, ("root",))
    assert set(found) == set(root.findall(path))


def test_an_absolute_path_names_the_root(write: Write) -> None:
    path = write("d.xml", TICKETS)
    assert len(rows(path, "/tickets/list/row")) == 3
    with pytest.raises(DataError, match=r"data\.records: `/other/row` leads to nothing in d\.xml\. There are: `\.//"):
        rows(path, "/other/row")


def test_without_a_path_there_is_a_question_that_names_what_repeats(write: Write) -> None:
    with pytest.raises(
        DataError, match=r"data\.records: is not set, and d\.xml is XML.*`\.//row` \(3 times\), `\.//body` \(2 times\)"
    ):
        read_table(write("d.xml", TICKETS))


@pytest.mark.parametrize("path", ["", "row[1]", "a///b", ".//", "@id"])
def test_other_paths_are_an_error(path: str) -> None:
    with pytest.raises(DataError, match=r"data\.records: is `.*`, wanted names between slashes, such as \.//row"):
        compiled_path(path)


LAUGHS = '<!ENTITY l0 "ha">' + "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]><x><row>&l9;</row></x>', "declares entities", id="laughs"
        ),
        pytest.param(
            '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><x><row>&e;</row></x>',
            "declares entities",
            id="file",
        ),
        pytest.param("<x><row>a</row>\n<row>b</x>", "is no well-formed XML at line 2", id="damaged"),
        pytest.param("<x><row>a</row>", "is no well-formed XML at line 1", id="cut"),
        pytest.param("<x>" * 2000 + "</x>" * 2000, "has more than 1,000 elements inside each other", id="deep"),
        pytest.param(
            '<?xml version="1.0" encoding="hex"?><x><row/></x>', "encoding that cannot be read", id="encoding"
        ),
    ],
)
def test_xml_that_is_damaged_or_an_attack_is_an_error(write: Write, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        rows(write("d.xml", text))


def test_a_missing_defusedxml_says_how_to_install_it(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "defusedxml", None)
    with pytest.raises(MissingPackage, match=r"defusedxml: is needed to read XML, and not installed\. Install it: pip"):
        rows(write("d.xml", TICKETS))


def test_real_documents(real_data: Callable[[str], Path]) -> None:
    files = sorted((real_data("medical/medquad") / "raw_xml").glob("*.xml"))
    found = [row for file in files for row in rows(file, ".//QAPair")]
    assert len(files) == 40
    whole = [pair for file in files for pair in ElementTree.parse(file).iter("QAPair")]
    assert [row["Question"] for row in found] == [(pair.findtext("Question") or "").strip() or None for pair in whole]
    assert {"pid", "Question", "Question_qid", "Question_qtype", "Answer"} == set(found[0])
