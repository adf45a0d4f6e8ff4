"""The words: docstrings begin with a verb or a noun phrase, identifiers are the field's terms."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("emo_edge", "runtimes", "export", "calibration", "benchmarks")
OPENINGS = {
    *("What", "Whatever", "Who", "Which", "Where", "When", "How", "Whether", "Why"),
    *("Tell", "Tells", "Say", "Says", "Hear", "Hears", "Is", "Does"),
}
"""Words that no docstring begins with."""
BANNED = {
    *("told", "said", "seen", "heard", "found", "share", "shares", "beside", "strays", "dearest"),
    *("nearness", "cure", "cures", "mend", "mended", "judged", "turn", "turns"),
}
"""Words that no function, class, argument or variable is named after, alone or joined by underscores."""
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text
        body = getattr(node, "body", None)
        for assignment, text in pairwise(body) if isinstance(body, list) else ():
            if isinstance(assignment, (ast.Assign, ast.AnnAssign)) and is_text(text):
                yield text.lineno, text.value.value


def is_text(node: ast.stmt) -> bool:
    """Return whether a statement is a string alone: after an assignment, its docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def identifiers(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id


def words_of(identifier: str) -> set[str]:
    return set(identifier.lower().strip("_").split("_"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_docstrings_and_identifiers_use_the_fields_words(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    openings = [
        f"line {line}: {text.splitlines()[0]}" for line, text in docstrings(tree) if text.split()[0] in OPENINGS
    ]
    names = [f"line {line}: {name}" for line, name in identifiers(tree) if words_of(name) & BANNED]
    assert not openings, "docstrings that begin with no verb or noun phrase:\n" + "\n".join(openings)
    assert not names, "identifiers that are not the field's terms:\n" + "\n".join(names)


def test_the_check_finds_what_it_is_for() -> None:
    tree = ast.parse('def told_shares(beside):\n    """Tell the shares."""\n    found = 1\n    """What it is."""\n')
    assert [text for _, text in docstrings(tree) if text.split()[0] in OPENINGS] == ["Tell the shares.", "What it is."]
    assert sum(bool(words_of(name) & BANNED) for _, name in identifiers(tree)) == 3
