"""Ids and rows of faces that come, cross, hide and go; a follower that goes on from its state is the same one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from emo_edge.bundle.reader import Bundle
from emo_edge.errors import InputError
from emo_edge.media.videos import TimedFrame
from emo_edge.tracking.follow import FRAMES_AT_ONCE, FoundBatch, VideoFollower
from emo_edge.tracking.network import FaceNetwork
from tests.scenes import SquareDetector, drawn, greys_of
from tests.unit_bundles import write_unit_bundle

FPS = 25
Scene = Sequence[dict[int, tuple[float, float]]]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaceNetwork]:
    bundle = Bundle.open(write_unit_bundle(tmp_path_factory.mktemp("follow") / "units"))
    with FaceNetwork.open(bundle, device="cpu", profile=None, threads=1) as opened:
        yield opened


def frames_of(scene: Scene, segments: Sequence[int] = ()) -> Iterator[TimedFrame]:
    for index, middles in enumerate(scene):
        segment = segments[index] if segments else 0
        yield TimedFrame(drawn(middles), index, index / FPS, segment, index / FPS)


def batches_of(follower: VideoFollower, frames: Iterator[TimedFrame]) -> list[FoundBatch]:
    batches = [follower.batch(frames)]
    while not batches[-1].is_last:
        batches.append(follower.batch(frames))
    return batches


def greys_by_id(scene: Scene, batches: Sequence[FoundBatch]) -> dict[int, list[tuple[int, int]]]:
    """Return for each id the frames in which it is, and the grey of the square there."""
    ids = dict(pair for batch in batches for pair in batch.born)
    found: dict[int, list[tuple[int, int]]] = {}
    for batch in batches:
        for face in batch.faces:
            if face.number in ids:
                index = batch.frames[face.frame].index
                (grey,) = greys_of(drawn(scene[index]), [face.box])
                found.setdefault(ids[face.number], []).append((index, grey))
    return found


def walk(frames: int) -> Scene:
    """Two squares that cross; the darker one passes behind the other."""
    return [{80: (40 + 240 * t / frames, 70.0), 160: (280 - 240 * t / frames, 90.0)} for t in range(frames)]


def test_two_faces_that_cross_keep_their_ids(network: FaceNetwork) -> None:
    scene = walk(100)
    found = greys_by_id(scene, batches_of(VideoFollower(network, SquareDetector()), frames_of(scene)))
    assert sorted(found) == [0, 1]
    # While one is before the other, the middle of both boxes has its grey.
    apart = [[grey for index, grey in rows if not 40 <= index < 60] for rows in found.values()]
    assert [(set(greys), len(greys)) for greys in apart] == [({80}, 80), ({160}, 80)]
    assert {rows[0][0] for rows in found.values()} == {0}, "a face has rows from its first frame on"


def test_a_chance_detection_has_no_id_and_a_late_face_its_first_frame(network: FaceNetwork) -> None:
    scene: list[dict[int, tuple[float, float]]] = [{80: (60.0, 60.0)} for _ in range(60)]
    scene[20] = {**scene[20], 160: (250.0, 60.0)}
    for index in range(40, 60):
        scene[index] = {**scene[index], 240: (250.0, 100.0)}
    found = greys_by_id(scene, batches_of(VideoFollower(network, SquareDetector()), frames_of(scene)))
    assert sorted(found) == [0, 1]
    assert [index for index, _ in found[0]] == list(range(60))
    assert {grey for _, grey in found[1]} == {240} and found[1][0][0] >= 40


def test_a_jump_of_the_time_stamps_ends_every_face(network: FaceNetwork) -> None:
    scene: Scene = [{80: (60.0, 60.0)} for _ in range(40)]
    segments = [0] * 20 + [1] * 20
    batches = batches_of(VideoFollower(network, SquareDetector()), frames_of(scene, segments))
    found = greys_by_id(scene, batches)
    assert [index for index, _ in found[0]] == list(range(20))
    assert [index for index, _ in found[1]] == list(range(20, 40))


@pytest.mark.parametrize("length", [1, 2])
def test_a_video_too_short_for_a_birth_has_its_face(network: FaceNetwork, length: int) -> None:
    scene: Scene = [{80: (60.0, 60.0)}] * length
    found = greys_by_id(scene, batches_of(VideoFollower(network, SquareDetector()), frames_of(scene)))
    assert [index for index, _ in found[0]] == list(range(length))


@pytest.mark.parametrize("stopped", [1, 3, 5])
def test_a_follower_goes_on_from_its_state(network: FaceNetwork, stopped: int) -> None:
    scene = walk(100)
    whole = batches_of(VideoFollower(network, SquareDetector(noise=0.02)), frames_of(scene))
    detector = SquareDetector(noise=0.02)
    first, frames = VideoFollower(network, detector), frames_of(scene)
    begun = [first.batch(frames) for _ in range(stopped)]
    second = VideoFollower(network, detector)
    second.restore(json.loads(json.dumps(begun[-1].state)))
    again = begun + batches_of(second, frames)
    assert [batch.state for batch in again] == [batch.state for batch in whole]
    assert [batch.born for batch in again] == [batch.born for batch in whole]
    boxes = [[(face.frame, face.number, face.box) for face in batch.faces] for batch in again]
    assert boxes == [[(face.frame, face.number, face.box) for face in batch.faces] for batch in whole]


def test_a_batch_holds_what_was_there_before_an_error(network: FaceNetwork) -> None:
    def broken() -> Iterator[TimedFrame]:
        yield from frames_of([{80: (60.0, 60.0)}] * 20)
        raise InputError("cut off")

    batches = batches_of(VideoFollower(network, SquareDetector()), broken())
    assert [len(batch.frames) for batch in batches] == [FRAMES_AT_ONCE, 20 - FRAMES_AT_ONCE]
    assert str(batches[-1].error) == "cut off" and batches[0].error is None


def test_pictures_are_released(network: FaceNetwork, tmp_path: Path) -> None:
    batch = VideoFollower(network, SquareDetector()).batch(frames_of([{80: (60.0, 60.0)}] * 8))
    assert all(frame.image.size == 0 for frame in batch.frames) and batch.sizes == [(320, 160)] * 8
