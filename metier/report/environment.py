"""How templates become HTML: everything is escaped but our own style sheet and our own figures."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from metier.report import formats


def page_environment() -> tuple[Environment, Markup]:
    """The environment of all pages, and the style sheet that they carry inside."""
    environment = Environment(
        loader=PackageLoader("metier.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: formats.printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Our own style sheet and our own figures (whose texts are escaped) are all that is not escaped here.
    environment.filters["drawn"] = lambda drawing: Markup(drawing.inline)
    environment.filters["ticked"] = ticked
    environment.filters["heading"] = formats.metric_heading
    style, _, _ = environment.loader.get_source(environment, "style.css")  # type: ignore[union-attr]
    return environment, Markup(style)


def ticked(text: str) -> Markup:
    """Text, escaped, in which `these signs` become code; an odd sign stays what it is.

    Args:
        text: Anything.
    """
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    code = Markup("<code>{}</code>")
    return Markup("").join(code.format(part) if number % 2 else escape(part) for number, part in enumerate(parts))
