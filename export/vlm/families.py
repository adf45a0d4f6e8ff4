"""Language models of each projector: what tells an mmproj of another family that has the same width.

libmtmd compares widths alone, so such a pair loads and answers nonsense. The tables are what llama.cpp's converter of
llama-cpp-python 0.3.36 writes: `tests/export/vlm/test_families.py` reads them off its registered classes.
"""

from __future__ import annotations

from emo_edge.bundle.gguf_header import GgufHeader
from emo_edge.errors import BundleError
from emo_edge.utils.text import quoted

PROJECTOR, VISION_PROJECTOR = "clip.projector_type", "clip.vision.projector_type"
"""The second one stands in files that read sound as well."""
NAMES = ("general.name", "general.basename")
BY_PROJECTOR = {
    "qwen2vl_merger": ("qwen2vl", "llama"),
    "qwen2.5vl_merger": ("qwen2vl",),
    "qwen2.5o": ("qwen2vl",),
    "qwen3vl_merger": ("qwen3vl", "qwen3vlmoe", "qwen35", "qwen35moe", "qwen4exp"),
    "gemma3": ("gemma3",),
    "gemma3nv": ("gemma3n",),
    "gemma4v": ("gemma4",),
    "gemma4uv": ("gemma4",),
    "llama4": ("llama4",),
    "cogvlm": ("cogvlm",),
    "glm4v": ("glm4", "glm4moe"),
    "hunyuanvl": ("hunyuan_vl",),
    "mimovl": ("mimo2",),
    "minicpmv4_6": ("qwen35",),
    "phi4": ("phi3",),
}
"""Projectors of one family, and the architectures of its language models. Of the others, such as ``mlp``,
``idefics3``, ``internvl`` and ``pixtral``, the checkpoint's own config names the language model: it may be any."""
VISION_ALONE = ("qwen2vl", "qwen3vl", "qwen3vlmoe", "cogvlm", "hunyuan_vl")
"""Architectures that no model of text alone has: no other projector stands beside them."""


def projector_of(tower: GgufHeader) -> str:
    """Return the type of the vision tower's projector, as the file says it."""
    return str(tower.metadata.get(PROJECTOR) or tower.metadata.get(VISION_PROJECTOR))


def check_family(header: GgufHeader, tower: GgufHeader) -> None:
    """Raise BundleError for two files that cannot be of one model, whatever they call themselves."""
    problem = _odd_pair(header, tower)
    if problem and _is_known(header.architecture):
        raise BundleError(f"{problem}: the mmproj is another model's; download both files from one page")


def family_warning(header: GgufHeader, tower: GgufHeader) -> str | None:
    """Return a line on two files that are hardly of one model; None where nothing speaks against it."""
    problem = _odd_pair(header, tower)
    if problem:
        return f"{problem}, as far as llama-cpp-python 0.3.36 knows: make sure that the files belong together"
    for key in NAMES:
        own, other = (str(one.metadata.get(key) or "") for one in (header, tower))
        if own and other:
            if own.casefold() == other.casefold():
                return None
            named = f"the model calls itself {quoted(own)}, the mmproj {quoted(other)}"
            return f"{named}: make sure that they belong together"
    return None


def _odd_pair(header: GgufHeader, tower: GgufHeader) -> str | None:
    """Return why the tables do not have this pair."""
    projector, architecture = projector_of(tower), header.architecture
    allowed = BY_PROJECTOR.get(projector, ())
    if allowed and architecture not in allowed:
        return f"a projector {quoted(projector)} stands beside {_either(allowed)}, and the model is {architecture}"
    if not allowed and architecture in VISION_ALONE:
        own = [name for name, models in BY_PROJECTOR.items() if architecture in models]
        return f"a {architecture} reads pictures through {_either(own)}, and the mmproj has {quoted(projector)}"
    return None


def _either(names: list[str] | tuple[str, ...]) -> str:
    *rest, last = names
    return f"{', '.join(rest)} or {last}" if rest else last


def _is_known(architecture: str) -> bool:
    """Return whether the tables were made with this architecture: a newer one may have taken an old projector."""
    from gguf.constants import MODEL_ARCH_NAMES

    return architecture in MODEL_ARCH_NAMES.values()
