"""Calibration of a network of labels: the same graphs, gates and profiles, and no language model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_edge.assets.packaged import Sample
from emo_edge.bundle.face_crops import crop_face
from emo_edge.bundle.manifest import LABEL_LOGITS, VALUES
from emo_edge.bundle.reader import Bundle
from emo_edge.calibration.int8.component import AT_ONCE
from emo_edge.calibration.language.variants import GroundTruth
from emo_edge.calibration.samples.draw import DrawnSamples
from emo_edge.calibration.workflow.config import CalibrationConfig
from emo_edge.calibration.workflow.prepare import SEARCHED, require_known_figures, true_labels, work_folder
from emo_edge.calibration.workflow.runs import SplitSamples
from emo_edge.console.progress import Reports
from emo_edge.export.reference.label_network import AnyLabelNetwork, open_label_network
from emo_edge.inference.probability import softmax
from emo_edge.tensors import Tensor


@dataclass(frozen=True)
class LabelReference:
    """Full precision on N samples."""

    images: NDArray[np.uint8]
    """Crops [N, H, W, 3]."""
    logits: Tensor
    """[N, rows]."""
    values: Tensor | None
    """[N, values]; None of a network that gives none."""
    probabilities: NDArray[np.float64]
    """[N, labels]."""

    def first(self, count: int) -> LabelReference:
        """Return the same of the first ``count`` samples alone."""
        return replace(
            self,
            images=self.images[:count],
            logits=self.logits[:count],
            values=None if self.values is None else self.values[:count],
            probabilities=self.probabilities[:count],
        )

    def of(self, component: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the outputs and the input of the one graph there is."""
        values = {} if self.values is None else {VALUES: self.values}
        return {LABEL_LOGITS: self.logits, **values}, {"image": self.images}


@dataclass(frozen=True)
class LabelRun(SplitSamples):
    """Calibration of a network of labels, as `runs.GraphRun` describes it."""

    bundle: Bundle
    network: AnyLabelNetwork
    config: CalibrationConfig
    drawn: DrawnSamples
    reference: LabelReference
    truth: GroundTruth
    work: Path
    threads: int | None
    reports: Reports
    described: int = 0

    @cached_property
    def searched(self) -> LabelReference:
        """Full precision on the samples that plans are chosen on."""
        return _reference(self.network, self.collected[:SEARCHED], self.config.labels)

    def probabilities_with(
        self, reference: LabelReference, component: str, outputs: Mapping[str, Tensor]
    ) -> NDArray[np.float64]:
        """Label distributions of a graph's logits."""
        return _probabilities(self.network, outputs[LABEL_LOGITS], self.config.labels)

    def images(self, component: str) -> Iterator[Tensor]:
        """Yield the collected samples' crops, uint8 [n, H, W, 3], a batch at a time."""
        return _crops(self.network, self.collected)

    def question(self, count: int) -> dict[str, Tensor]:
        """Return nothing: no graph reads a question."""
        return {}


def label_run(
    bundle: Bundle,
    checkpoint: Path,
    drawn: DrawnSamples,
    config: CalibrationConfig,
    threads: int | None,
    reports: Reports,
) -> LabelRun:
    """Run full precision on the measured samples; arguments and errors as of `prepare.prepared_run`."""
    network = open_label_network(checkpoint)
    measured = drawn.split(config.collect)[1]
    known = true_labels(measured, config.labels, network.config.label_sets[config.labels])
    reference = _reference(network, measured, config.labels)
    truth = GroundTruth(reference.probabilities, known)
    require_known_figures(config, truth, bundle.manifest)
    work = work_folder(checkpoint, drawn, config, threads)
    return LabelRun(bundle, network, config, drawn, reference, truth, work, threads, reports)


def _reference(network: AnyLabelNetwork, samples: Sequence[Sample], label_set: str) -> LabelReference:
    images = np.concatenate(list(_crops(network, samples)))
    parts = [network.graph_outputs(images[start : start + AT_ONCE]) for start in range(0, len(images), AT_ONCE)]
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    logits = outputs[LABEL_LOGITS]
    return LabelReference(images, logits, outputs.get(VALUES), _probabilities(network, logits, label_set))


def _crops(network: AnyLabelNetwork, samples: Sequence[Sample]) -> Iterator[Tensor]:
    for start in range(0, len(samples), AT_ONCE):
        part = samples[start : start + AT_ONCE]
        yield np.stack([crop_face(sample.image, sample.box, network.crop).pixels for sample in part])


def _probabilities(network: AnyLabelNetwork, logits: Tensor, label_set: str) -> NDArray[np.float64]:
    config = network.config
    columns = [config.labels.index(label) for label in config.label_sets[label_set]]
    return softmax(logits[:, columns] / config.temperature)
