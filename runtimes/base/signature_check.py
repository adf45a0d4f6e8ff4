"""Is a graph the one that the bundle describes? Names, dtypes and sizes, whatever engine holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emo_edge.tensors import TensorSpec

Held = tuple[str, tuple[int | None, ...]]
"""Dtype and sizes of an input or output as an engine has it; None is an axis whose size varies."""


def differences(kind: str, specs: Sequence[TensorSpec], held: Mapping[str, Held]) -> list[str]:
    """Say by name what is missing, there without being described, or of another dtype or size."""
    described = {spec.name: (spec.dtype, fixed_sizes(spec.shape)) for spec in specs}
    return [
        f"{kind} {name} is {_words(held.get(name))}, described as {_words(described.get(name))}"
        for name in sorted(described.keys() | held.keys())
        if described.get(name) != held.get(name)
    ]


def fixed_sizes(shape: Sequence[int | str | None]) -> tuple[int | None, ...]:
    """Forget the names of varying axes, which do not matter."""
    return tuple(size if isinstance(size, int) else None for size in shape)


def _words(value: Held | None) -> str:
    if value is None:
        return "missing"
    dtype, sizes = value
    return f"{dtype} [{', '.join('*' if size is None else str(size) for size in sizes)}]"
