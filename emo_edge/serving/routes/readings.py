"""``POST /v1/readings``: pictures, or the frames of a clip, as the results that ``emo-edge infer --json`` prints."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from emo_edge.errors import EmoEdgeError
from emo_edge.inference.results import EmotionResult, SourceResult
from emo_edge.media.crops import Image
from emo_edge.serving.engine.jobs import Job
from emo_edge.serving.routes.forms import ReadingForm, checked_by, reading_form
from emo_edge.serving.routes.pictures import decode_all, pixels_of
from emo_edge.serving.routes.service import Service, client_of, while_connected


async def post_readings(request: HttpRequest) -> Response:
    """Answer ``POST /v1/readings``."""
    service: Service = request.app.state.service
    form = await reading_form(request, service.limits, service.request)
    frames = len(form.files) if form.clip else 1
    checked_by(service.pipeline.check, form.request, frames)
    checked_by(service.pipeline.tasks.require_frames, form.request, frames, "task")
    with service.admitted():
        results = await while_connected(request, _results(service, form, client_of(request)))
    written = [result.to_dict() for result in results]
    if service.recorder is not None:
        files = [data for _, data in form.files]
        for result, own in zip(written, [files] if form.clip else [[file] for file in files], strict=True):
            service.recorder.reading(request.url.path, result, own)
    return JSONResponse({"results": written})


async def _results(service: Service, form: ReadingForm, client: str) -> list[SourceResult]:
    pixels = sum(pixels_of(data, service.limits) for _, data in form.files)
    faces = form.faces or ("largest" if form.clip else "all")
    job, decoded = Job(client, [], form.request, faces, form.clip), list[Image | EmoEdgeError]()

    def load() -> None:
        decoded[:] = decode_all(form.files, service.limits)
        broken = [one for one in decoded if isinstance(one, EmoEdgeError)]
        # Of a clip every frame counts, and a picture that is alone has no other answer.
        if broken and (form.clip or len(decoded) == 1):
            raise broken[0]
        job.images = [one for one in decoded if not isinstance(one, EmoEdgeError)]

    async with service.budget.hold(pixels):
        readings = await service.loaded_readings(job, load)
    if form.clip:
        return [SourceResult(form.files[0][0], "clip", readings[0], _shown(job.images, readings[0]))]
    by_picture = dict(zip(map(id, job.images), readings, strict=True))
    return [
        SourceResult(name, "image", [], None, error=one)
        if isinstance(one, EmoEdgeError)
        else SourceResult(name, "image", by_picture[id(one)], one)
        for (name, _), one in zip(form.files, decoded, strict=True)
    ]


def _shown(images: Sequence[Image], faces: Sequence[EmotionResult]) -> Image:
    return images[faces[0].frame if faces else len(images) // 2]
