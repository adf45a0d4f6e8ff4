"""Engines that compute the same thing, timed in alternating rounds: a disturbance of one round meets them all.

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
"""The engine that the others are compared with."""
UNUSABLE = (EmoEdgeError, ModuleNotFoundError, RuntimeError, MemoryError)
"""Errors of an engine that gives no row: PyTorch's own errors of memory, CUDA and its compiler are RuntimeErrors."""
REASON_LENGTH = 200
Outputs = Mapping[str, Tensor] | None
"""Outputs of a call, [N, ...] each; None where the engine gives nothing to compare."""


@dataclass(frozen=True)
class Call:
    """One stage on an open engine."""

    compute: Callable[[], Outputs]
    """The timed work, until its results lie in main memory."""
    prepare: Callable[[], object] = lambda: None
    """Work before each call that is not timed."""
    steps: int = 1
    """Equal steps of a call; its time is divided by them."""
    positions: int = 0
    """Of the prompt it reads."""


@dataclass(frozen=True)
class Contender:
    """An engine that computes a stage in every round."""

    engine: str
    device: str
    precision: str
    open: Callable[[], Call]
    """Raises one of `UNUSABLE` where it cannot be used."""


@dataclass(frozen=True)
class Row:
    """Times of one contender at one stage, or the reason why it did not run."""

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
    def processor(self) -> str:
        """Processor that computes."""
        return processor_of(self.device)

    @property
    def median_ms(self) -> float:
        """Median of the rounds."""
        return float(np.median(self.times_ms))


class SessionCache:
    """Engines that several stages use: opened on first use, closed together; a failure is raised again."""

    def __init__(self) -> None:
        self._stack, self._sessions = ExitStack(), dict[tuple[str, ...], Any]()

    def get(self, key: tuple[str, ...], make: Callable[[], Any]) -> Any:
        """Return the object that ``make`` gives for ``key``; it is closed with the rest if it can be closed."""
        if key not in self._sessions:
            try:
                self._sessions[key] = session = make()
                self._stack.callback(getattr(session, "close", lambda: None))
            except UNUSABLE as error:
                self._sessions[key] = error
        if isinstance(self._sessions[key], Exception):
            raise self._sessions[key]
        return self._sessions[key]

    def __enter__(self) -> SessionCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sessions.clear()
        self._stack.close()


def processor_of(device: str) -> str:
    """Return the processor of a device: TensorRT is on the CUDA card, as PyTorch and llama.cpp are."""
    return "cpu" if device in ("cpu", "openvino") else "cuda"


def measured(stage: str, contenders: Sequence[Contender], *, rounds: int, warm_up: int) -> list[Row]:
    """Warm all contenders up, then time them in rounds A B C, B C A, …; one that cannot be used is a row, too."""
    rows, calls, references = list[Row](), list[Call](), dict[str, Outputs]()
    for contender in contenders:
        row = Row(stage, contender.engine, contender.device, contender.precision)
        try:
            call = contender.open()
            first, outputs = _warmed_up(call, warm_up)
        except UNUSABLE as error:
            rows.append(replace(row, problem=_reason(error)))
            continue
        if contender.engine == EAGER:
            references.setdefault(row.processor, outputs)
        similar = _similarity(references.get(row.processor), outputs)
        rows.append(replace(row, first_ms=first, similarity=similar, positions=call.positions))
        calls.append(call)
    times = iter(_in_rounds(calls, rounds))
    return [row if row.problem else replace(row, times_ms=tuple(next(times))) for row in rows]


def _warmed_up(call: Call, count: int) -> tuple[float, Outputs]:
    """Call ``count`` times; return the first time and the last result."""
    outputs: list[Outputs] = []
    times = []
    for _ in range(count):
        call.prepare()
        times.append(timed_ms(lambda: outputs.append(call.compute())))
    return times[0] / call.steps, outputs[-1]


def _in_rounds(calls: Sequence[Call], rounds: int) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in calls]
    for index in range(rounds):
        for offset in range(len(calls)):
            position = (index + offset) % len(calls)
            calls[position].prepare()
            times[position].append(timed_ms(calls[position].compute) / calls[position].steps)
    return times


def _similarity(reference: Outputs, outputs: Outputs) -> float | None:
    if reference is None or outputs is None:
        return None
    return min(similarity(reference, outputs).values())


def _reason(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= REASON_LENGTH else f"{text[:REASON_LENGTH]}…"
