"""SIGKILL of ``emo-edge label`` at random moments, then the command again: the same rows, none double."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emo_edge.console.children import code_command

CODE = "from emo_edge.cli import main; main()"


def killed_runs(
    bundle: Path, pictures: Path, work: Path, options: list[str], count: int, seed: int, report: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Kill ``count`` runs, each at a moment drawn from the time of a whole run, and finish them; return each trial.

    Raises AssertionError for rows that differ from those of a run without a kill.
    """
    draw, trials, started = random.Random(seed), list[dict[str, Any]](), time.perf_counter()
    command = code_command(CODE, "label", str(bundle), str(pictures), *options, "--out")
    subprocess.run([*command, str(work / "whole")], check=True, capture_output=True)
    seconds, expected = time.perf_counter() - started, _rows(work / "whole")
    for number in range(count):
        out, after = work / f"killed-{number}", draw.uniform(0.0, seconds)
        with subprocess.Popen([*command, str(out)], stderr=subprocess.DEVNULL) as process:
            try:
                process.wait(after)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        left = _rows(out)
        if len({row["source"] for row in left}) != len(left):
            raise AssertionError(f"killed after {after:.2f} s: rows are double")
        again = subprocess.run([*command, str(out)], capture_output=True, text=True, check=True)
        read = int(again.stderr.partition(" read in ")[0].rpartition("\n")[2].replace(",", ""))
        if (rows := _rows(out)) != expected:
            raise AssertionError(
                f"killed after {after:.2f} s: other rows than without a kill: {difference(rows, expected)}"
            )
        trials.append({"after_s": after, "rows_left": len(left), "read_again": read})
        report(f"killed after {after:.2f} s with {len(left)} rows, {read} read by the next run: the same rows")
        shutil.rmtree(out)
    return trials


def difference(rows: list[dict[str, Any]], expected: list[dict[str, Any]]) -> str:
    """Describe the first row that is another, by the values that differ; or how many rows there are."""
    if len(rows) != len(expected):
        return f"{len(rows)} instead of {len(expected)}"
    row, other = next((pair for pair in zip(rows, expected, strict=True) if pair[0] != pair[1]), ({}, {}))
    values = ", ".join(
        f"{name} {value} instead of {other[name]}" for name, value in row.items() if value != other[name]
    )
    return f"{row.get('source')}: {values}"


def _rows(folder: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet

    tables = [pyarrow.parquet.read_table(path).drop_columns(["read_ms"]) for path in folder.glob("part-*.parquet")]
    return sorted((row for table in tables for row in table.to_pylist()), key=lambda row: (row["source"], row["face"]))
