"""The local engine: worker processes of this machine, each with a pipeline of its own."""

from __future__ import annotations

import logging
import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from emo_edge.batch.config import LabelConfig
from emo_edge.batch.items import Item
from emo_edge.batch.local_worker import Failed, Message, Ready, work
from emo_edge.batch.losses import AHEAD, Chunk, after_loss, next_chunk
from emo_edge.batch.reader import ReadChunk
from emo_edge.console.children import safe_path
from emo_edge.errors import DeviceError
from emo_edge.machine.cpus import worker_threads
from emo_edge.rendering.tables.rows import TableSetup
from emo_edge.runtimes.base.device_names import GPU_DEVICES

logger = logging.getLogger(__name__)
ENDING_S = 1.0
"""For a worker to end after SIGTERM."""


class _Worker:
    """A process and the chunks that it has, the one under way first."""

    def __init__(self, config: LabelConfig, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, far = context.Pipe()
        self.process = context.Process(target=work, args=(far, config, folder), daemon=True, name="emo-edge-label")
        with safe_path():
            self.process.start()
        far.close()  # the worker's end; once that is gone, the connection says so
        self.chunks: deque[Chunk] = deque()
        self.is_ready = False

    def give(self, chunk: Chunk) -> bool:
        """Send a chunk; return False if the worker is gone."""
        try:
            self.connection.send(chunk.items)
        except (BrokenPipeError, ConnectionResetError):
            return False
        self.chunks.append(chunk)
        return True

    def message(self) -> Message | None:
        """Return the next message; None if the worker is gone."""
        try:
            message: Message = self.connection.recv()
        except (EOFError, OSError):
            return None
        return message

    def reason(self) -> str:
        """Return how the process ended."""
        self.process.join(ENDING_S)
        code = self.process.exitcode
        if code is not None and code < 0:
            with suppress(ValueError):
                return f"ended by {signal.Signals(-code).name}"
        return f"exit code {code}"

    def end(self) -> None:
        """End the process, and wait for that."""
        self.connection.close()
        self.process.terminate()
        self.process.join(ENDING_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(ENDING_S)


class LocalEngine:
    """Worker processes; a context manager that ends them."""

    def __init__(self, config: LabelConfig, workers: int | None, usable: int) -> None:
        """Choose how many workers there are, and how many threads each has.

        Args:
            config: of every worker.
            workers: number of processes; None takes one a usable CPU, and one alone where a card reads.
            usable: CPUs that this process may use; threads of all workers together are no more.
        """
        self.count = workers or (1 if config.device in GPU_DEVICES else usable)
        self._chosen = workers is not None
        threads = config.threads or worker_threads(self.count, usable)
        self._config = LabelConfig(**{**vars(config), "threads": threads})
        self._workers: list[_Worker] = []
        self._setup: TableSetup | None = None
        self._copies: TemporaryDirectory[str] | None = None

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.end()
        if self._copies:
            self._copies.cleanup()

    def open(self) -> TableSetup:
        """Open the first worker, whose engines the others find built; return the columns and settings of its rows.

        Raises the worker's own error, and DeviceError if it ends.
        """
        first = self._started()
        self._take(first, first.message())
        if self._setup is None:
            raise AssertionError("a worker reads before it is ready")
        if not self._chosen and self._setup.common["device"] in GPU_DEVICES:
            self.count = 1
        return self._setup

    def run(self, chunks: Iterable[list[Item]]) -> Iterator[ReadChunk]:
        """Yield the rows of each chunk as soon as they are there, in any order.

        A worker that ends is replaced. The inputs that it read are read again one by one; one with which a second
        worker ends is a row with an error.
        """
        coming, again = iter(chunks), deque[Chunk]()
        while True:
            yield from self._give(coming, again)
            busy = [worker for worker in self._workers if worker.chunks or not worker.is_ready]
            if not any(worker.chunks for worker in busy) and not again:
                return
            for connection in wait([worker.connection for worker in busy]):
                worker = next(one for one in busy if one.connection is connection)
                message = worker.message()
                if message is None:
                    yield from self._replace(worker, again)
                elif (read := self._take(worker, message)) is not None:
                    yield read

    def _give(self, coming: Iterator[list[Item]], again: deque[Chunk]) -> Iterator[ReadChunk]:
        """Hand out chunks, first to whoever has fewest; start workers as long as there is work for them."""
        for depth in range(AHEAD):
            for worker in [one for one in self._workers if one.is_ready]:
                if len(worker.chunks) > depth:
                    continue
                chunk = next_chunk(coming, again)
                if chunk is None:
                    return
                if not worker.give(chunk):
                    again.appendleft(chunk)
                    yield from self._replace(worker, again)
        while len(self._workers) < self.count:
            self._started()

    def _copies_folder(self) -> Path:
        """Return the folder of the workers' copies, which goes with this engine."""
        self._copies = self._copies or TemporaryDirectory(prefix="emo-edge-")
        return Path(self._copies.name)

    def _started(self) -> _Worker:
        worker = _Worker(self._config, self._copies_folder())
        self._workers.append(worker)
        return worker

    def _take(self, worker: _Worker, message: Message | None) -> ReadChunk | None:
        """Take a message over; return the rows if it has any."""
        if isinstance(message, ReadChunk):
            worker.chunks.popleft()
            return message
        if isinstance(message, Ready):
            worker.is_ready, self._setup = True, message.setup
            return None
        if isinstance(message, Failed):
            raise message.error
        raise DeviceError(
            f"a worker ended while it opened {self._config.bundle} ({worker.reason()}); if memory is short, "
            "fewer `workers` need less"
        )

    def _replace(self, worker: _Worker, again: deque[Chunk]) -> Iterator[ReadChunk]:
        """Start another worker for one that ended; queue what it had, and yield the row of an input that ends all."""
        if not worker.is_ready:
            self._take(worker, None)
        reason, chunks = worker.reason(), list(worker.chunks)
        worker.end()
        self._workers.remove(worker)
        logger.warning("a worker process %s; another one goes on", reason)
        self._started()
        if self._setup is None:
            raise AssertionError("a worker ends before one was ready")
        given_up = after_loss(chunks, again, self._setup, reason)
        if given_up:
            yield given_up
