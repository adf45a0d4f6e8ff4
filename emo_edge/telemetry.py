"""Switches of the libraries that would report their use to their makers; importing `emo_edge` sets them.

Child processes inherit them. OpenVINO reports through a package of its own, which its opener keeps out of the import.
"""

from __future__ import annotations

import os
import sys
from typing import Any

SWITCHES = {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
"""Environment variables of ONNX Runtime's Linux and macOS wheels from 1.29 on, and of huggingface_hub."""
OFFLINE = {"HF_HUB_OFFLINE": "1"}
"""For programs of ours: every model and tokenizer is a local file. In a user's program the hub may be wanted."""

_late: list[str] = []


def switch_off_telemetry() -> None:
    """Set the `SWITCHES`, whatever they were; note a library that was imported without its own."""
    if "onnxruntime" in sys.modules and os.environ.get("ORT_DISABLE_TELEMETRY") != "1":
        _late.append("onnxruntime")
    os.environ.update(SWITCHES)


def stay_offline() -> None:
    """Keep the libraries of this program from looking for newer files on the network."""
    os.environ.update(OFFLINE)


def open_onnxruntime() -> Any:
    """Import ONNX Runtime, whose wheels report their use unless a switch is set before the first import.

    Warns once where a program imported it before `emo_edge`: ``disable_telemetry_events`` does not undo that. Raises
    ModuleNotFoundError without onnxruntime.
    """
    switch_off_telemetry()
    import onnxruntime

    if _late:
        import logging  # half of the time that the import of this package would take

        _late.clear()
        logging.getLogger(__name__).warning(
            "onnxruntime was imported before emo_edge, so its releases from 1.29 on may report their use: "
            "import emo_edge first, or set ORT_DISABLE_TELEMETRY=1"
        )
    return onnxruntime
