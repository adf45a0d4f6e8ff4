"""The full-precision checkpoint that a bundle is measured against."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from emo_edge.assets.packaged import named_checkpoint, packaged_checkpoint
from emo_edge.benchmarks.workload.targets import reference_profile
from emo_edge.bundle.manifest import PARTS
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import CheckpointError, InputError
from emo_edge.export.bundles.origin import require_origin, weight_sources
from emo_edge.export.configs.checkpoint import LABEL_NETWORK, model_type
from emo_edge.export.reference.weights import stored_shapes
from emo_edge.machine.hardware import read_machine

MEMORY_FRACTION = 0.7
"""Fraction of the free memory that weights in float32 may take."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint directory, or the bundle of a VLM that holds its own unquantized language model."""

    directory: Path
    sha256: str | None
    """Of its weight files, as a bundle's manifest has it; None for a VLM that was imported without a reference."""
    size_bytes: int
    stream: bool
    """True where its layers stay on the disk, because the memory does not hold them in float32."""


def open_checkpoint(bundle: Bundle, named: str | None) -> Checkpoint:
    """Open the checkpoint that a bundle was exported from: a directory, or a packaged checkpoint's name.

    None takes the packaged one of the bundle's own name. Beside an mmproj it is the bundle itself, for the profile of
    its unquantized language model, if it has one. Raises InputError if it is not named or another one.
    """
    if bundle.manifest.components.mmproj:
        if named is not None:
            raise InputError(f"{bundle.directory}: its reference is a profile of its own; leave `checkpoint` out")
        profile = reference_profile(bundle)
        if profile is None:
            return Checkpoint(bundle.directory, None, 0, False)
        return Checkpoint(bundle.directory, _language_sha256(bundle, profile), profile_bytes(bundle, profile), False)
    if named is None:
        try:
            directory = packaged_checkpoint(bundle.manifest.name)
        except CheckpointError as error:
            raise InputError(
                f"{bundle.directory}: full precision is measured, too: name what it was exported from with `checkpoint`"
            ) from error
    else:
        directory = named_checkpoint(named)
    digest = require_origin(bundle, directory, remedy="`checkpoint` names it")
    size = sum(path.stat().st_size for path in weight_sources(directory))
    return Checkpoint(directory, digest, size, _too_large(directory))


def _language_sha256(bundle: Bundle, profile: str) -> str:
    component, variant = bundle.manifest.components.language, bundle.manifest.profiles[profile].language
    assert component is not None and variant is not None
    return component.variants[variant].files[0].sha256


def profile_bytes(bundle: Bundle, profile: str) -> int:
    """Size of the files that a profile takes."""
    total, chosen = 0, bundle.manifest.profiles[profile]
    for part in PARTS:
        component, variant = bundle.manifest.components.get(part), chosen.variant(part)
        if component is not None and variant is not None:
            total += sum(file.size for file in component.variants[variant].files)
    tokenizer = bundle.manifest.question_tokenizer
    return total + (tokenizer.size if tokenizer else 0)


def _too_large(directory: Path) -> bool:
    if model_type(directory) == LABEL_NETWORK:
        return False
    memory = read_machine().memory
    numbers = sum(math.prod(shape) for shape in stored_shapes(directory).values())
    return memory is not None and memory.available is not None and 4 * numbers > MEMORY_FRACTION * memory.available
