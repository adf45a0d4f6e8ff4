"""A live frame with its faces: ids, labels with bars."""

from __future__ import annotations

from dataclasses import replace

from emo_edge.inference.live.events import FrameEvent
from emo_edge.media.crops import Image
from emo_edge.rendering.annotate import annotated
from emo_edge.rendering.live_writers import shown_labels


def live_picture(event: FrameEvent) -> Image:
    """Return the frame (uint8 RGB [H, W, 3], small ones enlarged) with each face that was read, where it is now.

    Its labels are the smoothed ones where there are any. An id keeps its colour.
    """
    read = [(face, face.result) for face in event.faces if face.result is not None]
    faces = [replace(result, box=face.box, probabilities=dict(shown_labels(face))) for face, result in read]
    return annotated(event.image, faces, geometry=False, ids=[face.id for face, _ in read])
