"""Readings of drawn clips, frame after frame in the tracker's boxes, and what reusing some of them would change."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.live.clips import FPS, LABELS, SECONDS, ChangingFace, changing_face
from emo_edge.console.children import safe_path
from emo_edge.faces.live.tracker import LiveTracker
from emo_edge.inference.live.signatures import Signature, difference, signature
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request
from emo_edge.media.crops import Box, Image
from emo_edge.metrics.label_agreement import SMALLEST
from emo_edge.utils.files import replace_text

THRESHOLDS = (0.5, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 4.0)
"""Mean differences of grey that are tried."""
RAFDB = Request(labels=LABELS)


@dataclass
class Reuse:
    """Effect of one threshold on the frames of a clip."""

    frames: int = 0
    reused: int = 0
    flips: int = 0
    """Of the reused ones: their own reading has another label."""
    kl: float = 0.0
    """Sum over the reused ones of the divergence of their own reading from the reused one, in nats."""


@dataclass(frozen=True)
class ReadClip:
    """The readings of one clip, of the frames in which its face is followed."""

    index: int
    seconds: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    """[frames, labels]."""
    truth: NDArray[np.int64]
    changes: tuple[tuple[float, int], ...]
    """Moment and new label of each true change."""
    reuse: dict[float, Reuse] = field(default_factory=dict)


@dataclass
class _Kept:
    """The newest reading under one threshold."""

    probabilities: NDArray[np.float64]
    signature: Signature
    box: Box


def read_clip(
    pipeline: EmotionPipeline,
    face: ChangingFace,
    fps: float = FPS,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    request: Request = RAFDB,
) -> ReadClip:
    """Draw a clip, follow its face and read it in every frame."""
    tracker = LiveTracker(pipeline.detector)
    rows: list[tuple[float, NDArray[np.float64], int]] = []
    kept: dict[float, _Kept] = {}
    reuse = {threshold: Reuse() for threshold in thresholds}
    for number in range(round(SECONDS * fps)):
        seconds = number / fps
        image = face.frame(seconds).image
        tracker.step(image, seconds)
        track = next((one for one in tracker.tracks if one.detected), None)
        look = None if track is None else signature(image, track.box)
        if track is None or look is None:
            continue
        (result,) = pipeline.read(image, request, boxes=[track.box], boxes_of=pipeline.detector.name)
        own = np.array(list(result.probabilities.values()))
        rows.append((seconds, own, LABELS.index(face.label_at(seconds))))
        for threshold, counts in reuse.items():
            _count(counts, threshold, kept, _Kept(own, look, track.box), image)
    times, probabilities, truth = zip(*rows, strict=True) if rows else ((), (), ())
    changes = tuple((one.start_s, LABELS.index(one.label)) for one in face.stretches[1:])
    return ReadClip(face.index, np.array(times), np.array(probabilities), np.array(truth, np.int64), changes, reuse)


def _count(counts: Reuse, threshold: float, kept: dict[float, _Kept], now: _Kept, image: Image) -> None:
    """Reuse the newest reading under a threshold, as live results do, or keep the present one."""
    counts.frames += 1
    before = kept.get(threshold)
    if before is not None:
        there = signature(image, before.box)
        looks = [now.signature, *([] if there is None else [there])]
        if min(difference(look, before.signature) for look in looks) < threshold:
            counts.reused += 1
            counts.flips += int(before.probabilities.argmax() != now.probabilities.argmax())
            ratio = np.log(np.maximum(now.probabilities, SMALLEST) / np.maximum(before.probabilities, SMALLEST))
            counts.kl += float((now.probabilities * ratio).sum())
            return
    kept[threshold] = now


@cache
def _pipeline(bundle: Path, profile: str | None) -> EmotionPipeline:
    """Open one for a worker's whole life."""
    return EmotionPipeline.open(bundle, device="cpu", profile=profile, threads=1)


def _read(bundle: Path, profile: str | None, kept: Path | None, fps: float, seed: int, index: int) -> ReadClip:
    path = None if kept is None else kept / f"{seed}-{index}-{fps:g}.json"
    if path is not None and path.exists():
        return clip_from_dict(json.loads(path.read_text(encoding="utf-8")))
    clip = read_clip(_pipeline(bundle, profile), changing_face(seed, index), fps)
    if path is not None:
        replace_text(path, json.dumps(clip_dict(clip), allow_nan=False))
    return clip


def clip_dict(clip: ReadClip) -> dict[str, Any]:
    """Return the JSON object of a clip."""
    return {
        "index": clip.index,
        "seconds": clip.seconds.tolist(),
        "probabilities": clip.probabilities.round(6).tolist(),
        "truth": clip.truth.tolist(),
        "changes": clip.changes,
        "reuse": [[threshold, asdict(counts)] for threshold, counts in clip.reuse.items()],
    }


def clip_from_dict(values: dict[str, Any]) -> ReadClip:
    """Return the clip of a JSON object."""
    return ReadClip(
        values["index"],
        np.array(values["seconds"], np.float64),
        np.array(values["probabilities"], np.float64).reshape(-1, len(LABELS)),
        np.array(values["truth"], np.int64),
        tuple((at_s, label) for at_s, label in values["changes"]),
        {threshold: Reuse(**counts) for threshold, counts in values["reuse"]},
    )


def read_clips(
    bundle: Path, profile: str | None, seed: int, clips: int, workers: int, *, kept: Path | None, fps: float = FPS
) -> Iterator[ReadClip]:
    """Yield the clips of a seed in their order, read in so many processes.

    ``kept`` is a folder of readings for a second run; it belongs to one bundle and profile.
    """
    work = partial(_read, bundle, profile, kept, fps, seed)
    if workers == 1:
        yield from map(work, range(clips))
        return
    with safe_path(), multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(work, range(clips))


def total(clips: Sequence[ReadClip], threshold: float) -> Reuse:
    """Add the counts of a threshold up."""
    counts = [clip.reuse[threshold] for clip in clips]
    return Reuse(
        sum(one.frames for one in counts),
        sum(one.reused for one in counts),
        sum(one.flips for one in counts),
        sum(one.kl for one in counts),
    )
