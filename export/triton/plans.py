"""TensorRT plans of this machine's engine cache."""

from __future__ import annotations

from pathlib import Path

from emo_edge.bundle.manifest import GraphComponent
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import DeviceError
from emo_edge.runtimes.loading.tensorrt_graphs import engine_recipe
from emo_edge.runtimes.tensorrt import api, fingerprint
from emo_edge.runtimes.tensorrt.build_config import engine_key
from emo_edge.runtimes.tensorrt.engine_cache import EngineCache, Entry

RTX = "tensorrt_rtx"
"""Begins the name of the edition whose plans Triton's backend does not load."""


def this_machine() -> dict[str, str]:
    """Return what engines depend on here; raise DeviceError or MissingExtraError where no engine runs."""
    trt, device = api.tensorrt_module(), fingerprint.open_device()
    try:
        return fingerprint.engine_machine(trt, device.facts)
    finally:
        device.close()


def cached_plan(
    bundle: Bundle, part: str, graph: GraphComponent, variant: str, machine: dict[str, str], cache: EngineCache
) -> tuple[Path, Entry, int]:
    """Return the plan of a graph, its verified record, and the most rows of a batch.

    Raises DeviceError where this machine has none that Triton could load.
    """
    if machine["library"].startswith(RTX):
        raise DeviceError(
            f'the engines of {machine["library"]} are none that Triton loads: pip install "emo-edge[tensorrt]", and '
            "run emo-edge engines build; or leave --plans out"
        )
    recipe = engine_recipe(bundle, part, graph, variant)
    key = engine_key(recipe, machine)
    for entry, _, _ in cache.entries():
        if entry is not None and entry.key == key:
            return cache.plan(entry), entry, bundle.manifest.engines.rows.most
    raise DeviceError(
        f"{part} {variant}: no engine of it is in this machine's cache: run emo-edge engines build, or omit --plans"
    )
