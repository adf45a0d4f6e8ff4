"""EmotiEffLib's networks (HSEmotion's before) as ONNX files: normalisation and label orders by upstream's names.

Worked from ``facial_analysis.py`` of EmotiEffLib and ``facial_emotions.py`` of hsemotion-onnx: the face's box is cut
without a margin, stretched by ``cv2.resize``, and normalised; models named ``*_va_mtl`` give valence and arousal behind
the labels' logits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from emo_edge.bundle.prompts import ValueRange
from emo_edge.export.importers.labels.onnx_graph import GraphContract, checkpoint_from_onnx_graph

LABELS = ("anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
"""AffectNet's eight in the alphabet's order, as upstream's table has them."""
LABELS_7 = tuple(label for label in LABELS if label != "contempt")
"""Of models named ``*_7``."""
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
MOBILE = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""Mean and deviation of models named ``mbf_*``, which read 112 pixels."""
VALENCE_AROUSAL = tuple(ValueRange(name=name, low=-1, high=1) for name in ("valence", "arousal"))
"""Behind the labels of models named ``*_mtl``, on AffectNet's scales; the network itself does not bound them."""
CARD = {
    "licence": "Apache-2.0, as the repositories of EmotiEffLib and hsemotion-onnx state; AffectNet has its own terms",
    "trained_on": "AffectNet: photographs from web searches, labelled by people",
    "limits": "errors differ by age, sex and skin colour, and nobody measured here by how much. A facial expression is "
    "not an emotion",
    "purpose": "not for decisions about people",
}
"""Statements that every bundle of it carries as provenance."""

logger = logging.getLogger(__name__)


def checkpoint_from_emotieff(
    model: Path,
    target: Path,
    *,
    labels: Sequence[str] | None = None,
    size: int | None = None,
    report: Callable[[str], None] = logger.info,
) -> None:
    """Write one of EmotiEffLib's ONNX files as a checkpoint of a network of labels.

    Args:
        model: the file under upstream's name, which decides as in upstream's code: ``_7`` seven labels, ``mbf_``
            another normalisation, ``_mtl`` valence and arousal behind the labels.
        target: the checkpoint; nothing may be there.
        labels: of the columns in their order; None takes upstream's.
        size: side of the pictures, where the file leaves it open; None takes upstream's for the name.
        report: gets a line of what was read.

    Errors as of `checkpoint_from_onnx_graph`.
    """
    name = model.stem
    mean, std = MOBILE if "mbf_" in name else IMAGENET
    contract = GraphContract(
        labels=tuple(labels or (LABELS_7 if "_7" in name else LABELS)),
        size=size,
        open_size=_upstreams_size(name),
        mean=mean,
        std=std,
        values=VALENCE_AROUSAL if "_mtl" in name else (),
        card=CARD,
        advice="keep upstream's file name, `_7` is of seven labels and `_mtl` of valence and arousal, or give `labels`",
    )
    checkpoint_from_onnx_graph(model, target, contract, report=report)


def _upstreams_size(name: str) -> int:
    """Return the side of the pictures that upstream's code gives a model of this name."""
    if "mbf_" in name or "ddamfnet" in name:
        return 112
    return 260 if "_b2_" in name else 224
