"""``emo-edge label``: data sets and videos to tables, with all CPUs, in a run that goes on where it stopped."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from emo_edge.batch.config import LabelConfig
from emo_edge.batch.listing import Listing
from emo_edge.batch.local_engine import LocalEngine
from emo_edge.batch.progress import LabelProgress, summary_text
from emo_edge.batch.ray_engine import RayEngine
from emo_edge.batch.run import ROWS_PER_PART, label
from emo_edge.bundle.label_sets import typed_labels
from emo_edge.bundle.reader import Bundle
from emo_edge.cli.completion import complete_bundle
from emo_edge.cli.engine_options import engine_options
from emo_edge.cli.packaged_bundle import bundle_directory
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.face_options import face_options
from emo_edge.console.status_line import StatusLine, StatusLogHandler
from emo_edge.console.task_options import purpose_option
from emo_edge.console.terminal import echo
from emo_edge.faces.limits import FaceLimits
from emo_edge.inference.results import ClipSampling, Request
from emo_edge.machine.cpus import usable_cpus
from emo_edge.media.pipes import STANDARD_INPUT
from emo_edge.planning.reading_context import reading_context
from emo_edge.rendering.bundle_notes import detector_note, purpose_note
from emo_edge.rendering.tables.files import open_parquet
from emo_edge.rendering.text import skipped_text

PICTURE, CLIP = STANDARD_INPUT, "0"
"""Names that stand for any picture and any clip: standard input, a camera."""


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path), shell_complete=complete_bundle)
@click.argument("sources", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the table's parts.")
@click.option(
    "--workers", type=click.IntRange(1), help="Number of processes; the default is one a usable CPU, or one a card."
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Processes of this machine, or actors of a Ray cluster.",
)
@click.option("--ray-address", help="Address of a Ray cluster; one is started on this machine if left out.")
@click.option(
    "--rows-per-part",
    type=click.IntRange(1),
    default=ROWS_PER_PART,
    show_default=True,
    help="Rows after which a part is written: about what a stopped run reads again.",
)
@click.option("--max-errors", type=click.IntRange(0), help="Number of inputs that may fail before the run stops.")
@click.option("--column", help="Column of Parquet sources that holds paths or pictures.")
@engine_options
@click.option("--frames", default=8, show_default=True, help="Number of frames of a clip.")
@click.option("--fps", type=float, help="Frames per second of videos that are read clip after clip.")
@click.option(
    "--faces",
    type=click.Choice(["all", "largest"]),
    help="Faces to read; the default is all of a picture and the largest of a clip.",
)
@click.option("--face-facts", is_flag=True, help="Write the attributes of each face, such as eyeglasses or a beard.")
@click.option(
    "--demographics/--no-demographics",
    default=None,
    help="Write age, gender and race, or leave them out of the prompt, too.",
)
@face_options
@purpose_option
@click.option("-v", "--verbose", is_flag=True, help="Log every choice and its reason.")
def main(bundle: Path, sources: tuple[str, ...], **options: Any) -> None:
    """Write a row for every face in SOURCES to Parquet files, with BUNDLE.

    A source is a picture, a video, a folder with its subfolders, a pattern such as 'shots/*.jpg', a list (.txt) with a
    path a line, a Parquet file of paths or pictures, or a tar of pictures. A run that was stopped goes on with the
    same command.
    """
    status = StatusLine()
    level = logging.INFO if options["verbose"] else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", handlers=[StatusLogHandler(status)])
    open_parquet()

    def note(line: str) -> None:
        status.clear()
        echo(line, err=True)

    listing = Listing(sources, options["column"], left_out=options["out"])
    opened = Bundle.open(bundle_directory(bundle))
    config = _config(opened, listing, options)
    with _engine(config, options) as engine:
        progress = LabelProgress(listing, status, note)
        counts = label(
            listing,
            options["out"],
            engine,
            rows_per_part=options["rows_per_part"],
            max_errors=options["max_errors"],
            progress=progress,
        )
    note(summary_text(counts, progress.seconds()))
    purpose = purpose_note(opened.manifest) if counts.faces else None
    lost = detector_note(opened.manifest, options["detector"]) if counts.without_face else None
    for line in (purpose, lost):
        if line:
            note(line)
    if listing.skipped.count:
        note(skipped_text(listing.skipped.first, listing.skipped.count))


def _engine(config: LabelConfig, options: dict[str, Any]) -> LocalEngine | RayEngine:
    if options["engine"] == "ray":
        return RayEngine(config, options["workers"], usable_cpus(), options["ray_address"])
    if options["ray_address"] is not None:
        raise click.UsageError("--ray-address is an option of --engine ray")
    return LocalEngine(config, options["workers"], usable_cpus())


def _config(bundle: Bundle, listing: Listing, options: dict[str, Any]) -> LabelConfig:
    request = Request(
        labels=typed_labels(options["labels"]),
        demographics=False if options["demographics"] is False else None,
        show_demographics=bool(options["demographics"]),
        face_facts=options["face_facts"],
    )
    kinds = (PICTURE, CLIP) if listing.has_videos() else (PICTURE,)
    return LabelConfig(
        bundle.directory.absolute(),
        device=options["device"],
        profile=options["profile"],
        threads=options["threads"],
        detector=options["detector"],
        limits=FaceLimits(options["min_score"], options["min_face"], options["max_faces"]),
        request=request,
        context=reading_context(bundle, request, kinds, options["frames"]),
        sampling=ClipSampling(options["frames"], options["fps"], options["faces"]),
        whole_crops=options["detector"] == "auto"
        and click.get_current_context().get_parameter_source("detector") == ParameterSource.COMMANDLINE,
        deployment_purpose=options["purpose"],
    )
