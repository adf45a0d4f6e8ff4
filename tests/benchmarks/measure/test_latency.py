"""Times: warm-up ends when they are stable, every row sees the same pictures, an engine is never shown one twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from emo_edge.benchmarks.datasets.items import Frame
from emo_edge.benchmarks.measure import timing
from emo_edge.benchmarks.measure.latency import clip_of, latency_of, sweep_of, throughput_of, written_of
from emo_edge.benchmarks.measure.reference_workload import MachineSpeed
from emo_edge.benchmarks.measure.timing import LEAST_TIMES, distribution, warm_up
from emo_edge.benchmarks.workload.images import LatencyImage
from emo_edge.benchmarks.workload.targets import Prediction, Written, side_by_side
from emo_edge.errors import InputError
from emo_edge.faces.detector import DetectedFace
from emo_edge.media.crops import Image
from emo_edge.media.images import write_image


class Scripted:
    """A target without engines that notes what it is asked."""

    name, device, context = "scripted", "cpu", 100

    def __init__(self) -> None:
        self.variants: dict[str, str] = {}
        self.seen: list[int] = []
        self.faces: list[int] = []
        self.prompts: list[list[int]] = []

    def read(self, frames: Sequence[Frame], *, clip: bool) -> Prediction:
        self.seen.append(int(frames[0].image[0, 0, 0]))
        if clip and len(frames) > 8:
            raise InputError("too long")
        return Prediction([0.5, 0.5], {"vision": 2.0, "prefill": 3.0, "score": 1.0})

    def write(self, frames: Sequence[Frame], question: str | None, *, clip: bool) -> Written:
        return Written("neutral", 4.0, None if question is None else 0.5, 10.0)

    def read_faces(self, frames: Sequence[Frame]) -> None:
        self.faces.append(len(frames))

    def prefill(self, ids: Sequence[int]) -> None:
        self.prompts.append(list(ids))

    def tokens(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    def close(self) -> None:
        pass


class Nobody:
    name = "nobody"

    def detect(self, frame: Image) -> list[DetectedFace]:
        return []


@pytest.fixture
def images(tmp_path: Path) -> list[LatencyImage]:
    for place in range(3):
        write_image(tmp_path / f"{place}.png", np.full((4, 5, 3), place, np.uint8))
    return [LatencyImage(tmp_path / f"{place}.png", (0.0, 0.0, 4.0, 4.0)) for place in range(3)]


def test_a_distribution_keeps_the_raw_times() -> None:
    found = distribution([3.0, 1.0, 2.0, 10.0])
    assert (found["p50"], found["min"], found["mean"], found["samples"]) == (2.5, 1.0, 4.0, 4)
    assert found["raw"] == [3.0, 1.0, 2.0, 10.0] and found["p90"] == pytest.approx(7.9)


@pytest.mark.parametrize(
    ("medians", "calls", "stable"),
    [([9, 5, 4.9], 6, True), ([5, 5], 4, True), ([9, 8, 7, 6, 5, 4], 10, False)],
)
def test_warm_up_ends_when_two_windows_agree_or_after_some(medians: list[float], calls: int, stable: bool) -> None:
    times: Iterator[float] = iter([one for median in medians for one in (median, median)])
    assert warm_up(lambda place: next(times), 2) == (calls, stable)


def test_every_row_times_the_same_pictures_in_turn(images: list[LatencyImage], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "LONGEST_WARMUP", 2)
    target = Scripted()
    found = latency_of(target, images, 4, Nobody(), MachineSpeed(lambda: [7.0, 8.0], 0.0))
    warm_up, counted = target.seen[:6], target.seen[6:]
    assert warm_up == [0, 1, 2, 0, 1, 2] and counted[1::2] == [0, 1, 2, 0, 1, 2], "4 rounds are made up to two turns"
    assert counted[::2] == [2, 0, 1, 2, 0, 1], "after each pulse one that does not count, of another picture"
    assert found["machine"]["raw"] == 6 * [7.0, 8.0]
    assert list(found["stages"]) == ["decode", "detect", "vision", "prefill", "score"]
    assert all(len(stage["raw"]) == 6 for stage in (*found["stages"].values(), found["total"]))
    assert found["reading"]["raw"] == 6 * [6.0], "vision, prefill and score; neither the file nor the detector"
    assert found["warmup_rounds"] == 6


def test_an_answers_times_start_with_the_picture(images: list[LatencyImage]) -> None:
    found = written_of(Scripted(), images, 2, "Describe.")
    assert found["label"]["raw"] == [15.0, 15.0], "vision, prefill, then the answer; no score"
    assert found["first_token"]["raw"] == [9.0, 9.0]
    assert found["per_token"]["raw"] == [0.5, 0.5]


def test_faces_at_once(images: list[LatencyImage]) -> None:
    target = Scripted()
    found = throughput_of(target, images, (1, 4), 2)
    assert target.faces == [1, 1, 1, 4, 4, 4] and found.keys() == {"1", "4"}
    assert len(found["4"]["raw"]) == 2 and found["4"]["faces_per_s"] > 0


def test_prompts_of_several_lengths_share_no_first_token() -> None:
    target = Scripted()
    found = sweep_of(target, "some words")
    assert [row["tokens"] for row in found] == [32, 64], "as long as the context holds them"
    first = [prompt[0] for prompt in target.prompts]
    assert all(before != after for before, after in pairwise(first))
    assert all(row["prefill_ms"]["samples"] == 5 for row in found)


def test_a_clip_that_does_not_fit_is_a_reason(images: list[LatencyImage]) -> None:
    frames = [image.frame() for image in images]
    speed = MachineSpeed(lambda: [7.0], 0.0)
    found, reason = clip_of(Scripted(), frames, 3, speed)
    assert found["clip"] and found["clip"]["samples"] == 3 and reason is None
    found, _ = clip_of(Scripted(), frames, 100, speed)
    assert found["clip"] and found["clip"]["samples"] == LEAST_TIMES, "as many as a comparison needs"
    assert found["clip_machine"] and found["clip_machine"]["p50"] == 7
    none = {"clip": None, "clip_machine": None}
    assert clip_of(Scripted(), frames * 3, 3, speed) == (none, "no clip of 9 frames: too long")


def test_faces_side_by_side_keep_their_boxes(images: list[LatencyImage]) -> None:
    tall = Frame(np.full((7, 2, 3), 9, np.uint8), None)
    picture, faces = side_by_side([images[1].frame(), tall])
    assert picture.shape == (7, 7, 3) and picture[:4, :5].max() == 1 and picture[4:, :5].max() == 0
    assert [face.box for face in faces] == [(0.0, 0.0, 4.0, 4.0), (5.0, 0.0, 7.0, 7.0)]
