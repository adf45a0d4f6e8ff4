"""``emo-edge infer``: read faces from images, folders, clips, cameras and streams."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from emo_edge.errors import EmoEdgeError, InputError
from emo_edge.faces.detector import FaceDetector
from emo_edge.faces.registry import FixedBox, WholeImage
from emo_edge.faces.yunet import YuNetDetector
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import ClipSampling, Request, SourceResult
from emo_edge.inference.stream import read_sources
from emo_edge.media.readers.credentials import unknown_text
from emo_edge.media.sources import without_password
from emo_edge.rendering.outputs import Drawer
from emo_edge.rendering.text import result_text
from emo_edge.runtimes.base.device_names import DEVICES
from emo_edge.runtimes.base.sessions import Sampling
from emo_edge.utils.commands import INTERRUPTED, EdgeCommand, with_flags


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, required=True)
@click.option("--profile", help="One of the bundle's profiles; the default is the bundle's.")
@click.option(
    "--device", type=click.Choice(DEVICES), default="auto", show_default=True, help="Device that runs the engines."
)
@click.option("--threads", type=click.IntRange(1), help="Number of threads of each engine.")
@click.option(
    "--labels", default="rafdb7", show_default=True, help="Label set of the bundle, or your own: joy,fear,rage."
)
@click.option("--describe", is_flag=True, help="Write a description of each face.")
@click.option("--ask", help="Question of your own to answer about each face.")
@click.option(
    "--demographics/--no-demographics",
    default=None,
    help="Age, gender and race in prompt and results; the bundle decides if left out.",
)
@click.option(
    "--prior-correction/--no-prior-correction",
    default=None,
    help="Subtract the scores of a blank image; the bundle decides if left out.",
)
@click.option("--temperature", type=float, help="Temperature of the label probabilities; the default is the bundle's.")
@click.option(
    "--max-new-tokens", default=128, show_default=True, type=click.IntRange(1), help="Longest answer in tokens."
)
@click.option("--sample", "sample_temperature", default=0.0, help="Temperature of answers; greedy if left out.")
@click.option("--top-p", default=1.0, show_default=True, help="Probability mass that answers are sampled from.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed for sampling.")
@click.option("--frames", default=8, show_default=True, help="Number of frames of a clip.")
@click.option("--fps", type=float, help="Frames per second of a video that is read as it plays, clip after clip.")
@click.option(
    "--faces",
    type=click.Choice(["all", "largest"]),
    help="Faces to read; the default is all of a picture and the largest of a clip.",
)
@click.option("--face-box", help="Face as x,y,width,height in pixels, instead of a detector.")
@click.option("--whole-image", is_flag=True, help="Read the whole picture as one face, without a detector.")
@click.option("--yunet", type=click.Path(path_type=Path), help="ONNX file of YuNet, instead of the bundle's detector.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@click.option("--jsonl", "as_lines", is_flag=True, help="Print one JSON object a line, each as soon as it is read.")
@click.option("--overwrite", is_flag=True, help="Replace existing drawings.")
@click.option("--draw", type=click.Path(path_type=Path), help="File of the annotated picture; a folder for several.")
@click.option("-v", "--verbose", is_flag=True, help="Log every choice and its reason.")
def main(bundle: Path, sources: tuple[str, ...], **options: Any) -> None:
    """Read the faces in SOURCES with BUNDLE.

    A source is an image, a folder of images, a video, the number of a camera, an RTSP address or a GStreamer pipeline.
    """
    level = logging.INFO if options["verbose"] or sys.stderr.isatty() else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s")
    sampling, drawn = ClipSampling(options["frames"], options["fps"], options["faces"]), options["draw"] is not None
    _check_order(bundle)
    with EmotionPipeline.open(
        bundle,
        device=options["device"],
        profile=options["profile"],
        detector=_detector(options),
        threads=options["threads"],
    ) as pipeline:
        screen = _Screen(options)
        results = read_sources(pipeline, sources, _request(options, screen), sampling, screen.progress)
        drawer = Drawer(options["draw"], sources, pipeline.detector, overwrite=options["overwrite"]) if drawn else None
        code = _print_all(results, drawer, screen)
        purpose = pipeline.manifest.provenance.get("purpose")
        if purpose and not screen.json:
            click.echo(f"\n{pipeline.manifest.name}: {purpose}")
    raise SystemExit(code)


def _check_order(bundle: Path) -> None:
    """Raise InputError for an address in the bundle's place, whose password no other message may show."""
    shown = unknown_text(str(bundle))
    if shown != str(bundle) and not bundle.exists():
        raise InputError(f"{shown}: no bundle; the bundle comes before the sources")


def _print_all(results: Iterable[SourceResult], drawer: Drawer | None, screen: _Screen) -> int:
    """Print each result as it comes; return the exit code. Ctrl-C keeps what was read so far."""
    code = 0
    screen.begin()
    try:
        for result in results:
            screen.show(result)
            error = result.error or _draw(drawer, result)
            if error:
                code = code or error.exit_code
                screen.report(error)
    except KeyboardInterrupt:
        code = INTERRUPTED
        screen.clear()
        click.echo(f"interrupted after {screen.shown} results", err=True)
    finally:
        screen.end()
    try:
        if drawer:
            drawer.finish(screen.progress)
    except EmoEdgeError as error:
        code = code or error.exit_code
        screen.report(error)
    screen.clear()
    return code


def _draw(drawer: Drawer | None, result: SourceResult) -> EmoEdgeError | None:
    """Draw a result; return the error, so that the next source is read all the same."""
    try:
        if drawer:
            drawer.add(result)
    except InputError as error:
        return error
    return None


class _Screen:
    """stdout for results; stderr for errors and, on a terminal, for progress."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.lines, self.array = options["as_lines"], options["as_json"]
        self.json = self.lines or self.array
        self.live = sys.stderr.isatty()
        self.shown = 0

    def show(self, result: SourceResult) -> None:
        """Print one result."""
        self.clear()
        comma = "," if self.shown else ""
        self.shown += 1
        if self.lines:
            click.echo(json.dumps(result.to_dict()))
        elif self.array:
            # In one write: after Ctrl-C `end` closes a valid array.
            click.echo(comma + "\n" + json.dumps(result.to_dict()), nl=False)
        elif not result.error:
            click.echo(result_text(result))
        if not sys.stdout.isatty():
            self._status(f"{self.shown} read")

    def begin(self) -> None:
        """Open the JSON array."""
        if self.array:
            click.echo("[", nl=False)

    def end(self) -> None:
        """Close the JSON array."""
        if self.array:
            click.echo("\n]")

    def report(self, error: EmoEdgeError) -> None:
        """Print an error on a line of its own."""
        self.clear()
        click.echo(f"Error: {with_flags(str(error), click.get_current_context().command)}", err=True)

    def progress(self, source: str, done: int, total: int) -> None:
        """Show the progress of a long step; quiet when piped."""
        self._status(f"{without_password(source)}: {done}" + (f" of {total}" if total else ""))

    def piece(self, text: str) -> None:
        """Show an answer on the terminal while it is written; the result after it repeats the whole answer."""
        click.echo(click.style(text, dim=True), nl=False, err=True)

    def clear(self) -> None:
        """Erase the status line."""
        if self.live:
            click.echo("\r\x1b[K", nl=False, err=True)

    def _status(self, text: str) -> None:
        if self.live:
            click.echo(f"\r\x1b[K{text}", nl=False, err=True)


def _request(options: dict[str, Any], screen: _Screen) -> Request:
    labels = options["labels"]
    return Request(
        labels=tuple(labels.split(",")) if "," in labels else labels,
        describe=options["describe"],
        ask=options["ask"],
        demographics=options["demographics"],
        prior_correction=options["prior_correction"],
        temperature=options["temperature"],
        on_piece=screen.piece if screen.live and sys.stdout.isatty() and not screen.json else None,
        sampling=Sampling(options["max_new_tokens"], options["sample_temperature"], options["top_p"], options["seed"]),
    )


def _detector(options: dict[str, Any]) -> FaceDetector | None:
    """Open the detector that the options name; None is the bundle's."""
    named = [name for name in ("face_box", "whole_image", "yunet") if options[name]]
    if len(named) > 1:
        raise InputError("choose one of --face-box, --whole-image and --yunet")
    if options["face_box"]:
        return FixedBox(_box(options["face_box"]))
    if options["whole_image"]:
        return WholeImage()
    return YuNetDetector(options["yunet"]) if options["yunet"] else None


def _box(text: str) -> tuple[float, float, float, float]:
    try:
        x, y, width, height = (float(value) for value in text.split(","))
    except ValueError as error:
        raise InputError(f"--face-box is x,y,width,height in pixels, not {text!r}") from error
    if not (width > 0 and height > 0):
        raise InputError(f"--face-box needs a width and a height above 0, not {text!r}")
    return (x, y, x + width, y + height)
