"""State of this machine between runs: records of a stopped export, and the cache of verified files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from emo_edge.benchmarks.hostile.mutate import mutated_json
from emo_edge.benchmarks.hostile.small_bundle import GRAPH, PRECISION, kept_folder, small_graph, write_small_bundle
from emo_edge.benchmarks.hostile.trials import Kind
from emo_edge.bundle.manifest import Variant
from emo_edge.bundle.reader import FINISHED, VERIFIED_NAME, Bundle
from emo_edge.bundle.writer import BundleWriter
from emo_edge.errors import BundleError
from emo_edge.utils.cache import cache_directory
from emo_edge.utils.files import sha256_of

PLAN, NAME = "the same plan", "face-fp32"
CACHE_VARIABLE = "XDG_CACHE_HOME"


class _Stop(BaseException):
    """Ends a writer as a kill does: what is finished is kept."""


@cache
def _stopped() -> Path:
    """Return a folder in which an export was stopped after its first variant."""
    folder = kept_folder() / "stopped"
    try:
        with BundleWriter(folder / "bundle", plan=PLAN) as writer:
            path = writer.path(GRAPH)
            path.write_bytes(small_graph())
            evidence = {"logits": {"cosine": 1.0, "relative_error": 0.0}}
            writer.record(NAME, Variant(files=(writer.entry(path),), evidence=evidence))
            raise _Stop
    except _Stop:
        return folder


def _record() -> Sequence[bytes]:
    return [next(_stopped().rglob(f"{NAME}{FINISHED}")).read_bytes()]


def _read_record(path: Path) -> None:
    """Go on with the stopped export: what the writer takes for finished must be whole."""
    folder = path.parent / "again"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(_stopped(), folder)
    shutil.copy(path, next(folder.rglob(f"{NAME}{FINISHED}")))
    with BundleWriter(folder / "bundle", plan=PLAN) as writer:
        files = [file for variant in writer.finished.values() for file in variant.files]
        wrong = [file.path for file in files if sha256_of(writer.partial / file.path) != file.sha256]
        if wrong:
            raise AssertionError(f"{wrong} is taken for finished")
        if not files:
            raise BundleError("nothing is taken for finished")


@cache
def _bundles() -> Path:
    """Return a folder of two verified bundles, one of which changed since, and of the cache that knows both."""
    folder = kept_folder()
    os.environ[CACHE_VARIABLE] = str(folder / "cache")
    write_small_bundle(folder / "whole")
    graph = write_small_bundle(folder / "changed") / GRAPH
    times, content = graph.stat(), bytearray(graph.read_bytes())
    content[-1] ^= 1
    graph.write_bytes(content)
    os.utime(graph, ns=(times.st_atime_ns, times.st_mtime_ns))
    return folder


def _verified() -> Sequence[bytes]:
    _bundles()
    return [(cache_directory() / VERIFIED_NAME).read_bytes()]


def _read_verified(path: Path) -> None:
    folder = _bundles()
    shutil.copy(path, cache_directory() / VERIFIED_NAME)
    bundle = Bundle.open(folder / "whole")
    assert PRECISION in bundle.manifest.components.graph("face").variants
    try:
        Bundle.open(folder / "changed")
    except BundleError:
        return
    raise AssertionError("a changed file is taken for verified")


RECORD = Kind("record.json", _record, mutated_json, _read_record)
VERIFIED = Kind("verified.json", _verified, mutated_json, _read_verified)
