"""A small ONNX graph with a known result, for trials of graph engines."""

from __future__ import annotations

import base64

SMALL_GRAPH = base64.b64decode(
    "CAgSCGVtby1lZGdlOpIBChEKAXgKAXcSAXAiBk1hdE11bAoOCgFwCgFiEgFzIgNBZGQKDAoBcxIBeSIEUmVsdRIFc21hbGwqGwgCCAIQAUIBd0oQ"
    "AACAPwAAAEAAAEBAAACAQCoRCAIQAUIBYkoIAADAwAAAgD9aEwoBeBIOCgwIARIICgIIAQoCCAJiEwoBeRIOCgwIARIICgIIAQoCCAJCBAoAEBE="
)
"""An ONNX file: y = relu(x w + b) with w = [[1, 2], [3, 4]], b = [-6, 1]. The test writes it again with onnx.helper."""
SMALL_INPUT, SMALL_OUTPUT = [[2.0, 1.0]], [[0.0, 9.0]]


def wrong_result(value: list[list[float]]) -> str | None:
    """Return the problem of a result that is not `SMALL_OUTPUT`; None if it is."""
    return None if value == SMALL_OUTPUT else f"computes {value} instead of {SMALL_OUTPUT}"
