"""``emo-edge detector measure``: recall, false boxes and time of face detectors."""

from __future__ import annotations

from pathlib import Path

import click

from emo_edge.cli.calibrate import listed
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.progress import shown_reports
from emo_edge.console.terminal import echo
from emo_edge.inference.detectors import requested_files


@click.command(cls=EdgeCommand)
@click.option(
    "--samples", required=True, help="Pictures with boxes: a .csv or .jsonl with x0,y0,x1,y1 a face, synthetic:N."
)
@click.option(
    "--detector",
    "detectors",
    multiple=True,
    metavar="NAME|FILE",
    help="Detector to measure, several times for several: mtcnn, yunet, haar or the ONNX file of YuNet.  "
    "[default: haar, mtcnn]",
)
@click.option("--json", "target", type=click.Path(path_type=Path), help="File that gets every figure, as JSON.")
def measure(samples: str, detectors: tuple[str, ...], target: Path | None) -> None:
    """Measure face detectors on SAMPLES whose boxes are known, upright and turned.

    Prints a table: faces found (overlap of at least a half), false boxes, mean overlap, size of the boxes against the
    true ones, milliseconds of a picture. Several lines of a list with the same image are several faces of it.
    """
    from emo_edge.benchmarks.measure.detectors import detector_table, measured_detectors, require_detectors
    from emo_edge.utils.files import write_json

    names = require_detectors(detectors or ("haar", "mtcnn"))
    opened = {name: files.open() for name in names if (files := requested_files(name)) is not None}
    pictures = listed(samples, 0)
    with shown_reports() as reports:
        rows = measured_detectors(pictures, opened, reports.of("detect"))
    if target:
        write_json(target, rows)
    echo(detector_table(rows))
