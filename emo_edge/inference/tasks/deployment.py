"""The purpose that whoever runs the program states, and readings without emotions."""

from __future__ import annotations

from emo_edge.bundle.manifest import LABEL_LOGITS, VALUES, Manifest
from emo_edge.errors import InputError
from emo_edge.taxonomy import PURPOSES
from emo_edge.utils.suggestions import did_you_mean


def check_deployment(manifest: Manifest, *, emotions: bool, purpose: str | None) -> None:
    """Raise InputError for an unknown purpose, and for a bundle that gives nothing without emotions."""
    if purpose is not None and purpose not in PURPOSES:
        hint = did_you_mean(purpose, PURPOSES)
        raise InputError(f"no purpose {purpose!r}; there are: {', '.join(PURPOSES)}{hint}")
    face = manifest.components.face
    alone = face is not None and {port.name for port in face.outputs} <= {LABEL_LOGITS, VALUES}
    if not emotions and manifest.components.au is None and (face is None or alone):
        raise InputError(
            f"{manifest.name} has no face network besides that of its labels: without emotions it gives nothing"
        )
