"""How fast a device can go at most, and how long a given work takes at least and at most.

A node's time is that of starting it, and of what limits it then: products by the rate of multiplications or by the
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
                share = math.log(size / low) / math.log(high / low)
                return size / (slow * math.pow(fast / slow, share))
        raise AssertionError("the sizes are in order")


def constant(rate: float) -> Curve:
    """Return a rate that holds for every size."""
    return Curve(((1.0, rate),))


@dataclass(frozen=True)
class Speed:
    """One set of rates of one engine on one device."""

    products: Mapping[str, Curve]
    """Operations a second by precision; ``attention`` is of products of two activations, where it differs."""
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
        """Name what takes most of the time: compute, memory or overhead."""
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
        shares = {"compute": compute, "memory": memory, "overhead": overhead}
        return max(shares, key=shares.__getitem__)

    def node(self, node: Node) -> float:
        """Return how long one node takes; a view takes nothing where it was not measured."""
        if node.kind == "view":
            return self.memory["view"].seconds(0.0) if "view" in self.memory else 0.0
        return self.node_s + max(self._parts(node))

    def _parts(self, node: Node) -> tuple[float, float]:
        curve = self.products.get(node.precision) or self.products["fp32"]
        if node.kind == "attention":
            curve = self.products.get("attention", curve)
        flops = curve.seconds(node.flops) if node.kind in ("product", "attention") else 0.0
        return flops, self.memory[node.kind].seconds(node.bytes)


@dataclass(frozen=True)
class Engine:
    """One engine on one device: the fastest and the slowest that it is to be expected."""

    fast: Speed
    slow: Speed

    def seconds(self, work: Work) -> Interval:
        """Return the least and the most that one call of this work takes."""
        return Interval(self.fast.seconds(work), self.slow.seconds(work))


@dataclass(frozen=True)
class Device:
    """What a plan needs to know of a device."""

    name: str
    title: str
    memory: float
    """Bytes that the hardware has."""
    left: float
    """Bytes that the system leaves for us."""
    runtime: float
    """Bytes that the engines take beside weights and activations."""
    graphs: Engine
    language: Mapping[str, Engine]
    """By variant of the language model; ``""`` is any other."""
    label_s: float
    """Seconds that scoring takes for each label, beside the engine's work and the softmax, on the processor."""
    softmax_s: float
    """Seconds that a session's own softmax takes for one logit, on the processor."""
    half_is_native: bool
    """Whether float16 graphs stay float16; a processor without such arithmetic keeps them in float32."""
    measured: bool
    notes: tuple[str, ...] = field(default=())

    def language_engine(self, variant: str) -> Engine:
        """Return the engine that runs this variant; raise KeyError where `knows` is False."""
        return self.language.get(variant) or self.language[""]

    def knows(self, variant: str | None) -> bool:
        """Tell whether the speed of a language variant is known; it is not where others alone were measured."""
        return variant is None or variant in self.language or "" in self.language
