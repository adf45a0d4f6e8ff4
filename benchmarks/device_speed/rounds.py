"""Engines that compute the same thing, timed in turns: what disturbs one round disturbs them all.

Each finds the caches as the one before it left them, which a single engine in a loop would not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import numpy as np

from emo_edge.benchmarks.measure.timing import timed_ms
from emo_edge.errors import EmoEdgeError
from emo_edge.metrics.tensor_parity import similarity
from emo_edge.tensors import Tensor

EAGER = "PyTorch eager"
"""The engine that the others are set beside."""
UNUSABLE = (EmoEdgeError, ModuleNotFoundError, RuntimeError, MemoryError)
"""What keeps an engine from a row: PyTorch's own errors of memory, CUDA and its compiler are RuntimeErrors."""
REASON_LENGTH = 200
Outputs = Mapping[str, Tensor] | None
"""What a call computed, [N, ...] each; None where the engine gives nothing to compare."""


@dataclass(frozen=True)
class Call:
    """One stage on an open engine."""

    compute: Callable[[], Outputs]
    """What is timed, until its results lie in main memory."""
    prepare: Callable[[], object] = lambda: None
    """What is done before each call and not timed."""
    steps: int = 1
    """Equal steps of a call; its time is divided by them."""
    positions: int = 0
    """Of the prompt it reads."""


@dataclass(frozen=True)
class Contender:
    """An engine that takes its turn at a stage."""

    engine: str
    device: str
    precision: str
    open: Callable[[], Call]
    """Raises one of `UNUSABLE` where it cannot be used."""


@dataclass(frozen=True)
class Row:
    """What one entrant took at one stage, or why it did not run."""

    stage: str
    engine: str
    device: str
    precision: str
    times_ms: tuple[float, ...] = ()
    """Round by round; empty where it did not run."""
    first_ms: float | None = None
    """The first call, with whatever is compiled then."""
    similarity: float | None = None
    """To PyTorch's first precision on the same kind of device, 1 where equal; None where nothing is compared."""
    positions: int = 0
    """Of the prompt; 0 for a graph."""
    problem: str = ""

    @property
    def place(self) -> str:
        """Processor that computes."""
        return place_of(self.device)

    @property
    def median_ms(self) -> float:
        """Median of the rounds."""
        return float(np.median(self.times_ms))


class SessionCache:
    """Engines that several stages use: opened when first asked for, closed together; a failure is told again."""

    def __init__(self) -> None:
        self._stack, self._found = ExitStack(), dict[tuple[str, ...], Any]()

    def get(self, key: tuple[str, ...], make: Callable[[], Any]) -> Any:
        """Return what ``make`` made for ``key``; it is closed with the rest if it can be closed."""
        if key not in self._found:
            try:
                self._found[key] = made = make()
                self._stack.callback(getattr(made, "close", lambda: None))
            except UNUSABLE as error:
                self._found[key] = error
        if isinstance(self._found[key], Exception):
            raise self._found[key]
        return self._found[key]

    def __enter__(self) -> SessionCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._found.clear()
        self._stack.close()


def place_of(device: str) -> str:
    """Tell where a device computes: TensorRT is on the CUDA card, as PyTorch and llama.cpp are."""
    return "cpu" if device in ("cpu", "openvino") else "cuda"


def measured(stage: str, entrants: Sequence[Contender], *, rounds: int, warm_up: int) -> list[Row]:
    """Warm every entrant up, then time all in turns A B C, B C A, C A B, …; one that cannot be used is a row, too."""
    rows, calls, references = list[Row](), list[Call](), dict[str, Outputs]()
    for entrant in entrants:
        row = Row(stage, entrant.engine, entrant.device, entrant.precision)
        try:
            call = entrant.open()
            first, found = _warmed(call, warm_up)
        except UNUSABLE as error:
            rows.append(replace(row, problem=_reason(error)))
            continue
        if entrant.engine == EAGER:
            references.setdefault(row.place, found)
        near = _near(references.get(row.place), found)
        rows.append(replace(row, first_ms=first, similarity=near, positions=call.positions))
        calls.append(call)
    times = iter(_in_turns(calls, rounds))
    return [row if row.problem else replace(row, times_ms=tuple(next(times))) for row in rows]


def _warmed(call: Call, count: int) -> tuple[float, Outputs]:
    """Call ``count`` times; return the first time and the last result."""
    found: list[Outputs] = []
    times = []
    for _ in range(count):
        call.prepare()
        times.append(timed_ms(lambda: found.append(call.compute())))
    return times[0] / call.steps, found[-1]


def _in_turns(calls: Sequence[Call], rounds: int) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in calls]
    for place in range(rounds):
        for turn in range(len(calls)):
            which = (place + turn) % len(calls)
            calls[which].prepare()
            times[which].append(timed_ms(calls[which].compute) / calls[which].steps)
    return times


def _near(reference: Outputs, found: Outputs) -> float | None:
    if reference is None or found is None:
        return None
    return min(similarity(reference, found).values())


def _reason(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= REASON_LENGTH else f"{text[:REASON_LENGTH]}…"
