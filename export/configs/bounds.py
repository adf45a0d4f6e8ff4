"""Bounds of a network's sizes: wide enough for every model of these families, narrow enough to build and to run.

A config comes from strangers. What its numbers ask for is built before its weights are read, so that each is bounded
on its own, and products that no weight shows are bounded by `networks`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Layers = Annotated[int, Field(ge=1, le=256, strict=True)]
"""Of one stack; the largest open models have 130."""
Width = Annotated[int, Field(ge=1, le=1 << 16, strict=True)]
"""Of a hidden state, or inside a feed-forward network: LLaMA-3.1-405B has 53,248."""
Heads = Annotated[int, Field(ge=1, le=1024, strict=True)]
Rows = Annotated[int, Field(ge=1, le=1 << 20, strict=True)]
"""Of a table of embeddings."""
Positions = Annotated[int, Field(ge=1, le=1 << 20, strict=True)]
Tokens = Annotated[int, Field(ge=1, le=4096, strict=True)]
"""Learned queries, or tokens of a frame."""
Pixels = Annotated[int, Field(ge=1, le=2048, strict=True)]
"""Side of a picture; 128 of the largest, decoded, take 1.6 GB."""
Window = Annotated[int, Field(ge=1, le=64, strict=True)]
"""Side of an attention window, or of a pooled map."""
Epsilon = Annotated[float, Field(gt=1e-30, le=1, allow_inf_nan=False)]
Ratio = Annotated[float, Field(gt=0, le=64, allow_inf_nan=False)]
RopeBase = Annotated[float, Field(ge=1, le=1e12, allow_inf_nan=False)]
Scale = Annotated[float, Field(ge=1e-3, le=1e3, allow_inf_nan=False)]
"""A divisor of pixels between 0 and 1."""
RgbScale = tuple[Scale, Scale, Scale]
MOST_PATCHES = 128
"""Along one side of a tower whose patches all attend to each other."""
MOST_CELLS = 256
"""Along one side of the first map of a tower that attends in windows."""
