"""``POST /v1/chat/completions``: the label with its distribution, or an answer in words, in OpenAI's shapes."""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse

from emo_edge.errors import EmoEdgeError
from emo_edge.inference.frames import Faces
from emo_edge.inference.results import EmotionResult, Request, SourceResult
from emo_edge.serving.access.errors import ApiError, as_api_error, error_body
from emo_edge.serving.engine.jobs import Job
from emo_edge.serving.routes.chat_request import ANSWER, ChatRequest, chat_request
from emo_edge.serving.routes.forms import checked_by
from emo_edge.serving.routes.pictures import decode, pixels_of
from emo_edge.serving.routes.service import Service, client_of, while_connected

PIECES = 4096
"""Of an answer that wait for a slow reader; more end the answer."""


class ReaderGoneError(EmoEdgeError):
    """Ends an answer that nobody reads."""


@dataclass
class Written:
    """Counts the pieces of an answer, each about a token."""

    most: int
    pieces: int = 0

    def count(self, piece: str) -> None:
        """Count a piece; the line's end behind the last is none."""
        self.pieces += piece != "\n"

    @property
    def finish_reason(self) -> str:
        """Return why the answer ended."""
        return "length" if self.pieces >= self.most else "stop"

    @property
    def usage(self) -> dict[str, int]:
        """Return OpenAI's count of tokens; a label is scored, not written, and the prompt's are not counted."""
        return {"prompt_tokens": 0, "completion_tokens": self.pieces, "total_tokens": self.pieces}


@dataclass(frozen=True)
class Head:
    """The fields that all objects of one answer have."""

    model: str
    id: str
    created: int

    def to_dict(self, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
        """Return an object of OpenAI's with one choice."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": [{"index": 0, **choice}],
        }


async def get_models(request: HttpRequest) -> Response:
    """Answer ``GET /v1/models``."""
    service: Service = request.app.state.service
    names = [service.name, *([service.name + ANSWER] if service.pipeline.label_scorer else [])]
    models = [{"id": name, "object": "model", "created": 0, "owned_by": "emo-edge"} for name in names]
    return JSONResponse({"object": "list", "data": models})


async def post_chat(request: HttpRequest) -> Response:
    """Answer ``POST /v1/chat/completions``."""
    service: Service = request.app.state.service
    writes = service.pipeline.label_scorer is not None
    asked = chat_request(await request.body(), service.name, service.limits, writes=writes)
    model = service.name + (ANSWER if asked.answers else "")
    head = Head(model, f"chatcmpl-{secrets.token_hex(12)}", int(time.time()))
    if asked.answers:
        wanted = replace(service.request, ask=asked.text or None, describe=not asked.text, sampling=asked.sampling)
    else:
        _check_question(service, asked.text)
        wanted = service.request
    checked_by(service.pipeline.check, wanted, 1, "messages")
    if asked.answers and asked.stream:
        pieces = _pieces(service, asked, wanted, head, client_of(request))
        # The first piece tells whether there is an answer at all: an error before it has a status of its own.
        first = await while_connected(request, anext(pieces))
        return StreamingResponse(_joined(first, pieces), media_type="text/event-stream")
    written = Written(asked.sampling.max_new_tokens)
    if asked.answers:
        wanted = replace(wanted, on_piece=written.count)
    faces = await while_connected(request, _faces(service, asked, wanted, client_of(request)))
    body = _completion(head, asked, faces, written)
    if not asked.stream:
        return JSONResponse(body)
    return StreamingResponse(_streamed_label(head, asked, body, written), media_type="text/event-stream")


def _check_question(service: Service, text: str) -> None:
    own = service.pipeline.settings(service.request).question
    if text and text != own:
        writes = service.pipeline.label_scorer is not None
        instead = f", or ask the model {service.name}{ANSWER}" if writes else ""
        raise ApiError(400, f"{service.name} gives labels: leave the text out{instead}", "messages[0].content")


async def _faces(service: Service, asked: ChatRequest, wanted: Request, client: str) -> list[EmotionResult]:
    with service.admitted():
        return await _read(service, asked, wanted, client)


async def _read(service: Service, asked: ChatRequest, wanted: Request, client: str) -> list[EmotionResult]:
    if isinstance(asked.picture, bytes):
        return await _read_file(service, asked.picture, asked, wanted, client)
    if service.remote.slots.locked():
        raise ApiError(429, f"{service.limits.fetches} pictures are being fetched: try again", asked.picture.param)
    async with service.remote.slots:
        file = await service.remote.fetch(asked.picture.url, asked.picture.param)
        return await _read_file(service, file, asked, wanted, client)


async def _read_file(
    service: Service, file: bytes, asked: ChatRequest, wanted: Request, client: str
) -> list[EmotionResult]:
    async with service.budget.hold(pixels_of(file, service.limits)):
        image = await decode(file, "the picture", service.limits)
        # An answer is about one face; labels are given of all.
        faces: Faces = "largest" if asked.answers else "all"
        readings = await service.readings(Job(client, [image], wanted, faces))
    if service.recorder is not None:
        result = SourceResult("the picture", "image", readings[0], image)
        service.recorder.reading("/v1/chat/completions", result.to_dict(), [file])
    if not readings[0]:
        raise ApiError(422, "no face was found in the picture: send one whose face is larger and upright")
    return readings[0]


def _completion(head: Head, asked: ChatRequest, faces: list[EmotionResult], written: Written) -> dict[str, Any]:
    face = faces[0]
    text = next(iter(face.answers.values()), "") if asked.answers else face.label or ""
    choice = {
        "message": {"role": "assistant", "content": text, "refusal": None},
        "logprobs": _logprobs(face, asked.top_logprobs),
        "finish_reason": written.finish_reason,
    }
    readings = {"readings": [one.to_dict() for one in faces]}
    return {**head.to_dict("chat.completion", choice), "usage": written.usage, "emo_edge": readings}


def _logprobs(face: EmotionResult, count: int | None) -> dict[str, Any] | None:
    """Return the calibrated distribution as OpenAI lists tokens, the most probable label first."""
    if count is None:
        return None
    ranked = sorted(face.probabilities.items(), key=lambda item: -item[1])
    listed = [_listed(label, probability) for label, probability in ranked]
    return {"content": [{**listed[0], "top_logprobs": listed[:count]}], "refusal": None} if listed else None


def _listed(label: str, probability: float) -> dict[str, Any]:
    # JSON has no infinity; OpenAI writes -9999 for what is as good as impossible.
    logprob = math.log(probability) if probability > 0 else -9999.0
    return {"token": label, "logprob": logprob, "bytes": list(label.encode())}


async def _streamed_label(
    head: Head, asked: ChatRequest, body: dict[str, Any], written: Written
) -> AsyncIterator[bytes]:
    choice = body["choices"][0]
    delta = {"delta": choice["message"], "logprobs": choice["logprobs"], "finish_reason": None}
    yield _event({**head.to_dict("chat.completion.chunk", delta), "emo_edge": body["emo_edge"]})
    async for chunk in _end(head, asked, written):
        yield chunk


async def _pieces(
    service: Service, asked: ChatRequest, wanted: Request, head: Head, client: str
) -> AsyncIterator[bytes]:
    """Yield an answer as it is written, as server-sent events."""
    loop, pieces = asyncio.get_running_loop(), asyncio.Queue[str | None]()
    left, written = False, Written(asked.sampling.max_new_tokens)

    def on_piece(piece: str) -> None:
        # In the engine's thread; its exception ends the answer, and the engine goes on with the next job.
        if left or pieces.qsize() > PIECES:
            raise ReaderGoneError
        written.count(piece)
        loop.call_soon_threadsafe(pieces.put_nowait, piece)

    work = asyncio.ensure_future(_faces(service, asked, replace(wanted, on_piece=on_piece), client))
    work.add_done_callback(lambda _: pieces.put_nowait(None))
    try:
        begun = False
        # The line's end behind the last piece is no part of the answer.
        held = ""
        while (piece := await pieces.get()) is not None:
            text, held = held + piece, ""
            if text.endswith("\n"):
                text, held = text[:-1], "\n"
            if text:
                role = {} if begun else {"role": "assistant"}
                begun = True
                yield _event(
                    head.to_dict("chat.completion.chunk", {"delta": {**role, "content": text}, "finish_reason": None})
                )
        try:
            faces = await work
        except Exception as error:
            if not begun:
                raise
            yield _event(error_body(as_api_error(error)))
            return
        readings = {"readings": [one.to_dict() for one in faces]}
        yield _event(
            {**head.to_dict("chat.completion.chunk", {"delta": {}, "finish_reason": None}), "emo_edge": readings}
        )
        async for chunk in _end(head, asked, written):
            yield chunk
    finally:
        left = True
        work.cancel()


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


async def _end(head: Head, asked: ChatRequest, written: Written) -> AsyncIterator[bytes]:
    yield _event(head.to_dict("chat.completion.chunk", {"delta": {}, "finish_reason": written.finish_reason}))
    if asked.usage_in_stream:
        yield _event({**head.to_dict("chat.completion.chunk", {}), "choices": [], "usage": written.usage})
    yield b"data: [DONE]\n\n"


def _event(content: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(content, allow_nan=False)}\n\n".encode()
