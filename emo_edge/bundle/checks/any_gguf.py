"""Values of a GGUF file of any architecture, language model or mmproj, that llama.cpp would end the process on.

`emo_edge.bundle.checks.gguf` has a closed set for those that emo-edge exports. Here only what holds for every
model is required; the rest shows in a child process, which `emo_edge.runtimes.mtmd.proof` runs before.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from emo_edge.bundle.checks.gguf import BY_NUMBER, LISTED, MOST_LAYERS
from emo_edge.bundle.gguf_header import ALIGNMENT, ALIGNMENT_KEY, GgufHeader, read_gguf_structure
from emo_edge.errors import BundleError
from emo_edge.utils.files import substitute
from emo_edge.utils.text import quoted

MMPROJ = "clip"
"""Architecture of an mmproj file."""
TOKENS = "tokenizer.ggml.tokens"
SPLIT = "split.count"
LARGEST_SIZE = 1 << 20
MOST_TYPES = 64
"""ggml's types have smaller numbers."""
ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
LANGUAGE_SIZES = ("context_length", "embedding_length", "block_count", "attention.head_count")
VISION_SIZES = ("image_size", "patch_size", "embedding_length", "block_count")
PLACEHOLDERS = ("feed_forward_length", "projection_dim")
"""Sizes that are 0 in released files: llama.cpp's scripts for MiniCPM-V, GLM-Edge and the first Qwen2-VL put it there,
and libmtmd takes the size of the tensors."""
CHECKPOINTS = (b"PK\x03\x04", b"\x80\x02")
"""Beginnings of PyTorch's files; one of safetensors begins with a length of eight bytes, and ``{``."""
CONVERTER = "convert_hf_to_gguf.py"
SPREAD = "clip.vision.image_std"
"""Pixels are divided by it."""
MOST_TILES, LARGEST_SIDE = 256, 8192
"""Tiles that a picture is cut into, and pixels of a side: libmtmd lists and resizes before anybody can count."""
OPTIONAL_SIZES = {
    "preproc_min_tiles": MOST_TILES,
    "preproc_max_tiles": MOST_TILES,
    "preproc_image_size": LARGEST_SIDE,
    "image_min_pixels": LARGEST_SIDE**2,
    "image_max_pixels": LARGEST_SIDE**2,
}
"""Keys of towers that cut or enlarge pictures, and the largest value of each."""
PINPOINTS = "clip.vision.image_grid_pinpoints"
"""Widths and heights that LLaVA-NeXT cuts into tiles."""
LAYERS, EPSILON = "block_count", re.compile(r"epsilon$")


def check_language_gguf(path: Path) -> GgufHeader:
    """Return the header of a language model's file; raise BundleError that names each value that is refused."""
    header = _structure(path)
    if header.architecture == MMPROJ:
        raise BundleError(f"{path}: an mmproj, not a language model; are the two files swapped?")
    problems = list(_language_problems(header))
    _raise(path, "language model", [*problems, *_common_problems(header, path.stat().st_size)])
    return header


def check_mmproj_gguf(path: Path) -> GgufHeader:
    """Return the header of an mmproj file; raise BundleError that names each value that is refused."""
    header = _structure(path)
    if header.architecture != MMPROJ:
        kind = "a language model" if TOKENS in header.metadata else f"of architecture {quoted(header.architecture)}"
        raise BundleError(f"{path}: {kind}, not an mmproj; are the two files swapped?")
    if not header.metadata.get("clip.has_vision_encoder"):
        raise BundleError(f"{path}: this mmproj reads sound, not pictures; take the one with the vision tower")
    problems = list(_vision_problems(header))
    _raise(path, "mmproj", [*problems, *_common_problems(header, path.stat().st_size)])
    return header


def _structure(path: Path) -> GgufHeader:
    try:
        return read_gguf_structure(path)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BundleError(f"{path}: {substitute(path) or _other_kind(path, error)}") from error


def _other_kind(path: Path, error: ValueError) -> str:
    """Return what a file is that is no GGUF, and the next step."""
    with path.open("rb") as stream:
        begin = stream.read(9)
    if not begin:
        return "an empty file; download it again"
    if begin.startswith(CHECKPOINTS) or begin[8:] == b"{":
        return f"weights of PyTorch, not GGUF; llama.cpp's {CONVERTER} makes both GGUF files of such a model"
    return (
        f"llama.cpp cannot read it (truncated, corrupt or of another kind): {error}; download it again, or make it "
        f"with llama.cpp's {CONVERTER}"
    )


def _raise(path: Path, what: str, problems: list[str]) -> None:
    if problems:
        named = [f"  {problem}" for problem in problems[:LISTED]]
        more = [f"  and {len(problems) - LISTED} more"] if len(problems) > LISTED else []
        listing = "\n".join([*named, *more])
        raise BundleError(f"{path}: {len(problems)} problem(s) in the {what}, download it again:\n{listing}")


def _language_problems(header: GgufHeader) -> Iterator[str]:
    architecture = header.metadata.get("general.architecture")
    if not isinstance(architecture, str) or not ARCHITECTURE.fullmatch(architecture):
        yield f"general.architecture: {quoted(architecture)} is no name of an architecture"
        return
    if header.metadata.get(SPLIT, 1) not in (0, 1):
        yield f"{SPLIT}: {header.metadata[SPLIT]} files; join them with llama-gguf-split --merge"
    if TOKENS not in header.arrays:
        yield f"{TOKENS}: missing: the model has no vocabulary"
    wrong = [problem for name in LANGUAGE_SIZES for problem in _size_problems(header, f"{architecture}.{name}")]
    yield from wrong
    if not wrong and TOKENS in header.arrays:
        try:
            header.shape()
        except ValueError as error:
            yield str(error)


def _vision_problems(header: GgufHeader) -> Iterator[str]:
    for name in VISION_SIZES:
        yield from _size_problems(header, f"clip.vision.{name}")
    for name in PLACEHOLDERS:
        if header.metadata.get(f"clip.vision.{name}") != 0:
            yield from _size_problems(header, f"clip.vision.{name}")
    yield from _size_problems(header, "clip.vision.attention.head_count")
    image, patch = (header.metadata.get(f"clip.vision.{name}") for name in ("image_size", "patch_size"))
    if isinstance(image, int) and isinstance(patch, int) and not 0 < patch <= image <= LARGEST_SIDE:
        yield f"clip.vision.patch_size: {patch} of an image_size of {image}"
    for name, most in OPTIONAL_SIZES.items():
        value = header.metadata.get(f"clip.vision.{name}", 0)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            yield f"clip.vision.{name}: {quoted(str(value)[:40])}; a whole number up to {most} is allowed"
    sides: Any = header.arrays[PINPOINTS].values if PINPOINTS in header.arrays else []
    whole = [isinstance(side, (int, np.integer)) and 1 <= side <= LARGEST_SIDE for side in sides]
    if not all(whole) or len(sides) > 2 * MOST_TILES:
        yield f"{PINPOINTS}: {len(sides)} numbers; up to {2 * MOST_TILES} from 1 to {LARGEST_SIDE} are allowed"
    spread: Any = header.arrays[SPREAD].values if SPREAD in header.arrays else []
    if any(not isinstance(value, np.floating) or value <= 0 for value in spread):
        yield f"{SPREAD}: {quoted(str(np.asarray(spread).tolist())[:40])}; numbers above 0 are allowed"


def _size_problems(header: GgufHeader, key: str) -> Iterator[str]:
    if key not in header.metadata:
        yield f"{key}: missing"
        return
    values: Any = header.arrays[key].values if key in header.arrays else [header.metadata[key]]
    most = MOST_LAYERS if key.endswith(LAYERS) else LARGEST_SIZE
    whole = [isinstance(value, (int, np.integer)) and not isinstance(value, bool) for value in values]
    if not (len(values) and all(whole) and all(0 <= value <= most for value in values) and max(values) >= 1):
        yield f"{key}: {quoted(str(values)[:40])}; a whole number from 1 to {most} is allowed"


def _common_problems(header: GgufHeader, size: int) -> Iterator[str]:
    for key, value in header.metadata.items():
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{quoted(key)}: {value}; a finite number is allowed"
        elif EPSILON.search(key) and not (isinstance(value, float) and 0 < value <= 0.1):
            yield f"{quoted(key)}: {value}; a number above 0, 0.1 at most, is allowed"
    for key, array in header.arrays.items():
        numbers: Any = array.values
        if isinstance(numbers, np.ndarray) and numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
            yield f"{quoted(key)}: values that are not finite"
    yield from _tensor_problems(header, size)


def _tensor_problems(header: GgufHeader, size: int) -> Iterator[str]:
    if not header.tensors:
        yield "no tensors: only the vocabulary is there"
    alignment = header.metadata.get(ALIGNMENT_KEY, ALIGNMENT)
    for name, tensor in header.tensors.items():
        if not all(1 <= axis <= 1 << 32 for axis in tensor.shape) or math.prod(tensor.shape) > 1 << 40:
            yield f"{quoted(name)}: shape {list(tensor.shape)}, which no model has"
            return
        if tensor.type >= MOST_TYPES or tensor.start % alignment or tensor.start + tensor.bytes > size:
            yield f"{quoted(name)}: ggml's type {tensor.type} at byte {tensor.start}, and the file ends at {size}"
            return
        kind = BY_NUMBER.get(tensor.type)
        if kind and math.prod(tensor.shape) * kind.size // kind.block > tensor.bytes:
            yield f"{quoted(name)}: {tensor.bytes} bytes for the shape {list(tensor.shape)}: the file is truncated"
            return
