"""Sources that cannot show what a task asks about: refused before any engine is opened."""

from __future__ import annotations

from collections.abc import Iterable

from emo_edge.bundle.manifest import Manifest
from emo_edge.errors import InputError, TaskError
from emo_edge.inference.tasks.asked import task_section
from emo_edge.inference.tasks.moments import Moments
from emo_edge.media.sources import classify_source, without_password


def check_task(manifest: Manifest, name: str | None, sources: Iterable[str], chosen: Moments | None) -> None:
    """Raise TaskError for a task that the bundle lacks or that is refused, and for sources that do not fit it.

    Args:
        manifest: of the bundle.
        name: of the task; None where none is asked for.
        sources: as `emo_edge.stream` takes them.
        chosen: frames of a movement.
    """
    frames = None if name is None else task_section(manifest, name).frames
    if chosen is not None and frames != "onset-apex-offset":
        raise TaskError("`onset`, `apex` and `offset` are options of the task micro-expression")
    if frames in (None, "image"):
        return
    for source in sources:
        kind = _kind(source)
        if kind in ("image", "folder"):
            what = "one picture" if kind == "image" else "single pictures"
            raise TaskError(f"{without_password(source)}: {what}, and the task {name} reads a movement: give a video")
        if frames == "onset-apex-offset" and kind != "video":
            raise TaskError(f"the task {name} reads three frames of a video file: give `onset`, `apex` and `offset`")
        if frames == "onset-apex-offset" and chosen is None and manifest.action_units is None:
            raise TaskError(
                f"the task {name} reads three frames, and {manifest.name} has no action units to spot them by: give "
                "`onset`, `apex` and `offset`"
            )


def asks_model(manifest: Manifest, name: str | None) -> bool:
    """Return whether a language model takes part in the answer of a task; for none, as without a task, it does."""
    return name is None or task_section(manifest, name).judgement_by != "head"


def _kind(source: str) -> str | None:
    try:
        return classify_source(source)
    except InputError:  # it is reported when it is read
        return None
