"""``emo-edge infer``: read faces from images, folders, clips, cameras and streams."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from emo_edge.bundle.label_sets import typed_labels
from emo_edge.bundle.reader import Bundle
from emo_edge.cli.completion import complete_bundle
from emo_edge.cli.engine_options import engine_options
from emo_edge.cli.packaged_bundle import bundle_directory
from emo_edge.console.commands import EdgeCommand, with_flags
from emo_edge.console.face_options import face_options
from emo_edge.console.interrupts import last_words
from emo_edge.console.signals import exit_code_of
from emo_edge.console.status_line import StatusLine, StatusLogHandler
from emo_edge.console.task_options import task_options
from emo_edge.console.terminal import echo
from emo_edge.errors import EmoEdgeError, InputError, SkippedError
from emo_edge.faces.detector import FaceDetector
from emo_edge.faces.limits import FaceLimits
from emo_edge.faces.registry import FixedBox, WholeImage
from emo_edge.inference.detectors import DetectorFiles, chosen_detector
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import ClipSampling, Request, SourceResult
from emo_edge.inference.stream import read_sources
from emo_edge.inference.tasks.asked import require_answerable
from emo_edge.inference.tasks.moments import moments
from emo_edge.inference.tasks.sources import asks_model, check_task
from emo_edge.media.readers.credentials import unknown_text
from emo_edge.media.sources import without_password
from emo_edge.planning.reading_context import reading_context
from emo_edge.rendering.bundle_notes import detector_note, purpose_note
from emo_edge.rendering.drawing_names import check_target
from emo_edge.rendering.outputs import Drawer
from emo_edge.rendering.result_writers import ResultWriter, open_writer
from emo_edge.rendering.tables.output import TableOutput, require_table
from emo_edge.rendering.tables.rows import table_setup
from emo_edge.rendering.text import skipped_text
from emo_edge.runtimes.base.sessions import Sampling
from emo_edge.storage.output_paths import require_drawing

OTHER_BOXES = ("face_box", "whole_image", "yunet")
"""Options that say where a face is, besides ``--detector``."""


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path), shell_complete=complete_bundle)
@click.argument("sources", nargs=-1, required=True)
@engine_options
@task_options
@click.option("--describe", is_flag=True, help="Write a description of each face.")
@click.option("--ask", help="Question of your own to answer about each face.")
@click.option(
    "--demographics/--no-demographics",
    default=None,
    help="Show age, gender and race, or leave them out of the prompt, too. With neither, the prompt has them if the "
    "bundle was trained so, and the result does not show them.",
)
@click.option("--face-facts", is_flag=True, help="Show the attributes of each face, such as eyeglasses or a beard.")
@click.option(
    "--prior-correction/--no-prior-correction",
    default=None,
    help="Subtract the scores of a blank image; the bundle decides if left out.",
)
@click.option(
    "--no-question-cache",
    "question_cache",
    is_flag=True,
    flag_value=False,
    default=True,
    help="Compute every position of the question for each face, also where the profile need not.",
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
@face_options
@click.option("--yunet", type=click.Path(path_type=Path), help="ONNX file of YuNet, instead of the bundle's detector.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@click.option(
    "--jsonl",
    "as_lines",
    is_flag=True,
    help="Print the settings, then each result as soon as it is read: one JSON object a line.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print one CSV row a face.")
@click.option(
    "--compact", is_flag=True, help="Leave landmarks and times out of --json and --jsonl, and settings out of --json."
)
@click.option("--overwrite", is_flag=True, help="Replace existing drawings and tables.")
@click.option(
    "--table",
    type=click.Path(path_type=Path),
    help="Write a table as well, one row a face: a file that ends in .parquet or .csv.",
)
@click.option("--draw", type=click.Path(path_type=Path), help="File of the annotated picture; a folder for several.")
@click.option("-v", "--verbose", is_flag=True, help="Log every choice and its reason.")
def main(bundle: Path, sources: tuple[str, ...], **options: Any) -> None:
    """Read the faces in SOURCES with BUNDLE.

    BUNDLE is a folder, or emo-tiny: the packaged model, which is exported once and kept. A source is an image, a
    folder of images, a video, the number of a camera, an RTSP address or a GStreamer pipeline.
    """
    output, status = _output(options), StatusLine()
    level = logging.INFO if options["verbose"] or status.live else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", handlers=[StatusLogHandler(status)])
    sampling, drawn = _sampling(options), options["draw"] is not None
    _check_order(bundle)
    if options["task"] is not None:
        require_answerable(options["task"])
    if drawn:
        check_target(options["draw"], sources)
        require_drawing(options["draw"])
    if options["table"] is not None:
        require_table(options["table"], sources, overwrite=options["overwrite"])
    opened = Bundle.open(bundle_directory(bundle, sources))
    request = _request(options, status.append if output == "text" and status.live else None)
    check_task(opened.manifest, request.task, sources, sampling.moments)
    with EmotionPipeline.open(
        opened,
        device=options["device"],
        profile=options["profile"],
        detector=_detector(opened, options),
        threads=options["threads"],
        context=reading_context(opened, request, sources, sampling.frames),
        whole_crops=_reads_whole_crops(options),
        emotions=options["emotions"] and asks_model(opened.manifest, request.task),
        deployment_purpose=options["purpose"],
    ) as pipeline:
        pipeline.check(request)
        screen = _Screen(open_writer(output, pipeline, request, compact=options["compact"]), status)
        results = read_sources(pipeline, sources, request, sampling, screen.progress)
        with (
            _drawer(pipeline, sources, options, screen) as drawer,
            _table(pipeline, request, sampling, options) as table,
        ):
            code = _print_all(results, drawer, table, screen)
        purpose = purpose_note(pipeline.manifest)
        if purpose and screen.faces and not screen.writer.has_settings:
            screen.note(purpose)
        lost = detector_note(pipeline.manifest, _named_detector(options))
        if lost and screen.without_face:
            screen.note(lost)
    raise SystemExit(code)


def _sampling(options: dict[str, Any]) -> ClipSampling:
    chosen = moments(options["onset"], options["apex"], options["offset"])
    return ClipSampling(options["frames"], options["fps"], options["faces"], chosen)


def _output(options: dict[str, Any]) -> str:
    """Return the output that the options name: text, json, jsonl or csv."""
    flags = {"json": "as_json", "jsonl": "as_lines", "csv": "as_csv"}
    chosen = [name for name, option in flags.items() if options[option]]
    if len(chosen) > 1:
        raise click.UsageError(f"choose one of {' and '.join(f'--{name}' for name in chosen)}")
    if options["compact"] and chosen not in (["json"], ["jsonl"]):
        raise click.UsageError("--compact is an option of --json and --jsonl")
    return chosen[0] if chosen else "text"


def _check_order(bundle: Path) -> None:
    """Raise InputError for an address in the bundle's place, whose password no other message may show."""
    shown = unknown_text(str(bundle))
    if shown != str(bundle) and not bundle.exists():
        raise InputError(f"{shown}: no bundle; the bundle comes before the sources")


def _drawer(
    pipeline: EmotionPipeline, sources: tuple[str, ...], options: dict[str, Any], screen: _Screen
) -> AbstractContextManager[Drawer | None]:
    """Open the drawings that the options name."""
    if options["draw"] is None:
        return nullcontext()
    return Drawer(options["draw"], sources, pipeline.detector, overwrite=options["overwrite"], report=screen.note)


def _table(
    pipeline: EmotionPipeline, request: Request, sampling: ClipSampling, options: dict[str, Any]
) -> AbstractContextManager[TableOutput | None]:
    """Open the table that the options name."""
    if options["table"] is None:
        return nullcontext()
    limits = {name: options[name] for name in ("min_score", "min_face", "max_faces")}
    limits |= {"whole_crops": _reads_whole_crops(options)}
    limits |= {"face_box": options["face_box"]} if options["face_box"] else {}
    return TableOutput(
        options["table"], table_setup(pipeline, request, sampling, limits), overwrite=options["overwrite"]
    )


def _print_all(
    results: Iterable[SourceResult], drawer: Drawer | None, table: TableOutput | None, screen: _Screen
) -> int:
    """Print each result as it comes; return the exit code. Ctrl-C keeps what was read so far."""
    with ExitStack() as stack:
        outputs: list[TableOutput | Drawer | None] = [table, drawer]
        for output in outputs:
            if output is not None:
                stack.enter_context(last_words(output.discard))
        return _print_results(results, drawer, table, screen)


def _print_results(
    results: Iterable[SourceResult], drawer: Drawer | None, table: TableOutput | None, screen: _Screen
) -> int:
    code, skipped = 0, list[tuple[str, str]]()
    screen.writer.begin()
    try:
        with last_words(screen.leave):
            for result in results:
                screen.show(result)
                if table:
                    table.add(result)
                error = result.error or _draw(drawer, result)
                if isinstance(error, SkippedError):
                    skipped.append((result.source, str(error)))
                elif error:
                    code = code or error.exit_code
                    screen.report(error)
    except KeyboardInterrupt as error:
        code = exit_code_of(error)
        screen.note(f"interrupted after {screen.shown} results")
    finally:
        screen.writer.end()
        if skipped:
            screen.note(skipped_text(skipped))
    try:
        if drawer:
            drawer.finish(screen.progress)
    except EmoEdgeError as error:
        code = code or error.exit_code
        screen.report(error)
    screen.status.clear()
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

    def __init__(self, writer: ResultWriter, status: StatusLine) -> None:
        self.writer, self.status = writer, status
        self.shown = self.faces = self.without_face = 0

    def show(self, result: SourceResult) -> None:
        """Print one result."""
        self.status.clear()
        self.shown += 1
        self.faces += len(result.faces)
        self.without_face += not (result.faces or result.error)
        self.writer.write(result)
        if not sys.stdout.isatty():
            self.status.show(f"{self.shown} read")

    def report(self, error: EmoEdgeError) -> None:
        """Print an error on a line of its own."""
        self.note(f"Error: {with_flags(str(error), click.get_current_context().command)}")

    def leave(self) -> None:
        """Close the output of a run that is left inside a native call."""
        self.writer.end()
        self.note(f"interrupted after {self.shown} results")

    def note(self, line: str) -> None:
        """Print a line on stderr."""
        self.status.clear()
        echo(line, err=True)

    def progress(self, source: str, done: int, total: int) -> None:
        """Show the progress of a long step; quiet when piped."""
        self.status.show(f"{without_password(source)}: {done}" + (f" of {total}" if total else ""))


def _request(options: dict[str, Any], on_piece: Callable[[str], None] | None) -> Request:
    return Request(
        labels=typed_labels(options["labels"]),
        describe=options["describe"],
        ask=options["ask"],
        demographics=False if options["demographics"] is False else None,
        prior_correction=options["prior_correction"],
        temperature=options["temperature"],
        question_cache=options["question_cache"],
        on_piece=on_piece,
        sampling=Sampling(options["max_new_tokens"], options["sample_temperature"], options["top_p"], options["seed"]),
        face_facts=options["face_facts"],
        show_demographics=bool(options["demographics"]),
        task=options["task"],
        answer=options["answer"],
        label=options["label"],
    )


def _detector(bundle: Bundle, options: dict[str, Any]) -> FaceDetector:
    """Open the detector that the options name."""
    named = [name for name in OTHER_BOXES if options[name]]
    named += ["detector"] if options["detector"] != "auto" else []
    if len(named) > 1:
        raise InputError("choose one of --face-box, --whole-image, --yunet and --detector")
    if options["face_box"]:
        return FixedBox(_box(options["face_box"]))
    if options["whole_image"]:
        return WholeImage()
    limits = FaceLimits(options["min_score"], options["min_face"], options["max_faces"])
    if options["yunet"]:
        return DetectorFiles("yunet", (options["yunet"],)).open(limits)
    return chosen_detector(bundle, options["detector"], limits)


def _named_detector(options: dict[str, Any]) -> str:
    """Return the option that says where faces are, or ``--detector`` itself."""
    return next((name for name in OTHER_BOXES if options[name]), str(options["detector"]))


def _reads_whole_crops(options: dict[str, Any]) -> bool:
    """Return whether ``--detector auto`` was written, which also reads a picture that looks like a face's crop."""
    return options["detector"] == "auto" and _is_given("detector")


def _is_given(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) == ParameterSource.COMMANDLINE


def _box(text: str) -> tuple[float, float, float, float]:
    try:
        x, y, width, height = (float(value) for value in text.split(","))
    except ValueError as error:
        raise InputError(f"--face-box is x,y,width,height in pixels, not {text!r}") from error
    if not (width > 0 and height > 0):
        raise InputError(f"--face-box needs a width and a height above 0, not {text!r}")
    return (x, y, x + width, y + height)
