"""Read a video to its end into its record."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from emo_edge.console.progress import Progress
from emo_edge.errors import DeviceError, InputError
from emo_edge.faces.detector import FaceDetector
from emo_edge.media.sources import SourceKind
from emo_edge.media.videos import TimedFrame
from emo_edge.tracking.follow import FoundBatch, VideoFollower
from emo_edge.tracking.frames import open_frames
from emo_edge.tracking.journal import FRAME, Journal, JournalBatch, face_type
from emo_edge.tracking.network import FaceNetwork
from emo_edge.tracking.table import BORN

FOLLOWER = "follower"
"""Key of a batch's state: that of the follower."""


def read_video(
    source: str,
    kind: SourceKind,
    journal: Journal,
    network: FaceNetwork,
    detector: FaceDetector,
    progress: Progress = lambda done, total: None,
) -> InputError | DeviceError | None:
    """Read the frames that the record lacks; return the error that ended the video early, None at its end.

    Raises InputError for a video that does not open or has no frame, and what the network raises.
    """
    follower = VideoFollower(network, detector)
    if journal.state is not None:
        try:
            follower.restore(journal.state[FOLLOWER])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{journal.path}: is no record of this run; remove it, and the run begins anew") from error
    with open_frames(source, kind, journal.frames) as video:
        # A stream's calls wait for frames, and Ctrl-C reaches the main thread alone.
        for batch in _batches(follower, video.frames, ahead=kind == "video"):
            if batch.error is not None and not journal.frames + len(batch.frames):
                raise batch.error
            journal.append(_computed(batch, network))
            progress(journal.frames, video.total)
            if batch.error is not None:
                return batch.error
    return None


def _batches(follower: VideoFollower, frames: Iterator[TimedFrame], *, ahead: bool) -> Iterator[FoundBatch]:
    """Yield the batches; ``ahead`` has a thread find the next one's faces while the network runs on this one.

    Whatever ends the loop ends the thread at its next frame.
    """
    if not ahead:
        while not (batch := follower.batch(frames)).is_last:
            yield batch
        yield batch
        return
    with ThreadPoolExecutor(1, "follow") as thread:
        try:
            coming = thread.submit(follower.batch, frames)
            while not (batch := coming.result()).is_last:
                coming = thread.submit(follower.batch, frames)
                yield batch
            yield batch
        except BaseException:
            follower.stop()
            raise


def _computed(batch: FoundBatch, network: FaceNetwork) -> JournalBatch:
    rows = network.rows([face.crop for face in batch.faces])
    frames = np.zeros(len(batch.frames), FRAME)
    for place, (frame, (width, height)) in enumerate(zip(batch.frames, batch.sizes, strict=True)):
        frames[place] = (frame.index, frame.segment, frame.time_s, frame.elapsed_s, width, height)
    faces = np.zeros(len(batch.faces), face_type(network.width))
    for number, face in enumerate(batch.faces):
        index = batch.frames[face.frame].index
        score = np.nan if face.score is None else face.score
        faces[number] = (index, face.number, face.box, score, rows[number])
    return JournalBatch(frames, faces, {FOLLOWER: batch.state, BORN: batch.born})
