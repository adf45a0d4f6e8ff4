"""Coverage by folder and its floors, on a small report."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "coverage_floors.py"
PROJECT = """\
[tool.ruff]
line-length = 120

[tool.emo-edge.coverage]
emo_edge = 50.0

[tool.other]
key = 1
"""


@pytest.fixture(scope="module")
def floors() -> ModuleType:
    spec = importlib.util.spec_from_file_location("coverage_floors", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(**lines: tuple[int, int]) -> dict[str, Any]:
    names = {name.replace("__", "/") + ".py": counts for name, counts in lines.items()}
    return {
        "files": {
            name: {"summary": {"covered_lines": covered, "num_statements": total}}
            for name, (covered, total) in names.items()
        }
    }


def test_files_are_summed_by_their_top_folder(floors: ModuleType) -> None:
    measured = report(emo_edge__a=(9, 10), emo_edge__planning__b=(0, 20), runtimes__c=(3, 4), runtimes__empty=(0, 0))
    assert floors.coverage_by_folder(measured) == {"emo_edge": 30.0, "runtimes": 75.0}


def test_a_folder_below_its_floor_or_without_one_fails(floors: ModuleType) -> None:
    assert floors.failures({"emo_edge": 50.0}, {"emo_edge": 50.0}) == []
    assert floors.failures({"emo_edge": 49.9, "runtimes": 80.0}, {"emo_edge": 50.0, "export": 60.0}) == [
        "emo_edge: 49.9 % is below the floor of 50.0 %",
        "runtimes: no floor; make coverage-floors sets it",
        "export: not measured",
    ]


def test_updated_floors_are_rounded_down_and_the_rest_stays(floors: ModuleType) -> None:
    updated = floors.with_floors(PROJECT, {"emo_edge": 91.29, "runtimes": 80.0})
    assert updated == PROJECT.replace("emo_edge = 50.0\n", "emo_edge = 91.2\nruntimes = 80.0\n")


def test_the_projects_floors_are_percentages_of_its_folders() -> None:
    if sys.version_info < (3, 11):
        pytest.skip("waits for tomllib of Python 3.11")
    import tomllib

    root = SCRIPT.parent.parent
    table = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["emo-edge"]["coverage"]
    assert all((root / name).is_dir() and 0 < value <= 100 for name, value in table.items())
