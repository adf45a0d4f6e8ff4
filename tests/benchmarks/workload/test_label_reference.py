"""A network of labels in full precision beside its profiles: the same probabilities, and no text."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from emo_edge.assets.packaged import packaged_samples
from emo_edge.benchmarks.datasets.items import Frame
from emo_edge.benchmarks.runner.run import opened_inputs
from emo_edge.benchmarks.workload.config import REFERENCE, BenchConfig
from emo_edge.benchmarks.workload.open import TargetOptions, open_target
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import InputError
from emo_edge.taxonomy import LABEL_SETS

LABELS = LABEL_SETS["ferv39k7"]
FRAMES = [Frame(sample.image, sample.box) for sample in packaged_samples(3)]


@pytest.mark.parametrize("kind", ["label", "label_graph"])
def test_a_profile_and_the_reference_read_the_same(kind: str, request: pytest.FixtureRequest) -> None:
    checkpoint = request.getfixturevalue(f"{kind}_checkpoint")
    options = TargetOptions(str(checkpoint), LABELS, device="cpu", threads=1)
    bundle = Bundle.open(request.getfixturevalue(f"{kind}_bundle"))
    reference, profile = (open_target(bundle, name, options) for name in (REFERENCE, "exact"))
    try:
        for frames, clip in ((FRAMES[:1], False), (FRAMES, True)):
            truth, given = (target.read(frames, clip=clip) for target in (reference, profile))
            assert given.probabilities == pytest.approx(truth.probabilities, abs=1e-4)
            assert sum(truth.probabilities) == pytest.approx(1)
            assert set(truth.stage_ms) == set(given.stage_ms) == {"crop", "face"}
        assert max(truth.probabilities) - min(truth.probabilities) > 0.05
        for target in (reference, profile):
            target.read_faces(FRAMES)
            with pytest.raises(InputError, match="network of labels"):
                target.tokens("Why?")
            with pytest.raises(InputError, match="network of labels"):
                target.write(FRAMES[:1], None, clip=False)
    finally:
        reference.close()
        profile.close()


def test_a_bench_of_it_asks_for_no_text_and_for_no_foreign_label(
    label_bundle: Path, label_checkpoint: Path, tmp_path: Path
) -> None:
    inputs = opened_inputs(label_bundle, BenchConfig("synthetic:7"), str(label_checkpoint))
    assert (inputs.plan.written, inputs.plan.sweep, inputs.labels) == (0, False, LABEL_SETS["rafdb7"])
    for sample, label in zip(packaged_samples(2), ("anger", "contempt"), strict=True):
        (tmp_path / label).mkdir()
        assert isinstance(sample.source, Path)
        shutil.copy(sample.source, tmp_path / label)
    with pytest.raises(InputError, match=r"knows the labels surprise, .* not contempt"):
        opened_inputs(label_bundle, BenchConfig(str(tmp_path)), str(label_checkpoint))
