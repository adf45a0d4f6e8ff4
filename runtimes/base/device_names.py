"""Names of the devices that a bundle can be opened on."""

from __future__ import annotations

DEVICES = ("auto", "tensorrt", "cuda", "openvino", "cpu")
"""Names of devices. ``auto`` tries the cards in this order, then ``cpu``."""
GPU_DEVICES = ("tensorrt", "cuda")
