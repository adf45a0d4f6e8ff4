"""Open a graph of a bundle in TensorRT: compiled here, compared with ONNX Runtime, refused where it strays.

The variant asked for is tried first, then the same component in float32; whoever asked falls back from there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emo_edge.bundle import Bundle
from emo_edge.engine_settings import RowRange, axis_ranges, shape_ranges
from emo_edge.errors import AccuracyGateError, DeviceMemoryError
from emo_edge.manifest import GraphComponent
from emo_edge.registry import runtime
from emo_edge.sessions import Tensor, TensorSession
from emo_edge.stored_feeds import StoredFeeds

log = logging.getLogger(__name__)
GATES = {"fp32": 0.9999, "fp16": 0.9995, "int8": 0.99}
"""Smallest cosine, over samples and outputs, between an engine and ONNX Runtime on the same file.

Float32 leaves the order of sums, fp16 is what export asks of a fp16 graph beside PyTorch, int8 what calibration asks.
"""
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class OpenedGraph:
    """A graph that runs in TensorRT: in which variant, how near, and why not as asked, if so."""

    session: TensorSession
    variant: str
    distance: Mapping[str, float]
    """Smallest cosine to ONNX Runtime, by output."""
    size: int
    """Bytes of the engine."""
    seconds: float
    """It took to build, then or now."""
    note: str = ""


class GraphCompiler:
    """Opens the graphs of one bundle in TensorRT; keeps what the comparisons need between them."""

    def __init__(
        self, bundle: Bundle, cache: Any = None, progress: Progress | None = None, threads: int | None = None
    ) -> None:
        self._bundle, self._progress, self._threads = bundle, progress, threads
        self._cache = cache or runtime("emo_edge.runtimes.engine_cache:EngineCache")()
        self._feeds = StoredFeeds(bundle, threads)

    def open(self, part: str, variant: str) -> OpenedGraph:
        """Open the component ``part`` as near to ``variant`` as its gate allows.

        Raises AccuracyGateError where every engine strays, DeviceError where none can be built or run.
        """
        component: GraphComponent = getattr(self._bundle.manifest.components, part)
        tried: list[str] = []
        for candidate in dict.fromkeys((variant, "fp32")):
            if candidate in component.variants:
                opened, reason = self._compiled(part, component, candidate)
                if opened:
                    note = f"{variant} was refused: {'; '.join(tried)}" if tried else ""
                    return replace(opened, note=note)
                log.warning("%s %s is not used in TensorRT: %s", part, candidate, reason)
                tried.append(f"{candidate}: {reason}")
        raise AccuracyGateError(f"{part}: no engine holds its gate ({'; '.join(tried)}); use --device cuda or cpu")

    def _compiled(self, part: str, component: GraphComponent, variant: str) -> tuple[OpenedGraph | None, str]:
        """Build or find the engine and compare it once; return why it may not be used instead."""
        rows = self._bundle.manifest.engines.rows
        while True:
            try:
                entry, session = self._session(part, component, variant, rows)
                break
            except DeviceMemoryError as error:
                if rows.most == 1:
                    raise
                rows = RowRange(likely=1, most=rows.most // 2)
                log.warning("%s %s: %s; trying %d at once", part, variant, error, rows.most)
        if not entry.distance:
            with _closed_on_error(session):
                found = session.run(self._feeds.feed(part))
                entry = self._judged(entry, part, variant, found)
        if entry.refused:
            session.close()
            return None, entry.refused
        return OpenedGraph(session, variant, entry.distance, entry.size, entry.seconds), ""

    def _judged(self, entry: Any, part: str, variant: str, found: Mapping[str, Tensor]) -> Any:
        distance = cosines(self._feeds.expected(part, variant), found)
        refused = gate_problem(variant, distance)
        return self._cache.judged(entry, distance, refused)

    def _session(self, part: str, component: GraphComponent, variant: str, rows: RowRange) -> tuple[Any, TensorSession]:
        trt = runtime("emo_edge.runtimes.tensorrt_api:tensorrt_module")()
        # Computed while nothing else holds memory: an Orin Nano has 5 GB for both.
        self._feeds.expected(part, variant)
        device = runtime("emo_edge.runtimes.engine_machine:open_device")()
        with _closed_on_error(device):
            machine = runtime("emo_edge.runtimes.engine_machine:engine_machine")(trt, device.facts)
            recipe = engine_recipe(self._bundle, part, component, variant, rows)
            entry = self._cache.engine(recipe, machine, self._progress, modules=[trt.__name__])
            inputs, outputs = ([contract.spec() for contract in side] for side in (component.inputs, component.outputs))
            with self._cache.content(entry) as plan:
                session = runtime("emo_edge.runtimes.tensorrt:TensorRtSession")(
                    plan, inputs, outputs, device=device, most_rows=rows.most, module=trt,
                    graphs=self._bundle.manifest.engines.tensorrt.graphs,
                )  # fmt: skip
        return entry, session


def engine_recipe(
    bundle: Bundle, part: str, component: GraphComponent, variant: str, rows: RowRange | None = None
) -> Any:
    """Say what the engine of a variant is compiled from and for."""
    manifest, chosen = bundle.manifest, component.variants[variant]
    axes = axis_ranges(rows or manifest.engines.rows, manifest.max_question_tokens)
    settings = manifest.engines.tensorrt
    return runtime("emo_edge.runtimes.engine_recipe:EngineRecipe")(
        graph=str(bundle.files(chosen)[0]),
        digest=runtime("emo_edge.runtimes.engine_recipe:files_digest")([file.sha256 for file in chosen.files]),
        name=f"{part} {variant}",
        shapes=shape_ranges([contract.spec() for contract in component.inputs], axes),
        workspace_mib=settings.workspace_mib,
        optimization_level=settings.optimization_level,
    )


def cosines(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> dict[str, float]:
    """Smallest cosine over samples, by output; what is not finite has none, which is 0."""
    return {
        name: min(_cosine(*pair) for pair in zip(rows, found[name], strict=True)) for name, rows in expected.items()
    }


def gate_problem(variant: str, distance: Mapping[str, float]) -> str:
    """Say which outputs miss the gate of the variant; empty if none does."""
    gate = next((gate for name, gate in GATES.items() if variant.startswith(name)), GATES["int8"])
    missed = [f"{name} {value:.5f}" for name, value in distance.items() if not value >= gate]
    return f"cosine to ONNX Runtime {', '.join(missed)}, the gate is {gate}" if missed else ""


def _cosine(one: Tensor, other: Tensor) -> float:
    true, found = (np.asarray(array, np.float64).reshape(-1) for array in (one, other))
    if not (np.isfinite(true).all() and np.isfinite(found).all()):
        return 0.0
    norms = float(np.linalg.norm(true) * np.linalg.norm(found))
    return float(true @ found) / norms if norms else float(np.array_equal(true, found))


@contextmanager
def _closed_on_error(opened: Any) -> Iterator[None]:
    try:
        yield
    except BaseException:
        opened.close()
        raise
