"""The context that a request needs: less memory than what the model was trained with."""

from __future__ import annotations

from collections.abc import Iterable

from emo_edge.bundle.reader import Bundle
from emo_edge.errors import InputError
from emo_edge.inference.results import Request
from emo_edge.media.sources import classify_source
from emo_edge.planning.prompt_lengths import bundle_prompts, rounded_context


def reading_context(bundle: Bundle, request: Request, sources: Iterable[str], frames: int) -> int | None:
    """Return the positions that a request about some sources needs; None leaves it to the model.

    That is so without a language model, and for a task, whose question and answer have lengths of their own.

    Args:
        bundle: to be opened.
        request: labels, questions, and the longest answer.
        sources: pictures, folders, videos, cameras and streams.
        frames: of a clip.

    Raises InputError for an unknown label set.
    """
    language = bundle.manifest.components.language
    if language is None or request.task is not None:
        return None
    vocabulary = bundle.files(next(iter(language.variants.values())))[0]
    answer = request.sampling.max_new_tokens if request.describe or request.ask else 0
    tokens = bundle.manifest.frames_segment.tokens_per_frame
    kinds = {_is_clip(source) for source in sources}
    needs = [
        bundle_prompts(bundle, vocabulary, request.labels, clip=clip, ask=request.ask).needed(count * tokens, answer)
        for clip, count in ((False, 1), (True, frames))
        if clip in kinds
    ]
    return rounded_context(max(needs), language.context_size)


def _is_clip(source: str) -> bool:
    try:
        return classify_source(source) not in ("image", "folder")
    except InputError:  # it is reported when it is read
        return False
