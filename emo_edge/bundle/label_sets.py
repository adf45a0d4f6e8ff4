"""Labels of a request: a set of the manifest by name, or the user's own list; the question that asks for them."""

from __future__ import annotations

from collections.abc import Sequence

from emo_edge.bundle.label_hints import unknown_label_set
from emo_edge.bundle.manifest import Manifest
from emo_edge.bundle.prompts import classify_question
from emo_edge.errors import InputError

DEFAULT = "rafdb7"
"""Label set of a request that names none, where the bundle has it."""


def resolve_labels(manifest: Manifest, labels: str | Sequence[str] | None) -> tuple[str, ...]:
    """Look up a label set by name, or check the user's own list; None takes `DEFAULT`, else the bundle's first set.

    Raises InputError for an unknown set, a list that cannot be used, or a label that the bundle's network lacks.
    """
    if labels is None:
        labels = DEFAULT if DEFAULT in manifest.label_sets else next(iter(manifest.label_sets), DEFAULT)
    if isinstance(labels, str):
        if labels not in manifest.label_sets:
            raise InputError(unknown_label_set(labels, manifest.label_sets))
        return manifest.label_sets[labels]
    own, rows = tuple(label.strip() for label in labels), manifest.face_labels.expression
    if len(own) < 2 or len(set(own)) < len(own) or not all(own):
        raise InputError(f"give two or more different labels, not {list(own)}")
    if rows and (unknown := [label for label in own if label not in rows]):
        raise InputError(f"{manifest.name} knows the labels {', '.join(rows)}, not {', '.join(unknown)}")
    return own


def ask_for_labels(manifest: Manifest, labels: Sequence[str], *, clip: bool) -> str:
    """Write the trained category question."""
    return classify_question(manifest.prompt, labels, clip=clip)
