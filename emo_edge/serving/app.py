"""The application: its routes, and the gate around them."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from emo_edge.errors import EmoEdgeError
from emo_edge.serving.access.entry import Entry
from emo_edge.serving.access.errors import ApiError, handle_api_error, handle_failure, handle_http_exception
from emo_edge.serving.access.gate import Gate
from emo_edge.serving.live.socket import live_socket
from emo_edge.serving.live.source_socket import get_sources, source_socket
from emo_edge.serving.live.sources import SourceFeed
from emo_edge.serving.routes.chat import get_models, post_chat
from emo_edge.serving.routes.openapi import openapi_document
from emo_edge.serving.routes.profile import post_profile
from emo_edge.serving.routes.pulse import post_pulse
from emo_edge.serving.routes.readings import post_readings
from emo_edge.serving.routes.service import ClientGoneError, Service
from emo_edge.serving.routes.status import get_health, get_info, get_metrics, get_ready, get_sample
from emo_edge.serving.routes.web_page import WebPage

CLIENT_CLOSED = 499
"""Status of a request whose client has gone, as nginx counts it; nobody receives it."""


def make_app(service: Service, entry: Entry, sources: Mapping[str, SourceFeed]) -> Starlette:
    """Return the application of one service, and of its sources by name."""
    page = WebPage()
    routes = [
        Route("/", page.index),
        Route("/page/{name}", page.file),
        Route("/v1/info", get_info),
        Route("/v1/samples/{number:int}", get_sample),
        Route("/v1/readings", post_readings, methods=["POST"]),
        Route("/v1/models", get_models),
        Route("/v1/chat/completions", post_chat, methods=["POST"]),
        Route("/v1/profile", post_profile, methods=["POST"]),
        Route("/v1/pulse", post_pulse, methods=["POST"]),
        Route("/healthz", get_health),
        Route("/readyz", get_ready),
        Route("/metrics", get_metrics),
        Route("/openapi.json", get_openapi),
        Route("/v1/sources", get_sources),
        WebSocketRoute("/v1/live", live_socket),
        WebSocketRoute("/v1/live/{name}", source_socket),
    ]
    gate = Middleware(Gate, entry=entry, limits=service.limits, metrics=service.metrics)
    handlers = {
        ApiError: handle_api_error,
        EmoEdgeError: handle_api_error,
        HTTPException: handle_http_exception,
        ClientGoneError: _nobody,
        Exception: handle_failure,
    }
    app = Starlette(routes=routes, middleware=[gate], exception_handlers=handlers)
    app.state.service, app.state.sources = service, sources
    return app


async def get_openapi(request: HttpRequest) -> Response:
    """Answer ``GET /openapi.json``."""
    return JSONResponse(openapi_document(request.app.state.service.limits))


async def _nobody(request: HttpRequest, error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED)
