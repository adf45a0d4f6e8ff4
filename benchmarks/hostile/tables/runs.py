"""Records of stopped runs: the manifest and the parts of ``emo-edge label``, the frames of ``emo-edge track``."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import pyarrow

from emo_edge.batch.parts import MANIFEST, FinishedInputs, RunFolder
from emo_edge.benchmarks.hostile.mutate import mutated_bytes, mutated_json
from emo_edge.benchmarks.hostile.small_bundle import kept_folder
from emo_edge.benchmarks.hostile.trials import Kind
from emo_edge.faces.live.tracker import LiveTracker, TrackTimes
from emo_edge.faces.registry import WholeImage
from emo_edge.rendering.tables.files import arrow_schema
from emo_edge.rendering.tables.rows import TableSetup
from emo_edge.tracking.journal import FRAME, HEAD, Journal, JournalBatch, face_type
from emo_edge.utils.files import sha256_of

PART = "part-00001.parquet"
SETUP = TableSetup(
    ("source", "sha256", "face", "error", "error_kind"),
    {"bundle_sha256": "1" * 64, "settings_sha256": "2" * 64},
    {"labels": ["happiness", "sadness"], "threads": None},
)
ROWS: dict[str, list[object]] = {
    "source": ["a.jpg", "b.jpg", "c.jpg"],
    "sha256": ["12" * 32, "34" * 32, None],
    "face": [0, 0, None],
    "error": [None, None, "no such file"],
    "error_kind": [None, None, "device"],
}
HEADER, WIDTH = {"video_sha256": "0" * 64}, 6


def _table(rows: dict[str, list[object]]) -> bytes:
    stream = pyarrow.BufferOutputStream()
    table = pyarrow.table(rows, schema=arrow_schema(SETUP))
    with pyarrow.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return bytes(stream.getvalue().to_pybytes())


@cache
def _run() -> Path:
    """Return the folder of a run that was stopped after its first part."""
    folder = kept_folder() / "run"
    with RunFolder(folder) as run:
        run.begin(SETUP)
        run.add([_table(ROWS)], 3, 2, 1, set())
    return folder


def _copied(path: Path, name: str) -> Path:
    """Return a copy of the run, with one file replaced."""
    folder = path.parent / "run"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(_run(), folder)
    shutil.copy(path, folder / name)
    return folder


def _read_manifest(path: Path) -> None:
    _continue(_copied(path, MANIFEST))


def _read_part(path: Path) -> None:
    """Go on with a part whose hash fits."""
    folder = _copied(path, PART)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["parts"][0]["sha256"] = sha256_of(folder / PART)
    (folder / MANIFEST).write_text(json.dumps(manifest, allow_nan=False), encoding="utf-8")
    _continue(folder)


def _continue(folder: Path) -> None:
    """Go on with a run as ``emo-edge label`` does: one input is new, and one is read again."""
    finished = FinishedInputs()
    with RunFolder(folder) as run:
        run.begin(SETUP)
        for name, digest in run.finished():
            finished.note(name, digest)
        run.add([_table({**ROWS, "source": ["c.jpg", "d.jpg", "e.jpg"]})], 3, 2, 1, {"c.jpg"})
    with RunFolder(folder) as run:
        if run.begin(SETUP):
            raise AssertionError("a part that was written is missing")
    finished.known("a.jpg")


@cache
def _record() -> bytes:
    """Return the record of two batches, the second with a face more."""
    path = kept_folder() / "record"
    with Journal(path, HEADER, WIDTH) as journal:
        tracker = LiveTracker(WholeImage(), TrackTimes())
        for number in range(2):
            frames = np.zeros(4, FRAME)
            frames["index"], frames["elapsed_s"] = np.arange(4) + 4 * number, np.arange(4) / 4 + number
            state = {"tracker": tracker.state(), "segment": [0, 0.0, 1.0], "born": [[number, number]]}
            journal.append(JournalBatch(frames, np.zeros(number, face_type(WIDTH)), state))
    return path.read_bytes()


def _mutated_record(rng: Random, content: bytes) -> bytes:
    """Change bytes, or the state of the last batch, whose checksum fits again."""
    if rng.random() < 0.5:
        return mutated_bytes(rng, content)
    start = _last_batch(content)
    frames, faces, state, _ = HEAD.unpack_from(content, start)
    numbers = content[start + HEAD.size :][: frames + faces]
    changed = mutated_json(rng, content[-state:])
    checksum = zlib.crc32(numbers + changed)
    return content[:start] + HEAD.pack(frames, faces, len(changed), checksum) + numbers + changed


def _last_batch(content: bytes) -> int:
    start = len(content)
    while True:
        start = content.rindex(struct.pack("<I", 4 * FRAME.itemsize), 0, start)
        frames, faces, state, _ = HEAD.unpack_from(content, start)
        if start + HEAD.size + frames + faces + state == len(content):
            return start


def _read_record(path: Path) -> None:
    with Journal(path, HEADER, WIDTH) as journal:
        if sum(len(batch.frames) for batch in journal.batches()) != journal.frames:
            raise AssertionError("frames that are not counted")
        journal.append(JournalBatch(np.zeros(1, FRAME), np.zeros(0, face_type(WIDTH)), {}))
        frames = journal.frames
    with Journal(path, HEADER, WIDTH) as journal:
        if journal.frames != frames or journal.state != {}:
            raise AssertionError("what was recorded is not there")


LABEL_RUN = Kind(MANIFEST, lambda: [(_run() / MANIFEST).read_bytes()], mutated_json, _read_manifest)
LABEL_PART = Kind(PART, lambda: [(_run() / PART).read_bytes()], mutated_bytes, _read_part)
TRACK_RECORD = Kind("record.track", lambda: [_record()], _mutated_record, _read_record)
