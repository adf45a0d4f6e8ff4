"""Comparison of a graph with the bundle's description: names, dtypes and sizes, in any engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emo_edge.tensors import TensorSpec

Port = tuple[str, tuple[int | None, ...]]
"""Dtype and sizes of an input or output in an engine; None is an axis whose size varies."""


def differences(kind: str, specs: Sequence[TensorSpec], ports: Mapping[str, Port]) -> list[str]:
    """List by name what is missing, there without being described, or of another dtype or size."""
    described = {spec.name: (spec.dtype, fixed_sizes(spec.shape)) for spec in specs}
    return [
        f"{kind} {name} is {_words(ports.get(name))}, described as {_words(described.get(name))}"
        for name in sorted(described.keys() | ports.keys())
        if described.get(name) != ports.get(name)
    ]


def fixed_sizes(shape: Sequence[int | str | None]) -> tuple[int | None, ...]:
    """Return a shape without the names of varying axes, which do not matter."""
    return tuple(size if isinstance(size, int) else None for size in shape)


def _words(value: Port | None) -> str:
    if value is None:
        return "missing"
    dtype, sizes = value
    return f"{dtype} [{', '.join('*' if size is None else str(size) for size in sizes)}]"
