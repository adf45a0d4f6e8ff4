"""Several live sources at once: a loop and a thread each, one stream of events."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass

from emo_edge.console.interrupts import leave_behind
from emo_edge.errors import EmoEdgeError
from emo_edge.inference.live.events import LiveEvent
from emo_edge.inference.live.loop import LiveLoop

LOOK_S = 0.1
"""Between two looks of a thread that waits for the other side: whether it has ended."""
LEAVING_S = 0.5
"""For the threads to end after Ctrl-C, before those in a long call are left behind."""


@dataclass(frozen=True)
class _End:
    error: BaseException | None


class LiveRun:
    """The loops of one or several sources. The sources share the pipeline's engines, which read for one at a time."""

    def __init__(self, loops: Sequence[LiveLoop]) -> None:
        self._loops = loops
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Ask every loop to end soon, from any thread."""
        self._stopped.set()
        for loop in self._loops:
            loop.stop()

    def events(self) -> Generator[LiveEvent, None, None]:
        """Yield the events as they happen; raise the first error of a source once all sources are over."""
        return self._loops[0].events() if len(self._loops) == 1 else self._merged()

    def _merged(self) -> Generator[LiveEvent, None, None]:
        # One event waits at most: a consumer that is late gets newer frames, as with one source.
        slot: queue.Queue[LiveEvent | _End] = queue.Queue(1)
        threads = [threading.Thread(target=self._work, args=(loop, slot), daemon=True) for loop in self._loops]
        leave = False
        try:
            for thread in threads:
                thread.start()
            yield from self._until_all_end(slot)
        except KeyboardInterrupt:
            leave = True
            raise
        finally:
            self.stop()
            for thread in threads:
                thread.join(LEAVING_S if leave else None)
                if thread.is_alive():
                    leave_behind(thread)

    def _until_all_end(self, slot: queue.Queue[LiveEvent | _End]) -> Generator[LiveEvent, None, None]:
        left, errors = len(self._loops), list[EmoEdgeError]()
        while left:
            try:
                # A wait without an end would keep Ctrl-C waiting on some systems.
                item = slot.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            if not isinstance(item, _End):
                yield item
                continue
            left -= 1
            if isinstance(item.error, EmoEdgeError):
                errors.append(item.error)
            elif item.error is not None:
                raise item.error
        if errors:
            raise errors[0]

    def _work(self, loop: LiveLoop, slot: queue.Queue[LiveEvent | _End]) -> None:
        error: BaseException | None = None
        try:
            with closing(loop.events()) as events:
                for event in events:
                    self._put(slot, event)
                    if self._stopped.is_set():
                        return
        except BaseException as problem:  # raised again where the events are taken
            error = problem
        self._put(slot, _End(error))

    def _put(self, slot: queue.Queue[LiveEvent | _End], item: LiveEvent | _End) -> None:
        """Hand an item over; give up once nobody takes any."""
        while not self._stopped.is_set():
            with suppress(queue.Full):
                slot.put(item, timeout=LOOK_S)
                return
