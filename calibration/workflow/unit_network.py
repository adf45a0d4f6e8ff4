"""Calibration of a network of action units alone: its graph in INT8, behind gates on decisions about units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_edge.assets.packaged import Sample
from emo_edge.bundle.face_crops import crop_face
from emo_edge.bundle.manifest import UNIT_PRESENCE
from emo_edge.bundle.reader import Bundle
from emo_edge.calibration.int8.component import AT_ONCE
from emo_edge.calibration.language.variants import GroundTruth
from emo_edge.calibration.samples.draw import DrawnSamples
from emo_edge.calibration.workflow.config import CalibrationConfig
from emo_edge.calibration.workflow.prepare import SEARCHED, work_folder
from emo_edge.calibration.workflow.runs import SplitSamples
from emo_edge.console.progress import Reports
from emo_edge.export.reference.face_network import AuNetwork
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.action_units import unit_name
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.metrics.unit_agreement import unit_agreement
from emo_edge.tensors import Tensor

CLIP = 1e-12
"""A probability's distance from 0 and 1, so that its logit is finite."""


@dataclass(frozen=True)
class UnitReference:
    """Full precision on N samples."""

    images: NDArray[np.uint8]
    """Crops [N, H, W, 3]."""
    outputs: dict[str, Tensor]
    """By the graph's names, [N, units] each."""

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Label distributions [N, 0]: there is no label."""
        return np.zeros((len(self.images), 0))

    def first(self, count: int) -> UnitReference:
        """Return the same of the first ``count`` samples alone."""
        outputs = {name: value[:count] for name, value in self.outputs.items()}
        return replace(self, images=self.images[:count], outputs=outputs)

    def of(self, component: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the outputs and the input of the one graph there is."""
        return self.outputs, {"image": self.images}


@dataclass(frozen=True)
class UnitRun(SplitSamples):
    """Calibration of a network of action units, as `runs.GraphRun` describes it."""

    bundle: Bundle
    network: AuNetwork
    config: CalibrationConfig
    drawn: DrawnSamples
    reference: UnitReference
    work: Path
    threads: int | None
    reports: Reports
    described: int = 0

    @property
    def truth(self) -> GroundTruth:
        """Baseline without labels."""
        return GroundTruth(self.reference.probabilities, None)

    @cached_property
    def searched(self) -> UnitReference:
        """Full precision on the samples that plans are chosen on."""
        return _reference(self.network, self.collected[:SEARCHED])

    def probabilities_with(self, reference: UnitReference, component: str, outputs: Mapping[str, Tensor]) -> None:
        """Return nothing: no label follows from action units."""

    def images(self, component: str) -> Iterator[Tensor]:
        """Yield the collected samples' crops, uint8 [n, H, W, 3], a batch at a time."""
        return _crops(self.network, self.collected)

    def question(self, count: int) -> dict[str, Tensor]:
        """Return nothing: no graph reads a question."""
        return {}

    def chain_evidence(self, draft: Bundle, name: str) -> dict[str, float]:
        """Read the measured samples with a profile, picture to units, and compare its decisions."""
        thresholds = self.network.config.network.active_from
        names = [unit_name(unit) for unit in self.network.config.network.units]
        progress, rows = self.reports.of(f"profile {name}"), []
        with EmotionPipeline.open(
            draft, device="cpu", profile=name, detector=WholeImage(), threads=self.threads
        ) as pipeline:
            for sample in self.measured:
                units = pipeline.read(sample.image, boxes=[sample.box] if sample.box else None)[0].action_units
                rows.append([units[unit].presence for unit in names])
                progress(len(rows), len(self.measured))
        presence = np.clip(np.array(rows), CLIP, 1 - CLIP)
        logits = np.log(presence / (1 - presence))
        return unit_agreement(self.reference.outputs[UNIT_PRESENCE], logits, thresholds)


def unit_run(
    bundle: Bundle,
    checkpoint: Path,
    drawn: DrawnSamples,
    config: CalibrationConfig,
    threads: int | None,
    reports: Reports,
) -> UnitRun:
    """Run full precision on the measured samples; arguments as of `prepare.prepared_run`."""
    network = AuNetwork.from_pretrained(checkpoint)
    reference = _reference(network, drawn.split(config.collect)[1])
    work = work_folder(checkpoint, drawn, config, threads)
    return UnitRun(bundle, network, config, drawn, reference, work, threads, reports)


def _reference(network: AuNetwork, samples: Sequence[Sample]) -> UnitReference:
    images = np.concatenate(list(_crops(network, samples)))
    parts = [network.graph_outputs(images[start : start + AT_ONCE]) for start in range(0, len(images), AT_ONCE)]
    return UnitReference(images, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _crops(network: AuNetwork, samples: Sequence[Sample]) -> Iterator[Tensor]:
    for start in range(0, len(samples), AT_ONCE):
        part = samples[start : start + AT_ONCE]
        yield np.stack([crop_face(sample.image, sample.box, network.crop).pixels for sample in part])
