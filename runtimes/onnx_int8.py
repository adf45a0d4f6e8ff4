"""Exact products of bytes in ONNX Runtime on x86 processors that have no instruction for them.

AVX2 and plain AVX-512 add two products of a uint8 with an int8 in 16 bits, which saturate: outputs are wrong without a
word. ONNX Runtime 1.12 and later multiply uint8 with uint8 there, slower and exact, if a session asks for it (its pull
request 12088). Processors with VNNI or AMX, and ARM, are exact as they are.
"""

from __future__ import annotations

import logging
import platform
from functools import cache
from typing import Any

from emo_edge.machine.hardware import read_cpu_entries

logger = logging.getLogger(__name__)
EXACT = "session.x64quantprecision"
UNFUSED = "session.disable_quant_qdq"
"""Setting that computes quantized nodes in float32, their inputs and weights rounded to bytes all the same."""
WIDE_SUMS = {"avx_vnni", "avx512_vnni", "amx_int8"}
"""The kernel's words for instructions that add products of bytes in 32 bits."""
SHARED_WEIGHT = "Attempt to replace the existing tensor"
"""Words of ONNX Runtime's error where two nodes share a weight, which it converts twice."""


@cache
def sums_saturate() -> bool:
    """Return whether ONNX Runtime's default products of bytes saturate on this processor."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    flags = (read_cpu_entries().get("flags") or [""])[0].split()
    return bool(flags) and not WIDE_SUMS.intersection(flags)


def open_session(ort: Any, model: str | bytes, options: Any, providers: Any) -> Any:
    """Open a graph on the CPU so that its products of bytes are exact; raises what ONNX Runtime raises.

    There is no second attempt with the same provider, which would print to standard output.

    Args:
        ort: ONNX Runtime's module.
        model: name of a file, or its content.
        options: of the session; more are added.
        providers: as ONNX Runtime takes them.
    """
    if not sums_saturate():
        return ort.InferenceSession(model, options, providers=providers, enable_fallback=0)
    options.add_session_config_entry(EXACT, "1")
    try:
        return ort.InferenceSession(model, options, providers=providers, enable_fallback=0)
    except Exception as error:
        # ONNX Runtime's errors have no class of their own.
        if SHARED_WEIGHT not in str(error):
            raise
    logger.info("a weight is shared by two nodes: computed in float32, for this processor's products of bytes saturate")
    options.add_session_config_entry(EXACT, "0")
    options.add_session_config_entry(UNFUSED, "1")
    return ort.InferenceSession(model, options, providers=providers, enable_fallback=0)
