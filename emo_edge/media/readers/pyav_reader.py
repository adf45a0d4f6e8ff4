"""Read video files and streams with PyAV, whose FFmpeg gives time stamps, transparency and reasons as they are."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.errors import DeviceError, InputError, PipelineStateError
from emo_edge.media.readers.cut_off import is_cut_off
from emo_edge.media.readers.frames import (
    MAX_PIXELS,
    OPEN_TIMEOUT_S,
    READ_TIMEOUT_S,
    RawFrame,
    nominal_step,
)
from emo_edge.media.readers.waiting import WaitingThread

ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Their transparency is side data, which FFmpeg's own decoders ignore."""
NO_TIME_STAMPS = 0x0080
"""AVFMT_NOTIMESTAMPS of libavformat/avformat.h."""
FORKED = (
    "this process was forked while a video was read, and the threads of its decoder did not come along: reading on "
    'would wait for ever. Start processes with multiprocessing.get_context("spawn"), and open the video there'
)
MOST_BROKEN_PACKETS = 100
"""In a row: a reader that never gets past a place would read for ever."""

_OF_A_PARENT: list[PyAvReader | list[PyAvFrame]] = []
"""Readers and frames that a forked child has of its parent: freeing them would wait for threads that are not there."""


class PyAvFrame:
    """A decoded frame, converted only when its pixels are asked for."""

    def __init__(self, frame: Any, stamp: float | None, duration: float) -> None:
        self.stamp, self.duration = stamp, duration
        self._frame = frame

    def keep(self) -> None:
        """Do nothing: the frame owns its memory."""

    def pixels(self) -> NDArray[np.uint8]:
        """Return RGB, or RGBA of a format with transparency, turned as the container asks for."""
        frame = self._frame
        if frame.width * frame.height > MAX_PIXELS:
            raise InputError(f"a frame of {frame.width}x{frame.height} pixels, more than the limit of {MAX_PIXELS:,}")
        transparent = frame.format.has_palette or any(part.is_alpha for part in frame.format.components)
        pixels = frame.to_ndarray(format="rgba" if transparent else "rgb24")
        return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)), np.uint8)


class PyAvReader:
    """A file or a stream that PyAV has opened."""

    def __init__(self, container: Any, name: str, waiting: WaitingThread | None = None) -> None:
        """Choose the video; ``waiting`` reads a stream, and is None for a file."""
        live, self._process = waiting is not None, os.getpid()
        self._container, self._name, self._live, self._waiting = container, name, live, waiting
        self._stream = video_stream(container, name)
        self._decoder = _decoder(self._stream, name, live=live)
        size = self._stream.codec_context.width * self._stream.codec_context.height
        if size > MAX_PIXELS:
            shape = f"{self._stream.codec_context.width}x{self._stream.codec_context.height}"
            raise InputError(f"{name}: frames of {shape} pixels, more than the limit of {MAX_PIXELS:,}")
        self.step_s = nominal_step(self._stream.guessed_rate or self._stream.average_rate)
        self.frame_count = int(self._stream.frames)
        self.duration_s = _duration(container, self._stream)
        self.damaged = 0
        # A camera's pictures without time stamps are timed by this machine's clock; FFmpeg would count them as 25 fps.
        self._arrival = live and bool(container.format.flags & NO_TIME_STAMPS)

    def frames(self) -> Iterator[RawFrame]:
        """Yield the frames; what cannot be decoded is counted in ``damaged`` and left out.

        Raises PipelineStateError in a process that was forked since: FFmpeg's threads did not come along.
        """
        for packet in self._packets():
            decoded = [self._timed(frame) for frame in self._decoded(packet)]
            for frame in decoded:
                yield frame
                if self._process != os.getpid():
                    _OF_A_PARENT.append(decoded)
                    raise PipelineStateError(FORKED)

    def close(self) -> None:
        """Close the container; a forked child leaves its copy as it is, whose threads nobody could wait for."""
        if self._process != os.getpid():
            _OF_A_PARENT.append(self)
        elif self._waiting:
            self._waiting.close(self._container.close)
        else:
            self._container.close()

    def _timed(self, frame: Any) -> PyAvFrame:
        ticks = frame.pts if frame.pts is not None else frame.dts
        base = float(self._stream.time_base or 0)
        stamp = time.monotonic() if self._arrival else None if ticks is None or not base else ticks * base
        return PyAvFrame(frame, stamp, (frame.duration or 0) * base)

    def _decoded(self, packet: Any) -> list[Any]:
        from av.error import FFmpegError

        try:
            return list(self._decoder.decode(packet))
        except FFmpegError:
            self.damaged += 1
            return []

    def _packets(self) -> Iterator[Any]:
        """Yield the packets, and None at the end for the frames that the decoder still holds."""
        from av.error import FFmpegError, InvalidDataError

        broken, failure = 0, None
        while broken < MOST_BROKEN_PACKETS:
            try:
                for packet in self._demuxed():
                    broken = 0
                    # An empty packet would end the decoder; FFmpeg gives one at the end, too.
                    if packet.size:
                        yield packet
                break
            except InvalidDataError:
                broken += 1
                self.damaged += 1
            except FFmpegError as error:
                failure = error
                break
        yield None
        if failure is not None and self._live:
            # Raised out of the handler: FFmpeg's error, which may hold the address, is no part of a traceback.
            raise _broken_stream(self._name, failure)

    def _demuxed(self) -> Iterator[Any]:
        """Yield the packets as they come."""
        packets = self._container.demux(self._stream)

        def following() -> Any:
            return next(packets, None)

        while (packet := self._waiting.run(following) if self._waiting else following()) is not None:
            yield packet


def open_file(path: str, name: str) -> PyAvReader:
    """Open a video file; InputError where it is none or is damaged. ``name`` is for messages."""
    import av
    from av.error import FFmpegError

    try:
        # A file that is a playlist must not open other files or addresses.
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (FFmpegError, OSError, ValueError):
        container = None
    if container is not None and not container.streams.video and is_cut_off(path):
        container.close()
        container = None
    if container is None:
        raise InputError(
            f"{name}: not a video that can be read, or a damaged one (an MP4 that was cut off cannot be opened): "
            "copy it again, or convert it to MP4"
        )
    return _reader(container, name)


def open_stream(address: str, name: str) -> PyAvReader:
    """Open an address; raises PyAV's error for one that does not answer. ``name`` is for messages."""
    import av

    timeout, waiting = (OPEN_TIMEOUT_S, READ_TIMEOUT_S), WaitingThread()
    try:
        container = waiting.run(lambda: av.open(address, timeout=timeout, metadata_errors="replace"))
    except BaseException:
        waiting.close()
        raise
    return _reader(container, name, waiting)


def video_stream(container: Any, name: str) -> Any:
    """Return the container's main video; a cover picture is none. Raises InputError where there is no other."""
    from av.stream import Disposition

    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    videos = [stream for stream in container.streams.video if not stream.disposition & pictures]
    if not videos:
        content = "only a cover picture" if container.streams.video else "only sound or data"
        raise InputError(f"{name}: holds no video, {content}")
    best = container.streams.best("video")
    chosen = best if best in videos else videos[0]
    if chosen.codec_context is None:
        raise InputError(f"{name}: its video cannot be decoded by this FFmpeg: convert it to MP4")
    return chosen


def _reader(container: Any, name: str, waiting: WaitingThread | None = None) -> PyAvReader:
    try:
        return PyAvReader(container, name, waiting)
    except BaseException:
        container.close()
        if waiting:
            waiting.close()
        raise


def _decoder(stream: Any, name: str, *, live: bool) -> Any:
    import av
    from av.codec.codec import UnknownCodecError

    context = stream.codec_context
    # Writers of Matroska differ in the case of its name.
    tags = {name.lower(): value for name, value in stream.metadata.items()}
    if tags.get("alpha_mode") == "1" and context.name in ALPHA_DECODERS:
        try:
            decoder = av.CodecContext.create(ALPHA_DECODERS[context.name], "r")
        except UnknownCodecError as error:
            raise InputError(
                f"{name}: is transparent, and this FFmpeg lacks {ALPHA_DECODERS[context.name]}, which reads that: "
                "lay it over a background and save it again"
            ) from error
        decoder.extradata = context.extradata
        return decoder
    # Frame threads delay a stream by a frame each.
    context.thread_type = "SLICE" if live else "AUTO"
    return context


def _duration(container: Any, stream: Any) -> float:
    if stream.duration and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
    else:
        seconds = (container.duration or 0) / 1e6
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


def _broken_stream(name: str, error: Any) -> DeviceError:
    """Return the error of a stream that does not end as it should; FFmpeg's own message holds the address."""
    from av.error import ExitError, TimeoutError

    if isinstance(error, (ExitError, TimeoutError)):
        return DeviceError(f"{name}: the stream stalled: nothing came for {READ_TIMEOUT_S} s")
    return DeviceError(f"{name}: the stream broke off ({error.strerror or type(error).__name__})")
