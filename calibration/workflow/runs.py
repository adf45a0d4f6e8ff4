"""Parts of a calibration that do not depend on the model: its samples, and what graphs, profiles and report need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emo_edge.assets.packaged import Sample
from emo_edge.bundle.reader import Bundle
from emo_edge.calibration.language.variants import GroundTruth
from emo_edge.calibration.samples.draw import DrawnSamples
from emo_edge.calibration.workflow.config import CalibrationConfig
from emo_edge.console.progress import Reports
from emo_edge.tensors import Tensor


class SplitSamples:
    """Base of a run: the two parts of its samples; no picture is in both."""

    drawn: DrawnSamples
    config: CalibrationConfig

    @property
    def collected(self) -> Sequence[Sample]:
        """Samples for statistics, ranges, plans and searches."""
        return self.drawn.split(self.config.collect)[0]

    @property
    def measured(self) -> Sequence[Sample]:
        """Other samples, for every figure."""
        return self.drawn.split(self.config.collect)[1]


class GraphReference(Protocol):
    """Full precision on N samples: inputs and outputs of each graph, and the labels at the end."""

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Label distributions [N, labels]."""

    def first(self, count: int) -> Any:
        """Return the same of the first ``count`` samples alone."""

    def of(self, component: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the outputs and the inputs of one graph component, by the graph's names."""


class GraphRun(Protocol):
    """A calibration as its graphs see it."""

    @property
    def bundle(self) -> Bundle:
        """Bundle that is calibrated."""

    @property
    def config(self) -> CalibrationConfig:
        """Variants to make."""

    @property
    def drawn(self) -> DrawnSamples:
        """Samples and those that were skipped."""

    @property
    def reference(self) -> GraphReference:
        """Full precision on the measured samples."""

    @property
    def searched(self) -> GraphReference:
        """Full precision on the samples that plans are chosen on."""

    @property
    def collected(self) -> Sequence[Sample]:
        """Samples for statistics, ranges and searches."""

    @property
    def measured(self) -> Sequence[Sample]:
        """Other samples, for every figure."""

    @property
    def truth(self) -> GroundTruth:
        """Baseline of the measured samples."""

    @property
    def described(self) -> int:
        """Number of measured samples that are described, too."""

    @property
    def work(self) -> Path:
        """Folder of partial results."""

    @property
    def threads(self) -> int | None:
        """Threads of each engine."""

    @property
    def reports(self) -> Reports:
        """Reports of every step."""

    def probabilities_with(
        self, reference: Any, component: str, outputs: Mapping[str, Tensor]
    ) -> NDArray[np.float64] | None:
        """Label distributions [N, labels] of a reference with one graph's outputs in place of its own."""

    def images(self, component: str) -> Iterator[Tensor]:
        """Yield the collected samples' crops for a network, uint8 [n, H, W, 3], a batch at a time."""

    def question(self, count: int) -> dict[str, Tensor]:
        """Return what a connector reads besides the features of ``count`` frames."""
