"""Measure ONNX Runtime on this machine: rates of matmuls, of attention's matmuls and of all else by size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emo_edge.bundle.engine_settings import CudaSettings
from emo_edge.planning.cost.work import Kind, Precision
from emo_edge.planning.probes.graphs import GraphProbe
from emo_edge.planning.probes.timing import median_seconds
from emo_edge.planning.roofline import Curve, Engine, Speed, constant
from emo_edge.runtimes.loading.device_choice import TENSOR_RUNTIMES, runtime

MATMUL_SHAPES = ((8, 64), (64, 160), (64, 512), (256, 1024))
ATTENTION_SHAPES = ((4, 16, 16), (8, 49, 49), (16, 64, 64), (16, 256, 256))
PLAIN_SHAPES = ((8, 64), (64, 160), (256, 1024), (1024, 2048))
CHAINS = (16, 128)
"""Nodes of a graph: many of the smallest ones, so that a node's time differs from the call's."""
UNBOUND = constant(math.inf)


@dataclass(frozen=True)
class GraphTimer:
    """Times graphs of equal nodes in ONNX Runtime."""

    directory: Path
    """Of the graphs' files."""
    device: str
    threads: int | None
    cuda: CudaSettings | None = None

    def seconds(self, probe: GraphProbe) -> float:
        """Return the time of one call of a probe's graph."""
        source, target = probe.spec()
        path = probe.write(self.directory / "probe.onnx")
        feed = {"x": np.full(probe.shape, 0.01, np.float32)}
        session_class = runtime(TENSOR_RUNTIMES["onnx"])
        with session_class(
            path, [source], [target], device=self.device, threads=self.threads, cuda=self.cuda
        ) as session:
            return median_seconds(lambda: session.run(feed))

    def call_seconds(self) -> float:
        """Return the time of a call itself, without its nodes."""
        few, many = (self.seconds(GraphProbe("move", "fp32", (1, 8), chain)) for chain in CHAINS)
        return max(few - CHAINS[0] * (many - few) / (CHAINS[1] - CHAINS[0]), 0.0)

    def curve(self, kind: Kind, precision: Precision, shapes: Sequence[tuple[int, ...]], call: float) -> Curve:
        """Return the rate of one kind of node by size; ``call`` is the time of a call itself."""
        points = []
        for shape in shapes:
            probe = GraphProbe(kind, precision, shape, CHAINS[shape == shapes[0]])
            whole = self.seconds(probe)
            size = probe.node.flops or probe.node.bytes
            points.append((size, probe.chain * size / max(whole - call, whole / 2)))
        return Curve(tuple(sorted(points)))


def graph_engine(
    directory: Path, precisions: Iterable[Precision], device: str, threads: int | None, cuda: CudaSettings | None = None
) -> Engine:
    """Measure ONNX Runtime with graphs that are written to ``directory``."""
    timer = GraphTimer(directory, device, threads, cuda)
    call = timer.call_seconds()
    matmuls = {
        str(name): timer.curve("matmul", name, MATMUL_SHAPES, call) for name in dict.fromkeys(("fp32", *precisions))
    }
    matmuls["attention"] = timer.curve("attention", "fp32", ATTENTION_SHAPES, call)
    memory: dict[Kind, Curve] = {"matmul": UNBOUND, "attention": UNBOUND}
    memory["function"] = timer.curve("function", "fp32", PLAIN_SHAPES, call)
    memory["move"] = memory["cast"] = memory["view"] = timer.curve("move", "fp32", PLAIN_SHAPES, call)
    speed = Speed(matmuls, memory, 0.0, call)
    return Engine(speed, speed)
