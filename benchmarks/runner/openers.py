"""The two passes over all samples in several processes, each of which opens its own detector or target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from emo_edge.benchmarks.measure.predictions import ReadingJob, prediction_row
from emo_edge.benchmarks.workload.config import BenchConfig
from emo_edge.benchmarks.workload.journal import Row
from emo_edge.benchmarks.workload.open import TargetOptions, open_target, with_uncached
from emo_edge.benchmarks.workload.samples import PreparationJob, prepared_row
from emo_edge.benchmarks.workload.workers import computed
from emo_edge.bundle.reader import Bundle
from emo_edge.inference.detectors import chosen_detector
from emo_edge.machine.cpus import usable_cpus, worker_threads


def preparers(
    bundle: Bundle, plan: BenchConfig, *, cut: bool
) -> Callable[[Iterable[PreparationJob]], Iterator[Row]] | None:
    """Return what prepares samples in the plan's workers; None for one, which is this process.

    More workers than CPUs are a warning.
    """
    if plan.workers == 1:
        return None
    worker_threads(plan.workers, usable_cpus())
    return partial(computed, partial(_open_detector, bundle.directory, plan, cut), workers=plan.workers)


def readers(
    bundle: Bundle, name: str, options: TargetOptions, workers: int
) -> Callable[[Iterable[ReadingJob]], Iterator[Row]] | None:
    """Return what reads samples with so many targets; None for one, which is this process.

    Their threads together are no more than the CPUs, unless the options name a number.
    """
    if workers == 1:
        return None
    own = replace(options, threads=options.threads or worker_threads(workers, usable_cpus()))
    return partial(computed, partial(_open_target, bundle.directory, name, own), workers=workers)


def _open_detector(bundle: Path, plan: BenchConfig, cut: bool) -> Callable[[PreparationJob], Row]:
    detector = None if cut else chosen_detector(Bundle.open(bundle), plan.detector, plan.limits)
    return partial(prepared_row, detector)


def _open_target(bundle: Path, name: str, options: TargetOptions) -> Callable[[ReadingJob], Row]:
    return partial(prediction_row, open_target(with_uncached(Bundle.open(bundle)), name, options))
