"""JSON that other programs read never holds NaN or Infinity, which JSON does not have."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("emo_edge", "runtimes", "export", "calibration", "benchmarks")
OWN = {
    "benchmarks/emo_tiny/loop.py",
    "calibration/int8/range_state.py",
    "calibration/int8/sensitivity.py",
    "calibration/language/mixed_types.py",
    "calibration/language/mixture_search.py",
    "emo_edge/utils/cache.py",
    "runtimes/tensorrt/engine_cache.py",
}
"""Files that only we read again: a training log, which may hold a loss of NaN, kept work and caches."""
TEXTS = {
    "benchmarks/hostile/checkpoints/weights.py",
    "benchmarks/hostile/journals.py",
    "benchmarks/hostile/mutate.py",
    "benchmarks/hostile/seals.py",
    "benchmarks/hostile/statistics.py",
    "benchmarks/measure/cold_start.py",
    "benchmarks/serving/fuzz.py",
    "benchmarks/studies/resolve_extras.py",
    "benchmarks/workload/journal.py",
    "calibration/workflow/prepare.py",
    "emo_edge/diagnostics/selftest/report_file.py",
    "emo_edge/diagnostics/selftest/run.py",
    "export/bundles/config.py",
    "export/importers/checkpoint_writer.py",
    "export/importers/tensors.py",
    "runtimes/loading/openvino_graphs.py",
    "runtimes/tensorrt/build_config.py",
    "runtimes/tensorrt/builder.py",
}
"""Files that also make JSON of settings, names and digests, orders to their own children, and files to be refused."""


def lax_calls(path: Path) -> Iterator[int]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("dumps", "dump"):
            owner = node.func.value
            strict = any(word.arg == "allow_nan" for word in node.keywords)
            if isinstance(owner, ast.Name) and owner.id == "json" and not strict:
                yield node.lineno


@pytest.mark.parametrize("package", PACKAGES)
def test_results_and_reports_are_strict(package: str) -> None:
    names = {path: str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.py")}
    lax = {name: lines for path, name in names.items() if (lines := list(lax_calls(path)))}
    assert not lax.keys() - OWN - TEXTS, f"json.dumps without allow_nan=False: {lax}"
