"""``emo-edge infer``: read faces from images, folders, clips, cameras and streams."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from emo_edge.commands import EdgeCommand
from emo_edge.detected_faces import FaceDetector
from emo_edge.drawer import Drawer
from emo_edge.errors import InputError
from emo_edge.faces import FixedBox, WholeImage
from emo_edge.pipeline import EmotionPipeline
from emo_edge.reading import Request
from emo_edge.registry import DEVICES
from emo_edge.results import ClipPlan, Result, read_sources
from emo_edge.sessions import Sampling
from emo_edge.table import result_text
from emo_edge.yunet import YuNetDetector

INTERRUPTED = 130
"""Exit code after Ctrl-C, as the shell has it."""


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, required=True)
@click.option("--profile", help="One of the bundle's profiles; its default if left out.")
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Threads of each engine.")
@click.option(
    "--labels", default="rafdb7", show_default=True, help="A label set of the bundle, or your own: joy,fear,rage."
)
@click.option("--describe", is_flag=True, help="Answer the bundle's question for a description.")
@click.option("--ask", help="Answer this question.")
@click.option(
    "--demographics/--no-demographics", default=None, help="Age, gender and race; the bundle decides if left out."
)
@click.option("--prior-correction/--no-prior-correction", default=None, help="Set scores against a blank picture's.")
@click.option("--temperature", type=float, help="Of the label probabilities.")
@click.option("--max-new-tokens", default=128, show_default=True, type=click.IntRange(1))
@click.option(
    "--sample", "sample_temperature", default=0.0, help="Write answers at this temperature; greedy if left out."
)
@click.option("--top-p", default=1.0, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--frames", default=8, show_default=True, help="Frames of a clip.")
@click.option("--fps", type=float, help="Read a video as it plays, clip after clip, at this rate.")
@click.option("--face-box", help="x,y,width,height in pixels instead of a detector.")
@click.option("--whole-image", is_flag=True, help="Read the whole picture instead of finding faces.")
@click.option("--yunet", type=click.Path(path_type=Path), help="YuNet's ONNX file instead of the bundle's detector.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@click.option("--jsonl", "as_lines", is_flag=True, help="Print one JSON object a line, as results come.")
@click.option("--overwrite", is_flag=True, help="Draw over pictures that are there.")
@click.option("--draw", type=click.Path(path_type=Path), help="Write the annotated picture here; a folder for several.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is chosen and why.")
def main(bundle: Path, sources: tuple[str, ...], **options: Any) -> None:
    """Read the faces in SOURCES with BUNDLE.

    A source is an image, a folder of images, a video, the number of a camera, an RTSP address or a GStreamer pipeline.
    """
    logging.basicConfig(level=logging.INFO if options["verbose"] else logging.WARNING, format="%(message)s")
    request, plan = _request(options), ClipPlan(options["frames"], options["fps"])
    with EmotionPipeline.open(
        bundle,
        device=options["device"],
        profile=options["profile"],
        detector=_detector(options),
        threads=options["threads"],
    ) as pipeline:
        results = read_sources(pipeline, sources, request, plan)
        code = _print_all(results, _drawer(pipeline, sources, options), options)
        purpose = pipeline.manifest.provenance.get("purpose")
        if purpose and not (options["as_json"] or options["as_lines"]):
            click.echo(f"\n{pipeline.manifest.name}: {purpose}")
    raise SystemExit(code)


def _print_all(results: Iterable[Result], drawer: Drawer | None, options: dict[str, Any]) -> int:
    """Print each result as it comes; return the exit code. Ctrl-C keeps what was read so far."""
    written, code = 0, 0
    try:
        for result in results:
            _print_one(result, options, first=written == 0)
            written += 1
            _progress(written)
            if result.error:
                code = result.error.exit_code
                click.echo(f"Error: {result.error}", err=True)
            elif drawer:
                drawer.add(result)
        if drawer:
            drawer.finish()
    except KeyboardInterrupt:
        click.echo(f"interrupted after {written} results", err=True)
        code = INTERRUPTED
    finally:
        if options["as_json"]:
            click.echo("\n]" if written else "[]")
    return code


def _progress(written: int) -> None:
    """Count on a terminal whose output goes elsewhere; quiet when piped."""
    if sys.stderr.isatty() and not sys.stdout.isatty():
        click.echo(f"\r{written} read", nl=False, err=True)


def _print_one(result: Result, options: dict[str, Any], *, first: bool) -> None:
    if options["as_lines"]:
        click.echo(json.dumps(result.to_dict()))
    elif options["as_json"]:
        click.echo("[\n" if first else ",\n", nl=False)
        click.echo(json.dumps(result.to_dict()), nl=False)
    elif not result.error:
        click.echo(result_text(result))
    sys.stdout.flush()


def _drawer(pipeline: EmotionPipeline, sources: Sequence[str], options: dict[str, Any]) -> Drawer | None:
    if options["draw"] is None:
        return None
    several = len(sources) > 1 or Path(sources[0]).is_dir()
    return Drawer(options["draw"], pipeline.detector, several=several, overwrite=options["overwrite"])


def _request(options: dict[str, Any]) -> Request:
    labels = options["labels"]
    return Request(
        labels=tuple(labels.split(",")) if "," in labels else labels,
        describe=options["describe"],
        ask=options["ask"],
        demographics=options["demographics"],
        prior_correction=options["prior_correction"],
        temperature=options["temperature"],
        on_piece=_write_live if sys.stderr.isatty() and sys.stdout.isatty() else None,
        sampling=Sampling(options["max_new_tokens"], options["sample_temperature"], options["top_p"], options["seed"]),
    )


def _write_live(piece: str) -> None:
    """Show an answer on the terminal while it is written; the reading that follows repeats it whole."""
    click.echo(click.style(piece, dim=True), nl=False, err=True)


def _detector(options: dict[str, Any]) -> FaceDetector | None:
    """Open the detector the user asked for; None leaves the bundle's."""
    wanted = [name for name in ("face_box", "whole_image", "yunet") if options[name]]
    if len(wanted) > 1:
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
