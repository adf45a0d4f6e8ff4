"""The cache of engines: their records and seals, the plans themselves, and what earlier builds noted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from random import Random

from emo_edge.benchmarks.hostile.mutate import mutated_bytes, mutated_json
from emo_edge.benchmarks.hostile.small_bundle import kept_folder
from emo_edge.benchmarks.hostile.trials import Kind
from emo_edge.errors import DeviceError
from emo_edge.runtimes.tensorrt.build_config import EngineConfig, engine_key
from emo_edge.runtimes.tensorrt.engine_cache import ENTRY, PLAN, REFUSED, ROWS, EngineCache, Entry
from emo_edge.utils.files import sha256_of

MACHINE = {"library": "TensorRT", "gpu": "a card", "driver": "1"}
RECIPE = EngineConfig("/graph.onnx", "0" * 64, "face fp32", {})
MOST_ROWS = 16


@cache
def _cache() -> EngineCache:
    """Return a cache of one sealed entry, whose plan is text: only its seal, size and hash are read here."""
    cache_ = EngineCache(kept_folder())
    key = engine_key(RECIPE, MACHINE)
    folder = cache_.directory / key
    folder.mkdir()
    (folder / PLAN).write_bytes(b"the plan of an engine " * 100)
    entry = Entry(
        key, RECIPE.name, 2200, sha256_of(folder / PLAN), 1.5, MACHINE, "2026-01-01T00:00:00Z", {"features": 1.0}
    )
    cache_.compared(entry, entry.distance)
    cache_.note_rows(RECIPE, MACHINE, MOST_ROWS)
    cache_.note_refusal(MACHINE, "too old")
    return cache_


@cache
def _sealed() -> Entry:
    """Return the entry as it was sealed."""
    ((entry, _, _),) = _cache().entries()
    assert entry is not None
    return entry


def _folder() -> Path:
    return _cache().directory / _sealed().key


def _changed_seal(rng: Random, content: bytes) -> bytes:
    """Change a value of an entry and leave its seal, or change anything."""
    values = json.loads(content)
    seal = values.pop("seal")
    changed = mutated_json(rng, json.dumps(values).encode())
    if rng.random() < 0.5 or not changed.startswith(b'{"'):
        return mutated_json(rng, content)
    return f'{{"seal": "{seal}", '.encode() + changed[1:]


def _read_entry(path: Path) -> None:
    _read_into(_folder() / ENTRY, path)


def _read_plan(path: Path) -> None:
    _read_into(_folder() / PLAN, path)


def _read_into(target: Path, path: Path) -> None:
    """Put a file in its place, look the engine up, and put back what was there."""
    whole, sealed = target.read_bytes(), _sealed()
    shutil.copy(path, target)
    try:
        ((entry, reason, _),) = _cache().entries()
        changed = target.read_bytes() != whole
    finally:
        target.write_bytes(whole)
    if entry is None:
        raise DeviceError(reason)
    if asdict(entry) != asdict(sealed) or (changed and target.name == PLAN):
        raise AssertionError("what was changed is taken for sealed")


def _notes() -> Sequence[bytes]:
    return [(_cache().directory / name).read_bytes() for name in (ROWS, REFUSED)]


def _read_notes(path: Path) -> None:
    for name in (ROWS, REFUSED):
        shutil.copy(path, _cache().directory / name)
    rows = _cache().rows_that_fit(RECIPE, MACHINE)
    if rows is not None and type(rows) is not int:
        raise AssertionError(f"{rows!r} rows")
    _cache().refusal(MACHINE)
    _cache().note_rows(RECIPE, MACHINE, MOST_ROWS)
    if _cache().rows_that_fit(RECIPE, MACHINE) != MOST_ROWS:
        raise AssertionError("what was noted is not there")


SEAL = Kind(ENTRY, lambda: [(_folder() / ENTRY).read_bytes()], _changed_seal, _read_entry)
PLAN_FILE = Kind(PLAN, lambda: [(_folder() / PLAN).read_bytes()], mutated_bytes, _read_plan)
NOTES = Kind(ROWS, _notes, mutated_json, _read_notes)
