"""Files of a VLM, and the choices of its import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emo_edge.export.vlm.pictures import Pictures

CONTEXT = 4096
"""Positions by default, fewer where the model was trained with fewer."""
CLASSIFY = "What is the facial expression of the person in the {medium}? Answer with one of these words only: {labels}."
WHOLE = "whole"
"""Detector that shows the model the whole picture."""


@dataclass(frozen=True)
class VlmFiles:
    """The files of one model."""

    model: Path
    mmproj: Path
    reference: Path | None = None
    """The same language model unquantized, which ``model`` is compared with."""

    def all(self) -> list[Path]:
        """List those that there are."""
        return [path for path in (self.model, self.mmproj, self.reference) if path]


@dataclass(frozen=True)
class VlmConfig:
    """Questions to the model, and the pictures that it is shown."""

    labels: tuple[str, ...] = ()
    """The user's own label set, which becomes the default; the sets of the field are always there."""
    classify: str = CLASSIFY
    """Question for a label, with ``{labels}`` and ``{medium}``."""
    template: str | None = None
    """Conversation with ``<image>`` and ``{demographics}{question}``; None takes the file's chat template."""
    system: str | None = None
    """Message of the system before the question."""
    picture_size: int | None = None
    """Pixels of a side; None takes the mmproj's own."""
    margin: float = 0.25
    """Growth of a face's box on each side. A guess: no general model was trained on crops of a known margin."""
    detector: str = "mtcnn"
    """Face detector that the bundle holds: one of `emo_edge.inference.detectors.CHOICES`, or YuNet's file."""
    face: Path | None = None
    """Checkpoint with a face network, such as FaceXFormer's, that stands beside the model; of a checkpoint with a
    language model the face network is taken alone."""
    use_demographics: bool = False
    """Put the sentence of age, gender and race before the question. No such model was trained with it."""
    face_precisions: tuple[str, ...] = ("fp32", "fp16")
    context: int = CONTEXT
    pictures: Pictures | None = None
    """Pictures in one prompt that the model understands; None takes `emo_edge.export.vlm.pictures`' word."""
    name: str | None = None
    """Of the bundle; None takes the model's."""
