"""The manifest of a bundle: typed, versioned, closed sets of keys. A device needs nothing else to know a model.

`emo_edge.bundle.sections` holds its keys and their types. `schema()` is the JSON Schema that ships as
``emo_edge/schemas/manifest-2.json``.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError, model_validator

from emo_edge.bundle.manifest_checks import section_checks
from emo_edge.bundle.sections import (
    FACE_TOKENS,
    GRAPHS,
    LABEL_LOGITS,
    LARGEST_CONTEXT,
    LARGEST_CROP,
    OUTPUTS,
    PARTS,
    QUESTION_INPUT,
    SELECTION,
    UNIT_INTENSITY,
    UNIT_PRESENCE,
    VALUES,
    ActionUnits,
    BundleFile,
    Components,
    Detector,
    GraphComponent,
    LabelFilter,
    LanguageComponent,
    LiveLabels,
    ManifestSections,
    MmprojComponent,
    Profile,
    QuestionCache,
    Scoring,
    TensorContract,
    Variant,
    VisualTokens,
)
from emo_edge.bundle.tasks.section import AffectiveTask
from emo_edge.errors import BundleError
from emo_edge.utils.json_values import json_values
from emo_edge.utils.settings import problem_list, require

__all__ = [
    "BUNDLE_VERSION",
    "FACE_TOKENS",
    "GRAPHS",
    "LABEL_LOGITS",
    "LARGEST_CONTEXT",
    "LARGEST_CROP",
    "MANIFEST_NAME",
    "OUTPUTS",
    "PARTS",
    "QUESTION_INPUT",
    "SELECTION",
    "UNIT_INTENSITY",
    "UNIT_PRESENCE",
    "VALUES",
    "ActionUnits",
    "AffectiveTask",
    "BundleFile",
    "Components",
    "Detector",
    "GraphComponent",
    "LabelFilter",
    "LanguageComponent",
    "LiveLabels",
    "Manifest",
    "MmprojComponent",
    "Profile",
    "QuestionCache",
    "Scoring",
    "TensorContract",
    "Variant",
    "VisualTokens",
    "manifest_from_json",
    "schema",
]
MANIFEST_NAME = "manifest.json"
BUNDLE_VERSION = 2
MOST_VALUES = 1 << 16
"""Values in ``manifest.json``."""
REFERENCE_KEY = "reference"
"""Key of the provenance: what evidence is measured against, where that is not this package's own PyTorch code."""


class Manifest(ManifestSections):
    """The whole of ``manifest.json``."""

    @model_validator(mode="after")
    def _sections_fit(self) -> Manifest:
        require(*section_checks(self))
        return self


def manifest_from_json(text: str | bytes) -> Manifest:
    """Check a parsed manifest; raise BundleError listing every problem at once."""
    try:
        values = json_values(text, MOST_VALUES)
    except ValueError as error:
        raise BundleError(f"{MANIFEST_NAME} is not readable as JSON: {error}") from error
    version = values.get("bundle_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > BUNDLE_VERSION:
        raise BundleError(
            f"{MANIFEST_NAME} has version {version}, this emo-edge reads up to {BUNDLE_VERSION}: update emo-edge"
        )
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        raise BundleError(problem_list(MANIFEST_NAME, Manifest, values, error)) from error


def schema() -> dict[str, Any]:
    """JSON Schema of ``manifest.json``."""
    return Manifest.model_json_schema()
