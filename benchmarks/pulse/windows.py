"""The windows of a data set of pulses, measured as ``emo-edge pulse`` measures a video, each with its true rate."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from emo_edge.benchmarks.datasets.pulse.recordings import PulseDataset, PulseRecording
from emo_edge.errors import InputError
from emo_edge.faces.detector import FaceDetector
from emo_edge.inference.signals.heart_rate import NOTICE
from emo_edge.inference.signals.videos import pulse_of_frames
from emo_edge.metrics.by_subject import Figure
from emo_edge.metrics.heart_rates import heart_rate_figures

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?%?")


@dataclass(frozen=True)
class MeasuredWindow:
    """One window of a video's largest face."""

    recording: str
    subject: str
    start_s: float
    end_s: float
    true_bpm: float | None
    """None where the truth has a gap; such a window counts in no figure."""
    bpm: float | None
    """None where it was refused."""
    snr_db: float | None
    """Around the measured rate, not around the true one."""
    reason: str | None


@dataclass(frozen=True)
class PulseReport:
    """All figures of one method on one data set."""

    dataset: str
    synthetic: bool
    truth: str
    method: str
    detector: str
    recordings: int
    subjects: int
    figures: dict[str, Figure]
    windows: tuple[MeasuredWindow, ...]

    @property
    def known(self) -> tuple[MeasuredWindow, ...]:
        """Windows whose true rate is known: those that every figure is of."""
        return tuple(one for one in self.windows if one.true_bpm is not None)

    def refusals(self) -> Counter[str]:
        """Count the reasons of the windows that were refused, without the numbers in them."""
        return Counter(_kind(one.reason) for one in self.known if one.reason)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values; a figure is an object of value, low and high."""
        figures = {name: figure._asdict() for name, figure in self.figures.items()}
        return {**asdict(self), "figures": figures, "notice": NOTICE}


def measured(
    dataset: PulseDataset,
    detector: FaceDetector,
    method: str,
    detector_name: str,
    progress: Callable[[int, PulseRecording], None] = lambda number, recording: None,
) -> PulseReport:
    """Measure every recording of a data set.

    Raises InputError where no window has a true rate, and what reading a video raises.
    """
    windows: list[MeasuredWindow] = []
    for number, recording in enumerate(dataset.recordings):
        progress(number, recording)
        windows += _windows(recording, detector, method)
    known = [one for one in windows if one.true_bpm is not None]
    if not known:
        raise InputError(f"{dataset.name}: no window has a true rate: the waves have gaps where the videos are")
    figures = heart_rate_figures(
        [_number(one.true_bpm) for one in known],
        [_number(one.bpm) for one in known],
        [_number(one.snr_db) for one in known],
        [one.subject for one in known],
    )
    subjects = len({one.subject for one in known})
    return PulseReport(
        dataset.name, dataset.synthetic, dataset.source, method, detector_name, len(dataset.recordings), subjects,
        figures, tuple(windows),
    )  # fmt: skip


def _windows(recording: PulseRecording, detector: FaceDetector, method: str) -> list[MeasuredWindow]:
    return [
        MeasuredWindow(
            recording.key,
            recording.subject,
            window.start_s,
            window.end_s,
            recording.truth(window.start_s, window.end_s),
            window.heart_rate.bpm,
            window.heart_rate.snr_db,
            window.heart_rate.reason,
        )
        for window in pulse_of_frames(recording.frames(), detector, method=method)
    ]


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _kind(reason: str) -> str:
    """Return a reason without its explanation and its numbers."""
    return _NUMBER.sub("…", reason.partition(":")[0])


def summary(reports: Sequence[PulseReport]) -> str:
    """Return a row a method in Markdown."""
    lines = [
        "| method | windows | people | MAE, BPM (95 %) | RMSE, BPM (95 %) | r (95 %) | SNR, dB (95 %) "
        "| coverage (95 %) |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    digits = {"mae": "{:.2f}", "rmse": "{:.2f}", "r": "{:.3f}", "snr_db": "{:.1f}", "coverage": "{:.0%}"}
    for report in reports:
        cells = " | ".join(_cell(report.figures[name], form) for name, form in digits.items())
        lines.append(f"| {report.method} | {len(report.known)} | {report.subjects} | {cells} |")
    return "\n".join(lines)


def _cell(figure: Figure, form: str) -> str:
    if figure.value is None:
        return "–"
    if figure.low is None or figure.high is None:
        return form.format(figure.value)
    return f"{form.format(figure.value)} ({form.format(figure.low)} to {form.format(figure.high)})"
