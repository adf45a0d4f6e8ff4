"""EmoLA without landmarks, every command after another as a user walks it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.measure import roofline
from emo_edge.benchmarks.measure.reference_workload import Waiting
from emo_edge.benchmarks.workload import images
from emo_edge.cli.app import main

SAMPLES = "synthetic:24"


@pytest.mark.slow
def test_every_command_runs_without_landmarks(
    original: Path, wide_picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random weights hold no gate, so that theirs is as wide as it can be."""
    # That the commands run is tested here, and no time that one of them measures.
    monkeypatch.setattr(images, "LATENCY_IMAGES", 2)
    monkeypatch.setattr(roofline, "SIDE", 256)
    monkeypatch.setattr(roofline, "COPIED", 1 << 24)
    checkpoint, bundle, report = tmp_path / "emola", tmp_path / "emola.bundle", tmp_path / "report"
    run = _runner()
    assert run(f"import emola --model {original} --out {checkpoint}").splitlines()[-1] == str(checkpoint)
    run(f"export {checkpoint} --out {bundle} --vision fp32 --language f32 --limit 2 --threads 1")
    assert "tokens a frame: 4 content" in run(f"inspect {bundle}")
    assert "take exact: the most precise that fits" in run(f"plan {bundle} --device orin-nano-8gb")
    (reading,) = json.loads(run(f"infer {bundle} {wide_picture} --whole-image --json"))[0]["readings"]
    assert abs(sum(reading["probabilities"].values()) - 1) < 1e-4
    run(
        f"calibrate {bundle} --checkpoint {checkpoint} --samples {SAMPLES} --collect 8 --measure 16 --types q8_0 "
        "--int8 none --gate agreement>=0 --no-question-cache --threads 1"
    )
    assert "q8_0" in run(f"inspect {bundle}")
    shown = run(
        f"bench {bundle} --checkpoint {checkpoint} --dataset {SAMPLES} --samples 7 --quick --cold 0 --no-generate "
        f"--batch 1 --threads 1 --latency-rounds 1 --out {report}"
    )
    assert "| full precision | " in shown and shown.splitlines()[-1] == str(report)


def _runner() -> Callable[[str], str]:
    def run(line: str) -> str:
        done = CliRunner().invoke(main, line.split(), obj=Waiting(watch_s=0.0, patience_s=0.0))
        assert done.exit_code == 0, f"{line}\n{done.output}"
        return done.stdout

    return run
