"""A first reading: engines allocate and load at their first call."""

from __future__ import annotations

import numpy as np

from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request

WARM_UP_SIDE = 224


def warm_up(pipeline: EmotionPipeline, request: Request) -> None:
    """Read an evenly grey picture once."""
    side = WARM_UP_SIDE
    grey = np.full((side, side, 3), 128, np.uint8)
    pipeline.read(grey, request, boxes=[(0.0, 0.0, float(side), float(side))])
