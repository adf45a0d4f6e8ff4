"""Contenders of a comparison, measured in alternating rounds: each opens its models in a fresh process every round."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from typing import Any

from emo_edge.benchmarks.peers.contenders import Timed
from emo_edge.benchmarks.peers.table import Row
from emo_edge.console.children import safe_path
from emo_edge.errors import EmoEdgeError

REASON_LENGTH = 200
FAILURES = (EmoEdgeError, ModuleNotFoundError, RuntimeError, ValueError, OSError, MemoryError)
Contender = Callable[[], Mapping[str, Timed]]
"""Measures one contender of a section in one round; returns its times by stage."""


def section(name: str, contenders: Mapping[str, Contender], rounds: int, report: Callable[[str], None]) -> list[Row]:
    """Measure every contender of a section in every round; one that fails once is a row that says why.

    The contender that begins is another one each round.
    """
    measured: dict[str, list[Mapping[str, Timed]]] = {contender: [] for contender in contenders}
    problems: dict[str, str] = {}
    order = list(contenders)
    for index in range(rounds):
        for contender in order[index % len(order) :] + order[: index % len(order)]:
            if contender in problems:
                continue
            report(f"{name}, round {index + 1} of {rounds}: {contender}")
            try:
                measured[contender].append(contenders[contender]())
            except BrokenProcessPool:
                problems[contender] = "its process ended: out of memory, or a crash"
            except FAILURES as error:
                problems[contender] = " ".join(str(error).split())[:REASON_LENGTH] or type(error).__name__
    rows = [Row(name, "", contender, problem=problem) for contender, problem in problems.items()]
    complete = {contender: times for contender, times in measured.items() if contender not in problems}
    return rows + [row for contender, times in complete.items() for row in _rows(name, contender, times)]


def _rows(name: str, contender: str, times: Sequence[Mapping[str, Timed]]) -> Iterator[Row]:
    """Yield a row for each stage: the times of all rounds, the facts of the last."""
    for stage in times[0]:
        ms = tuple(value for one in times for value in one[stage].ms)
        yield Row(name, stage, contender, ms, times[-1][stage].facts)


def child(work: Callable[..., Mapping[str, Timed]], *arguments: Any) -> Contender:
    """Return a contender that makes a call in a fresh process."""
    return partial(in_child, work, *arguments)


def in_child(work: Callable[..., Any], *arguments: Any) -> Any:
    """Call in a fresh process, whose memory is the system's again afterwards."""
    with safe_path(), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()
