"""``emo-edge pulse``: heart rates from the colour of the skin."""

from __future__ import annotations

import logging
from typing import Any

import click

from emo_edge.console.choices import NameChoice
from emo_edge.console.commands import EdgeCommand, with_flags
from emo_edge.console.interrupts import last_words
from emo_edge.console.status_line import StatusLine, StatusLogHandler
from emo_edge.console.terminal import echo
from emo_edge.errors import EmoEdgeError, InputError
from emo_edge.faces.detector import FaceDetector
from emo_edge.faces.limits import FaceLimits
from emo_edge.inference.detectors import MTCNN, requested_detector
from emo_edge.inference.signals.projections import METHODS
from emo_edge.inference.signals.videos import FACES, pulse
from emo_edge.media.sources import without_password
from emo_edge.rendering.pulse_writers import WRITERS, PulseWriter


@click.command(cls=EdgeCommand)
@click.argument("sources", nargs=-1, required=True)
@click.option(
    "--method",
    type=NameChoice(METHODS),
    default="pos",
    show_default=True,
    help="Way from colours to a pulse: POS, CHROM, or the green channel, which light that flickers deceives.",
)
@click.option(
    "--faces", type=NameChoice(FACES), default="largest", show_default=True, help="Faces whose pulse is measured."
)
@click.option(
    "--detector",
    metavar="NAME|FILE",
    default=MTCNN,
    show_default=True,
    help="Face detector: mtcnn, yunet (see emo-edge detector get), haar, whole, or the ONNX file of YuNet.",
)
@click.option(
    "--min-score", type=click.FloatRange(0, 1), help="Least score of a face; the default is the detector's own."
)
@click.option(
    "--min-face", type=click.FloatRange(0, 1), help="Smallest face, as a fraction of the picture's shorter side."
)
@click.option("--max-faces", type=click.IntRange(1), help="Number of faces of a picture, the largest ones.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@click.option("--jsonl", "as_lines", is_flag=True, help="Print each window when it is measured: a JSON object a line.")
@click.option("--csv", "as_csv", is_flag=True, help="Print one CSV row a window.")
def main(sources: tuple[str, ...], **options: Any) -> None:
    """Measure the pulse of the faces in SOURCES from the colour of their skin. Not a medical device.

    A source is a video, the number of a camera, an RTSP address or a GStreamer pipeline. Windows are 10 s long, a
    second after each other; one without a reliable pulse has a reason and no number. The method was tried on drawn
    faces alone.
    """
    writer, status = WRITERS[_output(options)](), StatusLine()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[StatusLogHandler(status)])
    detector = _detector(options)
    writer.begin()
    try:
        with last_words(writer.end):
            code = _print_all(sources, detector, options, writer, status)
    finally:
        writer.end()
        status.clear()
    raise SystemExit(code)


def _output(options: dict[str, Any]) -> str:
    """Return the output that the options name: text, json, jsonl or csv."""
    flags = {"json": "as_json", "jsonl": "as_lines", "csv": "as_csv"}
    chosen = [name for name, option in flags.items() if options[option]]
    if len(chosen) > 1:
        raise click.UsageError(f"choose one of {' and '.join(f'--{name}' for name in chosen)}")
    return chosen[0] if chosen else "text"


def _detector(options: dict[str, Any]) -> FaceDetector:
    """Open the detector that the options name; there is no bundle here that could have its own."""
    limits = FaceLimits(options["min_score"], options["min_face"], options["max_faces"])
    detector = requested_detector(options["detector"], limits)
    if detector is None:
        raise InputError("`detector` auto is a bundle's own, and there is no bundle here: choose mtcnn, yunet or haar")
    return detector


def _print_all(
    sources: tuple[str, ...], detector: FaceDetector, options: dict[str, Any], writer: PulseWriter, status: StatusLine
) -> int:
    """Print the windows of each source; return the exit code of the first one that cannot be read."""
    code = 0
    for source in sources:
        shown = without_password(source)

        def progress(seconds: float, shown: str = shown) -> None:
            status.show(f"{shown}: {seconds:.0f} s")

        try:
            for window in pulse(source, detector, method=options["method"], faces=options["faces"], progress=progress):
                status.clear()
                writer.write(source, window)
        except EmoEdgeError as error:
            code = code or error.exit_code
            status.clear()
            echo(f"Error: {with_flags(str(error), click.get_current_context().command)}", err=True)
    return code
