"""``emo-edge track``: action units, geometry and ids of every face of every frame of videos, as tables."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from emo_edge.bundle.reader import Bundle
from emo_edge.cli.completion import complete_bundle
from emo_edge.cli.engine_options import device_options
from emo_edge.cli.packaged_bundle import bundle_directory
from emo_edge.console.commands import EdgeCommand, with_flags
from emo_edge.console.durations import Duration
from emo_edge.console.face_options import face_options
from emo_edge.console.status_line import StatusLine, StatusLogHandler
from emo_edge.console.terminal import echo
from emo_edge.errors import InputError
from emo_edge.faces.limits import FaceLimits
from emo_edge.inference.detectors import bundle_detector, requested_files
from emo_edge.media.pipes import STANDARD_INPUT
from emo_edge.media.readers.credentials import unknown_text
from emo_edge.media.sources import classify_source, without_password
from emo_edge.rendering.bundle_notes import detector_note, purpose_note
from emo_edge.rendering.tables.files import open_parquet
from emo_edge.rendering.tracks.formats import FORMATS
from emo_edge.tracking.network import FaceNetwork
from emo_edge.tracking.progress import TrackProgress
from emo_edge.tracking.run import TrackRun, track_videos
from emo_edge.tracking.settings import TableSettings
from emo_edge.tracking.targets import planned_targets
from emo_edge.utils.files import sha256_of

REFUSED = {
    "image": "is a still picture, and a face is followed through a video: use emo-edge infer",
    "folder": "is a folder, not a video: name the videos in it",
    "camera": "is a camera, which has no end: use emo-edge live",
}
"""By kind of a source that is no video."""


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path), shell_complete=complete_bundle)
@click.argument("videos", nargs=-1, required=True)
@click.option("--csv", "csv_target", type=click.Path(path_type=Path), help="CSV file, or a folder with one a video.")
@click.option(
    "--parquet", "parquet_target", type=click.Path(path_type=Path), help="Parquet file, or a folder with one a video."
)
@click.option(
    "--format",
    "table_format",
    type=click.Choice(list(FORMATS)),
    default="emo-edge",
    show_default=True,
    help="Columns of the table: ours, or those that another tool writes.",
)
@click.option(
    "--neutral",
    type=Duration(),
    metavar="DURATION",
    help="Time of each face at its start that gives its neutral face: the 5th percentile of each intensity is "
    "subtracted.",
)
@device_options
@face_options
@click.option("--overwrite", is_flag=True, help="Replace existing tables.")
@click.option("-v", "--verbose", is_flag=True, help="Log every choice and its reason.")
def main(bundle: Path, videos: tuple[str, ...], **options: Any) -> None:
    """Write a row for every face in every frame of VIDEOS, with the face network of BUNDLE.

    A row has the id of its face, its box, landmarks, head pose and action units, as far as the bundle gives them. No
    language model is opened. A run that was stopped goes on with the same command.
    """
    status = StatusLine()
    level = logging.INFO if options["verbose"] else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", handlers=[StatusLogHandler(status)])

    def note(line: str) -> None:
        status.clear()
        echo(line, err=True)

    _check_sources(bundle, videos)
    target, settings = _table(options)
    targets = planned_targets(target, videos, ".parquet" if settings.parquet else ".csv")
    opened = Bundle.open(bundle_directory(bundle, videos))
    limits = FaceLimits(options["min_score"], options["min_face"], options["max_faces"])
    files = requested_files(options["detector"])
    detector = bundle_detector(opened, limits) if files is None else files.open(limits)
    with FaceNetwork.open(
        opened, device=options["device"], profile=options["profile"], threads=options["threads"]
    ) as network:
        _check_units(network, settings, note)
        progress = TrackProgress(len(videos), status, note)
        hashes = [sha256_of(path) for path in files.paths] if files else []
        named = {"name": detector.name, "files": hashes, **vars(limits)}
        run = TrackRun(network, detector, named, settings, targets, options["overwrite"], progress, note)
        code = 0
        for video in track_videos(run, videos):
            progress.end(video)
            if video.error is not None:
                code = code or video.error.exit_code
                note(f"Error: {with_flags(str(video.error), click.get_current_context().command)}")
        status.clear()
    for line in (purpose_note(opened.manifest), detector_note(opened.manifest, options["detector"])):
        if line:
            note(line)
    raise SystemExit(code)


def _check_sources(bundle: Path, videos: Sequence[str]) -> None:
    """Raise UsageError for a source that can never be a video, InputError for an address in the bundle's place."""
    shown = unknown_text(str(bundle))
    if shown != str(bundle) and not bundle.exists():
        raise InputError(f"{shown}: no bundle; the bundle comes before the videos")
    for video in videos:
        try:
            kind = classify_source(video)
        except InputError:
            continue  # reading it says what is wrong, and the other videos are read
        if kind == "image" and (video == STANDARD_INPUT or Path(video).is_fifo()):
            raise click.UsageError(f"{video} is a pipe, and a stopped run reads its video again: save it as a file")
        if kind in REFUSED:
            raise click.UsageError(f"{without_password(video)} {REFUSED[kind]}")


def _table(options: dict[str, Any]) -> tuple[Path, TableSettings]:
    """Return where the tables go, and what they are."""
    targets = [options[name] for name in ("csv_target", "parquet_target") if options[name] is not None]
    if len(targets) != 1:
        raise click.UsageError("choose one of --csv and --parquet")
    parquet = options["parquet_target"] is not None
    if parquet:
        open_parquet()
    return targets[0], TableSettings(options["table_format"], parquet, options["neutral"])


def _check_units(network: FaceNetwork, settings: TableSettings, note: Any) -> None:
    """Note a bundle without action units; raise InputError where the neutral face of none is asked for."""
    name, contents = network.bundle.manifest.name, network.contents
    if settings.neutral_s is not None and not contents.intensities:
        raise InputError(f"{name} gives no intensities of action units: leave `neutral` out, or use another bundle")
    if not contents.units:
        note(f"{name} gives no action units: the table has no columns for them")
