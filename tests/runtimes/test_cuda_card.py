"""On an NVIDIA card: what ONNX Runtime and llama.cpp compute there is what they compute on the CPU, in any order."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from emo_edge.assets.packaged import packaged_samples
from emo_edge.bundle.engine_settings import CudaSettings
from emo_edge.bundle.reader import Bundle
from emo_edge.faces.detector import DetectedFace
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request
from emo_edge.metrics.tensor_parity import similarity
from emo_edge.runtimes.loading.reference_feeds import ReferenceFeeds
from emo_edge.runtimes.onnx import OnnxSession, graphs_are_safe
from emo_edge.runtimes.onnx_io_binding import CAPTURED
from emo_edge.tensors import Tensor

pytestmark = pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers(), reason="waits for an NVIDIA card"
)
NEAR = {"fp32": 0.999, "fp16": 0.995}
"""Half-precision sums move the short vectors of the face network most: an H200's pose was between the two. Rows of
another drawing are farther than either, which every comparison checks."""
SIZES = (1, 3, 1, *range(2, CAPTURED + 4), 1, 3, CAPTURED + 2, 1)
"""More sizes of feed than are captured; the first ones again after all others."""


@pytest.fixture(params=[True, False], ids=["graphs", "no graphs"])
def settings(request: pytest.FixtureRequest) -> CudaSettings:
    return CudaSettings(graphs=request.param)


@pytest.mark.parametrize("variant", ["fp32", "fp16"])
@pytest.mark.parametrize("part", ["vision", "connector", "face"])
def test_every_size_of_feed_gives_what_the_cpu_gives(
    tiny_bundle: Path, part: str, variant: str, settings: CudaSettings, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = Bundle.open(tiny_bundle)
    component = bundle.manifest.components.graph(part)
    inputs, outputs = ([contract.spec() for contract in side] for side in (component.inputs, component.outputs))
    path = bundle.files(component.variants[variant])[0]
    feed = ReferenceFeeds(bundle, samples=max(SIZES)).feed(part)
    with OnnxSession(path, inputs, outputs) as cpu:
        expected = cpu.run(feed)
    with (
        caplog.at_level(logging.INFO),
        OnnxSession(path, inputs, outputs, device="cuda", cuda=settings) as cuda,
    ):
        for turn, rows in enumerate(SIZES):
            # Other rows each time: a replay that read old memory would tell the rows before.
            chosen = (np.arange(rows) + turn) % max(SIZES)
            found = cuda.run({name: value[chosen] for name, value in feed.items()})
            near = similarity({name: value[chosen] for name, value in expected.items()}, found)
            assert min(near.values()) >= NEAR[variant], (rows, near)
            before = {name: value[(chosen + 1) % max(SIZES)] for name, value in expected.items()}
            assert min(similarity(before, found).values()) < NEAR[variant], "the measure tells drawings apart"
        assert cuda._graphs == (settings.graphs and graphs_are_safe(onnxruntime.__version__)), caplog.text


@pytest.mark.parametrize("part", ["vision", "face"])
def test_what_does_not_fit_is_computed_in_parts(tiny_bundle: Path, part: str, settings: CudaSettings) -> None:
    bundle, small = Bundle.open(tiny_bundle), settings.model_copy(update={"memory_limit_mib": 16})
    component = bundle.manifest.components.graph(part)
    inputs, outputs = ([contract.spec() for contract in side] for side in (component.inputs, component.outputs))
    path = bundle.files(component.variants["fp16"])[0]
    feed = {name: np.concatenate([value] * 10) for name, value in ReferenceFeeds(bundle).feed(part).items()}
    with OnnxSession(path, inputs, outputs) as cpu:
        expected = cpu.run(feed)
    with OnnxSession(path, inputs, outputs, device="cuda", cuda=small) as cuda:
        near = similarity(expected, cuda.run(feed))
        assert cuda._parts.most, "all rows at once need more than the limit"
    assert min(near.values()) >= NEAR["fp16"], near


class Boxes:
    """Finds so many faces, all in the packaged drawing's one place."""

    name = "boxes"

    def __init__(self, box: tuple[float, float, float, float]) -> None:
        self.box, self.count = box, 1

    def detect(self, image: Tensor) -> list[DetectedFace]:
        x0, y0, x1, y1 = self.box
        return [DetectedFace((x0 + shift, y0, x1 + shift, y1), None) for shift in range(self.count)]


@pytest.fixture(scope="module")
def opened(tiny_bundle: Path) -> Iterator[tuple[EmotionPipeline, EmotionPipeline, Boxes]]:
    """The bundle on the CPU and on the card, and the boxes both are told."""
    first = packaged_samples(1)[0]
    assert first.box is not None
    boxes = Boxes(first.box)
    with (
        EmotionPipeline.open(tiny_bundle, device="cpu", detector=boxes) as cpu,
        EmotionPipeline.open(tiny_bundle, device="cuda", detector=boxes) as cuda,
    ):
        yield cpu, cuda, boxes


def test_pictures_of_one_face_three_and_one_again_are_read_as_on_the_cpu(
    opened: tuple[EmotionPipeline, EmotionPipeline, Boxes],
) -> None:
    images, (cpu, cuda, boxes) = [sample.image for sample in packaged_samples(4)], opened
    for turn, faces in enumerate((1, 3, 1, 2, 1, 3)):
        boxes.count = faces
        both = [one.read(images[turn % len(images)]) for one in (cpu, cuda)]
        assert [len(readings) for readings in both] == [faces, faces]
        for mine, theirs in zip(*both, strict=True):
            assert mine.probabilities is not None and theirs.probabilities is not None
            for label, share in mine.probabilities.items():
                assert theirs.probabilities[label] == pytest.approx(share, abs=0.02), (turn, label)


def test_a_clip_and_a_description_are_told_as_on_the_cpu(
    opened: tuple[EmotionPipeline, EmotionPipeline, Boxes],
) -> None:
    cpu, cuda, boxes = opened
    boxes.count = 1
    frames = [sample.image for sample in packaged_samples(4)]
    mine, theirs = (one.read_clip(frames, Request(describe=True)) for one in (cpu, cuda))
    assert mine is not None and theirs is not None
    assert mine.probabilities is not None and theirs.probabilities is not None
    for label, share in mine.probabilities.items():
        assert theirs.probabilities[label] == pytest.approx(share, abs=0.02), label
    assert mine.answers == theirs.answers
