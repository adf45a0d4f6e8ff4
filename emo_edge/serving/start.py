"""Opens a service over a pipeline: a warm engine, drawings to try, limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from emo_edge.assets.packaged import MODELS, packaged_samples
from emo_edge.bundle.manifest import Manifest
from emo_edge.faces.detector import FaceDetector
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request
from emo_edge.serving.engine.limits import ServerLimits
from emo_edge.serving.engine.metrics import ServerMetrics
from emo_edge.serving.engine.recorder import Recorder
from emo_edge.serving.engine.thread import EngineThread
from emo_edge.serving.engine.warm_up import warm_up
from emo_edge.serving.routes.pictures import PixelBudget
from emo_edge.serving.routes.remote_pictures import RemotePictures
from emo_edge.serving.routes.service import Service

SAMPLES = 14
"""Packaged drawings that are offered: two of each expression."""
MEDIA = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}


@contextmanager
def open_service(
    pipeline: EmotionPipeline,
    request: Request,
    limits: ServerLimits,
    open_detector: Callable[[], FaceDetector],
    image_hosts: frozenset[str] = frozenset(),
    open_profile: Callable[[str], EmotionPipeline] | None = None,
    open_recorder: Callable[[ServerMetrics], Recorder] | None = None,
) -> Iterator[Service]:
    """Warm the pipeline's engines and yield the service over it; end its engine thread and close it afterwards.

    Args:
        pipeline: an open one, used by nobody else meanwhile.
        request: labels and options of a client that asks for none.
        limits: of the server.
        open_detector: opens a face detector of a WebSocket's own.
        open_profile: opens the bundle in the profile that a client asks for; None keeps the one that is open.
        open_recorder: opens what stores readings; None stores nothing.
        image_hosts: hosts from which pictures are fetched on a client's word; see `checked_hosts`.
    """
    metrics = ServerMetrics()
    recorder = open_recorder(metrics) if open_recorder is not None else None
    engine = EngineThread(pipeline, limits.waiting, metrics)
    service = Service(
        pipeline,
        engine,
        limits,
        metrics,
        request,
        open_detector,
        PixelBudget(limits.waiting_pixels),
        RemotePictures(image_hosts, limits),
        open_profile=open_profile,
        recorder=recorder,
        samples=_samples(pipeline.manifest),
    )
    try:
        warm_up(pipeline, request)
        service.is_ready = True
        yield service
    finally:
        service.is_draining = True
        engine.close()
        service.decoders.shutdown(wait=False, cancel_futures=True)
        service.pipeline.close()
        if recorder is not None:
            recorder.close()


def _samples(manifest: Manifest) -> list[tuple[str, bytes]]:
    """Return the packaged drawings for a packaged model, which is for drawings alone; none for any other."""
    if not (MODELS / manifest.name).is_dir():
        return []
    paths = [sample.source for sample in packaged_samples()]
    step = max(1, len(paths) // SAMPLES)
    return [
        (MEDIA[path.suffix], path.read_bytes()) for path in paths[::step][:SAMPLES] if not isinstance(path, np.ndarray)
    ]
