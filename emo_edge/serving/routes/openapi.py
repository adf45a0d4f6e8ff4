"""The document ``GET /openapi.json``: every route, what it takes and what it answers."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from emo_edge import __version__
from emo_edge.serving.access.errors import CODES
from emo_edge.serving.engine.limits import ServerLimits
from emo_edge.serving.routes.chat_request import ANSWER, FIELDS
from emo_edge.serving.routes.forms import FORM, OPTIONS, PICTURE_FIELD

VERSION = "3.1.0"
TEXT, JSON = "text/plain", "application/json"
STRING = {"type": "string"}
BOOLEAN = {"type": "boolean"}
NUMBER = {"type": "number"}
INTEGER = {"type": "integer"}
MAYBE_NUMBER = {"type": ["number", "null"]}
OPTION_TEXTS = {
    "labels": "Name of one of the bundle's label sets, or labels with commas between them.",
    "task": "Name of one of the bundle's affective tasks, instead of labels.",
    "answer": "Answer of the task: open, choice or judgement.",
    "label": "Label that a judgement is about.",
    "clip": "true takes the pictures as frames of one clip.",
    "face_facts": "true returns the face network's attributes.",
    "demographics": "true returns age, gender and race.",
    "faces": "all or largest.",
}


def openapi_document(limits: ServerLimits) -> dict[str, Any]:
    """Return the document for a server with these limits."""
    return {
        "openapi": VERSION,
        "info": {
            "title": "emo-edge serve",
            "version": __version__,
            "description": "Facial expressions of pictures and clips. The documentation describes WS /v1/live.",
        },
        "paths": {
            "/healthz": {"get": _get("The process lives.", {TEXT: {}})},
            "/readyz": {"get": _get("The engines are warm.", {TEXT: {}}, 503)},
            "/metrics": {"get": _get("Values for Prometheus.", {TEXT: {}})},
            "/v1/info": {"get": _get("What reads, and the limits.", {JSON: {"schema": _ref("Info")}})},
            "/v1/models": {"get": _get("The models of the chat API.", {JSON: {"schema": _ref("Models")}})},
            "/v1/sources": {"get": _get("Cameras of the server.", {JSON: {"schema": _ref("Sources")}})},
            "/v1/samples/{number}": {"get": {**_get("A packaged drawing.", {"image/*": {}}, 404), **_number()}},
            "/v1/readings": {"post": _readings(limits)},
            "/v1/chat/completions": {"post": _chat()},
            "/v1/profile": {"post": _profile()},
            "/v1/pulse": {"post": _pulse(limits)},
            "/openapi.json": {"get": _get("This document.", {JSON: {}})},
        },
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "With --token-file."}},
        },
        "security": [{"token": []}, {}],
    }


def _get(summary: str, content: dict[str, Any], *errors: int) -> dict[str, Any]:
    return {"summary": summary, "responses": _responses(content, 401, 403, *errors)}


def _responses(content: dict[str, Any], *errors: int) -> dict[str, Any]:
    refused = {JSON: {"schema": _ref("Error")}}
    return {
        "200": {"description": "The answer.", "content": content},
        **{str(status): {"description": CODES[status], "content": refused} for status in sorted(errors)},
    }


def _number() -> dict[str, Any]:
    schema = {"type": "integer", "minimum": 0}
    return {"parameters": [{"name": "number", "in": "path", "required": True, "schema": schema}]}


def _readings(limits: ServerLimits) -> dict[str, Any]:
    files = {"type": "array", "items": {"type": "string", "format": "binary"}, "maxItems": limits.pictures}
    fields = {name: {**STRING, "description": text} for name, text in OPTION_TEXTS.items()}
    form = {"type": "object", "properties": {PICTURE_FIELD: files, **fields}, "required": [PICTURE_FIELD]}
    assert tuple(fields) == OPTIONS
    answer = {
        "type": "object",
        "properties": {"results": {"type": "array", "items": _ref("Result")}},
        "required": ["results"],
    }
    return {
        "summary": "Read one picture, several, or the frames of a clip.",
        "parameters": [
            {"name": name, "in": "query", "schema": STRING, "description": f"Of a picture as the body. {text}"}
            for name, text in OPTION_TEXTS.items()
        ],
        "requestBody": {
            "required": True,
            "description": f"At most {limits.body_bytes:,} bytes.",
            "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}, FORM: {"schema": form}},
        },
        "responses": _responses({JSON: {"schema": answer}}, 400, 401, 403, 408, 413, 415, 422, 429, 503, 504),
    }


def _chat() -> dict[str, Any]:
    body = {
        "type": "object",
        "properties": {name: {} for name in FIELDS},
        "required": ["model", "messages"],
        "additionalProperties": False,
    }
    return {
        "summary": f"OpenAI's chat: the bundle's name gives the label, that with {ANSWER} an answer in words.",
        "requestBody": {"required": True, "content": {JSON: {"schema": body}}},
        "responses": _responses(
            {JSON: {"schema": _ref("Completion")}, "text/event-stream": {}},
            *(400, 401, 403, 404, 408, 413, 415, 422, 429, 503, 504),
        ),
    }


def _profile() -> dict[str, Any]:
    schema = _object(profile=STRING)
    return {
        "summary": "Read with another profile of the bundle, for all clients.",
        "requestBody": {"required": True, "content": {JSON: {"schema": schema}}},
        "responses": _responses({JSON: {"schema": schema}}, 400, 401, 403, 408, 413, 422, 429, 503),
    }


def _pulse(limits: ServerLimits) -> dict[str, Any]:
    numbers = {"type": "array", "maxItems": limits.pulse_samples, "items": {"type": "number"}}
    level = {"type": "number", "minimum": 0, "maximum": 255}
    colour = {"type": ["array", "null"], "items": level, "minItems": 3, "maxItems": 3}
    body = _object(times=numbers, colours={**numbers, "items": colour})
    return {
        "summary": "Measure the pulse in the colours of a face's skin, frame by frame. Not a medical device.",
        "requestBody": {"required": True, "content": {JSON: {"schema": body}}},
        "responses": _responses({JSON: {"schema": _ref("HeartRate")}}, 400, 401, 403, 408, 413),
    }


def _published(name: str) -> dict[str, Any]:
    """Return a published schema, to stand inside another one."""
    content = (resources.files("emo_edge") / "schemas" / name).read_text(encoding="utf-8")
    return {key: value for key, value in json.loads(content).items() if key not in ("$schema", "$id")}


def _schemas() -> dict[str, Any]:
    return {
        "Result": {"anyOf": [_published("result-1.json"), _published("result-2.json")]},
        "Error": _error(),
        "Info": _info(),
        "Models": _models(),
        "Sources": _sources(),
        "HeartRate": _heart_rate(),
        "Completion": _completion(),
    }


def _error() -> dict[str, Any]:
    codes = {"enum": list(CODES.values())}
    return _object(error=_object(message=STRING, type=STRING, param={"type": ["string", "null"]}, code=codes))


def _info() -> dict[str, Any]:
    return _object(
        name=STRING,
        purpose=STRING,
        profile=STRING,
        profiles=_strings(),
        device=STRING,
        labels=_strings(),
        label_sets={"type": "object", "additionalProperties": _strings()},
        values=_strings(),
        has_answers=BOOLEAN,
        has_face_facts=BOOLEAN,
        question=STRING,
        live_event_version={"const": 1},
        emo_edge=STRING,
        sources=_strings(),
        recording={"enum": ["off", "readings", "pictures"]},
        tasks=_list(_task()),
        limits={"type": "object", "additionalProperties": NUMBER},
        samples=_strings(),
    )


def _task() -> dict[str, Any]:
    return _object(name=STRING, answers=_strings(), labels=_strings(), frames=STRING, status=STRING, notice=STRING)


def _models() -> dict[str, Any]:
    model = _object(id=STRING, object={"const": "model"}, created=INTEGER, owned_by=STRING)
    return _object(object={"const": "list"}, data=_list(model))


def _sources() -> dict[str, Any]:
    return _object(sources=_list(_object(name=STRING, state=STRING, reason=STRING, viewers=INTEGER)))


def _heart_rate() -> dict[str, Any]:
    return _object(
        bpm=MAYBE_NUMBER,
        bin_bpm=MAYBE_NUMBER,
        snr_db=MAYBE_NUMBER,
        reliable=BOOLEAN,
        reason={"type": ["string", "null"]},
        seconds=NUMBER,
        fps=NUMBER,
        method=STRING,
        notice=STRING,
    )


def _completion() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "id": STRING,
            "object": {"const": "chat.completion"},
            "choices": {"type": "array", "minItems": 1, "maxItems": 1},
            "emo_edge": _object(readings={"type": "array", "minItems": 1}),
        },
        "required": ["id", "object", "created", "model", "choices", "usage", "emo_edge"],
    }


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _strings() -> dict[str, Any]:
    return _list(STRING)


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
