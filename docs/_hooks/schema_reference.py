"""MkDocs hook: a page with ``<!-- generated: schema NAME -->`` gets the tables of ``emo_edge/schemas/NAME``.

A key that the schema does not explain takes the docstring of the field with its name, of the class with its object's.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[2] / "emo_edge"
SCHEMAS = PACKAGE / "schemas"
MARK = re.compile(r"<!-- generated: schema ([\w.-]+) -->")
TITLES = {"manifest-2.json": "Manifest", "result-2.json": "Result", "table-1.json": "Row", "track-1.json": "Row"}
"""Of a document that is one object."""
Schema = dict[str, Any]


@cache
def field_docstrings() -> dict[tuple[str, str], str]:
    """Collect the docstrings of all classes' fields by class and field, without importing anything."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for one in (node for node in tree.body if isinstance(node, ast.ClassDef)):
            for field, after in pairwise(one.body):
                named = isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
                text = after.value if isinstance(after, ast.Expr) else None
                if named and isinstance(text, ast.Constant) and isinstance(text.value, str):
                    found[one.name, field.target.id] = text.value
    return found


def type_of(value: Schema) -> str:
    """Describe the type of a value in a few words; a named object is a link to its table."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf"):
        if key in value:
            return " or ".join(type_of(one) for one in value[key])
    if "const" in value or "enum" in value:
        return " or ".join(f"`{json.dumps(one)}`" for one in value.get("enum", [value.get("const")]))
    kind = value.get("type", "any")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        return _array(value)
    values = [value.get("additionalProperties"), *value.get("patternProperties", {}).values()]
    if kind == "object" and (typed := [one for one in values if isinstance(one, dict) and one]):
        return f"object of {type_of(typed[0])}"
    return f"{kind}{_limits(value)}"


def _array(value: Schema) -> str:
    least, most = value.get("minItems"), value.get("maxItems")
    first = value.get("items") or value.get("prefixItems", [{}])[0]
    if least is None and most is None:
        return f"array of {type_of(first)}"
    count = f"{least}" if least == most else f"{least or 0} to {most}" if most else f"at least {least}"
    return f"array of {count} {type_of(first)}"


def _limits(value: Schema) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}
    limits = [f"{sign} {value[key]}" for key, sign in signs.items() if key in value]
    return f" ({', '.join(limits)})" if limits else ""


def table(value: Schema, name: str, path: str = "") -> Iterator[str]:
    """Yield the rows of an object's keys; the keys of objects inside it follow with their path."""
    for key, one in value.get("properties", {}).items():
        inner = next(
            (part for part in (*one.get("oneOf", []), one.get("items", {}), one) if "properties" in part), None
        )
        default = "" if "default" not in one else "its defaults" if "$ref" in one else f"`{json.dumps(one['default'])}`"
        needed = "required" if key in value.get("required", []) else default
        kind = type_of(one) if inner is None else ("array of objects" if "items" in one else "object")
        if inner is not None and "oneOf" in one:
            kind = "null or object"
        described = one.get("description") or field_docstrings().get((name, key), "")
        meaning = " ".join(described.replace("``", "`").replace("|", "\\|").split())
        yield f"| `{path}{key}` | {kind} | {needed} | {meaning} |"
        if inner is not None:
            yield from table(inner, "", f"{path}{key}{'[]' if 'items' in one else ''}.")


def object_section(name: str, value: Schema) -> Iterator[str]:
    """Yield the Markdown lines of one object of the schema."""
    description = value.get("description", "").replace("``", "`")
    yield from (f"### {name} {{ #{name.lower()} }}", "", description, "")
    yield from ("| key | type | required, or default | meaning |", "|---|---|---|---|", *table(value, name), "")


def schema_reference(name: str) -> str:
    """Return the Markdown of a schema: the document first, then every object it names, in alphabetical order."""
    schema = json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    whole = {TITLES[name]: schema} if "properties" in schema else {}
    sections = {**whole, **schema.get("$defs", {})}
    return "\n".join(line for name, value in sections.items() for line in object_section(name, value))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill the marks in."""
    return MARK.sub(lambda found: schema_reference(found[1]), markdown)
