"""A network of labels in full precision as the reference's row of the benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from emo_edge.benchmarks.datasets.items import Frame
from emo_edge.benchmarks.workload.config import REFERENCE
from emo_edge.benchmarks.workload.targets import Prediction, Written
from emo_edge.bundle.face_crops import crop_face
from emo_edge.bundle.manifest import LABEL_LOGITS, VALUES
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import InputError
from emo_edge.export.reference.label_network import open_label_network
from emo_edge.inference.label_network import values_on_scale
from emo_edge.inference.probability import softmax
from emo_edge.tensors import Tensor
from emo_edge.utils.timing import Stopwatch

NO_TEXT = "a network of labels reads and writes no text"


class LabelTorchTarget:
    """The checkpoint of a network of labels, on the CPU."""

    def __init__(self, bundle: Bundle, checkpoint: Path, labels: tuple[str, ...], *, threads: int | None) -> None:
        self._threads = torch.get_num_threads()
        if threads:
            torch.set_num_threads(threads)
        self.network = open_label_network(checkpoint, threads=threads)
        self.name, self.device, self.variants = REFERENCE, "cpu", {"face": "float32"}
        self._temperature = bundle.manifest.scoring.temperature
        self._columns = [self.network.config.labels.index(label) for label in labels]

    def read(self, frames: Sequence[Frame], *, clip: bool) -> Prediction:
        """Predict the label of the frames' face; a clip takes the mean over them."""
        watch = Stopwatch()
        outputs = self._outputs(frames if clip else frames[:1], watch)
        probabilities = softmax(outputs[LABEL_LOGITS][:, self._columns] / self._temperature).mean(0)
        scales = self.network.config.values
        values = values_on_scale(outputs[VALUES], scales) if scales else {}
        return Prediction(probabilities.tolist(), watch.milliseconds, values)

    def read_faces(self, frames: Sequence[Frame]) -> None:
        """Read the face of every frame in one batch."""
        self._outputs(frames, Stopwatch())

    def write(self, frames: Sequence[Frame], question: str | None, *, clip: bool) -> Written:
        """Raise InputError: there is no language model."""
        raise InputError(NO_TEXT)

    def prefill(self, ids: Sequence[int]) -> None:
        """Raise InputError: there is no language model."""
        raise InputError(NO_TEXT)

    def tokens(self, text: str) -> list[int]:
        """Raise InputError: there is no language model."""
        raise InputError(NO_TEXT)

    @property
    def context(self) -> int:
        """No position at all."""
        return 0

    def close(self) -> None:
        """Forget the network, and give PyTorch its threads back."""
        torch.set_num_threads(self._threads)
        del self.network

    def _outputs(self, frames: Sequence[Frame], watch: Stopwatch) -> dict[str, Tensor]:
        with watch("crop"):
            crops = np.stack([crop_face(frame.image, frame.box, self.network.crop).pixels for frame in frames])
        with watch("face"):
            return self.network.graph_outputs(crops)
