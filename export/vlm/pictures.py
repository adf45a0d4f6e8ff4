"""Number of pictures that a model takes in one prompt: several, or one alone.

Any model computes a prompt of several pictures. One that was trained on single pictures answers it, too, with what it
was never taught; so a clip is read only by those whose authors trained them on several pictures or on video.
"""

from __future__ import annotations

from typing import Literal

Pictures = Literal["one", "several"]
ONE: Pictures = "one"
SEVERAL: Pictures = "several"
BY_PROJECTOR: dict[str, tuple[Pictures, str]] = {
    "mlp": (ONE, "LLaVA-1.5, arXiv 2310.03744: instructions about one picture"),
    "mlp_norm": (ONE, "LLaVA with a norm in its projector: as LLaVA-1.5"),
    "ldp": (ONE, "MobileVLM, arXiv 2312.16886: LLaVA-1.5's data"),
    "ldpv2": (ONE, "MobileVLM V2, arXiv 2402.03766: instructions about one picture"),
    "qwen2vl_merger": (SEVERAL, "Qwen2-VL, arXiv 2409.12191: pictures and video, interleaved"),
    "qwen2.5vl_merger": (SEVERAL, "Qwen2.5-VL, arXiv 2502.13923: pictures and video, interleaved"),
    "qwen3vl_merger": (SEVERAL, "Qwen3-VL, arXiv 2511.21631: pictures and video, interleaved"),
    "idefics3": (SEVERAL, "Idefics3, arXiv 2408.12637, and SmolVLM, arXiv 2504.05299: interleaved pictures, video"),
    "internvl": (SEVERAL, "InternVL3, arXiv 2504.10479: several pictures and video"),
    "gemma3": (SEVERAL, "Gemma 3, arXiv 2503.19786: interleaved pictures"),
    "pixtral": (SEVERAL, "Pixtral, arXiv 2410.07073: any number of pictures"),
}
"""``clip.projector_type`` of an mmproj to what its family was trained on, and the source."""


def pictures_of(projector: str) -> Pictures:
    """Return what a projector's family takes; one picture for a family that the table does not have."""
    return BY_PROJECTOR.get(projector, (ONE, ""))[0]
