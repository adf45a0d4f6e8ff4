"""Print coverage by folder and fail below its floor: ``python .ci/coverage_floors.py build/coverage.json [--update]``.

The floors are percentages in ``[tool.emo-edge.coverage]`` of pyproject.toml; ``--update`` makes today's figures the
floors. The report is that of ``coverage json``.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # of coverage[toml]

PROJECT = Path(__file__).parent.parent / "pyproject.toml"
TABLE = "[tool.emo-edge.coverage]\n"


def coverage_by_folder(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the percentage of lines that ran, by top folder."""
    lines: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, file in report["files"].items():
        folder = lines[Path(name).parts[0]]
        folder[0] += file["summary"]["covered_lines"]
        folder[1] += file["summary"]["num_statements"]
    return {name: 100 * covered / total for name, (covered, total) in sorted(lines.items()) if total}


def failures(coverage: Mapping[str, float], floors: Mapping[str, float]) -> list[str]:
    """Return a line for each folder below its floor, without a floor, or not measured."""
    below = [
        f"{name}: {value:.1f} % is below the floor of {floors[name]:.1f} %"
        for name, value in coverage.items()
        if name in floors and value < floors[name]
    ]
    unknown = [f"{name}: no floor; make coverage-floors sets it" for name in coverage if name not in floors]
    return [*below, *unknown, *(f"{name}: not measured" for name in floors if name not in coverage)]


def with_floors(project: str, coverage: Mapping[str, float]) -> str:
    """Return pyproject.toml with today's coverage, rounded down to a tenth, as the floors."""
    rows = "".join(f"{name} = {math.floor(10 * value) / 10}\n" for name, value in coverage.items())
    head, table, rest = project.partition(TABLE)
    kept = re.sub(r"\A(?:[\w-]+ = [\d.]+\n)*", "", rest)
    return head + table + rows + kept


def main(report: str, option: str = "") -> None:
    """Print the table; update the floors, or exit with 1 where coverage fails them."""
    coverage = coverage_by_folder(json.loads(Path(report).read_text(encoding="utf-8")))
    project = PROJECT.read_text(encoding="utf-8")
    floors = tomllib.loads(project)["tool"]["emo-edge"]["coverage"]
    for name, value in coverage.items():
        print(f"{name:<12} {value:5.1f} %  floor {floors.get(name, 'none')}")
    if option == "--update":
        PROJECT.write_text(with_floors(project, coverage), encoding="utf-8")
    elif problems := failures(coverage, floors):
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main(*sys.argv[1:])
