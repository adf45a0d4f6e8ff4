"""Versions of the packages that made a file or a figure."""

from __future__ import annotations

from importlib import import_module

TOOLS = ("torch", "transformers", "onnx", "onnxruntime", "llama_cpp")
"""Modules whose versions a bundle names; several packages bring the same one (onnxruntime, onnxruntime-gpu)."""


def tool_versions() -> dict[str, str]:
    """Return the versions of the packages that make a bundle."""
    return {tool: str(import_module(tool).__version__) for tool in TOOLS}
