"""The Ray engine: actors of a Ray cluster, on this machine or on many, each with a pipeline of its own.

Ray starts and places the actors, and moves inputs and rows; the parts are written here. Nothing of Ray's
reports its use, and a cluster that is started here listens on this machine alone.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import replace
from types import TracebackType
from typing import Any

from emo_edge.batch.config import LabelConfig
from emo_edge.batch.items import Item
from emo_edge.batch.losses import AHEAD, Chunk, after_loss, next_chunk
from emo_edge.batch.reader import LabelReader, ReadChunk
from emo_edge.console.signals import ENDING
from emo_edge.errors import DeviceError, EmoEdgeError, InputError
from emo_edge.rendering.tables.rows import TableSetup
from emo_edge.runtimes.base.device_names import GPU_DEVICES
from emo_edge.utils.extras import failed_import

logger = logging.getLogger(__name__)
SWITCHES = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""The first keeps Ray from reporting its use; the second is Ray's new default, which it otherwise warns about."""
LOCAL_SWITCHES = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
"""Of a cluster that is started here: it listens on 127.0.0.1, as on macOS, and answers whoever has its token."""
ANSWER_S = 5.0
"""For a cluster to take a connection; Ray itself waits for minutes."""
STORE_BYTES = 256 << 20
"""Of the memory in which a cluster of this machine holds chunks and rows."""


class RayReader:
    """The actor: it opens its pipeline with the first call, also after Ray has started it again."""

    def __init__(self, config: LabelConfig) -> None:
        self._config = config
        self._reader: LabelReader | None = None

    def setup(self) -> TableSetup | EmoEdgeError:
        """Return the columns and settings of the rows, or the error that every other actor would have, too."""
        try:
            return self._opened().setup
        except ImportError as error:
            return failed_import(error)
        except EmoEdgeError as error:
            return error

    def read(self, items: list[Item]) -> ReadChunk | EmoEdgeError:
        """Return the rows of some inputs, or the error of a device that is lost."""
        try:
            return self._opened().read(items)
        except EmoEdgeError as error:
            return error

    def _opened(self) -> LabelReader:
        if self._reader is None:
            self._reader = LabelReader(self._config)
        return self._reader


class _Actor:
    """An actor and its calls under way, in the order in which it does them."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.calls: dict[Any, Chunk] = {}
        self.opening: Any = handle.setup.remote()
        """Call that opens the pipeline; None once it has: the cluster may have no room for the actor yet."""


class RayEngine:
    """Actors of a cluster; a context manager that ends them, and the cluster if it was started here."""

    def __init__(self, config: LabelConfig, workers: int | None, usable: int, address: str | None = None) -> None:
        """Name the cluster; nothing is started before the context is entered.

        Args:
            config: of every actor; the bundle's folder must be there on every machine.
            workers: number of actors; None takes one a CPU of the cluster, or one a card.
            usable: CPUs of a cluster that is started here.
            address: of a cluster that runs, such as ``ray://host:10001`` or ``host:6379``; None starts one.
        """
        self._workers, self._usable, self._address = workers, usable, address
        self._config = config
        self._ray: Any = None
        self._open = ExitStack()
        self._kind: Any = None
        self._actors: list[_Actor] = []
        self._setup: TableSetup | None = None

    def __enter__(self) -> RayEngine:
        os.environ.update(SWITCHES)
        if self._address is None:
            os.environ.update({**LOCAL_SWITCHES, "RAY_AUTH_TOKEN": secrets.token_hex(32)})
        else:
            _require_answer(self._address)
        try:
            import ray
        except ImportError as error:
            raise failed_import(error) from error
        with ExitStack() as stack:
            # Ray prints there that a process of its ended.
            stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w", encoding="utf-8"))))
            stack.callback(ray.shutdown)
            self._start(ray)
            self._open = stack.pop_all()
        self._ray = ray
        return self

    def _start(self, ray: Any) -> None:
        own = {"include_dashboard": False, "num_cpus": self._usable, "object_store_memory": STORE_BYTES}
        chosen = {} if self._address else own
        try:
            with _kept_handlers():
                ray.init(self._address or "local", log_to_driver=False, logging_level=logging.ERROR, **chosen)
        except (OSError, RuntimeError, ValueError, TimeoutError) as error:
            where = f"the cluster at {self._address} cannot be used" if self._address else "Ray does not start here"
            raise DeviceError(f"{where}: {error}") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._open:
            for actor in self._actors:
                self._ray.kill(actor.handle)

    def open(self) -> TableSetup:
        """Open a first actor, whose engines the others of its machine find built; return the setup of its rows.

        Raises the actor's own error, and DeviceError if it ends or the cluster has no room for it.
        """
        resources = self._ray.cluster_resources()
        device, cards = self._config.device, resources.get("GPU", 0)
        on_cards = device in GPU_DEVICES or (device == "auto" and cards >= 1)
        count = self._workers or max(1, int(resources.get("GPU" if on_cards else "CPU", 1)))
        threads = self._config.threads or max(1, int(resources.get("CPU", 1)) // count)
        config = replace(self._config, threads=threads)
        room = {"num_cpus": 0 if on_cards else threads, "num_gpus": int(on_cards)}
        if cards < room["num_gpus"] or resources.get("CPU", 0) < room["num_cpus"]:
            raise DeviceError(f"the cluster has no machine with room for an actor: {_room_text(room)} each")
        self._kind = self._ray.remote(RayReader).options(**room)
        self._config = config
        self._actors = [_Actor(self._kind.remote(config))]
        setup = self._opened(self._actors[0])
        self._actors += [_Actor(self._kind.remote(config)) for _ in range(count - 1)]
        self._setup = setup
        return self._setup

    def run(self, chunks: Iterable[list[Item]]) -> Iterator[ReadChunk]:
        """Yield the rows of each chunk as soon as they are there, in any order.

        An actor that ended is replaced, on another machine if its own is gone. The inputs that it read are read again
        one by one; one with which a second actor ends is a row with an error.
        """
        coming, again = iter(chunks), deque[Chunk]()
        while True:
            self._give(coming, again)
            calls = {call: actor for actor in self._actors for call in actor.calls}
            if not calls and not again:
                return
            calls |= {actor.opening: actor for actor in self._actors if actor.opening is not None}
            (done, *_), _ = self._ray.wait(list(calls), num_returns=1)
            actor = calls[done]
            if actor.opening is done:
                self._opened(actor)
            elif read := self._taken(actor, done, again):
                yield read

    def _opened(self, actor: _Actor) -> TableSetup:
        """Take over that an actor is open; raise its own error, and DeviceError if it ended."""
        try:
            setup: TableSetup | EmoEdgeError = self._ray.get(actor.opening)
        except self._ray.exceptions.RayError as error:
            bundle = self._config.bundle
            raise DeviceError(f"an actor ended while it opened {bundle} ({_reason(error)})") from error
        if isinstance(setup, EmoEdgeError):
            raise setup
        actor.opening = None
        return setup

    def _give(self, coming: Iterator[list[Item]], again: deque[Chunk]) -> None:
        for depth in range(AHEAD):
            for actor in [one for one in self._actors if one.opening is None and len(one.calls) <= depth]:
                chunk = next_chunk(coming, again)
                if chunk is None:
                    return
                actor.calls[actor.handle.read.remote(chunk.items)] = chunk

    def _taken(self, actor: _Actor, call: Any, again: deque[Chunk]) -> ReadChunk | None:
        """Take the result of a call over; return the rows if there are any."""
        try:
            read: ReadChunk | EmoEdgeError = self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            if self._setup is None:
                raise AssertionError("an actor reads before one is open") from error
            logger.warning("an actor ended (%s); another one goes on", _reason(error))
            self._ray.kill(actor.handle)
            self._actors[self._actors.index(actor)] = _Actor(self._kind.remote(self._config))
            return after_loss(list(actor.calls.values()), again, self._setup, _reason(error))
        del actor.calls[call]
        if isinstance(read, EmoEdgeError):
            raise read
        return read


def _room_text(room: dict[str, int]) -> str:
    return f"{room['num_gpus']} GPU" if room["num_gpus"] else f"{room['num_cpus']} CPUs"


def _require_answer(address: str) -> None:
    """Raise DeviceError where nothing takes a connection at ``host:port`` or ``ray://host:port``."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        raise InputError(f"`ray_address` {address}: give host:port or ray://host:port")
    try:
        socket.create_connection((host, int(port)), ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise DeviceError(f"no cluster answers at {address} ({error}); start one with: ray start --head") from error


def _reason(error: BaseException) -> str:
    """Return the first line of Ray's message, which is several."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:120]}" if lines else type(error).__name__


@contextmanager
def _kept_handlers() -> Iterator[None]:
    """Undo the handlers of signals that Ray installs: a command has its own, with its exit codes."""
    before = {number: signal.getsignal(number) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
