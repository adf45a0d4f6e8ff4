"""Label distributions of a profile with each of some question caches, the networks run once a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from emo_edge.assets.packaged import Sample
from emo_edge.bundle.manifest import QuestionCache
from emo_edge.bundle.reader import Bundle
from emo_edge.console.progress import Progress
from emo_edge.faces.detector import DetectedFace
from emo_edge.faces.registry import WholeImage, faces_in_boxes
from emo_edge.inference.frame_features import grey_input, run_networks
from emo_edge.inference.frames import rgb_frame
from emo_edge.inference.label_scoring import LabelScores
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.prompt_layout import demographics_of
from emo_edge.inference.results import Request
from emo_edge.media.crops import Image
from emo_edge.utils.timing import Stopwatch


@dataclass(frozen=True)
class CachedRuns:
    """Outputs of a profile for N samples with each of some question caches."""

    probabilities: NDArray[np.float64]
    """[caches, N, labels]."""
    used: NDArray[np.bool_]
    """[caches]: whether every sample was read with the cache; else some question has no middle, or no room."""


def runs_with_question_caches(
    bundle: Bundle,
    profile: str,
    samples: Sequence[Sample],
    labels: str | tuple[str, ...],
    caches: Sequence[QuestionCache | None],
    *,
    threads: int | None = None,
    progress: Progress = lambda done, total: None,
) -> CachedRuns:
    """Read every sample on the CPU, in its own box or as a whole, with each of ``caches``; None computes all."""
    request, rows, used = Request(labels=labels), [], np.ones(len(caches), bool)
    opened = EmotionPipeline.open(bundle, device="cpu", profile=profile, detector=WholeImage(), threads=threads)
    with opened as pipeline:
        for sample in samples:
            frame = rgb_frame(sample.image)
            faces = faces_in_boxes(frame, [sample.box]) if sample.box else WholeImage().detect(frame)
            scores = scores_with_caches(pipeline, [frame], faces[:1], request, caches)
            rows.append([list(one.probabilities.values()) for one in scores])
            used &= [one.question_cached for one in scores]
            progress(len(rows), len(samples))
    return CachedRuns(np.array(rows).swapaxes(0, 1), used)


def scores_with_caches(
    pipeline: EmotionPipeline,
    frames: Sequence[Image],
    faces: Sequence[DetectedFace],
    request: Request,
    caches: Sequence[QuestionCache | None],
) -> list[LabelScores]:
    """Read one face, of a picture or through the frames of a clip, with each of ``caches``; the networks run once."""
    manifest, engines, scorer = pipeline.manifest, pipeline.engines, pipeline.label_scorer
    if scorer is None:
        raise ValueError("a bundle without a language model has no question")
    clip, rows = len(frames) > 1, slice(0, len(frames))
    crops = manifest.preprocessing.of_clip() if clip else manifest.preprocessing
    features = run_networks(engines, crops, frames, faces, Stopwatch())
    sentence = ""
    if manifest.prompt.use_demographics and features.has_attributes:
        sentence = demographics_of(manifest, features.face_outputs, rows, clip=clip)
    visual, grey = features.visual_input(rows), partial(grey_input, engines, manifest.preprocessing)
    scores = []
    for cache in caches:
        scorer.question_cache = cache
        scores.append(scorer.score(visual, sentence, request, Stopwatch(), grey, clip=clip))
    return scores
