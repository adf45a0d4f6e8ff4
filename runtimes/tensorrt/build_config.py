"""Configuration of an engine: enough to build it in another process, and to recognise it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

BUILDER = 1
"""Incremented when the builder compiles another engine from the same recipe."""
Shapes = dict[str, tuple[list[int], list[int], list[int]]]
"""Smallest, most frequent and largest shape of each input."""


@dataclass(frozen=True)
class EngineConfig:
    """One graph in one precision, and the sizes, memory and effort it is compiled with."""

    graph: str
    """Absolute path of the ONNX file."""
    digest: str
    """sha256 over the sha256 of the graph's files, as the bundle states them."""
    name: str
    """Component and variant, such as ``vision fp16``."""
    shapes: Shapes
    workspace_mib: int = 1024
    optimization_level: int = 3

    def flags(self) -> dict[str, Any]:
        """Return what changes the engine but not the machine: everything but where the graph lies."""
        return {name: value for name, value in asdict(self).items() if name != "graph"} | {"builder": BUILDER}

    def to_json(self) -> str:
        """Write it for the process that builds."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> EngineConfig:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        shapes = {name: tuple(list(sizes) for sizes in triple) for name, triple in values.pop("shapes").items()}
        return cls(shapes=shapes, **values)  # type: ignore[arg-type]


def files_digest(hashes: list[str]) -> str:
    """One digest for several files, from their own."""
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def engine_key(recipe: EngineConfig, machine: dict[str, str]) -> str:
    """Name of the engine in the cache: changes with graph, sizes, flags, TensorRT, GPU, driver or system."""
    facts = {"recipe": recipe.flags(), "machine": machine}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
