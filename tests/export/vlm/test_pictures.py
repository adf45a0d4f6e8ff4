"""A clip's frames fill one prompt of a model that takes several pictures; another refuses them, and says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from click.testing import CliRunner

from emo_edge.assets.packaged import packaged_samples
from emo_edge.benchmarks.random_vlm.families import random_vlm
from emo_edge.cli.app import main
from emo_edge.console.progress import Reports
from emo_edge.errors import InputError
from emo_edge.export.vlm.bundle import bundle_from_gguf
from emo_edge.export.vlm.config import VlmConfig, VlmFiles
from emo_edge.export.vlm.pictures import Pictures, pictures_of
from tests.random_vlms import written_vlm

CHOICES: tuple[tuple[str, Pictures], ...] = (("llava", "several"), ("smolvlm", "one"))
"""Against what the table says."""


def test_the_user_may_know_better_how_many_pictures_a_model_takes(
    made_once: Callable[..., Path], tmp_path: Path
) -> None:
    for family, chosen in CHOICES:
        written = written_vlm(made_once, family)
        files, lines = VlmFiles(written.model, written.mmproj), list[str]()
        reports = Reports(lines.append, lambda step, done, total: None)
        bundle = bundle_from_gguf(files, tmp_path / chosen, VlmConfig(pictures=chosen), reports=reports)
        assert bundle.manifest.components.mmproj and bundle.manifest.components.mmproj.pictures == chosen
        expected = "a clip's frames fill one prompt" if chosen == "several" else "one picture in a prompt, so no clips"
        assert any(line.startswith(expected) and line.endswith("`pictures`)") for line in lines)


def test_a_video_of_a_model_of_one_picture_is_one_error_with_the_next_step(
    made_once: Callable[..., Path], tmp_path: Path
) -> None:
    written = written_vlm(made_once, "llava")
    bundle = bundle_from_gguf(VlmFiles(written.model, written.mmproj), tmp_path / "b", VlmConfig())
    video = written_clip(tmp_path / "clip.avi", frames=4, rate=2.0)
    asked = ["infer", str(bundle.directory), str(video), "--whole-image", "--device", "cpu"]
    refused = CliRunner().invoke(main, asked)
    assert refused.exit_code == InputError.exit_code
    assert refused.output.count("Error:") == 1
    assert "not a clip of 8 frames: read single frames (--frames 1 with --fps" in refused.output
    read = CliRunner().invoke(main, [*asked, "--frames", "1", "--fps", "2", "--jsonl"])
    assert read.exit_code == 0, read.output
    lines = [json.loads(line) for line in read.output.splitlines()]
    assert [line["kind"] for line in lines[1:]] == ["clip"] * 4


def test_a_projector_that_no_table_has_takes_one_picture() -> None:
    assert pictures_of("newest_merger") == "one"
    assert {pictures_of(random_vlm(family).projector) for family in ("qwen2-vl", "internvl", "gemma3")} == {"several"}


def written_clip(path: Path, frames: int, rate: float) -> Path:
    image = packaged_samples(1)[0].image
    height, width, _ = image.shape
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (width, height))
    for _ in range(frames):
        writer.write(np.ascontiguousarray(image[:, :, ::-1]))
    writer.release()
    return path
