"""What a self-test concludes: how near each device's readings are to the CPU's, and how long they take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

import numpy as np

from emo_edge.metrics.gates import DEVICE_POSE_DEGREES, DEVICE_PROBABILITY
from emo_edge.metrics.label_agreement import kl_divergence

SELFTEST_VERSION = 1


def distance(cpu: Mapping[str, Mapping[str, float]], other: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Compare label probabilities by drawing and label.

    Returns the share of equal winners, the largest difference of a probability and the mean KL(cpu || other) in nats.
    """
    labels = list(next(iter(cpu.values())))
    true, found = (np.array([[rows[name][label] for label in labels] for name in cpu]) for rows in (cpu, other))
    divergence = kl_divergence(true, found, floored=False)
    return {
        "label_agreement": float((true.argmax(-1) == found.argmax(-1)).mean()),
        "max_probability_error": float(np.abs(true - found).max()),
        "kl_mean": float(divergence.mean()),
        "samples": float(len(true)),
    }


def judged(runs: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Add to each device's run its distance from the CPU's, what is wrong with it, and its times in short."""
    reference = runs.get("cpu", {}).get("probabilities")
    found = {}
    for device, run in runs.items():
        added: dict[str, Any] = {}
        if "problem" not in run:
            added["summary_ms"] = summary(run["stage_ms"])
            if reference and any(reference.values()):
                added["distance_from_cpu"] = measured = distance(reference, run["probabilities"])
                if not measured["max_probability_error"] <= DEVICE_PROBABILITY:
                    added["strays"] = (
                        f"a probability differs by {measured['max_probability_error']:.3f} from the CPU's, "
                        f"the gate is {DEVICE_PROBABILITY}"
                    )
            turned = _largest_turn(runs["cpu"].get("pose", {}), run["pose"])
            if turned is not None:
                added["pose_difference_degrees"] = turned
                if not turned <= DEVICE_POSE_DEGREES:
                    added.setdefault(
                        "strays", f"a head's pose differs by {turned:.2f} degrees, the gate is {DEVICE_POSE_DEGREES}"
                    )
        found[device] = run | added
    return found


def _largest_turn(cpu: Mapping[str, Mapping[str, float]], other: Mapping[str, Mapping[str, float]]) -> float | None:
    differences = [abs(pose[axis] - other[name][axis]) for name, pose in cpu.items() for axis in pose]
    return max(differences, default=None)


def summary(rounds: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Median, 90th percentile and smallest of each stage's milliseconds, and of their total."""
    stages = dict.fromkeys(stage for times in rounds for stage in times)
    columns = {stage: [times.get(stage, 0.0) for times in rounds] for stage in stages}
    columns["total"] = [sum(times.values()) for times in rounds]
    return {
        name: {"p50": median(values), "p90": float(np.percentile(values, 90)), "min": min(values)}
        for name, values in columns.items()
        if values
    }


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Write a report for people."""
    bundle, runs = report["bundle"], report["devices"]
    yield f"{bundle['name']}: {bundle['files']} files intact; profile {report['profile']}"
    yield ""
    yield f"{'device':<10} {'total p50':>10} {'p90':>9} {'memory':>9}  readings beside the CPU's"
    for device, run in runs.items():
        if "problem" in run:
            yield f"{device:<10} {'-':>10} {'-':>9} {'-':>9}  not run: {run['problem']}"
            continue
        total, memory = run["summary_ms"]["total"], (run["peak_memory_bytes"] or math.nan) / 1e9
        times = f"{total['p50']:>7.1f} ms {total['p90']:>6.1f} ms"
        yield f"{device:<10} {times} {memory:>6.2f} GB  {_beside(device, run)}"
        stages = ", ".join(f"{name} {row['p50']:.1f}" for name, row in run["summary_ms"].items() if name != "total")
        yield f"{'':<10} {stages}"


def _beside(device: str, run: Mapping[str, Any]) -> str:
    if device == "cpu":
        return "the measure"
    measured, turned = run.get("distance_from_cpu"), run.get("pose_difference_degrees")
    texts = [f"pose within {turned:.2f} degrees"] if turned is not None else []
    if measured:
        largest = f"largest difference {measured['max_probability_error']:.4f}"
        texts.insert(0, f"labels agree {measured['label_agreement']:.3f}, {largest}")
    text = ", ".join(texts) or "nothing to compare"
    return f"{text}; STRAYS: {run['strays']}" if "strays" in run else text
