"""Heart rates against an oximeter: ``python -m emo_edge.benchmarks.pulse --dataset ubfc-rppg:FOLDER``.

Measures as ``emo-edge pulse`` does, on the user's copy of UBFC-rPPG or PURE, or on drawn faces. Not a medical device.
"""

from __future__ import annotations

from pathlib import Path

import click

from emo_edge.benchmarks.datasets.pulse.recordings import PulseDataset, PulseRecording
from emo_edge.benchmarks.datasets.pulse.registry import open_pulse
from emo_edge.benchmarks.pulse.windows import PulseReport, measured, summary
from emo_edge.console.choices import NameChoice
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import InputError
from emo_edge.faces.detector import FaceDetector
from emo_edge.inference.detectors import MTCNN, requested_detector
from emo_edge.inference.signals.heart_rate import NOTICE
from emo_edge.inference.signals.projections import METHODS
from emo_edge.machine.summary import describe_machine
from emo_edge.storage.output_paths import require_output
from emo_edge.utils.files import write_json


@click.command(cls=EdgeCommand)
@click.option(
    "--dataset",
    required=True,
    metavar="NAME:FOLDER",
    help="ubfc-rppg:FOLDER or pure:FOLDER, your own copy, or synthetic-pulse:N, drawn faces.",
)
@click.option(
    "--method", "methods", type=NameChoice(METHODS), multiple=True, default=("pos",), show_default=True,
    help="Way from colours to a pulse; may be given several times.",
)  # fmt: skip
@click.option(
    "--detector", "detector_name", metavar="NAME|FILE", default=MTCNN, show_default=True,
    help="Face detector, as of emo-edge pulse.",
)  # fmt: skip
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write figures and windows there, too.")
def main(dataset: str, methods: tuple[str, ...], detector_name: str, json_path: Path | None) -> None:
    """Print MAE, RMSE, r, SNR and coverage of heart rates in windows of 10 s. Not a medical device."""
    if json_path:
        require_output(json_path)
    opened, detector = open_pulse(dataset), _detector(detector_name)
    reports = [_measured(opened, detector, method, detector_name) for method in dict.fromkeys(methods)]
    click.echo(f"{summary(reports)}\n\n{_conditions(reports)}")
    if json_path:
        write_json(json_path, {"machine": describe_machine(), "reports": [report.as_dict() for report in reports]})


def _detector(name: str) -> FaceDetector:
    detector = requested_detector(name)
    if detector is None:
        raise InputError("`detector_name` auto is a bundle's own, and there is no bundle here: choose mtcnn or yunet")
    return detector


def _measured(dataset: PulseDataset, detector: FaceDetector, method: str, detector_name: str) -> PulseReport:
    def progress(number: int, recording: PulseRecording) -> None:
        click.echo(f"{method}: {recording.key}, {number + 1} of {len(dataset.recordings)}", err=True)

    return measured(dataset, detector, method, detector_name, progress)


def _conditions(reports: list[PulseReport]) -> str:
    first = reports[0]
    unknown = len(first.windows) - len(first.known)
    lines = [
        f"{first.dataset}{', synthetic: drawn faces, no people' if first.synthetic else ''}: {first.recordings} "
        f"recordings, detector {first.detector}. The true rate is {first.truth}.",
        *([f"{unknown} windows have no true rate and count nowhere."] if unknown else []),
        "Windows of 10 s, a second after each other. Errors and r are of the windows with a number, coverage is their "
        "part of all. The SNR is the one around the measured rate; published ones are often around the true rate.",
        "Intervals are of 1,000 bootstrap draws of people.",
        *(_refused(report) for report in reports),
        NOTICE,
    ]
    return "\n".join(lines)


def _refused(report: PulseReport) -> str:
    reasons = ", ".join(f"{count} {reason!r}" for reason, count in report.refusals().most_common())
    return f"Refused by {report.method}: {reasons or 'none'}."


if __name__ == "__main__":
    main()
