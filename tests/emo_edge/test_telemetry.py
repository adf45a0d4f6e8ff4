"""Switches of libraries that report their use, set before anything can read them."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("emo_edge", "runtimes", "export", "calibration", "benchmarks")
OPENERS = {"onnxruntime": "emo_edge/telemetry.py", "llama_cpp": "runtimes/llama_cpp/library.py"}
"""The one file that may import each engine: it sets what the engine reads at its first import."""


def imports(path: Path) -> Iterator[str]:
    """Yield each module that a file imports, by statement or by name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("import_module", "__import__"):
            yield from (str(word.value) for word in node.args if isinstance(word, ast.Constant))


def child(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={"PATH": "", **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", OPENERS)
def test_one_file_imports_an_engine(module: str) -> None:
    found = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if any(name == module or name.startswith(f"{module}.") for name in imports(path))
    }
    # Both import it again, behind the opener, for its version.
    assert found - {"emo_edge/diagnostics/trials/llama.py"} == {OPENERS[module]}


@pytest.mark.parametrize("before", [{}, {"ORT_DISABLE_TELEMETRY": "0", "HF_HUB_DISABLE_TELEMETRY": "0"}])
def test_importing_the_package_sets_every_switch_for_children_too(before: dict[str, str]) -> None:
    code = (
        "import emo_edge, os, subprocess, sys\n"
        "from emo_edge.telemetry import SWITCHES\n"
        "assert SWITCHES.items() <= os.environ.items()\n"
        "print(subprocess.run(['/usr/bin/env'], capture_output=True, text=True).stdout)"
    )
    lines = child(code, **before).splitlines()
    assert {"ORT_DISABLE_TELEMETRY=1", "HF_HUB_DISABLE_TELEMETRY=1"} <= set(lines)


@pytest.mark.parametrize(
    ("first", "warned"),
    [("import emo_edge, onnxruntime", False), ("import onnxruntime, emo_edge", True), ("import emo_edge", False)],
)
def test_a_library_that_was_imported_too_early_is_named(first: str, warned: bool, tmp_path: Path) -> None:
    code = (
        f"{first}\nimport logging\nlogging.basicConfig(format='%(message)s')\n"
        "from emo_edge.telemetry import open_onnxruntime\nopen_onnxruntime()\nopen_onnxruntime()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "", "HOME": str(tmp_path), "CI": "true"},
    )
    assert done.stderr.count("imported before emo_edge") == int(warned), done.stderr


def test_the_command_line_stays_offline() -> None:
    code = "import emo_edge.cli.app, os; print(os.environ['HF_HUB_OFFLINE'])"
    assert child(code).split() == ["1"]
