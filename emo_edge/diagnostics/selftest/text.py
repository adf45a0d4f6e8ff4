"""The self-test's report as text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any


def report_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a report for people."""
    bundle, runs = report["bundle"], report["devices"]
    yield f"{bundle['name']}: {bundle['files']} files intact; profile {report['profile']}"
    yield ""
    yield f"{'device':<10} {'total p50':>10} {'p90':>9} {'memory':>9}  compared with the CPU"
    for device, run in runs.items():
        if "problem" in run:
            yield f"{device:<10} {'-':>10} {'-':>9} {'-':>9}  not run: {run['problem']}"
            continue
        total, memory = run["summary_ms"]["total"], (run["peak_memory_bytes"] or math.nan) / 1e9
        times = f"{total['p50']:>7.1f} ms {total['p90']:>6.1f} ms"
        yield f"{device:<10} {times} {memory:>6.2f} GB  {_comparison(device, run)}"
        stages = ", ".join(f"{name} {row['p50']:.1f}" for name, row in run["summary_ms"].items() if name != "total")
        yield f"{'':<10} {stages}"


def _comparison(device: str, run: Mapping[str, Any]) -> str:
    if device == "cpu":
        return "the baseline"
    measured, degrees = run.get("distance_from_cpu"), run.get("pose_difference_degrees")
    texts = [f"pose within {degrees:.2f} degrees"] if degrees is not None else []
    if measured:
        largest = f"largest difference {measured['max_probability_error']:.4f}"
        texts.insert(0, f"labels agree {measured['label_agreement']:.3f}, {largest}")
    text = ", ".join(texts) or "nothing to compare"
    return f"{text}; EXCEEDS THE TOLERANCE: {run['strays']}" if "strays" in run else text
