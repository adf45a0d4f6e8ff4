"""Ways to read a folder, each in a process of its own: bare loops, a pool that a user would write, the engines."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from emo_edge.batch.config import LabelConfig
from emo_edge.batch.listing import Listing
from emo_edge.batch.local_engine import LocalEngine
from emo_edge.batch.ray_engine import RayEngine
from emo_edge.batch.run import LabelCounts, label
from emo_edge.console.children import safe_path
from emo_edge.inference.detectors import chosen_detector
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.machine.cpus import usable_cpus
from emo_edge.utils.processes import read_text

WARM = 0.25
"""Fraction of the pictures after which the rate is taken: until then workers start."""
RSS_FROM = 1000
"""Rows from which on the memory must stay."""
Figures = dict[str, Any]
_pipeline: EmotionPipeline | None = None


class Clock:
    """Times at which pictures were done, and the memory then."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.times: list[tuple[int, float]] = []
        self.resident: list[tuple[int, int, int]] = []
        """Pictures done, bytes of this process, bytes of its workers."""

    def tick(self, done: int) -> None:
        """Note that so many pictures are done."""
        self.times.append((done, time.perf_counter()))
        if not self.resident or done - self.resident[-1][0] >= RSS_FROM // 4:
            workers = sum(resident_bytes(one.pid) for one in multiprocessing.active_children())
            self.resident.append((done, resident_bytes("self"), workers))

    def figures(self) -> Figures:
        """Return the pictures a second after the start, and the memory."""
        first = next(one for one in self.times if one[0] >= WARM * self.total)
        last = self.times[-1]
        rate = (last[0] - first[0]) / (last[1] - first[1]) if last[1] > first[1] else None
        return {"per_second": rate, "resident_bytes": self.resident}


def resident_bytes(process: int | str | None) -> int:
    """Return the memory of a process; 0 where the system does not say."""
    status = read_text(Path(f"/proc/{process}/status")).splitlines()
    line = next((one for one in status if one.startswith("VmRSS:")), "")
    return int(line.split()[1]) * 1024 if line else 0


def bare_loop(config: LabelConfig, folder: Path) -> Figures:
    """Read with one pipeline, and keep nothing."""
    pictures = pictures_in(folder)
    clock = Clock(len(pictures))
    with opened_pipeline(config) as pipeline:
        for number, path in enumerate(pictures, 1):
            pipeline.read(path, config.request)
            clock.tick(number)
    return clock.figures()


def pool_loop(config: LabelConfig, folder: Path, workers: int) -> Figures:
    """Read with `multiprocessing.Pool`, a pipeline a process, as a user would write it."""
    pictures = pictures_in(folder)
    clock = Clock(len(pictures))
    context = multiprocessing.get_context("spawn")
    with safe_path(), context.Pool(workers, _open_in_pool, (config,)) as pool:
        for number, _ in enumerate(pool.imap_unordered(_read_in_pool, pictures, chunksize=8), 1):
            clock.tick(number)
    return clock.figures()


def labelled(engine: LocalEngine | RayEngine, folder: Path, out: Path, rows_per_part: int) -> Figures:
    """Read with an engine, and write the parts."""
    clock, started = Clock(len(os.listdir(folder))), time.perf_counter()

    def progress(counts: LabelCounts) -> None:
        clock.tick(counts.done)

    with engine as opened:
        counts = label(Listing([str(folder)]), out, opened, rows_per_part=rows_per_part, progress=progress)
    seconds = time.perf_counter() - started
    return {
        **clock.figures(),
        "rows": counts.rows,
        "seconds": seconds,
        "writing_s": counts.writing_s,
        "parts": counts.parts,
    }


def locally(config: LabelConfig, folder: Path, out: Path, rows_per_part: int, workers: int) -> Figures:
    """Read with worker processes of this machine."""
    return labelled(LocalEngine(config, workers, usable_cpus()), folder, out, rows_per_part)


def on_ray(config: LabelConfig, folder: Path, out: Path, rows_per_part: int, workers: int) -> Figures:
    """Read with actors of a Ray cluster that is started for it."""
    return labelled(RayEngine(config, workers, usable_cpus()), folder, out, rows_per_part)


def pictures_in(folder: Path) -> list[str]:
    """Return the pictures of a folder, sorted."""
    return sorted(map(str, folder.iterdir()))


def on_nodes(config: LabelConfig, folder: Path, out: Path, rows_per_part: int, nodes: int) -> Figures:
    """Read with an actor on each node of a cluster whose nodes are all on this machine, with one CPU each."""
    with _cluster(nodes) as address:
        return labelled(RayEngine(config, nodes, 1, address), folder, out, rows_per_part)


def ray_start(config: LabelConfig) -> Figures:
    """Connect to a cluster of one node, and open an actor there."""
    with _cluster(1) as address:
        started = time.perf_counter()
        with RayEngine(config, 1, 1, address) as engine:
            engine.open()
            return {"seconds": time.perf_counter() - started}


@contextmanager
def _cluster(nodes: int) -> Iterator[str]:
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    from ray.cluster_utils import Cluster

    each = {"num_cpus": 1, "object_store_memory": 128 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=each)
    try:
        for _ in range(nodes - 1):
            cluster.add_node(**each)
        cluster.wait_for_nodes()
        yield cluster.address
    finally:
        cluster.shutdown()


def apart(work: Callable[..., Figures], *arguments: Any) -> Figures:
    """Call a function in a new process, so that its memory and its threads are its own."""
    figures: Figures = many_apart([(work, *arguments)])[0]
    return figures


def many_apart(calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Make each call, a function and its arguments, in a process of its own, all at once; return their results."""
    context, started = multiprocessing.get_context("spawn"), []
    for work, *arguments in calls:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_send, args=(sender, work, tuple(arguments)))
        with safe_path():
            process.start()
        sender.close()
        started.append((process, receiver))
    try:
        return [receiver.recv() for _, receiver in started]
    finally:
        for process, _ in started:
            process.join()


def with_threads(config: LabelConfig, threads: int) -> LabelConfig:
    """Return a config whose engines have so many threads."""
    return replace(config, threads=threads)


def _send(sender: Any, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    sender.send(work(*arguments))


def opened_pipeline(config: LabelConfig) -> EmotionPipeline:
    """Open the pipeline of a loop."""
    pipeline = EmotionPipeline.open(config.bundle, device=config.device, profile=config.profile, threads=config.threads)
    pipeline.detector = chosen_detector(pipeline.bundle, config.detector, config.limits)
    return pipeline


def _open_in_pool(config: LabelConfig) -> None:
    global _pipeline
    _pipeline = opened_pipeline(config)


def _read_in_pool(path: str) -> int:
    return len(_pipeline.read(path)) if _pipeline else 0
