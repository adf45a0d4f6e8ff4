"""Read cameras and GStreamer pipelines with OpenCV; and, where PyAV is not installed, files and addresses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.console.native_messages import without_native_messages
from emo_edge.errors import DeviceError, InputError
from emo_edge.media.readers.frames import MAX_PIXELS, READ_TIMEOUT_S, RawFrame, nominal_step
from emo_edge.media.readers.waiting import WaitingThread
from emo_edge.utils.opencv import open_cv2

MOST_FRAMES = 10**9
"""Frame counts beyond this are nonsense (OpenCV passes on what a container lacks as -9e14 or 9e18)."""


class OpenCvFrame:
    """A grabbed frame, decoded when its pixels are asked for, at the latest before the next grab."""

    def __init__(self, capture: Any, stamp: float | None, name: str) -> None:
        self.stamp, self.duration = stamp, 0.0
        self._capture, self._name = capture, name
        self._pixels: NDArray[np.uint8] | None = None

    def keep(self) -> None:
        """Decode now."""
        if self._pixels is None:
            cv2 = open_cv2()
            with without_native_messages():
                # A camera's JPEG that lost some bytes.
                done, pixels = self._capture.retrieve()
            if not done or pixels is None:
                raise InputError(f"{self._name}: a frame cannot be decoded: convert the video to MP4")
            colours = cv2.COLOR_GRAY2RGB if pixels.ndim == 2 else cv2.COLOR_BGR2RGB
            self._pixels = np.asarray(cv2.cvtColor(pixels, colours), np.uint8)

    def pixels(self) -> NDArray[np.uint8]:
        """Return RGB."""
        self.keep()
        assert self._pixels is not None
        return self._pixels


class OpenCvReader:
    """An open cv2.VideoCapture.

    A camera's frames, and those of a stream without time stamps, have the time at which they arrived.
    """

    def __init__(self, capture: Any, name: str, *, camera: bool = False, waiting: WaitingThread | None = None) -> None:
        """Read the sizes of the source; ``waiting`` reads a stream, and is None for every other one."""
        cv2 = open_cv2()
        self._capture, self._name, self._camera, self._waiting = capture, name, camera, waiting
        width, height = (int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > MAX_PIXELS:
            capture.release()
            raise InputError(f"{name}: frames of {width}x{height} pixels, more than the limit of {MAX_PIXELS:,}")
        self.step_s = nominal_step(capture.get(cv2.CAP_PROP_FPS))
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        # OpenCV computes a count where the container has none: good for an estimate of the duration alone.
        self.frame_count = 0
        self.duration_s = count * self.step_s if 0 < count < MOST_FRAMES else 0.0
        self.damaged = 0

    def frames(self) -> Iterator[RawFrame]:
        """Yield a frame a grab."""
        start, index = time.monotonic(), 0
        while self._grabbed():
            yield OpenCvFrame(self._capture, self._stamp(start, index), self._name)
            index += 1

    def close(self) -> None:
        """Release the capture."""
        if self._waiting:
            self._waiting.close(self._capture.release)
        else:
            self._capture.release()

    def _grabbed(self) -> bool:
        start = time.monotonic()
        done = bool(self._waiting.run(self._capture.grab) if self._waiting else self._capture.grab())
        if not done and self._waiting and time.monotonic() - start > 0.9 * READ_TIMEOUT_S:
            raise DeviceError(f"{self._name}: the stream stalled: nothing came for {READ_TIMEOUT_S} s")
        return done

    def _stamp(self, start: float, index: int) -> float | None:
        if self._camera:
            return time.monotonic() - start
        stamp = float(self._capture.get(open_cv2().CAP_PROP_POS_MSEC)) / 1000
        if index and not stamp:
            return time.monotonic() - start if self._waiting else None
        return stamp
