"""Versions of the packages that made a file or a figure."""

from __future__ import annotations

from importlib import import_module

from emo_edge.utils.extras import unloadable

TOOLS = ("torch", "transformers", "onnx", "onnxruntime", "llama_cpp")
"""Modules whose versions a bundle names; several packages bring the same one (onnxruntime, onnxruntime-gpu)."""


def tool_versions() -> dict[str, str]:
    """Return the versions of the packages that make a bundle; raise MissingExtraError for one that does not load."""
    return {tool: _version(tool) for tool in TOOLS}


def _version(tool: str) -> str:
    try:
        return str(import_module(tool).__version__)
    except (ImportError, OSError, RuntimeError) as error:
        raise unloadable(tool, error) from error
