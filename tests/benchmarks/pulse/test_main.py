"""The command on waves that a stand-in measures, on a drawn face, and on data without a truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.datasets.pulse.recordings import PulseDataset, PulseRecording
from emo_edge.benchmarks.pulse import windows
from emo_edge.benchmarks.pulse.__main__ import main
from emo_edge.benchmarks.pulse.windows import MeasuredWindow, PulseReport, measured, summary
from emo_edge.benchmarks.synthetic.pulse.clips import render_pulse_clip
from emo_edge.benchmarks.synthetic.pulse.nuisances import CLEAN
from emo_edge.benchmarks.synthetic.pulse.recompression import encoded
from emo_edge.errors import InputError
from emo_edge.faces.detector import DetectedFace
from emo_edge.media.crops import Image
from emo_edge.media.videos import TimedFrame
from emo_edge.metrics.heart_rates import heart_rate_figures

SKIN = np.array([150.0, 110.0, 90.0])


class WholePicture:
    """A detector whose face is the picture."""

    def detect(self, image: Image) -> list[DetectedFace]:
        return [DetectedFace((0.0, 0.0, float(image.shape[1]), float(image.shape[0])), 1.0)]


def filmed(bpm: float | None, seconds: float = 11.0) -> Iterator[TimedFrame]:
    rng = np.random.default_rng(1)
    for row in range(round(30 * seconds)):
        beat = 0.0 if bpm is None else 0.02 * np.sin(2 * np.pi * bpm / 60 * row / 30)
        colour = SKIN * (1 - beat * np.array([0.33, 0.77, 0.53]))
        pixels = colour + rng.normal(0, 2, (32, 32, 3))
        yield TimedFrame(np.clip(pixels + 0.5, 0, 255).astype(np.uint8), row, row / 30, 0, row / 30)


def recording(key: str, bpm: float | None, true: float | None) -> PulseRecording:
    return PulseRecording(key, key, lambda: filmed(bpm), lambda start, end: true)


def dataset(*recordings: PulseRecording) -> PulseDataset:
    return PulseDataset("mine", recordings, False, "known")


def test_each_window_has_its_true_rate_and_a_refused_one_costs_coverage_alone() -> None:
    report = measured(
        dataset(recording("a", 70, 72.0), recording("b", None, 80.0), recording("c", 90, None)),
        WholePicture(),
        "pos",
        "whole",
    )
    assert [one.recording for one in report.windows] == ["a", "a", "b", "b", "c", "c"]
    assert len(report.known) == 4 and report.subjects == 2, "a window without a truth counts nowhere"
    assert report.figures["mae"].value == pytest.approx(2, abs=0.2)
    assert report.figures["coverage"].value == 0.5
    assert report.refusals() == {"the spectrum has no clear peak": 2}
    assert [(one.start_s, one.end_s) for one in report.windows[:2]] == [(0, 10), (1, 11)]
    row = summary([report]).splitlines()[-1]
    assert row.startswith("| pos | 4 | 2 | ") and row.endswith("| 50% (0% to 100%) |")


def test_data_without_any_truth_is_an_error() -> None:
    with pytest.raises(InputError, match="mine: no window has a true rate"):
        measured(dataset(recording("a", 70, None)), WholePicture(), "pos", "whole")


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("the face is lost in 31% of the frames: at most 20% are allowed", "the face is lost in … of the frames"),
        ("7.3 s are too short: at least 8 s are needed", "… s are too short"),
        ("no face is detected", "no face is detected"),
    ],
)
def test_reasons_are_counted_without_their_numbers(reason: str, kind: str) -> None:
    assert windows._kind(reason) == kind


@pytest.mark.slow
def test_a_drawn_face_says_that_it_is_synthetic(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        main,
        ["--dataset", "synthetic-pulse:2", "--method", "pos", "--method", "chrom", "--json", str(tmp_path / "a.json")],
    )
    assert done.exit_code == 0, done.output
    assert "synthetic: drawn faces, no people: 2 recordings, detector mtcnn" in done.output
    assert "Not a medical device." in done.output and "| chrom | 2 | 2 | " in done.output
    document = json.loads((tmp_path / "a.json").read_text())
    first, second = document["reports"]
    assert first["synthetic"] and [one["method"] for one in (first, second)] == ["pos", "chrom"]
    pairs = [(one["bpm"], one["true_bpm"]) for one in first["windows"] if one["bpm"] is not None]
    assert pairs, "one of the two is measured"
    assert first["figures"]["mae"]["value"] == pytest.approx(np.mean([abs(one - other) for one, other in pairs]))
    assert first["figures"]["mae"]["value"] < 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "pure:/no/where"], "/no/where: no such folder; pure is read from the folder of your copy"),
        (["--dataset", "synthetic-pulse:1", "--detector", "auto"], "--detector auto is a bundle's own"),
        (["--dataset", "synthetic-pulse:1", "--json", "/dev/null/a.json"], "/dev/null"),
    ],
)
def test_bad_options_are_one_error(options: list[str], message: str) -> None:
    done = CliRunner().invoke(main, options)
    assert done.exit_code == 4 and message in done.output


@pytest.mark.slow
def test_a_tree_of_ubfc_with_a_drawn_face_is_measured_from_its_video(tmp_path: Path) -> None:
    clip = render_pulse_clip(77, 0, nuisances=CLEAN, size=128, seconds=11)
    assert clip.bpm is not None
    for subject in ("subject1", "subject2"):
        (tmp_path / subject).mkdir()
        (tmp_path / subject / "vid.avi").write_bytes(encoded(clip.frames, 12))
        times = np.arange(330) / 30
        wave = np.sin(2 * np.pi * clip.bpm / 60 * times)
        rows = (wave, np.full(330, clip.bpm), times)
        text = "\n".join(" ".join(map(str, row.tolist())) for row in rows)
        (tmp_path / subject / "ground_truth.txt").write_text(text)
    done = CliRunner().invoke(main, ["--dataset", f"ubfc-rppg:{tmp_path}", "--json", str(tmp_path / "a.json")])
    assert done.exit_code == 0, done.output
    assert "ubfc-rppg: 2 recordings" in done.output and "synthetic" not in done.output
    report = json.loads((tmp_path / "a.json").read_text())["reports"][0]
    assert len(report["windows"]) == 4 and report["figures"]["coverage"]["value"] == 1
    assert report["figures"]["mae"]["value"] < 1


def test_the_guide_shows_the_kept_figures() -> None:
    docs = Path(__file__).parents[3] / "docs"
    reports = json.loads((docs / "results" / "pulse_benchmark.json").read_text(encoding="utf-8"))["reports"]
    for report in reports:
        known = [one for one in report["windows"] if one["true_bpm"] is not None]
        numbers = {name: [np.nan if one[name] is None else one[name] for one in known] for name in ("bpm", "snr_db")}
        truth, subjects = [one["true_bpm"] for one in known], [one["subject"] for one in known]
        report["figures"] = heart_rate_figures(truth, numbers["bpm"], numbers["snr_db"], subjects)
        report["windows"] = tuple(MeasuredWindow(**one) for one in report["windows"])
        report.pop("notice")
    table = summary([PulseReport(**report) for report in reports])
    assert table in (docs / "guides" / "face-benchmarks.md").read_text(encoding="utf-8")
