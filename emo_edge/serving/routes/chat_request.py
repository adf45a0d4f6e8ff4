"""The body of ``POST /v1/chat/completions``: read field by field; one that is not supported is named, never ignored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emo_edge.runtimes.base.sessions import Sampling
from emo_edge.serving.access.errors import ApiError
from emo_edge.serving.engine.limits import ServerLimits
from emo_edge.serving.routes.pictures import from_data_url

ANSWER = ":answer"
"""Ends the name of the model that answers in words."""
FIELDS = (
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "model",
    "n",
    "seed",
    "stream",
    "stream_options",
    "temperature",
    "top_logprobs",
    "top_p",
    "user",
)
WRITING = ("max_completion_tokens", "max_tokens", "seed", "temperature", "top_p")
"""Fields that only an answer in words has a use for."""
WEB = ("http://", "https://")
LABELLING = ("logprobs", "top_logprobs")
MOST_TOKENS = 1024
MOST_LOGPROBS = 20


@dataclass(frozen=True)
class PictureAddress:
    """An address that nobody has checked yet, and the parameter that it came in."""

    url: str
    param: str


@dataclass(frozen=True)
class ChatRequest:
    """A question about one picture."""

    answers: bool
    """True writes an answer; False gives the label."""
    text: str
    """Of the message; empty without one."""
    picture: bytes | PictureAddress
    """The file itself, or where to fetch it."""
    sampling: Sampling
    stream: bool
    usage_in_stream: bool
    top_logprobs: int | None
    """Number of labels to list; None lists none."""


def chat_request(body: bytes, model: str, limits: ServerLimits, *, writes: bool = True) -> ChatRequest:
    """Read a body; raise ApiError that names what cannot be used.

    Args:
        body: JSON.
        model: the bundle's name; ``model`` is that, or that with ``:answer``.
        limits: of texts.
        writes: False for a bundle without a language model, which answers in no words.
    """
    try:
        content = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "the body is no JSON object") from error
    if not isinstance(content, dict):
        raise ApiError(400, "the body is no JSON object")
    for name in content:
        if name not in FIELDS:
            raise ApiError(400, f"the field {str(name)[:40]!r} is not supported: leave it out", str(name)[:40])
    answers = _answers(content, model, writes=writes)
    given = [name for name in (LABELLING if answers else WRITING) if content.get(name) not in (None, False)]
    if given:
        other = f"a field of the model {model}{'' if answers else ANSWER}"
        use = other if writes else f"of no use: {model} has no language model and answers no questions"
        raise ApiError(400, f"`{given[0]}` is {use}", given[0])
    if content.get("n") not in (None, 1):
        raise ApiError(400, "there is one answer: leave `n` out", "n")
    stream = _boolean(content, "stream")
    options = content.get("stream_options")
    if options is not None and (not stream or not isinstance(options, dict) or set(options) - {"include_usage"}):
        raise ApiError(400, "`stream_options` holds `include_usage`, and goes with `stream`", "stream_options")
    text, picture = _message(content.get("messages"), limits)
    usage = bool(options and options.get("include_usage"))
    return ChatRequest(answers, text, picture, _sampling(content), stream, usage, _top_logprobs(content))


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _answers(content: Mapping[str, Any], model: str, *, writes: bool) -> bool:
    asked = content.get("model")
    if not writes:
        if asked != model:
            known = f"`model` is {model}, which gives labels: it has no language model and answers no questions"
            raise ApiError(404, known, "model")
        return False
    if asked not in (model, model + ANSWER):
        raise ApiError(
            404, f"`model` is {model} for labels, or {model}{ANSWER} for answers in words: see /v1/models", "model"
        )
    return bool(asked != model)


def _message(messages: Any, limits: ServerLimits) -> tuple[str, bytes | PictureAddress]:
    if not isinstance(messages, list) or len(messages) != 1:
        raise ApiError(
            400, "`messages` holds one message of the user: nothing is remembered between questions", "messages"
        )
    message = messages[0]
    if not isinstance(message, dict) or message.get("role") != "user" or set(message) - {"role", "content", "name"}:
        raise ApiError(400, "the message has `role` user and `content`", "messages[0]")
    content = message.get("content")
    if not isinstance(content, list):
        raise ApiError(
            400, "`content` is a list with an `image_url`, and with a `text` if you ask", "messages[0].content"
        )
    texts, pictures = _parts(content)
    if len(pictures) != 1:
        raise ApiError(
            400, f"one picture is read at a time, not {len(pictures)}: see /v1/readings", "messages[0].content"
        )
    text = "\n".join(texts).strip()
    if len(text) > limits.question_characters:
        raise ApiError(400, f"a question has at most {limits.question_characters} characters", "messages[0].content")
    return text, pictures[0]


def _parts(content: Sequence[Any]) -> tuple[list[str], list[bytes | PictureAddress]]:
    texts, pictures = list[str](), list[bytes | PictureAddress]()
    for number, part in enumerate(content):
        name = f"messages[0].content[{number}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str) and set(part) == {"type", "text"}:
            texts.append(part["text"])
        elif kind == "image_url" and isinstance(part.get("image_url"), dict) and set(part) == {"type", "image_url"}:
            pictures.append(_picture(part["image_url"], f"{name}.image_url"))
        else:
            raise ApiError(400, "a part of `content` is a `text` or an `image_url` with its `url`", name)
    return texts, pictures


def _picture(part: Mapping[str, Any], name: str) -> bytes | PictureAddress:
    if set(part) - {"url", "detail"} or not isinstance(part.get("url"), str):
        raise ApiError(400, "`image_url` has a `url`", name)
    if part.get("detail") not in (None, "auto"):
        raise ApiError(400, "`detail` is not supported: the model reads the face's crop", f"{name}.detail")
    url, param = part["url"], f"{name}.url"
    # Whether an address is fetched at all is for who fetches; other schemes are refused at once.
    return PictureAddress(url, param) if url.lower().startswith(WEB) else from_data_url(url, param)


def _sampling(content: Mapping[str, Any]) -> Sampling:
    if "max_tokens" in content and "max_completion_tokens" in content:
        raise ApiError(400, "give one of `max_tokens` and `max_completion_tokens`", "max_tokens")
    tokens = content.get("max_completion_tokens", content.get("max_tokens"))
    sampling = Sampling()
    return Sampling(
        max_new_tokens=_whole(tokens, "max_tokens", 1, MOST_TOKENS, sampling.max_new_tokens),
        temperature=_number(content.get("temperature"), "temperature", 0.0, 2.0, sampling.temperature),
        top_p=_number(content.get("top_p"), "top_p", 0.01, 1.0, sampling.top_p),
        seed=_whole(content.get("seed"), "seed", 0, 2**31 - 1, sampling.seed),
    )


def _top_logprobs(content: Mapping[str, Any]) -> int | None:
    count = content.get("top_logprobs")
    if not _boolean(content, "logprobs"):
        if count is not None:
            raise ApiError(400, "`top_logprobs` goes with `logprobs`", "top_logprobs")
        return None
    return _whole(count, "top_logprobs", 0, MOST_LOGPROBS, MOST_LOGPROBS)


def _boolean(content: Mapping[str, Any], name: str) -> bool:
    value = content.get(name)
    if value not in (None, True, False) or (isinstance(value, int) and not isinstance(value, bool)):
        raise ApiError(400, f"`{name}` is true or false", name)
    return bool(value)


def _whole(value: Any, name: str, least: int, most: int, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ApiError(400, f"`{name}` is a whole number from {least} to {most}", name)
    return value


def _number(value: Any, name: str, least: float, most: float, default: float) -> float:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ApiError(400, f"`{name}` is a number from {least:g} to {most:g}", name)
    return float(value)
