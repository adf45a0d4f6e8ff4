"""Sides of a comparison in turns: each opens its models in a fresh process and has its turn in every round."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from typing import Any

from emo_edge.benchmarks.peers.contenders import Timed
from emo_edge.benchmarks.peers.table import Row
from emo_edge.errors import EmoEdgeError

REASON_LENGTH = 200
Turn = Callable[[], Mapping[str, Timed]]
"""One side of a section in one round: what it took by stage."""


def section(name: str, turns: Mapping[str, Turn], rounds: int, report: Callable[[str], None]) -> list[Row]:
    """Give every side of a section its turn in every round; one that fails once is a row that says why.

    The side that begins is another one each round.
    """
    found: dict[str, list[Mapping[str, Timed]]] = {side: [] for side in turns}
    problems: dict[str, str] = {}
    order = list(turns)
    for place in range(rounds):
        for side in order[place % len(order) :] + order[: place % len(order)]:
            if side in problems:
                continue
            report(f"{name}, round {place + 1} of {rounds}: {side}")
            try:
                found[side].append(turns[side]())
            except BrokenProcessPool:
                problems[side] = "its process ended: out of memory, or a crash"
            except (EmoEdgeError, ModuleNotFoundError, RuntimeError, ValueError, OSError, MemoryError) as error:
                problems[side] = " ".join(str(error).split())[:REASON_LENGTH] or type(error).__name__
    rows = [Row(name, "", side, problem=problem) for side, problem in problems.items()]
    for side, taken in found.items():
        if side in problems:
            continue
        for stage in taken[0]:
            ms = tuple(value for one in taken for value in one[stage].ms)
            rows.append(Row(name, stage, side, ms, taken[-1][stage].facts))
    return rows


def child(work: Callable[..., Mapping[str, Timed]], *arguments: Any) -> Turn:
    """Make a turn of a call in a fresh process."""
    return partial(in_child, work, *arguments)


def in_child(work: Callable[..., Any], *arguments: Any) -> Any:
    """Call in a fresh process, whose memory is the system's again afterwards."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()
