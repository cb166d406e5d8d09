from __future__ import annotations

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.data.cleaning.markup import without_markup

PIECES = [
    "<", ">", "</", "/>", "<b>", "</b>", "<i>", "</i>", "<br>", "<p>", "</p>", "<td>", "<!--", "-->", "-", "<script>",
    "</script>", "`", "```", "&", "&amp;", "&lt;", "&gt;", "&#60;", "&#x26;", "amp;", "lt;", "#60;", "&nbsp;", "&#10;",
    "<a href='x'>", '<a href="', "a", "b", " ", "\n", "!", "=", "&quot;", "<source>", "é", "&l", "t;", "<?xml", "?>",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        pytest.param("<p>Hello <b>you</b>,</p><p>there</p>", "\nHello you,\nthere\n", id="blocks and emphasis"),
        pytest.param("one<br>two<br/>three<BR />four", "one\ntwo\nthree\nfour", id="line breaks"),
        pytest.param("H<sub>2</sub>O", "H2O", id="inside a word"),
        pytest.param("<tr><td>1</td><td>2</td></tr>", "\n 1  2 \n", id="cells stay apart"),
        pytest.param('see <a href="http://x.y/?a=1&b=2" target=_blank>here</a>', "see here", id="a link"),
        pytest.param("<input type=text disabled> name", " name", id="an attribute without a value"),
        pytest.param("(a) one (see b);<br>(b) two", "(a) one (see b);\n(b) two", id="a semicolon is no code"),
        pytest.param("a<!-- hidden <b> -->b", "a\nb", id="a comment"),
        pytest.param("a<style>p {color: red}</style>b", "a\nb", id="a style sheet goes with its content"),
        pytest.param("end</div>", "end\n", id="a closing tag alone"),
        pytest.param("Tom &amp; Jerry&#39;s caf&eacute; &ndash; 5&nbsp;&euro;", "Tom & Jerry's café – 5 €", id="names"),
        pytest.param("&#8220;x&#x201D; &#150;", "“x” –", id="numbers, Windows' too"),
        pytest.param("&amp;amp;lt;3 &amp;quot;", '<3 "', id="escaped more than once"),
        pytest.param("&lt;br&gt;next", "\nnext", id="escaped markup"),
    ],
)
def test_leftovers_become_what_a_reader_sees(text: str, seen: str) -> None:
    assert without_markup(text) == seen


@pytest.mark.parametrize(
    "text",
    [
        "if a < b and c > d or a<b and b>c",
        "write to <me@here.org> or Me <me@here.org>",
        "List<T>, Map<String, List<Integer>>, vector<b>, Array<i> and Option<Source>",
        "use <your name> as <name>, <title>, <address> or <source>",
        "a <b and c> d",
        "# Title\n\n* `<b>bold</b>`\n\n```html\n<p>&amp;</p>\n```\n> quoted",
        "<https://example.org/a?b=c&d=e>",
        "AT&T; R&D; fish & chips; p = &sum; q = &theta; ?a=1&lt=2&copy=3",
        "I <3 you, -> and <- and <= and >= and <> and </3",
        "mv <source> <target>; cat <file >out 2>&1",
        "&#0; &#xD800; &#97; &nosuch; &;",
        "a <- b; c <b",
        "answer with <br> between the lines",
        'append "<br/>" to each line',
        "a closing tag (</p>) ends it",
        "<!DOCTYPE html><html><body><p>a page</p></body></html>",
        "<?php echo 1 ?> <p>x</p>",
        """find . -exec echo "<a href=\\"{}\\">{}</a>" \\;""",
        'sed "s|<title>some</title>|<title>${file}</title>|g"',
        "Dear {{name}},<br><br>welcome",
        "function f() {\n  return <b>1</b>\n}",
        "",
    ],
)
def test_what_may_be_meant_stays(text: str) -> None:
    assert without_markup(text) == text


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=25).map("".join))
def test_twice_is_once(text: str) -> None:
    once = without_markup(text)
    assert without_markup(once) == once


@given(st.text(st.characters(exclude_categories=["C"], exclude_characters="`;#&\xa0{}$\\"), max_size=30))
def test_escaped_text_comes_back(text: str) -> None:
    # The standard library escapes; what it escaped is what comes back, where no markup was in the text itself.
    if "<" not in text:
        assert without_markup(html.escape(text)) == text


def test_time_grows_with_the_length_of_hostile_text() -> None:
    hostile = ["<" * 1000, "<b " * 400, "&" * 1000, "&amp;" * 300, "<a x='" * 200, "<!--" * 300, "<script>" * 120]
    hostile += ["<<b>" * 300, "`" * 1000, "<b><i></b>" * 100, "-<b>->" * 200, "<p " + "a " * 500]
    for text in hostile:
        without_markup(text * 20)  # must end; a quadratic rule takes minutes here
