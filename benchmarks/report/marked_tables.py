"""Tables of a document that a command replaces."""

from __future__ import annotations

from collections.abc import Mapping

from emo_edge.errors import InputError


def updated(page: str, parts: Mapping[str, str]) -> str:
    """Return a page with new text between the marks ``<!-- name -->`` and ``<!-- /name -->`` of each part."""
    for name, text in parts.items():
        before, mark, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not mark or not end:
            raise InputError(f"the page has no marks <!-- {name} --> and <!-- /{name} -->")
        page = f"{before}{mark}{text}\n{end}{after}"
    return page
