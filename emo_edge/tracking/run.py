"""The order of a run: for each video its record, its frames, its table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_edge import __version__
from emo_edge.console.progress import StepProgress
from emo_edge.errors import DeviceError, InputError
from emo_edge.faces.detector import FaceDetector
from emo_edge.media.sources import SourceKind, classify_source, without_password
from emo_edge.rendering.tables.output import unwritable
from emo_edge.storage.locks import FileLock, LockedError, lock_path
from emo_edge.storage.output_files import require_free
from emo_edge.tracking.follow import FRAMES_AT_ONCE
from emo_edge.tracking.journal import Journal
from emo_edge.tracking.network import FaceNetwork
from emo_edge.tracking.reading import read_video
from emo_edge.tracking.settings import TableSettings
from emo_edge.tracking.table import write_table
from emo_edge.tracking.targets import Targets, is_finished, print_of
from emo_edge.utils.files import sha256_of
from emo_edge.utils.text import utf8_name

JOURNAL_SUFFIX = ".track"
"""Ends the name of a record, next to its table."""


@dataclass(frozen=True)
class TrackedVideo:
    """A video and its table, or the error in its place."""

    source: str
    """Its name, without credentials."""
    target: Path
    frames: int = 0
    faces: int = 0
    """Rows with a face."""
    is_unchanged: bool = False
    """True of a table that was finished before."""
    error: InputError | DeviceError | None = None
    """That ended the video early; its table holds the frames that are there."""


@dataclass(frozen=True)
class TrackRun:
    """Settings and engines of all videos of a run."""

    network: FaceNetwork
    detector: FaceDetector
    detector_settings: Mapping[str, Any]
    """JSON values that name the detector and its limits."""
    settings: TableSettings
    targets: Targets
    overwrite: bool = False
    progress: StepProgress = lambda step, done, total: None
    """Gets the name of a video, frames done and in all."""
    note: Callable[[str], None] = lambda line: None
    """Gets a line for people."""


def track_videos(run: TrackRun, sources: Sequence[str]) -> Iterator[TrackedVideo]:
    """Follow the faces of each video and write its table; yield what became of it.

    A video that cannot be read has an error and no table, and the next one is read. Raises InputError, before anything
    is read, for a table that is there already, and what the network raises.
    """
    if run.targets.folder is not None:
        run.targets.folder.mkdir(parents=True, exist_ok=True)
    else:
        require_free(run.targets.paths[0], overwrite=run.overwrite)
    for source, target in zip(sources, run.targets.paths, strict=True):
        shown = without_password(source)
        try:
            yield _tracked(run, source, shown, target)
        except (InputError, DeviceError) as error:
            yield TrackedVideo(shown, target, error=error)


def _tracked(run: TrackRun, source: str, shown: str, target: Path) -> TrackedVideo:
    kind = classify_source(source)
    made_by = _made_by(run, source, kind)
    table_made_by = {**made_by, "source": utf8_name(shown), "table": run.settings.to_dict()}
    finished = print_of(table_made_by)
    if _is_unchanged(run, kind, target, finished):
        return TrackedVideo(shown, target, is_unchanged=True)
    with _record(run, target, kind, made_by) as journal:
        # Only now: another run may have finished since the first look.
        if _is_unchanged(run, kind, target, finished):
            return TrackedVideo(shown, target, is_unchanged=True)
        ended = _read(run, source, kind, shown, journal)
        faces = write_table(
            journal,
            run.network,
            target,
            utf8_name(shown),
            run.settings,
            table_made_by,
            _progress(run, f"{shown}, table"),
            overwrite=run.overwrite,
        )
        if ended is None and kind == "video":
            run.targets.note_finished(target, finished)
        frames = journal.frames
        journal.remove()
    if isinstance(ended, KeyboardInterrupt):
        raise ended
    return TrackedVideo(shown, target, frames, faces, error=ended)


def _is_unchanged(run: TrackRun, kind: SourceKind, target: Path, finished: str) -> bool:
    """Return True if a run of the same settings has finished a table; raise InputError for any other that is there."""
    if kind == "video" and not run.overwrite and is_finished(run.targets, target, finished):
        return True
    require_free(target, overwrite=run.overwrite)
    return False


def _read(
    run: TrackRun, source: str, kind: SourceKind, shown: str, journal: Journal
) -> InputError | DeviceError | KeyboardInterrupt | None:
    """Read a video; return what ended it early and leaves a table: also Ctrl-C of a stream, which cannot go on."""
    try:
        return read_video(source, kind, journal, run.network, run.detector, _progress(run, shown))
    except KeyboardInterrupt as interrupt:
        if kind != "video" and journal.frames:
            run.note(f"{shown}: stopped after {journal.frames:,} frames, which are written")
            return interrupt
        run.note(f"{shown}: stopped after {journal.frames:,} frames; the same command goes on from there")
        raise


@contextmanager
def _record(run: TrackRun, target: Path, kind: SourceKind, made_by: Mapping[str, Any]) -> Iterator[Journal]:
    """Open the record of a video, which no other process has; it stays where it is not removed and holds frames."""
    path = target.with_name(f".{target.name}{JOURNAL_SUFFIX}")
    try:
        with FileLock(lock_path(target)):
            if kind != "video":
                path.unlink(missing_ok=True)  # a stream never begins where it ended
            with Journal(path, made_by, run.network.width) as journal:
                if journal.is_of_others:
                    run.note(f"{target}: a stopped run of other settings, or of another video, is begun anew")
                try:
                    yield journal
                finally:
                    if not journal.frames:
                        journal.remove()
    except LockedError as error:
        raise InputError(f"{target}: {error.strerror}; wait for it, or choose another name") from error
    except OSError as error:
        raise unwritable(target, error) from error


def _progress(run: TrackRun, shown: str) -> Callable[[int, int], None]:
    return lambda done, total: run.progress(shown, done, total)


def _made_by(run: TrackRun, source: str, kind: SourceKind) -> dict[str, Any]:
    return {
        "emo_edge": __version__,
        "video_sha256": sha256_of(Path(source)) if kind == "video" else None,
        "detector": dict(run.detector_settings),
        "frames_at_once": FRAMES_AT_ONCE,
        **run.network.settings(),
    }
