"""``emo-edge live``: the faces of a camera, a stream or a video as they are now."""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import click

from emo_edge.bundle.reader import Bundle
from emo_edge.cli.completion import complete_bundle
from emo_edge.cli.engine_options import engine_options
from emo_edge.cli.live.options import face_request, live_settings, open_pictures, open_writer, with_pictures
from emo_edge.cli.packaged_bundle import bundle_directory
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.durations import Duration
from emo_edge.console.face_options import face_options
from emo_edge.console.interrupts import end_without_waiting, last_words
from emo_edge.console.signals import exit_code_of
from emo_edge.console.status_line import StatusLogHandler
from emo_edge.console.task_options import emotions_option, purpose_option
from emo_edge.console.terminal import echo
from emo_edge.errors import InputError
from emo_edge.faces.limits import FaceLimits
from emo_edge.inference.detectors import chosen_detector
from emo_edge.inference.live.api import live
from emo_edge.inference.live.events import FrameEvent, LiveEvent
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.media.pipes import STANDARD_INPUT
from emo_edge.media.readers.credentials import unknown_text
from emo_edge.planning.reading_context import reading_context
from emo_edge.rendering.bundle_notes import detector_note
from emo_edge.rendering.live_view import LiveView
from emo_edge.rendering.live_writers import LiveWriter


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path), shell_complete=complete_bundle)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@engine_options
@click.option(
    "--no-demographics", is_flag=True, help="Leave the sentence about age, gender and race out of the prompt."
)
@click.option(
    "--max-age",
    type=Duration(),
    default="500ms",
    show_default=True,
    help="Most time from the capture of a frame to its event that may be spent on waiting for labels.",
)
@click.option("--no-reuse", is_flag=True, help="Read a face again although it has not changed.")
@click.option(
    "--pulse",
    is_flag=True,
    help="Measure the heart rate of every face once a second, from 15 frames a second on. Not a medical device.",
)
@click.option(
    "--micro-expressions",
    is_flag=True,
    help="Look for movements of action units of at most half a second, from 25 readings of a face a second on; with "
    "--jsonl.",
)
@click.option(
    "--stall",
    type=Duration(),
    default="2s",
    show_default=True,
    help="Time without a frame after which a camera or stream has stalled; after five times as long it is lost.",
)
@click.option("--reconnect", is_flag=True, help="Open a lost camera or stream again, after 0.5 s to 30 s.")
@click.option("--realtime", is_flag=True, help="Play a video file at its own pace, and skip what comes too fast.")
@click.option("--duration", type=Duration(), help="Time after which the command ends with success.")
@face_options
@emotions_option
@purpose_option
@click.option("--jsonl", "as_lines", is_flag=True, help="Print the settings, then each event: one JSON object a line.")
@click.option("--csv", "as_csv", is_flag=True, help="Print one CSV row a face of each frame.")
@click.option(
    "--every",
    type=Duration(),
    help="Least time between two frames that --jsonl and --csv print; every frame if left out.",
)
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    help="Video of the frames as they are drawn, each at its own time: .mp4.",
)
@click.option("--overwrite", is_flag=True, help="Replace a video of that name.")
@click.option("--overlay", is_flag=True, help="Show the frames in a window, where OpenCV has windows; q closes it.")
@click.option("-v", "--verbose", is_flag=True, help="Log every choice and its reason.")
def main(bundle: Path, **options: Any) -> None:
    """Show the faces of SOURCE as they are now, with BUNDLE.

    BUNDLE is a folder, or emo-tiny: the packaged model, which is exported once and kept. SOURCE is the number of a
    camera, /dev/v4l/by-id/..., an RTSP or HTTP address, a GStreamer pipeline or a video. Faces are followed by their
    boxes, never recognised. A label that is older than its frame says so. Several sources share the engines, and each
    event names its own.
    """
    _check_order(bundle)
    settings, request, pictures = live_settings(options), face_request(options), open_pictures(options)
    view = LiveView() if sys.stdout.isatty() and not (options["as_lines"] or options["as_csv"]) else LiveWriter()
    level = logging.INFO if options["verbose"] else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", handlers=[StatusLogHandler(view)])
    opened = Bundle.open(bundle_directory(bundle))
    lost = detector_note(opened.manifest, options["detector"])
    if lost:
        echo(lost, err=True)
    limits = FaceLimits(options["min_score"], options["min_face"], options["max_faces"])
    with EmotionPipeline.open(
        opened,
        device=options["device"],
        profile=options["profile"],
        detector=chosen_detector(opened, options["detector"], limits),
        threads=options["threads"],
        # Faces are read as those of a picture.
        context=reading_context(opened, request, (STANDARD_INPUT,), 1),
        deployment_purpose=options["purpose"],
        emotions=options["emotions"],
    ) as pipeline:
        events = live(pipeline, options["sources"], request, settings)
        _print_all(events, with_pictures(open_writer(options, view, pipeline, request, settings), pictures))


def _print_all(events: Generator[LiveEvent, None, None], writer: LiveWriter) -> None:
    """Print the events until they end; raise SystemExit after Ctrl-C or SIGTERM, with all printed."""
    frames = 0
    with closing(events):
        try:
            writer.begin()
            with last_words(writer.end):
                for event in events:
                    writer.write(event)
                    frames += isinstance(event, FrameEvent)
                    if writer.over:
                        break
        except KeyboardInterrupt as error:
            # Where the signal came while an event was printed, the events learn of it here.
            with suppress(KeyboardInterrupt):
                events.throw(error)
            writer.end()
            echo(f"interrupted after {frames} frames", err=True)
            code = exit_code_of(error)
            end_without_waiting(code)
            raise SystemExit(code) from None
        finally:
            writer.end()


def _check_order(bundle: Path) -> None:
    """Raise InputError for an address in the bundle's place, whose password no other message may show."""
    shown = unknown_text(str(bundle))
    if shown != str(bundle) and not bundle.exists():
        raise InputError(f"{shown}: no bundle; the bundle comes before the source")
