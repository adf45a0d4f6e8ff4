"""Open a graph of a bundle in TensorRT: compiled here, compared with ONNX Runtime, refused where it fails the gate.

The requested variant is tried first, then the same component in more precise ones; the caller falls back from there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from emo_edge.bundle.engine_settings import RowRange, axis_ranges, shape_ranges
from emo_edge.bundle.manifest import GraphComponent
from emo_edge.bundle.reader import Bundle
from emo_edge.console.progress import FractionProgress
from emo_edge.errors import AccuracyGateError, DeviceError, DeviceMemoryError, EngineError, UnsupportedCardError
from emo_edge.metrics.gates import GRAPH_SIMILARITY, engine_failure
from emo_edge.metrics.tensor_parity import similarity
from emo_edge.runtimes.base.sessions import TensorSession
from emo_edge.runtimes.loading.reference_feeds import ReferenceFeeds
from emo_edge.runtimes.tensorrt import api as tensorrt_api
from emo_edge.runtimes.tensorrt import build_config, engine_cache, fingerprint
from emo_edge.runtimes.tensorrt import session as tensorrt_session
from emo_edge.tensors import Tensor

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenedGraph:
    """A graph that runs in TensorRT; ``note`` gives the reason where another variant was requested."""

    session: TensorSession
    variant: str
    similarity: Mapping[str, float]
    """To ONNX Runtime, by output: see `emo_edge.metrics.tensor_parity.similarity`."""
    size: int
    """Bytes of the engine."""
    seconds: float
    """It took to build, then or now."""
    note: str = ""


class GraphCompiler:
    """Opens the graphs of one bundle in TensorRT; keeps what the comparisons need between them."""

    def __init__(self, bundle: Bundle, cache: Any = None, threads: int | None = None) -> None:
        self._bundle = bundle
        self._cache = cache or engine_cache.EngineCache()
        self._feeds = ReferenceFeeds(bundle, threads)

    def open(self, part: str, variant: str, progress: FractionProgress | None = None) -> OpenedGraph:
        """Open the component ``part`` in ``variant``, or in the next more precise one that builds and holds its gate.

        Raises AccuracyGateError where an engine fails its gate and none replaces it, UnsupportedCardError where no
        engine of this TensorRT runs here, DeviceError where none builds or runs.
        """
        component = self._bundle.manifest.components.graph(part)
        tried: list[str] = []
        failed_gate = False
        for candidate in _candidates(variant, component.variants):
            try:
                opened, reason = self._compiled(part, component, candidate, progress)
            except EngineError as error:
                opened, reason = None, str(error)
            else:
                failed_gate = failed_gate or opened is None
            if opened:
                note = f"{variant} was refused: {'; '.join(tried)}" if tried else ""
                return replace(opened, note=note)
            logger.warning("%s %s is not used in TensorRT: %s", part, candidate, reason)
            tried.append(f"{candidate}: {reason}")
        kind = AccuracyGateError if failed_gate else EngineError
        raise kind(f"{part}: no engine is to be used ({'; '.join(tried)}); use `device` cuda or cpu")

    def _compiled(
        self, part: str, component: GraphComponent, variant: str, progress: FractionProgress | None
    ) -> tuple[OpenedGraph | None, str]:
        """Build or find the engine and compare it once, for fewer rows where memory is short."""
        rows = self._bundle.manifest.engines.rows
        trt = tensorrt_api.tensorrt_module()
        while True:
            device = fingerprint.open_device()
            try:
                with _closed_on_error(device):
                    machine = fingerprint.engine_machine(trt, device.facts)
                    if reason := self._cache.refusal(machine):
                        raise UnsupportedCardError(reason)
                    recipe = engine_recipe(self._bundle, part, component, variant, rows)
                    known = self._cache.rows_that_fit(recipe, machine)
                    if known is not None and known < rows.most:
                        rows = _fewer(rows, known)
                        recipe = engine_recipe(self._bundle, part, component, variant, rows)
                    return self._opened(_Order(part, component, variant, rows, recipe, machine), device, trt, progress)
            except DeviceMemoryError as error:
                if rows.most == 1:
                    raise
                rows = _fewer(rows, rows.most // 2)
                self._cache.note_rows(recipe, machine, rows.most)
                logger.warning("%s %s: %s; trying %d at once", part, variant, error, rows.most)

    def _opened(
        self, order: _Order, device: Any, trt: Any, progress: FractionProgress | None
    ) -> tuple[OpenedGraph | None, str]:
        entry = self._cache.engine(order.recipe, order.machine, progress, modules=[trt.__name__])
        refused = engine_failure(order.variant, entry.distance) if entry.distance else ""
        if refused:
            device.close()
            return None, refused
        # Before the engine takes its memory: a small Jetson has no room for both.
        expected = None if entry.distance else self._reference(order.part, order.variant)
        entry, session = self._session(order, entry, device, trt)
        if expected is not None:
            with _closed_on_error(session):
                entry = self._cache.compared(entry, similarity(expected, session.run(self._feeds.feed(order.part))))
            refused = engine_failure(order.variant, entry.distance)
            if refused:
                session.close()
                return None, refused
        return OpenedGraph(session, order.variant, entry.distance, entry.size, entry.seconds), ""

    def _reference(self, part: str, variant: str) -> dict[str, Tensor]:
        try:
            return self._feeds.expected(part, variant)
        except DeviceMemoryError as error:
            # Fewer rows in the engine would not help the CPU.
            raise DeviceError(f"no memory to compute {part} {variant} on the CPU, to compare with: {error}") from error

    def _session(self, order: _Order, entry: Any, device: Any, trt: Any) -> tuple[Any, TensorSession]:
        """Deserialise the engine; one that TensorRT does not take, or that is gone, is built once more."""
        component = order.component
        inputs, outputs = ([contract.spec() for contract in side] for side in (component.inputs, component.outputs))
        for attempt in range(2):
            try:
                with self._cache.content(entry) as plan:
                    return entry, tensorrt_session.TensorRtSession(
                        plan,
                        inputs,
                        outputs,
                        device=device,
                        most_rows=order.rows.most,
                        module=trt,
                        graphs=self._bundle.manifest.engines.tensorrt.graphs,
                    )
            except (EngineError, FileNotFoundError) as error:
                self._cache.clear([entry.key])
                if attempt:
                    raise EngineError(f"{order.recipe.name}: the engine cannot be opened: {error}") from error
                logger.warning("%s: %s; building it again", order.recipe.name, error)
                entry = self._cache.engine(order.recipe, order.machine, modules=[trt.__name__])
            except DeviceMemoryError:
                self._cache.clear([entry.key])
                raise
            except UnsupportedCardError as error:
                self._cache.clear([entry.key])
                self._cache.note_refusal(order.machine, str(error))
                raise
        raise AssertionError("the loop returns or raises")


@dataclass(frozen=True)
class _Order:
    """One engine to open."""

    part: str
    component: GraphComponent
    variant: str
    rows: RowRange
    recipe: Any
    machine: dict[str, str]


def _candidates(variant: str, available: Iterable[str]) -> list[str]:
    """Return the variant and, of those available, the more precise ones in order."""
    order = list(GRAPH_SIMILARITY)
    rank = next((index for index, name in enumerate(order) if variant.startswith(name)), 0)
    return [name for name in dict.fromkeys((variant, *order[rank + 1 :])) if name in available]


def _fewer(rows: RowRange, most: int) -> RowRange:
    return RowRange(likely=min(rows.likely, most), most=most)


def engine_recipe(
    bundle: Bundle, part: str, component: GraphComponent, variant: str, rows: RowRange | None = None
) -> Any:
    """Describe the engine of a variant: what it is compiled from and for."""
    manifest, chosen = bundle.manifest, component.variants[variant]
    axes = axis_ranges(rows or manifest.engines.rows, manifest.max_question_tokens)
    settings = manifest.engines.tensorrt
    return build_config.EngineConfig(
        graph=str(bundle.files(chosen)[0]),
        digest=build_config.files_digest([file.sha256 for file in chosen.files]),
        name=f"{part} {variant}",
        shapes=shape_ranges([contract.spec() for contract in component.inputs], axes),
        workspace_mib=settings.workspace_mib,
        optimization_level=settings.optimization_level,
    )


@contextmanager
def _closed_on_error(opened: Any) -> Iterator[None]:
    try:
        yield
    except BaseException:
        opened.close()
        raise
