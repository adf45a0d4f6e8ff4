"""IDF1 by hand, and of drawn scenes: persons that cross, leave and hide keep their ids."""

from __future__ import annotations

import pytest

import emo_edge
from emo_edge.benchmarks.live.crossings import FPS, scene_frames, scenes
from emo_edge.benchmarks.live.identities import id_scores
from emo_edge.benchmarks.live.tracking import mean_overlaps, scene_scores, whole_idf1
from emo_edge.media.crops import Box

LEFT: Box = (0.0, 0.0, 10.0, 10.0)
RIGHT: Box = (50.0, 0.0, 60.0, 10.0)


def test_idf1_of_a_track_that_changes_its_id() -> None:
    frames = [({1: LEFT, 2: RIGHT}, {7: LEFT, 8: RIGHT})] * 6 + [({1: LEFT, 2: RIGHT}, {9: LEFT, 8: RIGHT})] * 4
    found = id_scores(frames)
    assert (found.true, found.tracked, found.matched, found.switches) == (20, 20, 16, 1)
    assert found.idf1 == pytest.approx(0.8) and found.mean_overlap == 1


def test_exchanged_ids_and_missed_faces_count() -> None:
    exchanged = id_scores([({1: LEFT, 2: RIGHT}, {7: LEFT, 8: RIGHT}), ({1: LEFT, 2: RIGHT}, {8: LEFT, 7: RIGHT})] * 5)
    assert exchanged.idf1 == pytest.approx(0.5)
    missed = id_scores([({1: LEFT}, {}), ({1: LEFT}, {7: LEFT}), ({}, {7: RIGHT}), ({}, {})])
    assert (missed.true, missed.tracked, missed.matched) == (2, 2, 1) and missed.idf1 == pytest.approx(0.5)


def test_the_persons_of_the_scenes_are_where_they_are_named() -> None:
    crossing, _, exits, hidden = scenes(1)
    first = next(iter(scene_frames(crossing, 1, 1 / FPS)))
    assert len(first.boxes) == 2
    for x0, y0, x1, y1 in first.boxes.values():
        assert first.image[round(y0) : round(y1), round(x0) : round(x1)].std() > 10
    assert [len(scene.walks) for scene in (crossing, exits, hidden)] == [2, 3, 2]
    (cover,) = hidden.covers
    assert cover.end_s - cover.start_s == pytest.approx(0.5)


def test_a_scene_keeps_its_ids() -> None:
    hidden = scenes(1)[3]
    row = scene_scores(hidden, 1, emo_edge.open_detector("haar"), seconds=4.6)
    assert whole_idf1([row]) >= 0.95 and row.ids.switches == 0
    tracked, searched = mean_overlaps([row])
    assert tracked >= searched - 0.01 and len(row.to_dict()["raw"]["track_ms"]) == 138
