"""Build TensorRT engines of a bundle beforehand, and describe those that are cached."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_edge.bundle.manifest import GraphComponent
from emo_edge.bundle.reader import Bundle, profile_of
from emo_edge.console.progress import FractionProgress
from emo_edge.errors import AccuracyGateError, DeviceError, EmoEdgeError, InputError, UnsupportedCardError
from emo_edge.metrics.gates import engine_failure
from emo_edge.runtimes.loading.device_choice import usable_devices
from emo_edge.runtimes.loading.tensorrt_graphs import GraphCompiler, OpenedGraph, engine_recipe
from emo_edge.runtimes.tensorrt import builder, engine_cache

RTX = ("tensorrt_rtx",)
"""The edition of TensorRT whose builder needs no GPU."""


@dataclass(frozen=True)
class EngineRequest:
    """One variant of one component."""

    part: str
    component: GraphComponent
    variant: str

    def __str__(self) -> str:
        return f"{self.part} {self.variant}"


Bars = Callable[[str], AbstractContextManager[FractionProgress]]
"""Opens a progress bar for one engine."""


@contextmanager
def no_bar(name: str) -> Iterator[FractionProgress]:
    """Show no progress."""
    yield lambda fraction, phase: None


def profile_graphs(bundle: Bundle, profiles: Sequence[str] = ()) -> list[EngineRequest]:
    """List each variant that the profiles (all if none is named) use of a graph, once."""
    chosen = [profile_of(bundle, name)[1] for name in profiles or bundle.manifest.profiles]
    requests = {}
    for part, component in bundle.manifest.components.graphs().items():
        for variant in dict.fromkeys(profile.variant(part) for profile in chosen):
            if variant is not None:
                requests[part, variant] = EngineRequest(part, component, variant)
    return list(requests.values())


def build_engines(bundle: Bundle, graphs: Sequence[EngineRequest], bars: Bars = no_bar) -> Iterator[str]:
    """Build into the user's cache, on this machine's device, and yield the outcome of each graph as a line.

    Goes on after a graph that fails, unless the card is the reason; raises the first one's error at the end.
    """
    usable_devices("tensorrt", language=False)
    compiler, failed = GraphCompiler(bundle), list[EmoEdgeError]()
    for graph in graphs:
        try:
            with bars(str(graph)) as progress:
                opened = compiler.open(graph.part, graph.variant, progress)
        except UnsupportedCardError:
            raise
        except (AccuracyGateError, DeviceError) as error:
            failed.append(error)
            yield f"{graph}: {error}"
            continue
        opened.session.close()
        yield _built_text(graph, opened)
    if failed:
        raise failed[0]


def trial_builds(bundle: Bundle, graphs: Sequence[EngineRequest], bars: Bars = no_bar) -> Iterator[str]:
    """Build each graph into a folder that is deleted, without a GPU, and yield the outcome of each as a line."""
    with tempfile.TemporaryDirectory(prefix="emo-edge-engines-") as folder:
        for graph in graphs:
            recipe = engine_recipe(bundle, graph.part, graph.component, graph.variant)
            with bars(str(graph)) as progress:
                built = builder.engine_from_onnx(recipe, Path(folder) / "engine.plan", modules=RTX, progress=progress)
            yield f"{graph}: builds in {built.library}, {built.size / 1e6:.1f} MB, {built.seconds:.1f} s; not run"


def cached_engines(cache: engine_cache.EngineCache) -> Iterator[str]:
    """Yield a line for each engine of the cache, the one used last first."""
    for entry, problem, folder in cache.entries():
        yield f"{folder.name[:8]}  {entry_text(entry) if entry else f'not usable: {problem}'}"


def clear_engines(cache: engine_cache.EngineCache, keys: Sequence[str] | None = None) -> float:
    """Remove the engines whose names begin with ``keys``, or all, and return the bytes that this freed.

    Raises InputError for a key that no engine has.
    """
    unknown = [key for key in keys or () if not any(folder.name.startswith(key) for folder in cache.folders())]
    if unknown:
        raise InputError(f"no engine is called {', '.join(unknown)}; emo-edge engines list shows their names")
    return float(cache.clear(None if keys is None else list(keys)))


def entry_text(entry: Any) -> str:
    """Describe a cached engine in one line."""
    result = "not compared yet"
    if entry.distance:
        refused = engine_failure(entry.name.split()[-1], entry.distance)
        result = f"not used: {refused}" if refused else _similarity_text(entry.distance)
    machine = f"{entry.machine.get('library')} on {entry.machine.get('gpu')}"
    return f"{entry.name:<16} {entry.size / 1e6:>7.1f} MB  {entry.created}  {machine}  {result}"


def _built_text(graph: EngineRequest, opened: OpenedGraph) -> str:
    built = f"{graph.part} {opened.variant}: {opened.size / 1e6:.1f} MB, built in {opened.seconds:.1f} s"
    note = f" ({opened.note})" if opened.note else ""
    return f"{built}, {_similarity_text(opened.similarity)}{note}"


def _similarity_text(distance: Any) -> str:
    return f"similarity to ONNX Runtime {min(distance.values()):.6f}"
