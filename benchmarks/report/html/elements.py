"""HTML and SVG elements in which text is always escaped."""

from __future__ import annotations

from html import escape

from emo_edge.benchmarks.report.cells import clean


class Markup(str):
    """Text that is markup already: nothing but `tag` and `joined` makes it, and the page's own constants."""

    __slots__ = ()


VOID = frozenset({"meta", "link", "br", "line", "rect", "circle", "path", "polyline"})
"""Elements without content here; HTML takes the short form of SVG's own."""


def tag(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """Write an element.

    Args:
        name: of the element.
        children: escaped, unless they are `Markup`.
        attributes: values are escaped, numbers shortened; None leaves one out. ``_`` in a name stands for ``-``, one
            at its end for nothing.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(clean(_shortened(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{written}>" if name in ("meta", "link", "br") else f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{joined(*children)}</{name}>")


def joined(*children: str) -> Markup:
    """Put text and markup in a row."""
    return Markup("".join(child if isinstance(child, Markup) else escape(clean(child)) for child in children))


def _shortened(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
