"""Errors as clients get them, in OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emo_edge.errors import DeviceError, EmoEdgeError, MissingExtraError
from emo_edge.serving.engine.jobs import ClosingError, DeadlineError, QueueFullError
from emo_edge.utils.text import utf8_text

logger = logging.getLogger(__name__)

RETRY_S = 1
"""Of the header Retry-After of a 429 and a 503."""
CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "too_large",
    415: "unsupported_media_type",
    422: "unprocessable",
    429: "busy",
    500: "internal_error",
    503: "unavailable",
    504: "deadline",
}


class ApiError(Exception):
    """A request that is refused: its status, a sentence with the next step, and the parameter that is at fault."""

    def __init__(
        self, status: int, message: str, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param = status, message, param
        self.headers = dict(headers or {})
        if status in (429, 503):
            self.headers.setdefault("Retry-After", str(RETRY_S))


def error_body(error: ApiError) -> dict[str, object]:
    """Return the JSON of an error."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    code = CODES.get(error.status, "error")
    return {
        "error": {"message": utf8_text(error.message), "type": kind, "param": error.param, "code": code},
    }


def error_response(error: ApiError) -> Response:
    """Return the answer to a refused request."""
    return JSONResponse(error_body(error), error.status, error.headers)


def as_api_error(error: BaseException) -> ApiError:
    """Return the answer that an error of the toolkit means; whatever is none of ours is a 500 without its text."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, QueueFullError):
        return ApiError(429, str(error))
    if isinstance(error, ClosingError | DeviceError):
        return ApiError(503, str(error))
    if isinstance(error, DeadlineError):
        return ApiError(504, str(error))
    if isinstance(error, MissingExtraError):
        return ApiError(415, str(error))
    if isinstance(error, EmoEdgeError):
        return ApiError(422, str(error))
    return ApiError(500, "the server failed at this request; its log says why")


async def handle_api_error(_: Request, error: Exception) -> Response:
    """Answer a request whose handler raised one of our errors."""
    return error_response(as_api_error(error))


async def handle_http_exception(request: Request, error: Exception) -> Response:
    """Answer what Starlette refuses: an unknown path or method."""
    assert isinstance(error, HTTPException)  # registered for it
    texts = {404: f"there is no {request.url.path[:200]} here", 405: f"{request.method} is not possible here"}
    return error_response(ApiError(error.status_code, texts.get(error.status_code, error.detail), None, error.headers))


async def handle_failure(request: Request, error: Exception) -> Response:
    """Answer a request that met a fault of ours; its path is logged, without the query."""
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_response(as_api_error(error))
