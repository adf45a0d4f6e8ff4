"""Facts about a server: what reads, packaged drawings to try, health, readiness, metrics."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from emo_edge import __version__
from emo_edge.inference.live.events import LIVE_EVENT_VERSION
from emo_edge.serving.access.errors import ApiError
from emo_edge.serving.routes.service import Service

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
        "limits": service.limits.to_dict(),
        "samples": [f"/v1/samples/{number}" for number in range(len(service.samples))],
    }


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
