"""A worker process of the local engine: it opens the pipeline once, then reads one chunk after the other."""

from __future__ import annotations

import os
import queue
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from emo_edge.batch.config import LabelConfig
from emo_edge.batch.items import Item
from emo_edge.batch.reader import LabelReader, ReadChunk
from emo_edge.errors import EmoEdgeError
from emo_edge.rendering.tables.rows import TableSetup
from emo_edge.utils.extras import failed_import


@dataclass(frozen=True)
class Ready:
    """The pipeline is open."""

    setup: TableSetup


@dataclass(frozen=True)
class Failed:
    """The worker ends with an error that every other one would have, too."""

    error: EmoEdgeError


Message = Ready | Failed | ReadChunk


def work(connection: Any, config: LabelConfig, folder: Path) -> None:
    """Read chunks until the other side closes the connection, or is gone; ``folder`` is for copies, and removed there.

    A worker ends by a signal or at once, and could remove nothing itself.
    """
    # Ctrl-C reaches every process of a terminal; the one that waits for the workers ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    chunks: queue.Queue[list[Item]] = queue.Queue()
    try:
        with LabelReader(config, folder) as reader:
            connection.send(Ready(reader.setup))
            # A thread takes what comes: two processes that both send large messages would wait for each other.
            threading.Thread(target=_receive, args=(connection, chunks), daemon=True).start()
            while True:
                connection.send(reader.read(chunks.get()))
    except EmoEdgeError as error:
        _send(connection, Failed(error))
    except ImportError as error:
        _send(connection, Failed(failed_import(error)))
    except (BrokenPipeError, ConnectionResetError):
        pass


def _receive(connection: Connection, chunks: queue.Queue[list[Item]]) -> None:
    try:
        while True:
            chunks.put(connection.recv())
    except (EOFError, OSError):
        os._exit(0)  # whoever waited for the rows is gone, and a native call may be under way


def _send(connection: Any, message: Message) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.send(message)
