"""Rows of a table: those of `emo_edge.rows`, with the hashes of source, bundle and settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from emo_edge import __version__
from emo_edge.bundle.manifest import MANIFEST_NAME
from emo_edge.errors import (
    CheckpointError,
    DeviceError,
    EmoEdgeError,
    InputError,
    MissingExtraError,
    SkippedError,
)
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import ClipSampling, Request, SourceResult
from emo_edge.inference.rows import Value, rows
from emo_edge.rendering.result_writers import DIGITS, request_columns, settings_json
from emo_edge.utils.files import sha256_of
from emo_edge.utils.text import utf8_name, utf8_text

KINDS: tuple[tuple[type[EmoEdgeError], str], ...] = (
    (SkippedError, "skipped"),
    (MissingExtraError, "extra"),
    (DeviceError, "device"),
    (CheckpointError, "bundle"),
    (InputError, "input"),
)
"""Word of ``error_kind`` by class of the error; the first that fits."""
TableRow = tuple[Value, ...]
"""Values in the order of `TableSetup.columns`."""


@dataclass(frozen=True)
class TableSetup:
    """Columns and common values of all rows of one table."""

    columns: tuple[str, ...]
    common: Mapping[str, Value]
    """Values of the columns that are the same in every row."""
    settings: Mapping[str, Any]
    """Everything that a row depends on besides the bundle and its source, as JSON values."""


def table_setup(
    pipeline: EmotionPipeline, request: Request, sampling: ClipSampling, limits: Mapping[str, Any] | None = None
) -> TableSetup:
    """Return the columns and the common values of a request's results.

    Args:
        pipeline: an open one.
        request: of every reading.
        sampling: of clips.
        limits: JSON values that bound the detector, which settings do not name.
    """
    settings = pipeline.settings(request)
    described = {
        **settings_json(settings),
        "clip_question": pipeline.settings(request, clip=True).question,
        "clips": {name: value for name, value in asdict(sampling).items() if name != "moments" or value},
        "answers": asdict(request.sampling),
        "faces": dict(limits or {}),
    }
    common: dict[str, Value] = {
        "profile": settings.profile,
        "device": settings.device,
        "bundle_sha256": sha256_of(pipeline.bundle.directory / MANIFEST_NAME),
        "settings_sha256": hashlib.sha256(json.dumps(described, sort_keys=True, allow_nan=False).encode()).hexdigest(),
        "emo_edge": __version__,
    }
    return TableSetup(tuple(_columns(request_columns(pipeline, request))), common, described)


def table_rows(setup: TableSetup, result: SourceResult, sha256: str | None) -> list[TableRow]:
    """Return the rows of one result: one a face, or one without a face.

    Args:
        setup: of the table.
        result: of a picture or a clip.
        sha256: of the source's content; None where it cannot be known, as of a camera.
    """
    own: dict[str, Value] = {"sha256": sha256, "error_kind": error_kind(result.error)}
    given = rows(result)
    for index, row in enumerate(given):
        face = result.faces[index] if result.faces else None
        clip = face is not None and result.kind == "clip"
        row |= {
            **own,
            "track": index if clip else None,
            "frame": face.frame if clip and face else None,
            "read_ms": sum(face.stage_ms.values()) if face else None,
            **setup.common,
        }
    return [tuple(_stored(name, row.get(name)) for name in setup.columns) for row in given]


def error_kind(error: EmoEdgeError | None) -> str | None:
    """Return the word of an error in the column ``error_kind``; None for none."""
    if error is None:
        return None
    return next((kind for one, kind in KINDS if isinstance(error, one)), "failed")


def _columns(names: Sequence[str]) -> list[str]:
    """Insert the columns of a table into those of `rows`."""
    before = {
        "kind": ("sha256",),
        "face": ("frame", "track"),
        "error": ("bundle_sha256", "settings_sha256", "emo_edge", "read_ms", "error_kind"),
    }
    return [column for name in names for column in (*before.get(name, ()), name)]


def _stored(name: str, value: Value) -> Value:
    """Return a value as a table holds it: rounded, and text without half a character."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, str):
        return utf8_name(value) if name == "source" else utf8_text(value)
    return value
