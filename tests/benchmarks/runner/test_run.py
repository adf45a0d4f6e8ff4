"""``emo-edge bench`` on the packaged model: a whole report, a killed run that goes on, what cannot be measured."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

from emo_edge.benchmarks.measure import latency, roofline, timing, versus
from emo_edge.benchmarks.measure.reference_workload import Waiting
from emo_edge.benchmarks.report.reader import checked_report
from emo_edge.benchmarks.runner import run
from emo_edge.benchmarks.workload import images
from emo_edge.benchmarks.workload.targets import ProfileTarget
from emo_edge.bundle.manifest import MANIFEST_NAME
from emo_edge.cli.bench import main
from emo_edge.errors import InputError
from emo_edge.export.gguf.quantize import quantize_gguf
from emo_edge.export.vlm.bundle import bundle_from_gguf
from emo_edge.export.vlm.config import VlmConfig, VlmFiles
from emo_edge.runtimes.loading import device_choice
from tests.random_vlms import written_vlm

FIGURES = {"war", "uar", "f1", "ece", "brier", "nll", "per_class", "confusion", "text", "groups"}
TIMES = {"p50", "p90", "p99", "min", "mean", "samples", "raw"}
LATENCY = {
    "stages",
    "total",
    "reading",
    "machine",
    "warmup_rounds",
    "stable",
    "cold_start",
    "throughput",
    "prompt_sweep",
    "clip",
    "clip_machine",
    "written",
}
FAST = ("--latency-rounds", "1", "--cold", "0", "--batch", "1", "--threads", "1", "--device", "cpu", "--generated", "2")
NO_WAITING = Waiting(watch_s=0.0, patience_s=0.0)
Bench = Callable[..., Result]


@pytest.fixture
def bench(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Run the command with a roofline of small products, short warm-ups, few pictures and a prompt of each length."""
    monkeypatch.setattr(roofline, "SIDE", 256)
    monkeypatch.setattr(roofline, "COPIED", 1 << 24)
    monkeypatch.setattr(timing, "LONGEST_WARMUP", 2)
    monkeypatch.setattr(latency, "SWEEP_ROUNDS", 1)
    # Each round reads all of them.
    monkeypatch.setattr(images, "LATENCY_IMAGES", 2)

    def run(out: Path, *options: str, dataset: str = "synthetic:14", bundle: Path = tiny_bundle) -> Result:
        words = [str(bundle), "--dataset", dataset, "--out", str(out), *FAST, *options]
        return CliRunner().invoke(main, words, obj=NO_WAITING)

    return run


def report_of(out: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return values


def kept_rows(out: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(out / "samples" / f"{name}.parquet").to_pylist()
    return rows


def accuracies(report: dict[str, Any]) -> list[Any]:
    return [(row["name"], row["accuracy"], row["against_reference"], row["gate"]) for row in report["rows"]]


def check(report: dict[str, Any]) -> None:
    """Hold a report to the schema: its renderers' own reader, and every key that it promises."""
    checked_report(report)
    assert report["seconds"] > 0 and report["started"].endswith("+00:00")
    samples = report["dataset"]["samples"]
    for row in report["rows"]:
        if row["unavailable"]:
            continue
        assert row["accuracy"].keys() == FIGURES and row["latency"].keys() == LATENCY
        assert sum(map(sum, row["accuracy"]["confusion"])) == samples
        for stage in (*row["latency"]["stages"].values(), row["latency"]["total"], row["latency"]["clip"]):
            assert stage.keys() == TIMES and len(stage["raw"]) == stage["samples"]
        assert row["memory"].keys() == {"peak_rss", "device"}
        assert (row["energy"]["joules_per_reading"] is None) == (row["energy"]["reason"] is not None)
        parts = sum(stage["p50"] for stage in row["latency"]["stages"].values())
        assert parts <= 1.5 * row["latency"]["total"]["p50"] + 5


@pytest.mark.slow
def test_a_whole_report(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versus, "ROUNDS", 1)
    theirs = tmp_path / "theirs.py"
    theirs.write_text("import pathlib, sys\nfor name in sys.argv[1:]: pathlib.Path(name).read_bytes()\n")
    done = bench(tmp_path / "out", "--cold", "1", "--batch", "1,2", "--vs", f"python3 {theirs} {{files}}")
    *table, folder = done.stdout.splitlines()
    assert (done.exit_code, folder) == (0, str(tmp_path / "out")), done.output
    assert [line.split("|")[1].strip() for line in table if line.startswith("|")][:5] == [
        *("row", "---", "full precision", "exact", "small"),
    ]
    assert "1 of 3 rows, " in done.stderr and " s left" in done.stderr
    report = report_of(tmp_path / "out")
    check(report)
    assert [row["name"] for row in report["rows"]] == ["reference", "exact", "small"]
    reference, exact, small = report["rows"]
    assert exact["against_reference"]["agreement"]["value"] == 1.0 and exact["against_reference"]["kl_mean"] < 1e-6
    assert small["size_bytes"] < exact["size_bytes"] < reference["size_bytes"]
    for row in report["rows"]:
        assert row["accuracy"]["text"]["samples"] == 2 and row["memory"]["peak_rss"] > 50e6
        assert len(row["latency"]["cold_start"]["raw"]) == 1 and row["latency"]["throughput"].keys() == {"1", "2"}
        assert [step["tokens"] for step in row["latency"]["prompt_sweep"]][:3] == [32, 64, 128]
    assert reference["latency"]["written"].keys() >= {"label", "first_token", "per_token", "label_bfloat16"}
    assert list(small["latency"]["stages"])[:4] == ["decode", "detect", "crop", "vision"]
    assert small["roofline"]["vision"]["flops"] > 1e8 and reference["roofline"] is None
    assert report["vs"]["ratio"]["low"] <= report["vs"]["ratio"]["value"] <= report["vs"]["ratio"]["high"]
    assert report["synthetic"] is True and report["machine"]["git"] is not None
    for name in ("report.json", "report.md", "report.html"):
        text = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert str(tmp_path) not in text and str(Path.home()) not in text, name
    assert "BUNDLE" in report["command"] and "--out OUT" in report["command"]
    assert "--dataset synthetic:14" in report["command"] and "--split" not in report["command"]
    assert "| full precision |" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    rows = kept_rows(tmp_path / "out", "small")
    first, names = rows[0], {"key", "sha256", "truth", "scores", "values", "answer", "groups", "ms"}
    assert len(rows) == 14 and first.keys() == names
    assert sum(first["scores"]) == pytest.approx(1) and isinstance(first["answer"], str)
    again = bench(tmp_path / "out")
    assert again.exit_code == 4 and "--overwrite measures again" in again.stderr
    compared = CliRunner().invoke(main, ["compare", *[str(tmp_path / "out" / "report.json")] * 2])
    assert compared.exit_code == 0, compared.output


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_figures(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert bench(whole, "--profile", "small").exit_code == 0
    read, left = ProfileTarget.read, [5]

    def until_killed(self: ProfileTarget, frames: Sequence[Any], *, clip: bool) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return read(self, frames, clip=clip)

    with monkeypatch.context() as patch:
        patch.setattr(ProfileTarget, "read", until_killed)
        assert bench(killed, "--profile", "small").exit_code == 130
    kept = killed / "samples" / "small.jsonl"
    assert len(kept.read_text().splitlines()) == 5 and not (killed / "report.json").exists()
    kept.write_text(kept.read_text()[:-30])
    other = bench(killed, "--profile", "small", dataset="synthetic:21")
    assert other.exit_code == 4 and "other settings (dataset)" in other.stderr
    done = bench(killed, "--profile", "small", "--workers", "2")
    assert done.exit_code == 0, done.output
    assert accuracies(report_of(killed)) == accuracies(report_of(whole))
    for name in ("reference", "small"):
        scores = [
            [(row["key"], row["scores"], row["answer"]) for row in kept_rows(out, name)] for out in (whole, killed)
        ]
        assert scores[0] == scores[1], "bit for bit"


def test_a_profile_that_cannot_run_here_is_a_row_that_says_why(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_choice, "PROBLEMS", {"cuda": lambda: "no card", "tensorrt": lambda: "no card"})
    done = bench(tmp_path / "out", "--device", "cuda", "--no-generate")
    assert done.exit_code == 0, done.output
    report = report_of(tmp_path / "out")
    check(report)
    reference, *profiles = report["rows"]
    assert reference["accuracy"]["text"] is None and reference["latency"]["written"] is None
    assert [row["unavailable"] for row in profiles] == ["cuda cannot be used: no card; use --device cpu"] * 2
    assert all(row["accuracy"] is None and row["latency"] is None for row in profiles)
    assert any("free-text answers" in note for note in report["notes"])


def test_a_run_is_finished_when_its_readable_forms_are_there(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(report: dict[str, Any]) -> list[tuple[str, str]]:
        raise InputError("no form can be made")

    with monkeypatch.context() as patch:
        patch.setattr(run, "readable_forms", torn)
        assert bench(tmp_path / "out", "--profile", "small", "--no-generate").exit_code == 4
    assert not (tmp_path / "out" / "report.json").exists()
    again = bench(tmp_path / "out", "--profile", "small", "--no-generate")
    assert again.exit_code == 0, again.output


def test_clips_are_read_as_clips(bench: Bench, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = bench(out, "--frames", "3", "--profile", "small", dataset="synthetic-clips:3")
    assert done.exit_code == 0, done.output
    report = report_of(out)
    check(report)
    assert report["dataset"]["clips"] and report["dataset"]["samples"] == 3
    assert any("no sample of" in note for note in report["dataset"]["notes"])
    assert report["rows"][1]["against_reference"]["kl_mean"] < 0.1, "both saw the same frames"


@pytest.mark.parametrize(
    ("options", "dataset", "code", "words"),
    [
        ((), "synthetic:0", 4, "say how many"),
        ((), "nowhere", 4, "no such data set"),
        (("--profile", "huge"), "synthetic:7", 4, "--profile huge: choose from exact, small"),
        (("--checkpoint", "nowhere"), "synthetic:7", 5, "no packaged checkpoint 'nowhere'"),
        (("--label-map", "joy"), "synthetic:7", 4, "--label-map reads THEIRS=OURS"),
        (("--batch", "1,x"), "synthetic:7", 4, "--batch reads like 1,2,4"),
        (("--vs", "nowhere-at-all"), "synthetic:7", 4, "--vs: nowhere-at-all"),
        (("--vs", "'"), "synthetic:7", 4, "No closing quotation"),
        (("--generated", "0"), "synthetic:7", 2, "--generated"),
    ],
)
def test_bad_input_is_one_error(
    bench: Bench, tmp_path: Path, options: tuple[str, ...], dataset: str, code: int, words: str
) -> None:
    done = bench(tmp_path / "out", *options, dataset=dataset)
    assert done.exit_code == code, done.output
    assert words in done.stderr and done.stderr.count("Error: ") == 1 and "Traceback" not in done.output
    assert not (tmp_path / "out" / "report.json").exists()


def test_another_checkpoint_and_unknown_labels_are_told(bench: Bench, tiny_bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, other)
    manifest = json.loads((other / MANIFEST_NAME).read_text())
    manifest["provenance"]["checkpoint_sha256"] = "0" * 64
    (other / MANIFEST_NAME).write_text(json.dumps(manifest))
    done = bench(tmp_path / "out", bundle=other)
    assert done.exit_code == 4 and "was not exported from" in done.stderr
    manifest["name"] = "another"
    (other / MANIFEST_NAME).write_text(json.dumps(manifest))
    done = bench(tmp_path / "out", bundle=other)
    assert done.exit_code == 4 and "name what it was exported from with --checkpoint" in done.stderr
    (tmp_path / "list.csv").write_text("image,label\na.png,bliss\n")
    done = bench(tmp_path / "out", dataset=str(tmp_path / "list.csv"))
    assert done.exit_code == 4 and "unknown labels 'bliss' (1)" in done.stderr


@pytest.mark.slow
def test_a_vlm_without_its_reference_is_measured_alone(
    bench: Bench, made_once: Callable[..., Path], tmp_path: Path
) -> None:
    """The file that most people have: a quantized GGUF, and nothing to set it against."""
    written = written_vlm(made_once, "llava")
    small = tmp_path / "small.gguf"
    quantize_gguf(written.half, small, "q8_0")
    bundle = bundle_from_gguf(VlmFiles(small, written.mmproj), tmp_path / "bundle", VlmConfig()).directory
    done = bench(tmp_path / "out", "--no-generate", dataset="synthetic:7", bundle=bundle)
    assert done.exit_code == 0, done.output
    lacks = "no unquantized language model to measure against: import it again with emo-edge import gguf --reference"
    assert f"reference: {lacks}" in done.stderr
    report = report_of(tmp_path / "out")
    checked_report(report)
    reference, balanced = report["rows"]
    assert reference["unavailable"] == lacks and reference["size_bytes"] is None
    assert report["checkpoint"]["weights_sha256"] is None
    assert balanced["accuracy"]["text"] is None and balanced["latency"]["total"]["p50"] > 0
    assert balanced["against_reference"] is None and balanced["gate"] is None
    for name in ("report.md", "report.html"):
        assert lacks in (tmp_path / "out" / name).read_text(encoding="utf-8")
