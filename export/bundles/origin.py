"""The link between a bundle and the checkpoint that it was exported from."""

from __future__ import annotations

from pathlib import Path

from emo_edge.bundle.reader import Bundle
from emo_edge.errors import InputError
from emo_edge.export.configs.checkpoint import LABEL_NETWORK, model_type
from emo_edge.export.reference.weights import weight_files
from emo_edge.export.user_graphs.label_graph import LABEL_GRAPH_NAME
from emo_edge.utils.files import sha256_of

PROVENANCE = "checkpoint_sha256"
"""Key of the manifest's provenance."""


def checkpoint_digest(directory: Path) -> str:
    """Return the sha256 of each weight file, joined."""
    return ", ".join(sha256_of(path) for path in weight_sources(directory))


def weight_sources(directory: Path) -> list[Path]:
    """Return the files that hold a checkpoint's weights: safetensors, or a user's own graph of labels."""
    graph = directory / LABEL_GRAPH_NAME
    if graph.is_file() and model_type(directory) == LABEL_NETWORK:
        return [graph]
    return weight_files(directory)


def require_origin(bundle: Bundle, checkpoint: Path, *, remedy: str = "name that one") -> str:
    """Return the checkpoint's digest; raise InputError unless the bundle was exported from it.

    ``remedy`` ends the message.
    """
    digest = checkpoint_digest(checkpoint)
    if bundle.manifest.provenance.get(PROVENANCE, "") != digest:
        raise InputError(f"{bundle.directory} was not exported from {checkpoint}: its weights are others; {remedy}")
    return digest
