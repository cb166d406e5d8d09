"""A sheet to draw on: matplotlib without pyplot, and its SVG made fit for a page.

Takes drawing calls; gives SVG text, once as a file of its own and once to stand inside the page,
where colours become the page's own (so that dark mode works) and ids cannot clash.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from metier.report.formats import printable, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE, PAPER = "#1b1f24", "#5f6670", "#d9dde1", "#fefefe"
ACCENT, GOOD, BAD, DOUBT = "#14606e", "#2c6e49", "#a63d2f", "#8a6512"
PAGE_COLOURS = {
    INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)", PAPER: "var(--paper)",
    ACCENT: "var(--accent)", GOOD: "var(--good)", BAD: "var(--bad)", DOUBT: "var(--doubt)",
}  # fmt: skip
"""Colours of a figure's file, and the variables of `style.css` that they become inside the page."""
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
SIZE = 13.0
WIDTH = 440
"""Units across; a phone shows about 350 pixels of them, so text of 13 stays readable."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A finished figure."""

    name: str
    """File name without ending, and the prefix of all its ids."""
    caption: str
    alt: str
    """What it shows, in words, for those who cannot see it."""
    width: int
    svg: str
    """A file of its own."""
    inline: str
    """An element to stand inside the page."""


class Sheet:
    """A figure of fixed size in which one unit is one CSS pixel at full size."""

    def __init__(self, *, width: int = WIDTH, height: int) -> None:
        """Make an empty sheet of `width` by `height` units."""
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure: Figure = Figure(figsize=(width / 72, height / 72), dpi=72)

    def axes(self, *, left: float, right: float, top: float, bottom: float) -> Axes:
        """Axes with these margins in units, with a quiet frame: a baseline and no ticks."""
        box = (
            left / self.width, bottom / self.height,
            (self.width - left - right) / self.width, (self.height - top - bottom) / self.height,
        )  # fmt: skip
        axes = self.figure.add_axes(box)
        for name, spine in axes.spines.items():
            spine.set_visible(name == "bottom")
            spine.set_color(LINE)
        axes.tick_params(length=0, labelsize=SIZE, labelcolor=MUTED, pad=6)
        axes.set_facecolor("none")
        return axes

    def finish(self, *, name: str, caption: str, alt: str) -> Drawing:
        """Write the sheet as SVG, for a file and for the page."""
        import matplotlib

        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
            # Letters that matplotlib's own font lacks are drawn by the reader's fonts; their width is only a guess.
            warnings.filterwarnings("ignore", message=".*[Gg]lyph.*")
            self.figure.savefig(buffer, format="svg", metadata=nothing, transparent=True)
        alt = shortened(alt, 600)
        return Drawing(
            name=name, caption=caption, alt=alt, width=self.width,
            svg=_as_file(buffer.getvalue(), alt), inline=_as_element(buffer.getvalue(), name, alt, self.width),
        )  # fmt: skip


def write(axes: Axes, x: float, y: float, text: str, *, colour: str = INK, **options: Any) -> None:
    """Write `text` as it stands (never as a formula) at data coordinates, or as `options` say.

    Args:
        axes: Where to write.
        x: Place across.
        y: Place up.
        text: Anything, control characters excepted.
        colour: One of this file's colours.
        options: Passed to matplotlib's `Axes.text`.
    """
    options.setdefault("fontsize", SIZE)
    axes.text(x, y, printable(text), color=colour, parse_math=False, clip_on=False, **options)


def label_width(labels: list[str], *, most: int) -> int:
    """Room in units that the longest of `labels` needs, at most `most`."""
    longest = max((len(label) for label in labels), default=0)
    return min(most, round(longest * SIZE * 0.56) + 14)


def _tree(svg: str) -> ElementTree.Element:
    """The SVG without namespaces, with our font and without matplotlib's own style sheet."""
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for key in list(element.attrib):
            if "}" in key:
                element.set(key.rpartition("}")[2], element.attrib.pop(key))
        style = element.get("style")
        if style and "font-family" in style:
            parts = [part.strip() for part in style.split(";")]
            element.set("style", "; ".join(part for part in parts if not part.startswith("font-family")))
        if element.get("transform", "").startswith("rotate(-0 "):
            del element.attrib["transform"]
    return root


def _as_file(svg: str, alt: str) -> str:
    root = _tree(svg)
    root.set("xmlns", "http://www.w3.org/2000/svg")
    root.set("font-family", FONT)
    root.set("style", f"background: {PAPER}")
    title = ElementTree.Element("title")
    title.text = alt
    root.insert(0, title)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _as_element(svg: str, name: str, alt: str, width: int) -> str:
    root = _tree(svg)
    for child in [element for element in root if element.find("style") is not None]:
        root.remove(child)
    for element in root.iter():
        for key, value in element.attrib.items():
            element.set(key, _for_page(key, value, name))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-label", alt)
    root.set("style", f"--width: {width}px")
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _for_page(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href" and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    if key in ("clip-path", "fill", "stroke") and value.startswith("url(#"):
        return value.replace("url(#", f"url(#{name}-")
    if key == "style":
        for colour, variable in PAGE_COLOURS.items():
            value = value.replace(colour, variable)
    return value
