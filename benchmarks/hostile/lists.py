"""Lists of samples that a user brings: CSV and JSON lines."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from emo_edge.benchmarks.hostile.mutate import VALUES, mutated_bytes, mutated_json
from emo_edge.benchmarks.hostile.trials import Kind
from emo_edge.calibration.samples.lists import listed_samples

CSV = b'image,label,x0,y0,x1,y1\r\na.jpg,happiness,1,2,30,40\r\n"b, c.jpg",,,,,\r\nd/e.png,anger,,,,\r\n'
JSONL = b"""{"image": "a.jpg", "label": "happiness", "x0": 1, "y0": 2, "x1": 30.5, "y1": 40}
{"image": "b.jpg", "label": null}
"""


def _mutated_csv(rng: Random, content: bytes) -> bytes:
    """Change a cell, or bytes."""
    if rng.random() < 0.5:
        return mutated_bytes(rng, content)
    cells = content.split(b",")
    cells[rng.randrange(len(cells))] = str(rng.choice(VALUES)).encode("utf-8", "replace")
    return b",".join(cells)


def _mutated_jsonl(rng: Random, content: bytes) -> bytes:
    lines = content.splitlines()
    place = rng.randrange(len(lines))
    lines[place] = mutated_json(rng, lines[place])
    return b"\n".join(lines)


def _csv() -> Sequence[bytes]:
    return [CSV, b"\xef\xbb\xbf" + CSV.replace(b"\r\n", b"\n")]


SAMPLE_CSV = Kind("samples.csv", _csv, _mutated_csv, listed_samples)
SAMPLE_JSONL = Kind("samples.jsonl", lambda: [JSONL], _mutated_jsonl, listed_samples)
