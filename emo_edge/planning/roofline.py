"""The roofline of a device, and the least and the most time that given work takes there.

A node's time is that of starting it, and of what limits it then: matmuls by the rate of multiplications or by the
memory, all else by the memory (Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from emo_edge.planning.cost.work import Kind, Node, Work


@dataclass(frozen=True)
class Interval:
    """The least and the most that a figure may be; both are the same where it was measured."""

    least: float
    most: float

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.least + other.least, self.most + other.most)

    def __mul__(self, factor: float) -> Interval:
        return Interval(self.least * factor, self.most * factor)

    def text(self, digits: int = 1) -> str:
        """Format the interval; one number where both ends are the same to ``digits``."""
        low, high = f"{self.least:.{digits}f}", f"{self.most:.{digits}f}"
        return low if low == high else f"{low} to {high}"


NOTHING = Interval(0.0, 0.0)


@dataclass(frozen=True)
class Curve:
    """A rate that depends on how large one node is: (size, rate), by size.

    Between two sizes the rate is interpolated on logarithmic axes. Beyond the largest it stays; below the smallest the
    time stays, because starting a node is what it takes then.
    """

    points: tuple[tuple[float, float], ...]

    def seconds(self, size: float) -> float:
        """Return how long a node of this size takes."""
        (first, rate), (last, final) = self.points[0], self.points[-1]
        if len(self.points) == 1 or size >= last:
            return size / final
        if size <= first:
            return first / rate
        for (low, slow), (high, fast) in pairwise(self.points):
            if size <= high:
                fraction = math.log(size / low) / math.log(high / low)
                return size / (slow * math.pow(fast / slow, fraction))
        raise AssertionError("the sizes are in order")


def constant(rate: float) -> Curve:
    """Return a rate that holds for every size."""
    return Curve(((1.0, rate),))


@dataclass(frozen=True)
class Speed:
    """One set of rates of one engine on one device."""

    matmuls: Mapping[str, Curve]
    """Operations a second by precision; ``attention`` is of matmuls of two activations, where it differs."""
    memory: Mapping[Kind, Curve]
    """Bytes a second by kind of node."""
    node_s: float = 0.0
    """To start a node, where the curves do not hold it already."""
    call_s: float = 0.0
    """To call the engine, and to come back."""

    def seconds(self, work: Work) -> float:
        """Return how long one call of this work takes."""
        return self.call_s + sum(node.count * self.node(node) for node in work.nodes) if work.nodes else 0.0

    def bound(self, work: Work) -> str:
        """Return the largest part of the time: compute, memory or overhead."""
        compute = memory = 0.0
        overhead = self.call_s
        for node in work.nodes:
            if node.kind == "view":
                overhead += node.count * self.node(node)
                continue
            flops, moved = self._parts(node)
            compute += node.count * (flops if flops > moved else 0.0)
            memory += node.count * (moved if moved >= flops else 0.0)
            overhead += node.count * self.node_s
        parts = {"compute": compute, "memory": memory, "overhead": overhead}
        return max(parts, key=parts.__getitem__)

    def node(self, node: Node) -> float:
        """Return how long one node takes; a view takes nothing where it was not measured."""
        if node.kind == "view":
            return self.memory["view"].seconds(0.0) if "view" in self.memory else 0.0
        return self.node_s + max(self._parts(node))

    def _parts(self, node: Node) -> tuple[float, float]:
        curve = self.matmuls.get(node.precision) or self.matmuls["fp32"]
        if node.kind == "attention":
            curve = self.matmuls.get("attention", curve)
        flops = curve.seconds(node.flops) if node.kind in ("matmul", "attention") else 0.0
        return flops, self.memory[node.kind].seconds(node.bytes)


@dataclass(frozen=True)
class Engine:
    """One engine on one device: the fastest and the slowest speed to expect of it."""

    fast: Speed
    slow: Speed

    def seconds(self, work: Work) -> Interval:
        """Return the least and the most that one call of this work takes."""
        return Interval(self.fast.seconds(work), self.slow.seconds(work))


@dataclass(frozen=True)
class Device:
    """Memory and speeds of a device."""

    name: str
    title: str
    memory: float
    """Bytes that the hardware has."""
    left: float
    """Bytes that the system leaves for us."""
    runtime: float
    """Bytes that the engines take besides weights and activations."""
    graphs: Engine
    language: Mapping[str, Engine]
    """By variant of the language model; ``""`` is any other."""
    label_s: float
    """Seconds that scoring takes for each label, besides the engine's work and the softmax, on the processor."""
    softmax_s: float
    """Seconds that a session's own softmax takes for one logit, on the processor."""
    half_is_native: bool
    """Float16 graphs stay float16; a processor without such arithmetic keeps them in float32."""
    measured: bool
    notes: tuple[str, ...] = field(default=())

    def language_engine(self, variant: str) -> Engine:
        """Return the engine that runs this variant; raise KeyError where `knows` is False."""
        return self.language.get(variant) or self.language[""]

    def knows(self, variant: str | None) -> bool:
        """Return True if the speed of a language variant is known; it is not where others alone were measured."""
        return variant is None or variant in self.language or "" in self.language
