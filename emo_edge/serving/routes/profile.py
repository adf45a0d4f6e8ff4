"""``POST /v1/profile``: another profile of the bundle, for everybody who uses the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request
from emo_edge.serving.access.errors import ApiError
from emo_edge.serving.engine.warm_up import warm_up
from emo_edge.serving.routes.service import Service


async def post_profile(request: HttpRequest) -> Response:
    """Answer ``POST /v1/profile``."""
    service: Service = request.app.state.service
    name = asked_profile(await request.body(), service.profiles)
    if name != service.pipeline.engines.profile_name:
        await _change(service, name)
    return JSONResponse({"profile": name})


def asked_profile(body: bytes, profiles: list[str]) -> str:
    """Read a body, ``{"profile": NAME}``; raise ApiError for one that cannot be used."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or set(content) != {"profile"}:
        raise ApiError(400, 'the body is {"profile": "NAME"}', "profile")
    name = content["profile"]
    if name not in profiles:
        raise ApiError(400, f"`profile` is one of {', '.join(profiles)}", "profile")
    return str(name)


async def _change(service: Service, name: str) -> None:
    """Open the profile beside the one that reads, and let it take over between two batches."""
    if service.open_profile is None:
        raise ApiError(400, "the profile of this server is fixed", "profile")
    if service.is_changing:
        raise ApiError(429, "another profile is being opened: try again in a moment")
    service.is_changing = True
    try:
        opened = await asyncio.to_thread(_opened, service.open_profile, name, service.request)
        await asyncio.to_thread(service.engine.use, opened)
        before, service.pipeline = service.pipeline, opened
        await asyncio.to_thread(before.close)
    finally:
        service.is_changing = False


def _opened(open_profile: Callable[[str], EmotionPipeline], name: str, request: Request) -> EmotionPipeline:
    pipeline = open_profile(name)
    try:
        warm_up(pipeline, request)
    except BaseException:
        pipeline.close()
        raise
    return pipeline
