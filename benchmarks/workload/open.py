"""Open the subject of a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emo_edge.benchmarks.workload.config import REFERENCE
from emo_edge.benchmarks.workload.subjects import BenchTarget, ProfileTarget
from emo_edge.bundle.reader import Bundle


@dataclass(frozen=True)
class OpenedWith:
    """What every subject of one benchmark is opened with; its fields are JSON values, for processes of their own."""

    checkpoint: str
    labels: tuple[str, ...]
    device: str = "auto"
    threads: int | None = None
    stream: bool = False
    """Whether the checkpoint's layers stay on the disk."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> OpenedWith:
        """Read what `to_json` wrote."""
        return cls(**{**values, "labels": tuple(values["labels"])})


def open_subject(bundle: Bundle, name: str, wanted: OpenedWith, *, half: bool = False) -> BenchTarget:
    """Open a profile, or the checkpoint in PyTorch for the name `REFERENCE`; ``half`` takes bfloat16 there.

    Where threads are named, OpenCV, which reads and crops in every row, is held to them in this process as well.
    """
    if wanted.threads:
        import cv2

        cv2.setNumThreads(wanted.threads)
    if name != REFERENCE:
        return ProfileTarget(bundle, name, wanted.labels, device=wanted.device, threads=wanted.threads)
    import torch

    from emo_edge.benchmarks.workload.reference import TorchTarget, reference_device

    return TorchTarget(
        bundle,
        Path(wanted.checkpoint),
        wanted.labels,
        device=reference_device(wanted.device, stream=wanted.stream),
        threads=wanted.threads,
        dtype=torch.bfloat16 if half else torch.float32,
        stream=wanted.stream,
    )
