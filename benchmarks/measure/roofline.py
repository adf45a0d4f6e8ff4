"""Roofline of this machine, its copies and matmuls measured on the spot, and the floor of each stage.

The floor of a stage is the time that its weights, activations and matmuls take at these two rates without any wait
(Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009). Weights that stay in the processor's cache are read faster
than memory is copied, and int8 matmuls may be faster than those measured: the fraction is above 1 then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, get_args

from emo_edge.benchmarks.measure.timing import timed_ms
from emo_edge.bundle.reader import Bundle
from emo_edge.machine.cpus import limited_cpus
from emo_edge.planning.capacity_plan import PlanRequest
from emo_edge.planning.cost.work import Kind
from emo_edge.planning.models import BundleModel
from emo_edge.planning.planner import make_plan
from emo_edge.planning.roofline import Device, Engine, Speed, constant

COPIED = 1 << 28
"""Bytes: far more than any cache holds."""
SIDE, ROUNDS = 2048, 5
TRIED_SIDE, MUCH_SLOWER = 256, 4.0
"""A type whose small matmul takes this many times as long as the other's is not measured: on a processor without
bfloat16 a large one takes a minute."""
PLENTY = float(1 << 60)


@dataclass(frozen=True)
class Roofline:
    """The two rates of a roofline."""

    copy_bytes_per_s: float
    """Read and written."""
    matmul_flops_per_s: float
    """Two a multiplication with its sum."""
    dtype: str
    """Of the fastest matmul."""


def measure_roofline(threads: int | None) -> Roofline:
    """Measure copies and square matmuls through PyTorch, in float32 and, where it may be faster, bfloat16."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads or limited_cpus() or before)
    try:
        source, target = (torch.ones(COPIED // 8, dtype=torch.float32) for _ in range(2))
        copied = median(timed_ms(partial(target.copy_, source)) for _ in range(ROUNDS))
        tried = {dtype: _matmul_ms(dtype, min(TRIED_SIDE, SIDE)) for dtype in (torch.float32, torch.bfloat16)}
        times = {
            dtype: _matmul_ms(dtype, SIDE) for dtype, ms in tried.items() if ms <= MUCH_SLOWER * min(tried.values())
        }
    finally:
        torch.set_num_threads(before)
    fastest = min(times, key=times.__getitem__)
    name = str(fastest).removeprefix("torch.")
    return Roofline(1000 * COPIED / copied, 1000 * 2 * SIDE**3 / times[fastest], name)


def _matmul_ms(dtype: Any, side: int) -> float:
    """Time a product of two square matrices."""
    import torch

    matrix = torch.ones(side, side, dtype=dtype)
    product = partial(torch.mm, matrix, matrix, out=torch.empty_like(matrix))
    return median(timed_ms(product) for _ in range(ROUNDS))


def roofline_of(
    bundle: Bundle, profile: str, labels: Sequence[str], roofline: Roofline, stages: dict[str, Any]
) -> dict[str, Any] | None:
    """Return ``roofline`` of a row: one face's stages against the machine's roofline.

    None where the labels are none of the bundle's sets: their prompt's length is not known beforehand.
    """
    names = [name for name, known in bundle.manifest.label_sets.items() if known == tuple(labels)]
    if not names:
        return None
    plan = make_plan(BundleModel(bundle), _device(roofline), PlanRequest(labels=names[0]), [profile])
    floors = {}
    for stage in plan.profiles[0].stages:
        if stage.name in stages and (stage.flops or stage.weight_bytes or stage.activation_bytes):
            floor, took = stage.ms.least, stages[stage.name]["p50"]
            moved = stage.weight_bytes + stage.activation_bytes
            fraction = floor / took if took > 0 else None
            floors[stage.name] = {"bytes": moved, "flops": stage.flops, "floor_ms": floor, "share": fraction}
    return floors


def _device(roofline: Roofline) -> Device:
    """Describe a device that does everything at the roofline and loses no time in between."""
    products, memory = constant(roofline.matmul_flops_per_s), constant(roofline.copy_bytes_per_s)
    speed = Speed({"fp32": products}, dict.fromkeys(get_args(Kind), memory))
    engine = Engine(speed, speed)
    return Device(
        name="roofline",
        title="the roofline of this machine",
        memory=PLENTY,
        left=PLENTY,
        runtime=0.0,
        graphs=engine,
        language={"": engine},
        label_s=0.0,
        softmax_s=0.0,
        half_is_native=True,
        measured=True,
    )
