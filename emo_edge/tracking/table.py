"""From the record of a video to its table, read twice in order: ids and neutral faces, then rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from emo_edge.console.progress import Progress
from emo_edge.errors import InputError
from emo_edge.rendering.tables.output import unwritable
from emo_edge.rendering.tracks.columns import TrackRow, track_row
from emo_edge.rendering.tracks.faces import TrackedFace, TrackedFrame
from emo_edge.rendering.tracks.files import open_track
from emo_edge.rendering.tracks.formats import format_columns
from emo_edge.storage.renames import rename_new
from emo_edge.tracking.journal import Journal, JournalBatch
from emo_edge.tracking.network import FaceNetwork
from emo_edge.tracking.neutral import NeutralFaces
from emo_edge.tracking.settings import TableSettings

BORN = "born"
"""Key of a batch's state: numbers and ids of the tracks that were born in it."""


def write_table(
    journal: Journal,
    network: FaceNetwork,
    target: Path,
    source: str,
    settings: TableSettings,
    made_by: Mapping[str, Any],
    progress: Progress = lambda done, total: None,
    *,
    overwrite: bool = True,
) -> int:
    """Write the table of a video as a whole; return its rows of faces.

    Args:
        journal: of the video.
        network: that made it.
        target: the file.
        source: name of the video in rows, without credentials.
        settings: of the table.
        made_by: JSON values that a Parquet file keeps.
        progress: gets the frames written and in all.
        overwrite: False refuses a file that has appeared meanwhile.

    Raises InputError where the file cannot be written.
    """
    columns = format_columns(settings.format, network.contents)
    # Whoever has the record has this name as well, so that a killed run's part is written over.
    partial, faces = journal.path.with_name(f"{journal.path.name}-table"), 0
    try:
        table = open_track(partial, columns, made_by, parquet=settings.parquet)
        try:
            for frame, face in _ordered(journal, network, source, settings.neutral_s, progress):
                row: TrackRow = track_row(columns, frame, face)
                table.write([row])
                faces += face is not None
        finally:
            table.close()
        if overwrite:
            partial.replace(target)
        else:
            rename_new(partial, target)
    except FileExistsError as error:
        raise InputError(f"{target}: another program has written it meanwhile; choose another name") from error
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return faces


def _ordered(
    journal: Journal, network: FaceNetwork, source: str, neutral_s: float | None, progress: Progress
) -> Iterator[tuple[TrackedFrame, TrackedFace | None]]:
    """Yield the faces of each frame by their ids, and a frame without one alone."""
    ids, neutral = _looked_through(journal, network, neutral_s)
    done = 0
    for batch in journal.batches():
        starts = np.searchsorted(batch.faces["frame"], batch.frames["index"], "left")
        ends = np.searchsorted(batch.faces["frame"], batch.frames["index"], "right")
        for record, start, end in zip(batch.frames, starts, ends, strict=True):
            frame = _frame(record, source)
            own = [face for face in batch.faces[start:end] if int(face["number"]) in ids]
            for face in sorted(own, key=lambda one: ids[int(one["number"])]):
                yield frame, _face(face, network, ids[int(face["number"])], neutral)
            if not own:
                yield frame, None
        done += len(batch.frames)
        progress(done, journal.frames)


def _looked_through(
    journal: Journal, network: FaceNetwork, neutral_s: float | None
) -> tuple[dict[int, int], NeutralFaces | None]:
    """Return the ids of the tracks that have one, and the neutral faces where they are asked for."""
    ids: dict[int, int] = {}
    neutral = None if neutral_s is None else NeutralFaces(neutral_s, len(network.contents.units))
    for batch in journal.batches():
        ids.update((number, face_id) for number, face_id in batch.state[BORN])
        if neutral and len(batch.frames):
            _add(neutral, batch, network)
    if neutral:
        neutral.settle()
    return ids, neutral


def _add(neutral: NeutralFaces, batch: JournalBatch, network: FaceNetwork) -> None:
    times = dict(zip(batch.frames["index"].tolist(), batch.frames["elapsed_s"].tolist(), strict=True))
    for face, intensities in zip(batch.faces, network.intensities(batch.faces["row"]), strict=True):
        neutral.add(int(face["number"]), times[int(face["frame"])], intensities)
    neutral.settle(float(batch.frames["elapsed_s"][-1]))


def _frame(record: Any, source: str) -> TrackedFrame:
    index, segment, seconds, elapsed_s, width, height = record.tolist()
    return TrackedFrame(source, index, segment, seconds, elapsed_s, width, height)


def _face(record: Any, network: FaceNetwork, face_id: int, neutral: NeutralFaces | None) -> TrackedFace:
    x0, y0, x1, y1 = record["box"].tolist()
    score = float(record["score"])
    face = network.face(record["row"], face_id, (x0, y0, x1, y1), None if np.isnan(score) else score)
    if neutral is None:
        return face
    return replace(face, intensity=np.maximum(face.intensity - neutral.offset(int(record["number"])), 0.0))
