"""Build the engines of a bundle's graphs into a cache, with the edition of TensorRT that needs no GPU.

Run as a module, with a bundle and a folder, this is a command that `kills` kills.
"""

from __future__ import annotations

import sys
from pathlib import Path

from emo_edge.bundle.reader import Bundle
from emo_edge.errors import DeviceError
from emo_edge.runtimes.loading.engine_builds import RTX, profile_graphs
from emo_edge.runtimes.loading.tensorrt_graphs import engine_recipe
from emo_edge.runtimes.tensorrt.engine_cache import LOCK, EngineCache
from emo_edge.storage.machine_seal import SECRET

MACHINE = {"library": "tensorrt-rtx", "gpu": "none"}


def build(bundle: Path, directory: Path) -> None:
    """Build what is not there yet."""
    opened, cache = Bundle.open(bundle), EngineCache(directory)
    for graph in profile_graphs(opened):
        recipe = engine_recipe(opened, graph.part, graph.component, graph.variant)
        cache.engine(recipe, MACHINE, modules=RTX)


def engines_digest(directory: Path) -> dict[str, str]:
    """Return the name of each verified engine by its key, and every file that belongs to none.

    Raises DeviceError for an engine that the cache lists and would not use.
    """
    digest = {}
    for entry, problem, folder in EngineCache(directory).entries():
        if entry is None:
            raise DeviceError(f"{folder.name}: {problem}")
        digest[entry.key] = entry.name
    others = [path.name for path in directory.iterdir() if path.name not in {*digest, SECRET, LOCK}]
    return digest | dict.fromkeys((name for name in others if not name.startswith("timing-")), "left")


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
