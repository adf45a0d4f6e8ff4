"""The lines that a stopped benchmark left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random

from emo_edge.benchmarks.hostile.mutate import mutated_bytes, mutated_json
from emo_edge.benchmarks.hostile.trials import Kind
from emo_edge.benchmarks.measure.predictions import CollectedRows, is_prediction
from emo_edge.benchmarks.workload.journal import FACES, SAMPLES, Journal
from emo_edge.benchmarks.workload.samples import is_prepared
from emo_edge.faces.detector import nearest_with_face

PREPARED = {"key": "a", "boxes": [[1.0, 2.0, 30.0, 40.0], None], "found": True, "sha256": "12" * 32, "reason": None}
PREDICTION = {"key": "a", "sha256": "12", "truth": 1, "scores": [0.25, 0.75], "answer": None, "groups": {}, "ms": {}}


def _lines() -> Sequence[bytes]:
    return [b"\n".join(json.dumps({**row, "key": key}).encode() for key in "abc") for row in (PREPARED, PREDICTION)]


def _mutated(rng: Random, content: bytes) -> bytes:
    lines = content.split(b"\n")
    place = rng.randrange(len(lines))
    lines[place] = mutated_json(rng, lines[place])
    whole = b"\n".join(lines)
    return mutated_bytes(rng, whole) if rng.random() < 1 / 4 else whole


def _read(path: Path) -> None:
    folder = path.parent / "run"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / SAMPLES).mkdir(parents=True)
    with Journal(folder, {"bundle": "x"}) as journal:
        for name in (FACES, "row"):
            shutil.copy(path, folder / SAMPLES / f"{name}.jsonl")
        for row in journal.rows(FACES, is_prepared):
            nearest_with_face([box is not None for box in row["boxes"]])
        read = CollectedRows(1, 2)
        for row in journal.rows("row", lambda row: is_prediction(row, 2, set())):
            read.put(0, row)
        read.predictions().probabilities.argmax(1)


JOURNAL = Kind("rows.jsonl", _lines, _mutated, _read)
