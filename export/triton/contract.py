"""Names that the Python model's config and its code agree on."""

from __future__ import annotations

MODEL = "emo_edge"
"""Name of the model around the pipeline."""
PIXELS, ENCODED = "image", "encoded"
"""Inputs, of which a request gives one: uint8 RGB [1, H, W, 3], or the bytes of an image file [1, 1]."""
PROBABILITIES, LABEL, BOXES, JSON = "probabilities", "label", "boxes", "json"
"""Outputs: float32 [1, faces, labels], strings [1, faces], float32 [1, faces, 4], one string [1, 1]."""
BUNDLE = "bundle"
"""Folder of the bundle, in the folder of the model's version."""
PROFILE, DEVICE, LABELS = "profile", "device", "labels"
"""Parameters of the config: as the options of ``emo-edge infer``; without labels the bundle's own are taken."""
