"""Tracks on drawn scenes: IDF1, overlap with the true boxes beside a search of every frame, time a frame."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from emo_edge.benchmarks.live.crossings import SECONDS, Scene, is_detected, persons_of, scene_frames, scenes
from emo_edge.benchmarks.live.identities import IdScores, id_scores
from emo_edge.faces.detector import FaceDetector
from emo_edge.faces.live.tracker import LiveTracker
from emo_edge.media.crops import Box

Boxes = Mapping[int, Box]


@dataclass
class SceneScores:
    """Tracks of one scene, beside the detector alone on every frame."""

    scene: str
    seed: int
    ids: IdScores
    searched: IdScores
    """Of the detector alone, whose boxes have no ids: overlap and counts mean something, IDF1 does not."""
    track_ms: list[float] = field(repr=False)
    search_ms: list[float] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "scene": self.scene,
            "seed": self.seed,
            "idf1": round(self.ids.idf1, 4),
            "true": self.ids.true,
            "tracked": self.ids.tracked,
            "matched": self.ids.matched,
            "switches": self.ids.switches,
            "overlap": round(self.ids.mean_overlap, 4),
            "overlap_searched": round(self.searched.mean_overlap, 4),
            "raw": {
                "track_ms": [round(value, 2) for value in self.track_ms],
                "search_ms": [round(value, 2) for value in self.search_ms],
            },
        }


def scene_scores(scene: Scene, seed: int, detector: FaceDetector, seconds: float = SECONDS) -> SceneScores:
    """Follow the faces of a scene, and search each of its frames as well."""
    tracker, truth = LiveTracker(detector), list[Boxes]()
    tracked, searched = list[Boxes](), list[Boxes]()
    track_ms, search_ms = list[float](), list[float]()
    for frame in scene_frames(scene, seed, seconds):
        truth.append(frame.boxes)
        track_ms.append(_timed(lambda frame=frame: tracker.step(frame.image, frame.seconds))[1])  # type: ignore[misc]
        tracked.append({track.id: track.box for track in tracker.tracks if track.detected})
        faces, took_ms = _timed(lambda frame=frame: detector.detect(frame.image))  # type: ignore[misc]
        search_ms.append(took_ms)
        searched.append({number: face.box for number, face in enumerate(faces)})
    ids, alone = (id_scores(zip(truth, boxes, strict=True)) for boxes in (tracked, searched))
    return SceneScores(scene.name, seed, ids, alone, track_ms, search_ms)


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    result = call()
    return result, 1000 * (time.perf_counter() - started)


def all_scene_scores(seeds: Sequence[int], detector: FaceDetector, seconds: float = SECONDS) -> list[SceneScores]:
    """Score every scene of each seed, with persons that the detector finds: what it never finds has no track."""
    rows = []
    for seed in seeds:
        chosen = scenes(seed, detected_persons(detector, seed))
        rows += [scene_scores(scene, seed, detector, seconds) for scene in chosen]
    return rows


def detected_persons(detector: FaceDetector, seed: int) -> Iterator[int]:
    """Yield the persons of a seed that a detector finds when they are alone, then any."""
    detected = (person for person in persons_of(seed) if is_detected(detector, seed, person))
    return itertools.chain(detected, persons_of(seed))


def whole_idf1(rows: Sequence[SceneScores]) -> float:
    """Return IDF1 over all scenes."""
    matched, others = sum(row.ids.matched for row in rows), sum(row.ids.true + row.ids.tracked for row in rows)
    return 2 * matched / max(others, 1)


def mean_overlaps(rows: Sequence[SceneScores]) -> tuple[float, float]:
    """Return the mean overlaps with the true boxes: of the tracks, and of the detector alone on every frame."""
    tracked, searched = (
        [one.mean_overlap for one in ids] for ids in zip(*((r.ids, r.searched) for r in rows), strict=True)
    )
    return float(np.mean(tracked)), float(np.mean(searched))
