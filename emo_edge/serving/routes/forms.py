"""A request for readings as clients send it: one picture as the body, or a form with several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request as HttpRequest

from emo_edge.bundle.label_sets import label_words
from emo_edge.errors import InputError
from emo_edge.inference.frames import Faces
from emo_edge.inference.results import Request
from emo_edge.serving.access.errors import ApiError
from emo_edge.serving.engine.limits import ServerLimits
from emo_edge.serving.routes.pictures import PICTURE_TYPES

FORM = "multipart/form-data"
PICTURE_FIELD = "image"
OPTIONS = ("labels", "task", "answer", "label", "clip", "face_facts", "demographics", "faces")
FIELD_BYTES = 64 * 1024
WITHOUT: tuple[tuple[str, str, Any], ...] = (
    ("face_facts", "face_facts", False),
    ("demographics", "show_demographics", False),
    ("label", "label", None),
    ("answer", "answer", None),
    ("task", "task", None),
)
"""Options that a refusal may be about: name, field of the request, value of a request without it."""
Check = Callable[[Request, int], None]
"""The pipeline's ``check``: a request and its number of frames."""
SWITCHES = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class ReadingForm:
    """Pictures by name, still encoded, and what is asked about them."""

    files: list[tuple[str, bytes]]
    request: Request
    faces: Faces | None
    """None takes all of a picture and the largest of a clip."""
    clip: bool


class InMemoryParser(MultiPartParser):
    """Keeps every part in memory: no picture of anybody is written to a disk, not even for a moment."""

    spool_max_size = 1 << 40


async def reading_form(request: HttpRequest, limits: ServerLimits, default: Request) -> ReadingForm:
    """Read a request's body; raise ApiError for one that cannot be used."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    options: Mapping[str, Any]
    if media == FORM:
        files, options = await _form(request, limits)
    elif media.startswith(PICTURE_TYPES):
        files, options = [("image", await request.body())], dict(request.query_params)
    else:
        raise ApiError(415, f"send a picture (Content-Type: image/jpeg), or {FORM} with fields `{PICTURE_FIELD}`")
    for name in options:
        if name not in OPTIONS:
            raise ApiError(400, f"there is no option {name[:40]!r}: choose from {', '.join(OPTIONS)}", name[:40])
    # A task has labels of its own, so the server's do not go with it.
    own_labels = None if "task" in options else default.labels
    asked = replace(
        default,
        labels=parsed_labels(options["labels"], limits) if "labels" in options else own_labels,
        task=_text(options, "task", limits),
        answer=_text(options, "answer", limits),
        label=_text(options, "label", limits),
        face_facts=_switch(options, "face_facts"),
        show_demographics=_switch(options, "demographics"),
    )
    return ReadingForm(files, asked, _faces(options.get("faces")), _switch(options, "clip"))


def bounded(name: str, text: str, limits: ServerLimits) -> str:
    """Return a text; raise ApiError for one that is too long."""
    if len(text) > limits.label_characters:
        raise ApiError(400, f"`{name}` has at most {limits.label_characters} characters", name)
    return text


def _text(options: Mapping[str, str], name: str, limits: ServerLimits) -> str | None:
    return bounded(name, options[name], limits) if name in options else None


def parsed_labels(text: str, limits: ServerLimits) -> str | tuple[str, ...]:
    """Return a label set's name, or the labels of a list with commas; raise ApiError for a text that is too long."""
    return label_words(bounded("labels", text, limits))


def checked_by(check: Check, request: Request, frames: int, param: str | None = None) -> None:
    """Call the pipeline's ``check``; its InputError is the request's fault, not a picture's.

    The parameter at fault is ``param``; None looks for the option without which the error is another one, or none.
    """
    message = _refusal(check, request, frames)
    if message is not None:
        raise ApiError(400, message, param or _option_at_fault(check, request, frames, message))


def _refusal(check: Check, request: Request, frames: int) -> str | None:
    try:
        check(request, frames)
    except InputError as error:
        return str(error)
    return None


def _option_at_fault(check: Check, request: Request, frames: int, message: str) -> str:
    """Return the first option whose removal, after those before it, changes the refusal."""
    for name, field, without in WITHOUT:
        request = replace(request, **{field: without})
        if _refusal(check, request, frames) != message:
            return name
    return "clip" if _refusal(check, request, 1) != message else "labels"


async def _form(request: HttpRequest, limits: ServerLimits) -> tuple[list[tuple[str, bytes]], dict[str, str]]:
    parser = InMemoryParser(
        request.headers,
        request.stream(),
        max_files=limits.pictures,
        max_fields=len(OPTIONS),
        max_part_size=FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise ApiError(400, f"the form cannot be read: {error.message}") from error
    files, options = list[tuple[str, bytes]](), dict[str, str]()
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name != PICTURE_FIELD:
                raise ApiError(400, f"pictures are sent as `{PICTURE_FIELD}`, not {name[:40]!r}", name[:40])
            files.append((value.filename or "image", await value.read()))
        else:
            options[name] = value
    await form.close()
    if not files:
        raise ApiError(400, f"the form holds no picture: send one as `{PICTURE_FIELD}`", PICTURE_FIELD)
    return files, options


def _faces(value: str | None) -> Faces | None:
    known: dict[str | None, Faces | None] = {None: None, "all": "all", "largest": "largest"}
    if value not in known:
        raise ApiError(400, "`faces` is all or largest", "faces")
    return known[value]


def _switch(options: Mapping[str, str], name: str) -> bool:
    value = str(options.get(name, "false")).lower()
    if value not in SWITCHES:
        raise ApiError(400, f"`{name}` is true or false", name)
    return SWITCHES[value]
