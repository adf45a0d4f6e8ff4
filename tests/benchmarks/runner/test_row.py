"""A row that fails costs itself alone: predictions stay, the reason is given, no process is waited for forever."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from emo_edge.benchmarks.datasets.items import Frame, Item, Pictures
from emo_edge.benchmarks.measure import cold_start
from emo_edge.benchmarks.measure.cold_start import cold_starts
from emo_edge.benchmarks.measure.predictions import Predictions, read_samples
from emo_edge.benchmarks.measure.versus import Versus
from emo_edge.benchmarks.report.schema import Row as ReportRow
from emo_edge.benchmarks.runner import row as bench_row
from emo_edge.benchmarks.workload import open
from emo_edge.benchmarks.workload.config import BenchConfig
from emo_edge.benchmarks.workload.images import LatencyImage
from emo_edge.benchmarks.workload.journal import Journal
from emo_edge.benchmarks.workload.open import TargetOptions, open_target
from emo_edge.benchmarks.workload.sample_table import BenchSample
from emo_edge.benchmarks.workload.samples import BenchSamples
from emo_edge.benchmarks.workload.targets import Prediction
from emo_edge.console.progress import QUIET
from emo_edge.errors import DeviceError, EmoEdgeError
from emo_edge.media.images import write_image
from emo_edge.utils.processes import run_bounded


class Scripted:
    """A target that predicts the same for every picture."""

    device, context = "cpu", 100

    def __init__(self, share: float = 0.75) -> None:
        self.variants: dict[str, str] = {}
        self.share = share

    def read(self, frames: Sequence[Frame], *, clip: bool) -> Prediction:
        return Prediction([self.share, 1 - self.share], {"vision": 1.0})

    def close(self) -> None:
        pass


@pytest.fixture
def samples(tmp_path: Path) -> BenchSamples:
    write_image(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    media = Pictures(tmp_path)
    found = [BenchSample(Item(key, 0, media, "a.png", {}, None), 0, (None,), "seen") for key in ("a", "b")]
    dataset: Any = SimpleNamespace(name="made up", clips=False)
    return BenchSamples(dataset, ("fear", "joy"), found, (), ())


def bench_of(samples: BenchSamples, journal: Journal) -> Any:
    plan = BenchConfig("made up", written=0, cold=0, batches=(), sweep=False, latency_rounds=1)
    options = SimpleNamespace(stream=False)
    return SimpleNamespace(
        bundle=None, plan=plan, samples=samples, images=(), clip=(), options=options,
        detector=None, roofline=None, journal=journal, reports=QUIET, speed=None,
    )  # fmt: skip


KEYS = [
    "name", "kind", "device", "variants", "size_bytes", "unavailable", "accuracy", "against_reference", "gate",
    "latency", "roofline", "memory", "energy", "notes",
]  # fmt: skip
"""Of a row in report.json, in their order."""


def test_a_row_is_written_with_every_key_of_the_schema() -> None:
    row = bench_row.Row(name="small", kind="profile", size_bytes=3).to_json()
    assert list(row) == KEYS
    assert row["memory"] == {"peak_rss": None, "device": None} and row["notes"] == [] and row["variants"] == {}
    assert row["energy"] == {"joules_per_reading": None, "source": None, "reason": "not measured"}
    assert ReportRow.model_validate(row).name == "small"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "MemoryError"),
        (RuntimeError("CUDA error"), "CUDA error"),
        (OSError("no file"), "no file"),
        (EmoEdgeError("no card"), "no card"),
    ],
)
def test_what_fails_is_a_row_that_says_why(
    samples: BenchSamples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fails(*arguments: object, **options: object) -> Any:
        raise error

    reference = Predictions(np.array([[0.75, 0.25]] * 2), (None, None))
    with Journal(tmp_path / "out", {"bundle": "a"}) as journal:
        with monkeypatch.context() as patch:
            patch.setattr(bench_row, "open_target", fails)
            row = bench_row.profile_row(bench_of(samples, journal), "small", 1, reference)
        assert row.unavailable == words and row.accuracy is None
        monkeypatch.setattr(bench_row, "open_target", lambda *arguments, **options: Scripted())
        monkeypatch.setattr(bench_row, "latency_of", fails)
        row = bench_row.profile_row(bench_of(samples, journal), "small", 1, reference)
    assert row.unavailable is None and row.latency is None and row.notes == (f"latency, energy: {words}",)
    assert row.accuracy and row.accuracy["war"]["value"] == 1.0
    assert row.against_reference and row.against_reference["agreement"]["value"] == 1.0


def test_opencv_keeps_to_the_threads_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr("cv2.setNumThreads", told.append)
    monkeypatch.setattr(open, "ProfileTarget", lambda *arguments, **options: Scripted())
    bundle: Any = None
    for threads in (3, None):
        open_target(bundle, "small", TargetOptions("model", ("fear",), threads=threads))
    assert told == [3]


def test_probabilities_that_are_not_finite_are_an_error(samples: BenchSamples, tmp_path: Path) -> None:
    target: Any = Scripted(float("nan"))
    with Journal(tmp_path / "out", {"bundle": "a"}) as journal:
        with pytest.raises(DeviceError, match="a: its probabilities or values are not finite"):
            read_samples(target, "small", samples, 0, journal)
        with (tmp_path / "out" / "samples" / "small.jsonl").open("a") as rows:
            rows.write('{"key": "a", "sha256": "seen", "scores": [NaN, 0.5], "answer": null}\n')
        found = read_samples(Scripted(), "small", samples, 0, journal)  # type: ignore[arg-type]
    assert np.isfinite(found.probabilities).all(), "a row of an earlier run that is not finite is read again"


def test_what_was_said_of_other_pixels_is_asked_again(samples: BenchSamples, tmp_path: Path) -> None:
    first, second = samples.samples
    changed = replace(samples, samples=(first, replace(second, sha256="other")))
    with Journal(tmp_path / "out", {"bundle": "a"}) as journal:
        read_samples(Scripted(0.75), "small", samples, 0, journal)  # type: ignore[arg-type]
        found = read_samples(Scripted(0.5), "small", changed, 0, journal)  # type: ignore[arg-type]
    assert found.probabilities[:, 0].tolist() == [0.75, 0.5]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import time; time.sleep(60)", "was not done in 0.3 s"),
        ("print('{}', flush=True); import time; time.sleep(60)", "was not done in 0.3 s"),
        ("print('no JSON')", "wrote text that cannot be read"),
        ("print('[1]'); print('{}')", "wrote text that cannot be read"),
        ("raise SystemExit('no card')", "ended with 1: no card"),
    ],
)
def test_a_fresh_process_that_fails_or_hangs_is_one_error(
    monkeypatch: pytest.MonkeyPatch, code: str, words: str
) -> None:
    real = cold_start.subprocess.Popen
    monkeypatch.setattr(cold_start, "LONGEST_S", 0.3 if "sleep" in code else 60.0)
    monkeypatch.setattr(
        cold_start.subprocess, "Popen", lambda command, **options: real([sys.executable, "-c", code], **options)
    )
    with pytest.raises(EmoEdgeError, match=words):
        cold_starts(Path("bundle"), "small", TargetOptions("model", ("fear",)), [], 1, writes=False)


def test_a_fresh_process_finds_no_modules_of_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cold_start, "LONGEST_S", 60.0)
    with pytest.raises(EmoEdgeError, match="ended with 1") as told:
        cold_starts(
            Path("nowhere"),
            "small",
            TargetOptions("model", ("fear",)),
            [LatencyImage(Path("a.png"), None)],
            1,
            writes=False,
        )
    assert "wrong json" not in str(told.value) and str(tmp_path / "nowhere") in str(told.value)
    versus = Versus("true", tmp_path / "nowhere", [LatencyImage(Path("a.png"), None)], "cpu", None)
    ended = run_bounded(versus.ours, 60.0)
    assert ended.problem and "wrong json" not in ended.errors
