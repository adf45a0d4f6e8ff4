"""Lines about a bundle that a user is told once a run, on standard error."""

from __future__ import annotations

from emo_edge.bundle.manifest import Manifest

LOST = {"haar": "misses tight crops, tilted and partly covered faces; --detector mtcnn finds more"}
"""Losses of a detector that is there for want of another."""


def purpose_note(manifest: Manifest) -> str | None:
    """Return what the model is for, as its checkpoint says it; None where it says nothing."""
    purpose = manifest.provenance.get("purpose")
    return f"{manifest.name}: {purpose}" if purpose else None


def detector_note(manifest: Manifest, choice: str = "auto") -> str | None:
    """Return what the bundle's own face detector loses; None where ``choice`` names another one, or nothing is lost."""
    lost = LOST.get(manifest.detector) if choice == "auto" else None
    return f"{manifest.name}: its face detector, {manifest.detector}, {lost}" if lost else None
