"""Options of ``emo-edge live`` as settings, a request and a writer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from emo_edge.bundle.label_sets import typed_labels
from emo_edge.bundle.sections import LiveLabels
from emo_edge.inference.live.settings import LiveSettings
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request
from emo_edge.inference.rows import unit_columns
from emo_edge.media.live.settings import CaptureSettings
from emo_edge.media.sources import classify_source
from emo_edge.rendering.live.recorder import LiveRecorder, Recorded
from emo_edge.rendering.live.window import LiveWindow
from emo_edge.rendering.live_view import LiveView
from emo_edge.rendering.live_writers import LiveCsv, LiveJsonLines, LiveText, LiveWriter, Thinned, Together


def live_settings(options: dict[str, Any]) -> LiveSettings:
    """Return the settings that the options name."""
    capture = CaptureSettings(options["stall"], options["reconnect"], options["realtime"])
    return LiveSettings(
        options["max_age"],
        not options["no_reuse"],
        options["duration"],
        capture,
        options["pulse"],
        options["micro_expressions"],
    )


def face_request(options: dict[str, Any]) -> Request:
    """Return the labels and the prompt that the options name."""
    labels = typed_labels(options["labels"])
    return Request(labels=labels, demographics=False if options["no_demographics"] else None)


def open_writer(
    options: dict[str, Any], view: LiveWriter, pipeline: EmotionPipeline, request: Request, settings: LiveSettings
) -> LiveWriter:
    """Return the writer that the options name; ``view`` is that of a terminal, where there is one."""
    if options["as_lines"] and options["as_csv"]:
        raise click.UsageError("choose one of --jsonl and --csv")
    if options["pulse"] and options["as_csv"]:
        raise click.UsageError("--pulse is printed as text and by --jsonl, not by --csv")
    if options["micro_expressions"] and not options["as_lines"]:
        raise click.UsageError("--micro-expressions are printed by --jsonl alone")
    fitted = pipeline.manifest.live or LiveLabels()
    writer: LiveWriter = view if isinstance(view, LiveView) else LiveText(named=len(options["sources"]) > 1)
    if options["as_lines"]:
        writer = LiveJsonLines(pipeline.settings(request), settings, fitted)
    elif options["as_csv"]:
        labels, units = pipeline.settings(request).labels, unit_columns(pipeline.manifest)
        writer = LiveCsv(labels, smoothed=fitted.smoothing is not None, units=units)
    elif options["every"]:
        raise click.UsageError("--every is an option of --jsonl and --csv")
    return Thinned(writer, options["every"]) if options["every"] else writer


def open_pictures(options: dict[str, Any]) -> list[LiveWriter]:
    """Return the recording and the window that the options name; raise where one of them cannot be had."""
    writers: list[LiveWriter] = []
    if options["overlay"]:
        writers.append(LiveWindow())
    if options["record"] is not None:
        if len(options["sources"]) > 1:
            raise click.UsageError("--record takes one source")
        every_frame = classify_source(options["sources"][0]) == "video" and not options["realtime"]
        recorder = LiveRecorder(
            options["record"], options["sources"], overwrite=options["overwrite"], every_frame=every_frame
        )
        writers.append(recorder)
    elif options["overwrite"]:
        raise click.UsageError("--overwrite is an option of --record")
    return writers


def with_pictures(writer: LiveWriter, pictures: Sequence[LiveWriter]) -> LiveWriter:
    """Return a writer of all; what a recording leaves out is printed."""
    for picture in pictures:
        writer = Recorded(writer, picture) if isinstance(picture, LiveRecorder) else Together([writer, picture])
    return writer
