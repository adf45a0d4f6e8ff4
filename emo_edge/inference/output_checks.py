"""Check of every graph's outputs before anything is computed from them: finite, and inside the range of their head.

A processor, a driver or a graph that computes nonsense gives numbers that look like a result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from emo_edge.bundle.manifest import FACE_TOKENS, LABEL_LOGITS, UNIT_INTENSITY, UNIT_PRESENCE, VALUES
from emo_edge.bundle.prompts import ValueRange
from emo_edge.errors import BundleError, DeviceError, EmoEdgeError
from emo_edge.tensors import Tensor

BASELINE_DEVICE = "cpu"
"""Every other device is compared with it, so what it computes is the bundle's own."""
LARGEST = {
    "landmarks": 3.0,
    "pose": math.pi,
    UNIT_INTENSITY: 5.0,
    **dict.fromkeys(("attributes", "visibility", "age", "gender", "race", UNIT_PRESENCE, LABEL_LOGITS), 65504.0),
    **dict.fromkeys(("visual_tokens", FACE_TOKENS), 65504.0),
}
"""Largest magnitude by output: a landmark lies in the crop, [-1, 1], or one crop beside it; pose is in radians. Logits
and embeddings fit into float16, as those of every checkpoint do: the language model's norms hide larger ones."""
LEAST = {UNIT_INTENSITY: 0.0}
"""Least value of an output that is never below 0; that of any other is its largest magnitude below 0."""
ROUNDING = 1e-6


def require_sound(part: str, outputs: Mapping[str, Tensor], device: str, values: Sequence[ValueRange] = ()) -> None:
    """Raise an error that names graph, output and value where an output cannot be a result.

    Args:
        part: the component whose graph it is.
        outputs: its arrays by name.
        device: where it ran; what the CPU computes is the bundle's fault, a BundleError, else it is a DeviceError.
        values: the scales of the output `VALUES`, whose numbers lie at most one scale's length beside theirs.
    """
    _require_on_scale(part, outputs, device, values)
    for name, given in outputs.items():
        wrong = _wrong_value(name, given)
        if wrong is not None:
            reason = "no finite number" if not math.isfinite(wrong) else f"outside of {_range(name)}"
            raise _error(f"the {part} graph computes {name} {wrong:.4g} on {device}, {reason}", device)


def _require_on_scale(part: str, outputs: Mapping[str, Tensor], device: str, values: Sequence[ValueRange]) -> None:
    """Raise as `require_sound` does for a number that lies far beside its scale; one that is not finite is its own."""
    for scale, column in zip(values, outputs[VALUES].T if values else (), strict=True):
        length = scale.high - scale.low
        far = column[(column < scale.low - length) | (column > scale.high + length)]
        if np.isfinite(far).any():
            wrong = float(far[np.isfinite(far)][0])
            reason = f"far outside of its scale, {scale.low:g} to {scale.high:g}"
            raise _error(f"the {part} graph computes {scale.name} {wrong:.4g} on {device}, {reason}", device)


def _wrong_value(name: str, values: Tensor) -> float | None:
    """Return the worst value that cannot be a result; None if all can."""
    finite = np.isfinite(values)
    if not finite.all():
        return float(values[~finite].flat[0])
    if name not in LARGEST or not values.size:
        return None
    least, most = LEAST.get(name, -LARGEST[name]), LARGEST[name]
    low, high = float(values.min()), float(values.max())
    worst = high if high - most > least - low else low
    return worst if worst > most + ROUNDING or worst < least - ROUNDING else None


def _range(name: str) -> str:
    return f"{LEAST[name]:g} to {LARGEST[name]:g}" if name in LEAST else f"±{LARGEST[name]:.4g}"


def _error(text: str, device: str) -> EmoEdgeError:
    if device == BASELINE_DEVICE:
        return BundleError(f"{text}: another `profile` may do; else export the bundle again, or ask who made it")
    return DeviceError(f"{text}: the device computes nonsense; use `device` {BASELINE_DEVICE}, and see emo-edge doctor")
