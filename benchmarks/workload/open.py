"""Open the target of a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emo_edge.benchmarks.workload.config import REFERENCE
from emo_edge.benchmarks.workload.targets import NO_REFERENCE, BenchTarget, ProfileTarget, reference_profile
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import InputError

UNCACHED = "-uncached"
"""Behind the name of a profile with a question cache, measured without it."""


@dataclass(frozen=True)
class TargetOptions:
    """Options that every target of one benchmark is opened with; JSON values, for processes of their own."""

    checkpoint: str
    labels: tuple[str, ...]
    device: str = "auto"
    threads: int | None = None
    stream: bool = False
    """True keeps the checkpoint's layers on the disk."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TargetOptions:
        """Return the options that `to_json` wrote."""
        return cls(**{**values, "labels": tuple(values["labels"])})


def with_uncached(bundle: Bundle) -> Bundle:
    """Return the bundle with each profile that has a question cache a second time, without it."""
    profiles = bundle.manifest.profiles
    plain = {
        f"{name}{UNCACHED}": profile.model_copy(update={"question_cache": None, "evidence": {}})
        for name, profile in profiles.items()
        if profile.question_cache
    }
    return Bundle(bundle.directory, bundle.manifest.model_copy(update={"profiles": {**plain, **profiles}}))


def open_target(bundle: Bundle, name: str, options: TargetOptions, *, half: bool = False) -> BenchTarget:
    """Open a profile, or the checkpoint in PyTorch for the name `REFERENCE`; ``half`` takes bfloat16 there.

    The reference of a VLM in llama.cpp's files is the profile of its unquantized language model.

    Where threads are named, OpenCV, which reads and crops in every row, is held to them in this process as well.
    """
    if options.threads:
        import cv2

        cv2.setNumThreads(options.threads)
    if name != REFERENCE:
        return ProfileTarget(bundle, name, options.labels, device=options.device, threads=options.threads)
    if bundle.manifest.components.mmproj:
        profile = reference_profile(bundle)
        if profile is None:
            raise InputError(f"{bundle.directory}: {NO_REFERENCE}")
        target = ProfileTarget(bundle, profile, options.labels, device=options.device, threads=options.threads)
        target.name = REFERENCE
        return target
    import torch

    from emo_edge.benchmarks.workload.label_reference import LabelTorchTarget
    from emo_edge.benchmarks.workload.reference import TorchTarget, reference_device

    if bundle.manifest.face_labels.expression:
        return LabelTorchTarget(bundle, Path(options.checkpoint), options.labels, threads=options.threads)
    return TorchTarget(
        bundle,
        Path(options.checkpoint),
        options.labels,
        device=reference_device(options.device, stream=options.stream),
        threads=options.threads,
        dtype=torch.bfloat16 if half else torch.float32,
        stream=options.stream,
    )
