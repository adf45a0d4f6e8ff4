"""Compare each device's outputs with the CPU's, and summarize its times."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

import numpy as np

from emo_edge.metrics.gates import DEVICE_POSE_DEGREES, DEVICE_PROBABILITY
from emo_edge.metrics.label_agreement import kl_divergence

Values = Mapping[str, Mapping[str, float]]
"""By drawing, then by label or axis."""


def distance(cpu: Values, other: Values) -> dict[str, float]:
    """Compare label probabilities by drawing and label.

    Returns the fraction of equal top labels, the largest difference of a probability and the mean KL(cpu || other) in
    nats.
    """
    labels = list(next(iter(cpu.values())))
    reference, values = (np.array([[rows[name][label] for label in labels] for name in cpu]) for rows in (cpu, other))
    divergence = kl_divergence(reference, values, floored=False)
    return {
        "label_agreement": float((reference.argmax(-1) == values.argmax(-1)).mean()),
        "max_probability_error": float(np.abs(reference - values).max()),
        "kl_mean": float(divergence.mean()),
        "samples": float(len(reference)),
    }


def compared_runs(runs: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Add to each device's run its distance from the CPU's, what exceeds a tolerance, and a summary of its times."""
    cpu = runs.get("cpu", {})
    return {device: run if "problem" in run else run | _comparison(cpu, run) for device, run in runs.items()}


def summary(rounds: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return median, 90th percentile and minimum of each stage's milliseconds, and of their total."""
    stages = dict.fromkeys(stage for times in rounds for stage in times)
    columns = {stage: [times.get(stage, 0.0) for times in rounds] for stage in stages}
    columns["total"] = [sum(times.values()) for times in rounds]
    return {
        name: {"p50": median(values), "p90": float(np.percentile(values, 90)), "min": min(values)}
        for name, values in columns.items()
        if values
    }


def _comparison(cpu: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that a comparison adds to a run; ``strays`` is there where a tolerance is exceeded."""
    added: dict[str, Any] = {"summary_ms": summary(run["stage_ms"])}
    reference = cpu.get("probabilities")
    if reference and any(reference.values()):
        added["distance_from_cpu"] = measured = distance(reference, run["probabilities"])
        if not measured["max_probability_error"] <= DEVICE_PROBABILITY:
            added["strays"] = (
                f"a probability differs by {measured['max_probability_error']:.3f} from the CPU's, "
                f"the gate is {DEVICE_PROBABILITY}"
            )
    degrees = _largest_difference(cpu.get("pose", {}), run["pose"])
    if degrees is not None:
        added["pose_difference_degrees"] = degrees
        if not degrees <= DEVICE_POSE_DEGREES:
            message = f"a head's pose differs by {degrees:.2f} degrees, the gate is {DEVICE_POSE_DEGREES}"
            added.setdefault("strays", message)
    return added


def _largest_difference(cpu: Values, other: Values) -> float | None:
    differences = [abs(pose[axis] - other[name][axis]) for name, pose in cpu.items() for axis in pose]
    return max(differences, default=None)
