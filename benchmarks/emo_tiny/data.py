"""Render and cache the drawings that emo-tiny learns from and is measured on: crops and exact targets, as flat arrays.

Each split is a directory of ``.npy`` files, one a field, filled chunk by chunk; a killed run continues
with the chunks that are not marked done. Splits differ in their seed, so no sample is in two of them.
Code that draws otherwise has directories of its own.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.emo_tiny.config import TINY
from emo_edge.benchmarks.synthetic.generator import CLIP_FRAMES, Difficulty, FaceSample, render_clip, render_face
from emo_edge.console.children import safe_path
from emo_edge.media.crops import Box, face_crop, padded_crop
from emo_edge.media.videos import even_indices
from emo_edge.taxonomy import ACTION_UNITS, EXPRESSIONS, PARSING_CLASSES, VISIBILITY_POINTS

DRAWING = (
    "emo_edge.benchmarks.synthetic.camera",
    "emo_edge.benchmarks.synthetic.canvas",
    "emo_edge.benchmarks.synthetic.compose",
    "emo_edge.benchmarks.synthetic.expression",
    "emo_edge.benchmarks.synthetic.features",
    "emo_edge.benchmarks.synthetic.generator",
    "emo_edge.benchmarks.synthetic.geometry",
    "emo_edge.benchmarks.synthetic.hair",
    "emo_edge.benchmarks.synthetic.identity",
    "emo_edge.benchmarks.synthetic.shading",
    "emo_edge.benchmarks.emo_tiny.config",
    "emo_edge.benchmarks.emo_tiny.data",
    "emo_edge.media.crops",
)
"""Modules that make the pixels and labels of a split."""

BASIC = tuple(name for name in EXPRESSIONS if name != "contempt")
SCENE_SIZE = 224
CUE_THRESHOLD = 0.2
DIFFICULTY = Difficulty(occlusion_probability=0.25)
"""A quarter of the faces is covered in part: of a still for good, in a clip for a while."""
CHUNK = 500
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Split:
    """A named, seeded set of images or clips."""

    name: str
    seed: int
    count: int
    frames: int = 1
    """1 for images; frames taken evenly from each clip otherwise."""
    expressions: tuple[str, ...] = EXPRESSIONS


TRAIN_IMAGES = Split("train-images", seed=101, count=40_000)
TRAIN_CLIPS = Split("train-clips", seed=103, count=3_000, frames=8)
TEST_IMAGES = Split("test-images", seed=901, count=2_000, expressions=BASIC)
TEST_CLIPS = Split("test-clips", seed=902, count=200, frames=8, expressions=BASIC)


def _fields() -> dict[str, tuple[tuple[int, ...], str]]:
    vision, face = TINY.vision.image_size, TINY.face.image_size if TINY.face else 0
    return {
        "vision": ((vision, vision, 3), "u1"),
        "face": ((face, face, 3), "u1"),
        "parsing": ((face, face), "u1"),
        "region": ((4,), "f4"),
        "landmarks": ((68, 2), "f4"),
        "pose": ((3,), "f4"),
        "attributes": ((40,), "i1"),
        "visibility": ((VISIBILITY_POINTS,), "u1"),
        "age": ((), "u1"),
        "gender": ((), "u1"),
        "race": ((), "u1"),
        "expression": ((), "u1"),
        "action_units": ((len(ACTION_UNITS),), "f4"),
        "cues": ((len(ACTION_UNITS),), "u1"),
    }


def prepare(split: Split, directory: Path, *, workers: int, progress: Callable[[int], None]) -> Arrays:
    """Render what is missing of ``split`` below ``directory`` and open it.

    Args:
        split: which samples.
        directory: cache; each split, drawn by each version of the code, has its own folder in it.
        workers: processes that render.
        progress: called with the number of rows each finished chunk added.

    Returns:
        field name to memory-mapped array [count * frames, ...]; rows of a clip follow each other.
    """
    folder = directory / f"{split.name}-{split.seed}-{split.count}x{split.frames}-{drawing_digest()}"
    folder.mkdir(parents=True, exist_ok=True)
    rows = split.count * split.frames
    for name, (shape, dtype) in _fields().items():
        if not (folder / f"{name}.npy").exists():
            np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, (rows, *shape)).flush()
    missing = [start for start in range(0, split.count, CHUNK) if not _mark(folder, start).exists()]
    jobs = [(split, folder, range(start, min(start + CHUNK, split.count))) for start in missing]
    if jobs:
        with safe_path(), multiprocessing.get_context("spawn").Pool(workers) as pool:
            for added in pool.imap_unordered(_render_chunk, jobs):
                progress(added)
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _fields()}


@cache
def drawing_digest() -> str:
    """Return 8 hexadecimal digits of the SHA-256 of the code that draws, crops and labels.

    Raises ImportError where a module of `DRAWING` is not found: a digest of nothing would reuse stale caches.
    """
    if not DRAWING:
        raise ImportError("no module draws the splits")
    digest = hashlib.sha256()
    for name in DRAWING:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise ImportError(f"{name} draws the splits and has no file", name=name)
        digest.update(Path(spec.origin).read_bytes())
    return digest.hexdigest()[:8]


def sample_row(sample: FaceSample, jitter: np.random.Generator | None = None) -> dict[str, Any]:
    """Crop one sample for both networks and express its truth in the crop's coordinates."""
    assert TINY.face is not None
    box = jittered(sample.box, jitter) if jitter else _as_box(sample.box)
    vision, face = TINY.vision, TINY.face
    vision_crop = padded_crop(
        sample.image, box, margin=vision.crop_margin, size=vision.image_size, fill=vision.image_mean
    )
    crop = face_crop(sample.image, box, margin=face.crop_margin, size=face.image_size)
    return {
        "vision": vision_crop.pixels,
        "face": crop.pixels,
        "parsing": _cropped_labels(sample.parsing, crop.region, face.image_size),
        "region": crop.region,
        "landmarks": crop.from_frame(sample.landmarks),
        "pose": sample.pose,
        "attributes": sample.attributes,
        "visibility": sample.visibility,
        "age": sample.age,
        "gender": sample.gender,
        "race": sample.race,
        "expression": EXPRESSIONS.index(sample.expression),
        "action_units": sample.action_units,
        "cues": visible_cues(sample),
    }


def visible_cues(sample: FaceSample) -> NDArray[np.uint8]:
    """Return 1 for action units that a person could name: strong enough, not behind an occluder; uint8 [17]."""
    regions = {"brows": slice(17, 27), "nose": slice(27, 36), "eyes": slice(36, 48), "mouth": slice(48, 68)}
    covered = {name: _covered(sample, points) for name, points in regions.items()}
    visible = [
        strength >= CUE_THRESHOLD and not covered[_CUE_REGIONS[unit]]
        for unit, strength in zip(ACTION_UNITS, sample.action_units, strict=True)
    ]
    return np.array(visible, np.uint8)


_CUE_REGIONS = {
    unit: region
    for region, units in {
        "brows": (1, 2, 4),
        "eyes": (5, 6, 7),
        "nose": (9,),
        "mouth": (10, 12, 14, 15, 17, 20, 23, 24, 25, 26),
    }.items()
    for unit in units
}


def _covered(sample: FaceSample, points: slice) -> bool:
    height, width = sample.parsing.shape
    columns, rows = np.rint(sample.landmarks[points]).astype(int).T
    classes = sample.parsing[rows.clip(0, height - 1), columns.clip(0, width - 1)]
    return bool((classes == PARSING_CLASSES.index("background")).mean() > 0.5)


def _render_chunk(job: tuple[Split, Path, range]) -> int:
    import cv2

    cv2.setNumThreads(1)
    split, folder, indices = job
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in _fields()}
    for index in indices:
        for frame, sample in enumerate(_samples(split, index)):
            jitter = np.random.default_rng([split.seed, index, frame])
            _store(arrays, index * split.frames + frame, sample_row(sample, jitter))
    for array in arrays.values():
        array.flush()
    _mark(folder, indices.start).touch()
    return len(indices) * split.frames


def _samples(split: Split, index: int) -> list[FaceSample]:
    if split.frames == 1:
        return [render_face(split.seed, index, size=SCENE_SIZE, expressions=split.expressions, difficulty=DIFFICULTY)]
    return render_clip(
        split.seed,
        index,
        size=SCENE_SIZE,
        expressions=split.expressions,
        frame_indices=even_indices(CLIP_FRAMES, split.frames),
        difficulty=DIFFICULTY,
    ).frames


def _store(arrays: Mapping[str, NDArray[Any]], row: int, values: Mapping[str, Any]) -> None:
    for name, array in arrays.items():
        array[row] = values[name]


def jittered(box: NDArray[np.float32], rng: np.random.Generator) -> Box:
    """Shift and scale a box as a detector's would be: 3 % of its size in place, 5 % in scale (one sigma)."""
    x0, y0, x1, y1 = (float(value) for value in box)
    scale_x, scale_y = 0.5 * np.exp(rng.normal(0, 0.05, 2))
    shift_x, shift_y = rng.normal(0, 0.03, 2)
    centre_x, centre_y = (x0 + x1) / 2 + shift_x * (x1 - x0), (y0 + y1) / 2 + shift_y * (y1 - y0)
    half_x, half_y = (x1 - x0) * scale_x, (y1 - y0) * scale_y
    return (centre_x - half_x, centre_y - half_y, centre_x + half_x, centre_y + half_y)


def _as_box(box: NDArray[np.float32]) -> Box:
    x0, y0, x1, y1 = (float(value) for value in box)
    return (x0, y0, x1, y1)


def _cropped_labels(labels: NDArray[np.uint8], region: Box, size: int) -> NDArray[np.uint8]:
    import cv2

    x0, y0, x1, y1 = (int(value) for value in region)
    cut = labels[y0:y1, x0:x1]
    return np.asarray(cv2.resize(cut, (size, size), interpolation=cv2.INTER_NEAREST), np.uint8)


def _mark(folder: Path, start: int) -> Path:
    return folder / f"done-{start:06d}"
