"""Recording of live events: the frames as they are drawn, each at its own time, in a video that appears as a whole."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from emo_edge.errors import InputError
from emo_edge.inference.live.events import FrameEvent, LiveEvent
from emo_edge.rendering.drawing_names import refuse_sources
from emo_edge.rendering.live.picture import live_picture
from emo_edge.rendering.live_writers import RECORD, LiveWriter
from emo_edge.rendering.video_writers import CODECS, TimedImage, write_video
from emo_edge.storage.output_files import OutputFile, require_free
from emo_edge.storage.output_paths import require_drawing
from emo_edge.utils.native_paths import native_path

STEP_S = 1 / 30
"""Of the last frame, and of .avi files, which have a constant rate."""
LOOK_S = 0.1
"""Between two looks of a thread that waits for the other side: whether it has ended."""
WAITING = 4
"""Frames at most that wait for the encoder, and bridge one that takes long."""


class LiveRecorder(LiveWriter):
    """Draws and encodes in a thread of its own. A live source never waits for it: frames too fast for it are left out.

    The video is written next to its name and renamed at the end, also after Ctrl-C, SIGTERM and a lost source. Raises
    InputError for a name that cannot be written, at once; for a disk that is full with the frame after, and then a
    file of that name stays as it was.
    """

    def __init__(
        self, target: Path, sources: Sequence[str], *, overwrite: bool = False, every_frame: bool = False
    ) -> None:
        """Begin; with ``every_frame``, for a file, frames wait for the encoder and none is left out."""
        if target.suffix.lower() not in CODECS:
            raise InputError(f"{target}: a recording ends in {' or '.join(CODECS)}")
        if not target.parent.is_dir():
            raise InputError(f"{target}: there is no folder {target.parent}")
        refuse_sources([target], sources)
        require_free(target, overwrite=overwrite)
        require_drawing(target)
        self._target, self._every_frame = target, every_frame
        self._overwrite = overwrite
        self._output: OutputFile | None = None
        self._waiting: queue.Queue[FrameEvent | None] = queue.Queue(WAITING)
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._ending = threading.Lock()
        self.frames = self.dropped = 0
        """Written so far, and left out."""

    def begin(self) -> None:
        """Take the name: another recording of it is refused from here on, with InputError."""
        if self._output is None:
            self._output = OutputFile(self._target, overwrite=self._overwrite, suffix=self._target.suffix)

    def write(self, event: LiveEvent) -> None:
        """Record a frame."""
        if not isinstance(event, FrameEvent):
            return
        self.begin()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="recording", daemon=True)
            self._thread.start()
        if self._every_frame:
            self._put(event)
        else:
            self._offer(event)
        if self._error is not None:
            self._raise()

    def end(self) -> None:
        """Finish the video and rename it."""
        with self._ending:
            if self._thread is None:
                if self._output:
                    self._output.close()
                return
            thread, self._thread = self._thread, None
            self._put(None, thread)
            thread.join()
            if self._error is not None:
                self._raise()

    def _raise(self) -> None:
        error, self._error, self._thread = self._error, None, None
        assert error is not None
        raise error

    def _offer(self, event: FrameEvent) -> None:
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self.dropped += 1

    def _put(self, item: FrameEvent | None, thread: threading.Thread | None = None) -> None:
        thread = thread or self._thread
        while thread is not None and thread.is_alive():
            with suppress(queue.Full):
                self._waiting.put(item, timeout=LOOK_S)
                return

    def _work(self) -> None:
        try:
            target, taken = self._target, self._output
            assert taken is not None  # by `begin`
            with taken as output, native_path(output.partial) as name:
                for count in write_video(Path(name), self._frames(), STEP_S, target, at_once=True):
                    self.frames = count
                output.finish()
        except BaseException as error:  # raised again where the frames are given
            self._error = error

    def _frames(self) -> Iterator[TimedImage]:
        start_s: float | None = None
        while (event := self._waiting.get()) is not None:
            start_s = event.time_s if start_s is None else start_s
            yield live_picture(event), max(event.time_s - start_s, 0.0), 0.0


class Recorded(LiveWriter):
    """Records events that another writer prints; frames that were left out stand in ``dropped`` as ``record``."""

    def __init__(self, inner: LiveWriter, recorder: LiveRecorder) -> None:
        self._inner, self._recorder = inner, recorder
        self._before = 0

    @property
    def over(self) -> bool:  # type: ignore[override]
        """True once the user has asked for the end."""
        return self._inner.over

    def begin(self) -> None:
        """Begin to print, once the recording has its name."""
        self._recorder.begin()
        self._inner.begin()

    def write(self, event: LiveEvent) -> None:
        """Record the event and print it, also where it cannot be recorded."""
        try:
            self._recorder.write(event)
        finally:
            self._inner.write(self._counted(event))

    def end(self) -> None:
        """End the recording, then the output."""
        with ExitStack() as stack:
            stack.callback(self._inner.end)
            stack.callback(self._recorder.end)

    def _counted(self, event: LiveEvent) -> LiveEvent:
        if not isinstance(event, FrameEvent):
            return event
        before, self._before = self._before, self._recorder.dropped
        return replace(event, dropped={**event.dropped, RECORD: self._before - before})
