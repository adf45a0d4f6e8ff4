"""The full-precision checkpoint that a bundle is measured against."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import CheckpointError, InputError
from emo_edge.export.models.config import EmoLlamaConfig
from emo_edge.export.reference.model import parameter_shapes
from emo_edge.export.reference.weights import weight_files
from emo_edge.machine.hardware import read_machine
from emo_edge.utils.files import sha256_of

MEMORY_FRACTION = 0.7
"""Fraction of the free memory that weights in float32 may take."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint directory."""

    directory: Path
    sha256: str
    """Of its weight files, as a bundle's manifest has it."""
    size_bytes: int
    stream: bool
    """True where its layers stay on the disk, because the memory does not hold them in float32."""


def open_checkpoint(bundle: Bundle, named: str | None) -> Checkpoint:
    """Open the checkpoint that a bundle was exported from: a directory, or a packaged checkpoint's name.

    None takes the packaged one of the bundle's own name. Raises InputError if it is not named or another one.
    """
    known = bundle.manifest.provenance.get("checkpoint_sha256", "")
    if named is None:
        try:
            directory = packaged_checkpoint(bundle.manifest.name)
        except CheckpointError as error:
            raise InputError(
                f"{bundle.directory}: full precision is measured, too: name what it was exported from with `checkpoint`"
            ) from error
    else:
        directory = Path(named) if Path(named).exists() else packaged_checkpoint(named)
    files = weight_files(directory)
    digest = ", ".join(sha256_of(path) for path in files)
    if digest != known:
        raise InputError(
            f"{bundle.directory} was not exported from {directory}: its weights are others; `checkpoint` names it"
        )
    return Checkpoint(directory, digest, sum(path.stat().st_size for path in files), _too_large(directory))


def profile_bytes(bundle: Bundle, profile: str) -> int:
    """Size of the files that a profile takes."""
    total, chosen = 0, bundle.manifest.profiles[profile]
    for part in ("vision", "connector", "face", "language"):
        component, variant = getattr(bundle.manifest.components, part), getattr(chosen, part)
        if component is not None and variant is not None:
            total += sum(file.size for file in component.variants[variant].files)
    tokenizer = bundle.manifest.question_tokenizer
    return total + (tokenizer.size if tokenizer else 0)


def _too_large(directory: Path) -> bool:
    memory = read_machine().memory
    numbers = sum(math.prod(shape) for shape in parameter_shapes(EmoLlamaConfig.from_pretrained(directory)).values())
    return memory is not None and memory.available is not None and 4 * numbers > MEMORY_FRACTION * memory.available
