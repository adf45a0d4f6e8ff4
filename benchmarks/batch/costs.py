"""Costs of the stages of ``emo-edge label``, measured one by one: what a model of its time begins with."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from emo_edge.batch.config import LabelConfig
from emo_edge.batch.items import chunks
from emo_edge.batch.listing import Listing
from emo_edge.batch.parts import RunFolder
from emo_edge.batch.reader import LabelReader, joined_chunks
from emo_edge.batch.run import JOINED_CHUNKS
from emo_edge.benchmarks.batch.contenders import many_apart, opened_pipeline, pictures_in
from emo_edge.media.images import image_from_bytes

Result = TypeVar("Result")
LANGUAGE = ("prefill", "score", "answer", "describe")
"""Stages of a reading that the language model computes; all others are networks."""
WARM_UP = 16
"""Pictures that are read before the clock runs."""


@dataclass(frozen=True)
class ReaderCosts:
    """Seconds of a reader of one thread."""

    open: float
    """Until its pipeline is open, from the start of its process."""
    decode: float
    """Of a picture: reading, hashing, decoding."""
    networks: float
    language: float
    picture: float
    """All of a picture, with its rows, in a run of chunks."""
    cpu: float
    """Of that on the processor."""

    @property
    def rows(self) -> float:
        """Seconds of a picture's rows and of what lies between the stages."""
        return max(0.0, self.picture - self.decode - self.networks - self.language)


@dataclass(frozen=True)
class StageCosts:
    """Seconds of every stage on this machine."""

    alone: ReaderCosts
    """One reader, nothing else."""
    full: ReaderCosts
    """As many readers at once as there are CPUs: their mean."""
    hand_out: float
    """Of the command's process for a picture: listing, sending, receiving."""
    writing: float
    """Of the command's process for a picture's rows."""
    cpus: int

    @property
    def command(self) -> float:
        """Seconds of the command's process for a picture."""
        return self.hand_out + self.writing


def stage_costs(config: LabelConfig, pictures: Path, count: int, cpus: int) -> StageCosts:
    """Measure every stage with ``count`` pictures, the readers in processes of their own."""
    one = replace(config, threads=1)
    (alone,) = many_apart([(reader_costs, one, pictures, count, time.time())])
    many = many_apart([(reader_costs, one, pictures, count, time.time())] * cpus)
    names = ReaderCosts.__dataclass_fields__
    full = ReaderCosts(**{name: sum(getattr(each, name) for each in many) / len(many) for name in names})
    hand_out, writing = command_costs(one, pictures, count)
    return StageCosts(alone, full, hand_out, writing, cpus)


def reader_costs(config: LabelConfig, pictures: Path, count: int, started: float) -> ReaderCosts:
    """Return the costs of a reader that reads ``count`` pictures; ``started`` is when its process was, `time.time`."""
    with LabelReader(config) as reader:
        opening = time.time() - started
        coming = islice(chunks(Listing([str(pictures)])), (WARM_UP + count) // 8)
        for chunk in islice(coming, WARM_UP // 8):
            reader.read(chunk)
        given = list(coming)
        wall, cpu = time.perf_counter(), time.process_time()
        for chunk in given:
            reader.read(chunk)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        read = sum(map(len, given))
    paths = pictures_in(pictures)[:count]
    decode, networks, language = _stages(config, paths)
    return ReaderCosts(opening, decode, networks, language, wall / read, cpu / read)


def _stages(config: LabelConfig, paths: list[str]) -> tuple[float, float, float]:
    """Return the mean seconds of a picture for decoding, networks and language model."""
    decode = 0.0
    ms = {True: 0.0, False: 0.0}
    with opened_pipeline(config) as pipeline:
        for path in paths:
            seconds, image = _timed(lambda path=path: image_from_bytes(Path(path).read_bytes(), path))  # type: ignore[misc]
            decode += seconds
            for result in pipeline.read(image, config.request):
                for stage, value in result.stage_ms.items():
                    ms[stage in LANGUAGE] += value
    return decode / len(paths), ms[False] / 1e3 / len(paths), ms[True] / 1e3 / len(paths)


def command_costs(config: LabelConfig, pictures: Path, count: int) -> tuple[float, float]:
    """Return the seconds of a picture that the command takes to hand it out and receive it, and to write its rows."""
    with LabelReader(config) as reader, TemporaryDirectory() as folder:
        listing, given = _timed(lambda: list(chunks(Listing([str(pictures)]))))
        every = sum(map(len, given))
        read = [reader.read(chunk) for chunk in given[: max(1, count // 8)]]
        pictures_read = sum(len(one.outcomes) for one in read)
        sending, _ = _timed(lambda: [pickle.loads(pickle.dumps(one)) for one in read])  # our own rows
        with RunFolder(Path(folder, "rows")) as parts:
            parts.begin(reader.setup)
            writing, _ = _timed(lambda: _write(parts, read))
    return listing / every + sending / pictures_read, writing / pictures_read


def _write(parts: RunFolder, read: list[Any]) -> None:
    blocks = [joined_chunks(read[start : start + JOINED_CHUNKS]) for start in range(0, len(read), JOINED_CHUNKS)]
    rows = sum(len(one.outcomes) for one in blocks)
    parts.add([one.table for one in blocks], rows, rows, 0, set())


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result
