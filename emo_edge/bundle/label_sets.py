"""Labels of a request: a set of the manifest by name, or the user's own list; the question that asks for them."""

from __future__ import annotations

from collections.abc import Sequence

from emo_edge.bundle.manifest import Manifest
from emo_edge.bundle.prompts import classify_question
from emo_edge.errors import InputError


def resolve_labels(manifest: Manifest, labels: str | Sequence[str]) -> tuple[str, ...]:
    """Look up a label set by name, or check the user's own list."""
    if isinstance(labels, str):
        if labels not in manifest.label_sets:
            raise InputError(f"no label set {labels!r}; there are: {', '.join(manifest.label_sets)}")
        return manifest.label_sets[labels]
    own = tuple(label.strip() for label in labels)
    if len(own) < 2 or len(set(own)) < len(own) or not all(own):
        raise InputError(f"give two or more different labels, not {list(own)}")
    return own


def ask_for_labels(manifest: Manifest, labels: Sequence[str], *, clip: bool) -> str:
    """Write the trained category question."""
    return classify_question(manifest.prompt, labels, clip=clip)
