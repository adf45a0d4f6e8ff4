"""Full precision as a row: on the chip of the profiles, its scores set against an even picture's as the pipeline's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emo_edge.assets.packaged import packaged_checkpoint, packaged_samples
from emo_edge.benchmarks.datasets.items import Frame
from emo_edge.benchmarks.workload import reference
from emo_edge.benchmarks.workload.reference import TorchTarget, reference_device
from emo_edge.benchmarks.workload.targets import read_labels
from emo_edge.bundle.manifest import Scoring
from emo_edge.bundle.reader import Bundle
from emo_edge.export.reference.engines import reference_engines
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.taxonomy import LABEL_SETS

LABELS = LABEL_SETS["rafdb7"]


@pytest.mark.parametrize("clip", [False, True])
def test_scores_are_corrected_as_the_pipeline_corrects_them(tiny_bundle: Path, clip: bool) -> None:
    plain = Bundle.open(tiny_bundle)
    scoring = Scoring(temperature=8.0, prior_correction=True)
    bundle = Bundle(plain.directory, plain.manifest.model_copy(update={"scoring": scoring}))
    target = TorchTarget(bundle, packaged_checkpoint(), LABELS)
    pipeline = EmotionPipeline(bundle, reference_engines(target.model, bundle.manifest), WholeImage())
    shown = [Frame(sample.image, sample.box) for sample in packaged_samples(4)]
    uncorrected = TorchTarget(plain, packaged_checkpoint(), LABELS)
    for frames in [shown] if clip else [[frame] for frame in shown]:
        predicted, expected = target.read(frames, clip=clip), read_labels(pipeline, frames, LABELS, clip=clip)
        assert predicted.probabilities == pytest.approx(expected.probabilities, abs=1e-4)
        assert not np.allclose(predicted.probabilities, uncorrected.read(frames, clip=clip).probabilities, atol=1e-2)


@pytest.mark.parametrize(
    ("device", "engines", "torch", "stream", "chip"),
    [
        ("cpu", True, True, False, "cpu"),
        ("openvino", True, True, False, "cpu"),
        ("cuda", True, True, False, "cuda"),
        ("tensorrt", True, True, False, "cuda"),
        ("auto", True, True, False, "cuda"),
        ("auto", False, True, False, "cpu"),
        ("cuda", True, False, False, "cpu"),
        ("cuda", True, True, True, "cpu"),
    ],
)
def test_full_precision_runs_on_the_chip_of_the_profiles(
    monkeypatch: pytest.MonkeyPatch, device: str, engines: bool, torch: bool, stream: bool, chip: str
) -> None:
    monkeypatch.setitem(reference.PROBLEMS, "cuda", lambda: None if engines else "no card")
    monkeypatch.setattr("torch.cuda.is_available", lambda: torch)
    assert reference_device(device, stream=stream) == chip
