"""Estimate of the bytes that an export writes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from emo_edge.export.gguf.writer import WRITTEN_TYPES
from emo_edge.export.models.config import EmoLlamaConfig
from emo_edge.export.reference.model import parameter_shapes

BYTES = {"fp32": 4, "fp16": 2}
BITS = {
    "f32": 32.0,
    "f16": 16.0,
    "bf16": 16.0,
    "q8_0": 9.4,
    "q6_k": 7.3,
    "q5_1": 6.7,
    "q5_k_m": 6.3,
    "q5_k_s": 6.2,
    "q5_0": 6.2,
    "q4_1": 5.7,
    "q4_k_m": 5.4,
    "q4_k_s": 5.2,
    "q4_0": 5.2,
    "iq4_nl": 5.2,
    "iq4_xs": 5.0,
    "q3_k_l": 4.8,
    "q3_k_m": 4.5,
    "q3_k_s": 4.1,
    "iq3_m": 4.2,
    "iq3_s": 4.1,
    "q2_k": 3.7,
    "iq3_xs": 3.9,
    "iq3_xxs": 3.6,
    "q2_k_s": 3.3,
    "iq2_m": 3.3,
    "iq2_s": 3.1,
    "iq2_xs": 2.9,
    "iq2_xxs": 2.7,
    "iq1_m": 2.4,
    "iq1_s": 2.3,
}
"""Bits a weight to make room for: a tenth above what llama.cpp's ``tools/quantize`` reports for 8B models."""
MARGIN = 1.05
"""For what a graph holds besides its weights: window masks, position biases spread out."""
PARTS = {
    "vision": "vision",
    "connector": "connector",
    "face": "face",
    "face_info": "face",
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
    total += sum(int(counts["language"] * BITS[name] / 8) for name in written)
    return int(MARGIN * total)
