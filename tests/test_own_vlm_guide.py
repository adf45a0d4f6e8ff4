"""Every command of "your own VLM in ten minutes" runs, on a random model of the true structure."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from emo_edge.assets.packaged import packaged_samples
from emo_edge.benchmarks.measure import roofline
from emo_edge.benchmarks.measure.reference_workload import Waiting
from emo_edge.benchmarks.workload import images
from emo_edge.cli.app import main
from tests.random_vlms import written_vlm
from tests.shown_commands import ROOT, shell_lines

GUIDE = (ROOT / "docs" / "guides" / "own-vlm.md").read_text(encoding="utf-8")
SAMPLES = 175
"""Enough for ``--collect 40 --measure 120``."""


@pytest.mark.slow
@pytest.mark.usefixtures("traced_once")
def test_its_commands_run_in_order(
    made_once: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # That the commands run is tested here, and no time that one of them measures.
    monkeypatch.setattr(images, "LATENCY_IMAGES", 2)
    monkeypatch.setattr(roofline, "SIDE", 256)
    monkeypatch.setattr(roofline, "COPIED", 1 << 24)
    written = written_vlm(made_once, "smolvlm")
    shutil.copyfile(written.half, "model-f16.gguf")
    shutil.copyfile(written.mmproj, "mmproj.gguf")
    samples = packaged_samples(SAMPLES)
    for sample in samples:
        folder = Path("labelled", str(sample.expression))
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "emo_edge" / "samples" / sample.name, folder / sample.name)
    shutil.copyfile(next(Path("labelled").rglob("*.jpg")), "photo.jpg")
    outputs = {}
    for line in shell_lines(GUIDE):
        words = shlex.split(line.partition(">")[0], comments=True)
        assert words[0] == "emo-edge"
        done = CliRunner().invoke(main, words[1:], obj=Waiting(watch_s=0.0, patience_s=0.0))
        assert done.exit_code == 0, f"{line}\n{done.output}"
        outputs[words[1]] = done.output
    assert {"import", "infer", "calibrate", "bench", "plan", "verify"} <= outputs.keys()
    assert "fills 26 positions" in outputs["import"] and "scoring: temperature" in outputs["calibrate"]
    assert "full precision" in outputs["bench"]
    assert "    pose: pitch " in outputs["infer"] and "    attributes: " in outputs["infer"], "of the face network"
