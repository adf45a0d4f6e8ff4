"""Facts about a server: what reads, packaged drawings to try, health, readiness, metrics."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from emo_edge import __version__
from emo_edge.bundle.manifest import AffectiveTask, Manifest
from emo_edge.errors import InputError
from emo_edge.inference.live.events import LIVE_EVENT_VERSION
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.tasks.asked import (
    DECEPTION,
    DEFAULT_ORDER,
    HEART_RATE,
    known_labels,
    require_trained,
    task_answers,
)
from emo_edge.serving.access.errors import ApiError
from emo_edge.serving.routes.service import Service

UNANSWERED = (DECEPTION, HEART_RATE)
"""Tasks that are refused always, or need a measurement in a video file."""
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def get_info(request: HttpRequest) -> Response:
    """Answer ``GET /v1/info``."""
    return JSONResponse(info(request.app.state.service, list(request.app.state.sources)))


def info(service: Service, sources: list[str]) -> dict[str, Any]:
    """Return what reads, what it can be asked, the names of the server's cameras, and the limits."""
    manifest, settings = service.pipeline.manifest, service.pipeline.settings(service.request)
    return {
        "name": service.name,
        "purpose": settings.purpose,
        "profile": settings.profile,
        "profiles": service.profiles,
        "device": settings.device,
        "labels": list(settings.labels),
        "label_sets": {name: list(labels) for name, labels in manifest.label_sets.items()},
        "values": [value.name for value in manifest.face_labels.values],
        "has_answers": service.pipeline.label_scorer is not None,
        "has_face_facts": manifest.gives_face_facts,
        "question": settings.question,
        "live_event_version": LIVE_EVENT_VERSION,
        "emo_edge": __version__,
        "sources": sources,
        "recording": service.recorder.stored if service.recorder is not None else "off",
        "limits": service.limits.to_dict(),
        "tasks": tasks(service.pipeline),
        "samples": [f"/v1/samples/{number}" for number in range(len(service.samples))],
    }


def tasks(pipeline: EmotionPipeline) -> list[dict[str, Any]]:
    """Return the affective tasks that a client may ask for, each with its answers and the labels to judge."""
    manifest, purpose, listed = pipeline.manifest, pipeline.deployment_purpose, []
    for name, section in (manifest.tasks or {}).items():
        answers, labels = task_answers(section), list(known_labels(manifest, section))
        if name in UNANSWERED or not answers or not _is_answered(manifest, name, section, purpose):
            continue
        listed.append(
            {
                "name": name,
                "answers": [one for one in DEFAULT_ORDER if one in answers],
                "labels": labels if "judgement" in answers else [],
                "frames": section.frames,
                "status": section.status,
                "notice": section.notice,
            }
        )
    return listed


def _is_answered(manifest: Manifest, name: str, section: AffectiveTask, purpose: str) -> bool:
    try:
        require_trained(manifest, name, section, purpose)
    except InputError:
        return False
    return True


async def get_sample(request: HttpRequest) -> Response:
    """Answer ``GET /v1/samples/N``: a packaged drawing."""
    service: Service = request.app.state.service
    number = request.path_params["number"]
    if number >= len(service.samples):
        raise ApiError(404, f"there are {len(service.samples)} samples")
    media, data = service.samples[number]
    return Response(data, media_type=media, headers={"cache-control": "max-age=3600"})


async def get_health(request: HttpRequest) -> Response:
    """Answer ``GET /healthz``: the process lives."""
    return PlainTextResponse("ok\n")


async def get_ready(request: HttpRequest) -> Response:
    """Answer ``GET /readyz``: 503 until the engines are warm, and again while the server ends."""
    service: Service = request.app.state.service
    if service.is_ready and not service.is_draining:
        return PlainTextResponse("ready\n")
    raise ApiError(503, "the server is ending" if service.is_draining else "the engines are warming up")


async def get_metrics(request: HttpRequest) -> Response:
    """Answer ``GET /metrics``."""
    service: Service = request.app.state.service
    service.engine.count()
    return Response(service.metrics.text(), media_type=METRICS_TYPE)
