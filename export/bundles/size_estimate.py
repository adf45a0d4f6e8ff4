"""Estimate of the bytes that an export writes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from emo_edge.bundle.gguf_types import FILE_TYPES
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.gguf.writer import WRITTEN_TYPES
from emo_edge.export.reference.model import parameter_shapes

BYTES = {"fp32": 4, "fp16": 2}
MARGIN = 1.05
"""For what a graph holds besides its weights: window masks, position biases spread out."""
PARTS = {
    "vision": "vision",
    "connector": "connector",
    "face": "face",
    "face_info": "face",
    "units": "face",
    "landmark": "face",
    "language": "language",
}
"""The component that holds each part of a checkpoint."""


def export_bytes(
    config: EmoLlamaConfig, graphs: Mapping[str, Sequence[str]], file_types: Sequence[str], source: str
) -> int:
    """Estimate what an export writes, the file that the others are quantized from included.

    Args:
        config: of the checkpoint.
        graphs: precisions of each graph component.
        file_types: of the language model.
        source: type of the file that the others are quantized from.
    """
    counts: Counter[str] = Counter()
    for name, shape in parameter_shapes(config).items():
        counts[PARTS[name.partition(".")[0]]] += math.prod(shape)
    total = sum(BYTES[precision] * counts[part] for part, precisions in graphs.items() for precision in precisions)
    written = set(file_types)
    if any(name not in WRITTEN_TYPES for name in file_types):
        written.add(source)
    total += sum(int(counts["language"] * FILE_TYPES[name].bits / 8) for name in written)
    return int(MARGIN * total)
