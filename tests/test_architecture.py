"""Imports go one way: cli -> benchmarks -> {export, calibration} -> runtimes -> core."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("emo_edge", "runtimes", "export", "calibration", "benchmarks")
MAY_IMPORT = {
    "emo_edge": {"emo_edge"},
    "runtimes": {"runtimes", "emo_edge"},
    "export": {"export", "runtimes", "emo_edge"},
    "calibration": {"calibration", "runtimes", "emo_edge"},
    "benchmarks": {"benchmarks", "export", "calibration", "runtimes", "emo_edge"},
}
CLI = {
    "emo_edge/calibrate_command.py",
    "calibration/workflow/calibrate.py",
    "calibration/workflow/graphs.py",
    "calibration/workflow/profiles.py",
    "calibration/workflow/config.py",
    "calibration/workflow/report.py",
}
"""Of the command line's layer, which joins the folders below it; nothing but the table of commands names them."""


def folder_of(module: str) -> str | None:
    first, _, rest = module.partition(".")
    if first != "emo_edge":
        return None
    second = rest.partition(".")[0]
    return second if second in FOLDERS else "emo_edge"


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_import_runs_back(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    reached = {folder_of(name) for name in imported(ast.parse(path.read_text(encoding="utf-8")))} - {None}
    allowed = set(FOLDERS) if path.relative_to(ROOT).as_posix() in CLI else MAY_IMPORT[folder]
    assert reached <= allowed, f"{path} reaches {sorted(map(str, reached - allowed))}"


def test_nothing_below_imports_the_command_line() -> None:
    names = {f"emo_edge.{Path(path).stem}" for path in CLI}
    users = {
        path.relative_to(ROOT).as_posix()
        for path in modules()
        if names & set(imported(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert users <= CLI
