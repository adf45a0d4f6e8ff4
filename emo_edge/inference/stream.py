"""Results of images, folders, videos, cameras and streams, one at a time, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from emo_edge.console.progress import StepProgress
from emo_edge.errors import (
    BundleError,
    DeviceError,
    EmoEdgeError,
    InputError,
    MissingExtraError,
    SkippedError,
    TaskError,
)
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import ClipSampling, Request, SourceResult
from emo_edge.inference.tasks.asked import HEART_RATE
from emo_edge.inference.tasks.moments import moment_frames
from emo_edge.media.folders import folder_entries, image_paths
from emo_edge.media.images import read_image
from emo_edge.media.readers.credentials import unknown_text
from emo_edge.media.sources import classify_source
from emo_edge.media.videos import TimedFrame, sampled_frames, segment_frames


def stream(
    pipeline: EmotionPipeline,
    source: str | Path | int,
    request: Request | None = None,
    sampling: ClipSampling | None = None,
) -> Iterator[SourceResult]:
    """Read an image, a folder, a video, a camera or a stream, one result at a time, as ``emo-edge infer`` does.

    Args:
        pipeline: an open one.
        source: an image, a folder of images, a video, the number of a camera, an RTSP address or a GStreamer pipeline.
        request: labels, questions and options; None is ``Request()``.
        sampling: how videos, cameras and streams are cut into clips, and which faces are read.

    A source that cannot be read gives a result with its error. Raises InputError, before anything is read, for a
    request that no source could fulfil.
    """
    pipeline.check(request or Request())
    return read_sources(pipeline, [str(source)], request or Request(), sampling or ClipSampling())


def read_sources(
    pipeline: EmotionPipeline,
    sources: Iterable[str],
    request: Request,
    sampling: ClipSampling,
    progress: StepProgress = lambda source, done, total: None,
) -> Iterator[SourceResult]:
    """Read images, folders, videos, cameras and streams in order; ``progress`` is called during long work.

    One source that cannot be read gives a result with its error, and the next one is read. Raises InputError, before
    anything is read, for a request that no source could fulfil.
    """
    pipeline.check(request)
    for source in sources:
        # A name that is no source may be an address with a mistake: its password is in no result.
        kind, shown = "image", unknown_text(source)
        try:
            kind, shown = "image" if classify_source(source) in ("image", "folder") else "clip", source
            yield from _read_source(pipeline, source, request, sampling, progress)
        except (InputError, DeviceError, BundleError, MissingExtraError) as error:
            yield SourceResult(shown, kind, [], None, error=error)


def _read_source(
    pipeline: EmotionPipeline, source: str, request: Request, sampling: ClipSampling, progress: StepProgress
) -> Iterator[SourceResult]:
    kind = classify_source(source)
    if kind not in ("image", "folder"):
        pipeline.check(request, sampling.frames)
    if request.task == HEART_RATE and request.heart_rate is None:
        if sampling.faces == "all":
            raise TaskError(f"the task {HEART_RATE} answers about one face: leave `faces` out")

        def seconds(read: float) -> None:
            progress(source, round(read), 0)

        request = replace(request, heart_rate=pipeline.heart_rate(source, seconds))
    if kind == "video" and sampling.moments is None and pipeline.tasks.reads_movement(request):

        def frames_read(done: int) -> None:
            progress(source, done, 0)

        movement = pipeline.spotted_movement(source, frames_read)
        request, sampling = replace(request, movement=movement), replace(sampling, moments=movement.moments)
    if kind == "image":
        yield _image_result(pipeline, source, request, sampling)
    elif kind == "folder":
        yield from _folder_results(pipeline, source, request, sampling, progress)
    elif kind == "video" and sampling.moments is not None:
        yield _clip_result(pipeline, source, moment_frames(source, sampling.moments), request, sampling)
    elif kind == "video" and sampling.fps is None:

        def report(done: int, total: int) -> None:
            progress(source, done, total)

        for frames in segment_frames(Path(source), count=sampling.frames, progress=report):
            yield _clip_result(pipeline, source, frames, request, sampling)
    else:
        for window in _windows(sampled_frames(source, fps=sampling.fps), sampling.frames):
            yield _clip_result(pipeline, source, window, request, sampling)


def _folder_results(
    pipeline: EmotionPipeline, folder: str, request: Request, sampling: ClipSampling, progress: StepProgress
) -> Iterator[SourceResult]:
    """Read the pictures of a folder by name; every other entry is a result whose error is a `SkippedError`."""
    entries, missing, known = folder_entries(folder), None, False
    for number, (path, reason) in enumerate(entries):
        progress(folder, number, len(entries))
        error: EmoEdgeError | None = SkippedError(f"skipped: {reason}") if reason else None
        try:
            if error is None:
                yield _image_result(pipeline, path, request, sampling)
                known = True
        except MissingExtraError as lacking:
            missing = lacking
            error = SkippedError(f"skipped: {str(lacking).removeprefix(f'{path}: ')}")
        except (InputError, BundleError) as broken:  # a network may compute nonsense of one picture alone
            error, known = broken, True
        if error:
            yield SourceResult(str(path), "image", [], None, error=error)
    if missing and not known:
        raise missing
    if not missing and not known:
        image_paths(folder)  # raises the error that names what is there


def _image_result(
    pipeline: EmotionPipeline, path: str | Path, request: Request, sampling: ClipSampling
) -> SourceResult:
    image = read_image(path)
    return SourceResult(str(path), "image", pipeline.read(image, request, faces=sampling.faces or "all"), image)


def _clip_result(
    pipeline: EmotionPipeline, source: str, frames: Sequence[TimedFrame], request: Request, sampling: ClipSampling
) -> SourceResult:
    images, indices = [frame.image for frame in frames], [frame.index for frame in frames]
    faces = pipeline.read_clip_faces(images, request, faces=sampling.faces or "largest", indices=indices)
    different = sorted(set(indices))
    shown = images[indices.index(different[faces[0].frame]) if faces else len(images) // 2]
    seconds = (frames[0].time_s, frames[-1].time_s)
    return SourceResult(source, "clip", faces, shown, seconds, segment=frames[0].segment)


def _windows(frames: Iterable[TimedFrame], size: int) -> Iterator[list[TimedFrame]]:
    """Cut a stream into clips of ``size`` frames of one segment; the rest is a shorter one, also after an error."""
    window: list[TimedFrame] = []
    try:
        for frame in frames:
            if window and frame.segment != window[0].segment:
                yield window
                window = []
            window.append(frame)
            if len(window) == size:
                yield window
                window = []
    except EmoEdgeError:
        if window:
            yield window
        raise
    if window:
        yield window
