"""Writers of results on stdout: text, JSON, JSON lines, CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from emo_edge.console.terminal import echo
from emo_edge.inference.face_attributes import shown_attributes
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.prompt_layout import HEADS
from emo_edge.inference.results import RESULT_VERSION, UNITS_RESULT_VERSION, Request, Settings, SourceResult
from emo_edge.inference.rows import Value, columns, rows, unit_columns
from emo_edge.rendering.text import result_text
from emo_edge.utils.text import readable_name, utf8_text

RUN_VERSION = 1
"""Of the first line of JSON lines."""
LEFT_OUT = ("landmarks", "hidden_points")
"""Keys of a face that compact JSON does without."""
DIGITS = 5
"""Of a number in a table."""
MARK = "'"
"""In front of text that a cell would not hold as it is."""
MARKED = ("=", "+", "-", "@", "\t", "\r", MARK)
"""Beginnings of a text that gets the mark: what a spreadsheet computes, and the mark, so that `plain_text` is exact."""


class ResultWriter:
    """Prints results, each as soon as it is there; this one as text for people."""

    has_settings = False
    """True if the output holds the settings, and so the purpose of the bundle."""

    def begin(self) -> None:
        """Print what stands before the results."""

    def write(self, result: SourceResult) -> None:
        """Print one result; an error is printed elsewhere."""
        if not result.error:
            echo(result_text(result))

    def end(self) -> None:
        """Print what stands after the results."""


class JsonWriter(ResultWriter):
    """One JSON array."""

    def __init__(self, *, compact: bool) -> None:
        self.compact, self.has_settings = compact, not compact
        self._written = 0

    def begin(self) -> None:
        """Open the array."""
        echo("[", nl=False)

    def write(self, result: SourceResult) -> None:
        """Print one result in one write, so that after Ctrl-C `end` closes a valid array."""
        comma = "," if self._written else ""
        self._written += 1
        echo(f"{comma}\n{_dumped(result_json(result, compact=self.compact), self.compact)}", nl=False)

    def end(self) -> None:
        """Close the array."""
        echo("\n]")


class JsonLinesWriter(ResultWriter):
    """One JSON object a line; the first one holds the settings of all the others."""

    has_settings = True

    def __init__(self, settings: Settings, clip_question: str, *, compact: bool, version: int = RESULT_VERSION) -> None:
        self.compact = compact
        self._head = {
            "kind": "run",
            "run_version": RUN_VERSION,
            "result_version": version,
            "settings": settings_json(settings),
            "clip_question": clip_question,
        }

    def begin(self) -> None:
        """Print the settings."""
        echo(_dumped(self._head, self.compact))

    def write(self, result: SourceResult) -> None:
        """Print one result."""
        echo(_dumped(result_json(result, compact=self.compact, settings=False), self.compact))


class CsvWriter(ResultWriter):
    """One row a face, with the columns of `emo_edge.rows`; ``segment`` is empty but after a jump of the time stamps."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = columns

    def begin(self) -> None:
        """Print the names of the columns."""
        self._print([dict(zip(self.columns, self.columns, strict=True))])

    def write(self, result: SourceResult) -> None:
        """Print the rows of one result."""
        self._print(rows(result))

    def _print(self, table: list[dict[str, Value]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writerows({name: cell(value) for name, value in _with_readable_source(row).items()} for row in table)
        echo(text.getvalue(), nl=False)


def open_writer(name: str, pipeline: EmotionPipeline, request: Request, *, compact: bool) -> ResultWriter:
    """Return the writer called ``name``: text, json, jsonl or csv; raise InputError for an impossible request."""
    settings = pipeline.settings(request)
    if name == "json":
        return JsonWriter(compact=compact)
    if name == "jsonl":
        clip_question = pipeline.settings(request, clip=True).question
        return JsonLinesWriter(settings, clip_question, compact=compact, version=result_version(pipeline, request))
    return CsvWriter(request_columns(pipeline, request)) if name == "csv" else ResultWriter()


def result_version(pipeline: EmotionPipeline, request: Request) -> int:
    """Return the version of a request's results, once they have a face."""
    newer = pipeline.manifest.action_units or request.task or pipeline.deployment_purpose
    return UNITS_RESULT_VERSION if newer else RESULT_VERSION


def request_columns(pipeline: EmotionPipeline, request: Request) -> list[str]:
    """Return the columns that the results of a request have."""
    manifest, shown = pipeline.manifest, request.show_demographics
    face = manifest.components.face
    predicted = {output.name for output in face.outputs} if face else set()
    facts = request.face_facts and "attributes" in predicted
    questions = {manifest.prompt.describe if request.describe else None, request.ask} - {None}
    task = pipeline.tasks.of(request)
    written = len(questions) + (task is not None and task.answer == "open")
    return columns(
        pipeline.settings(request).labels,
        values=[scale.name for scale in manifest.face_labels.values],
        units=unit_columns(manifest),
        attributes=shown_attributes(manifest.face_labels, demographics=shown) if facts else (),
        heads=[name for name in HEADS if shown and name in predicted],
        answers=written,
    )


def cell(value: Value) -> Value:
    """Return a value as a cell of a table: text that a spreadsheet would compute gets an apostrophe in front.

    So does empty text, because an empty cell is null. `plain_text` takes it away.
    """
    if not isinstance(value, str):
        return round(value, DIGITS) if isinstance(value, float) else value
    text = utf8_text(value)
    return f"{MARK}{text}" if not text or text.startswith(MARKED) else text


def plain_text(text: str) -> str:
    """Return the text that a cell which is not empty stands for."""
    return text.removeprefix(MARK)


def _with_readable_source(row: dict[str, Value]) -> dict[str, Value]:
    """Return a row whose source is named as in text: two names that a terminal cannot show stay two."""
    source = row["source"]
    return {**row, "source": readable_name(source)} if isinstance(source, str) else row


def settings_json(settings: Settings) -> dict[str, Any]:
    """Return settings as JSON values."""
    return settings.to_dict()


def result_json(result: SourceResult, *, compact: bool, settings: bool = True) -> dict[str, Any]:
    """Return the JSON object of a result, without settings where they stand elsewhere.

    Compact, it has neither landmarks, hidden points, stage times nor settings, and of action units the active ones.
    """
    document = result.to_dict()
    for reading in document["readings"]:
        if compact or not settings:
            del reading["settings"]
        if compact:
            del reading["stage_ms"]
            face = reading["face"] or {}
            reading["face"] = {name: value for name, value in face.items() if name not in LEFT_OUT} or None
            if units := reading.get("action_units"):
                reading["action_units"] = {name: unit for name, unit in units.items() if unit["active"]}
    return document


def _dumped(document: dict[str, Any], compact: bool) -> str:
    return json.dumps(document, separators=(",", ":") if compact else None, allow_nan=False)
