"""``POST /v1/pulse``: the heart rate of a face from the colours of its skin, which the client has read in its frames.

A live picture goes to the server ten times a second as JPEG, and that hides a pulse; colours are a few numbers. Not a
medical device.
"""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any, TypeGuard

import numpy as np
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from emo_edge.inference.signals.heart_rate import NOTICE, heart_rate
from emo_edge.inference.signals.traces import SkinTrace
from emo_edge.serving.access.errors import ApiError
from emo_edge.serving.routes.service import Service

FIELDS = ("colours", "times")


async def post_pulse(request: HttpRequest) -> Response:
    """Answer ``POST /v1/pulse``."""
    service: Service = request.app.state.service
    trace = pulse_trace(await request.body(), service.limits.pulse_samples)
    rate = await asyncio.get_running_loop().run_in_executor(service.decoders, heart_rate, trace)
    return JSONResponse({**rate.as_dict(), "notice": NOTICE})


def pulse_trace(body: bytes, most: int) -> SkinTrace:
    """Read a body; raise ApiError that names what cannot be used.

    Args:
        body: JSON with ``times``, seconds in ascending order, and ``colours``, the mean [red, green, blue] of each
            frame's skin, null for a frame without the face.
        most: number of frames.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ApiError(400, "the body is no JSON object")
    for name in content:
        if name not in FIELDS:
            raise ApiError(400, f"there is no field {name[:40]!r}: choose from {', '.join(FIELDS)}", name[:40])
    times, colours = content.get("times"), content.get("colours")
    if not _is_list(times, most) or not all(_is_number(time) for time in times):
        raise ApiError(400, f"`times` are at most {most} numbers of seconds", "times")
    if not _is_list(colours, most) or len(colours) != len(times) or not all(_is_colour(one) for one in colours):
        raise ApiError(400, "`colours` has for each of the times [red, green, blue], or null", "colours")
    lost = np.array([colour is None for colour in colours], np.bool_)
    values = np.array([colour or (0.0, 0.0, 0.0) for colour in colours], np.float64).reshape(-1, 3)
    return SkinTrace(values, np.array(times, np.float64), lost, np.zeros(len(lost), np.bool_))


def _is_list(value: Any, most: int) -> TypeGuard[list[Any]]:
    return isinstance(value, list) and 0 < len(value) <= most


def _is_number(value: Any) -> bool:
    # An integer beyond every floating-point number is no number of anything.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12 and math.isfinite(value)


def _is_colour(value: Any) -> bool:
    return value is None or (
        isinstance(value, list) and len(value) == 3 and all(_is_number(one) and 0 <= one <= 255 for one in value)
    )
