"""Ways to read a folder, each in a process of its own: bare loops, a pool that a user would write, the engines."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
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
        self.resident: list[tuple[int, int]] = []

    def tick(self, done: int) -> None:
        """Note that so many pictures are done."""
        self.times.append((done, time.perf_counter()))
        if not self.resident or done - self.resident[-1][0] >= RSS_FROM // 4:
            self.resident.append((done, resident_bytes()))

    def figures(self) -> Figures:
        """Return the pictures a second after the start, and the memory."""
        first = next(one for one in self.times if one[0] >= WARM * self.total)
        last = self.times[-1]
        rate = (last[0] - first[0]) / (last[1] - first[1]) if last[1] > first[1] else None
        return {"per_second": rate, "resident_bytes": self.resident}


def resident_bytes() -> int:
    """Return the memory of this process; 0 where the system does not say."""
    line = next((one for one in read_text(Path("/proc/self/status")).splitlines() if one.startswith("VmRSS:")), "")
    return int(line.split()[1]) * 1024 if line else 0


def bare_loop(config: LabelConfig, pictures: list[str]) -> Figures:
    """Read with one pipeline, and keep nothing."""
    clock = Clock(len(pictures))
    with _opened(config) as pipeline:
        for number, path in enumerate(pictures, 1):
            pipeline.read(path, config.request)
            clock.tick(number)
    return clock.figures()


def pool_loop(config: LabelConfig, pictures: list[str], workers: int) -> Figures:
    """Read with `multiprocessing.Pool`, a pipeline a process, as a user would write it."""
    clock = Clock(len(pictures))
    context = multiprocessing.get_context("spawn")
    with safe_path(), context.Pool(workers, _open_in_pool, (config,)) as pool:
        for number, _ in enumerate(pool.imap_unordered(_read_in_pool, pictures, chunksize=8), 1):
            clock.tick(number)
    return clock.figures()


def labelled(engine: LocalEngine | RayEngine, pictures: list[str], out: Path, rows_per_part: int) -> Figures:
    """Read with an engine, and write the parts."""
    clock, started = Clock(len(pictures)), time.perf_counter()

    def progress(counts: LabelCounts) -> None:
        clock.tick(counts.done)

    with engine as opened:
        counts = label(Listing(pictures), out, opened, rows_per_part=rows_per_part, progress=progress)
    seconds = time.perf_counter() - started
    return {
        **clock.figures(),
        "rows": counts.rows,
        "seconds": seconds,
        "writing_s": counts.writing_s,
        "parts": counts.parts,
    }


def locally(config: LabelConfig, pictures: list[str], out: Path, rows_per_part: int, workers: int) -> Figures:
    """Read with worker processes of this machine."""
    return labelled(LocalEngine(config, workers, usable_cpus()), pictures, out, rows_per_part)


def on_ray(config: LabelConfig, pictures: list[str], out: Path, rows_per_part: int, workers: int) -> Figures:
    """Read with actors of a Ray cluster that is started for it."""
    return labelled(RayEngine(config, workers, usable_cpus()), pictures, out, rows_per_part)


def apart(work: Callable[..., Figures], *arguments: Any) -> Figures:
    """Call a function in a new process, so that its memory and its threads are its own."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, work, arguments))
    with safe_path():
        process.start()
    sender.close()
    try:
        figures: Figures = receiver.recv()
    finally:
        process.join()
    return figures


def with_threads(config: LabelConfig, threads: int) -> LabelConfig:
    """Return a config whose engines have so many threads."""
    return replace(config, threads=threads)


def _send(sender: Any, work: Callable[..., Figures], arguments: tuple[Any, ...]) -> None:
    sender.send(work(*arguments))


def _opened(config: LabelConfig) -> EmotionPipeline:
    pipeline = EmotionPipeline.open(config.bundle, device=config.device, profile=config.profile, threads=config.threads)
    pipeline.detector = chosen_detector(pipeline.bundle, config.detector, config.limits)
    return pipeline


def _open_in_pool(config: LabelConfig) -> None:
    global _pipeline
    _pipeline = _opened(config)


def _read_in_pool(path: str) -> int:
    return len(_pipeline.read(path)) if _pipeline else 0
