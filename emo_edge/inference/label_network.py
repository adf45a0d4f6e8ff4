"""Label probabilities, and values such as valence, of a face network that gives them without a language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from emo_edge.bundle.label_sets import resolve_labels
from emo_edge.bundle.manifest import LABEL_LOGITS, VALUES, Manifest
from emo_edge.bundle.prompts import ValueRange
from emo_edge.errors import InputError
from emo_edge.inference.label_scoring import LabelQuestion, LabelScores, requested_temperature
from emo_edge.inference.probability import tempered
from emo_edge.inference.results import Request
from emo_edge.tensors import Tensor


class NetworkLabels:
    """The labels of a bundle whose face graph has the output `LABEL_LOGITS`."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    def check(self, request: Request) -> None:
        """Raise InputError for labels that the network lacks, and for what needs a language model."""
        resolve_labels(self.manifest, request.labels)
        requested_temperature(self.manifest, request)
        if request.describe or request.ask is not None or request.prior_correction:
            raise InputError(
                f"{self.manifest.name} is a network of labels: it writes no answers and has no prior of words. Leave "
                "`describe`, `ask` and `prior_correction` out, or use a bundle with a language model"
            )

    def question(self, request: Request) -> LabelQuestion:
        """Resolve a request's labels and temperature; raise InputError as `check` does."""
        self.check(request)
        labels, temperature = (
            resolve_labels(self.manifest, request.labels),
            requested_temperature(self.manifest, request),
        )
        return LabelQuestion(labels, "", temperature, prior_correction=False)

    def score(self, outputs: Mapping[str, Tensor], rows: slice, request: Request) -> LabelScores:
        """Return the labels' probabilities from the logits of ``rows``; a clip takes the mean over its frames.

        Some of the network's labels share all of the probability among themselves.
        """
        asked = self.question(request)
        columns = [self.manifest.face_labels.expression.index(label) for label in asked.labels]
        probabilities = tempered(outputs[LABEL_LOGITS][rows][:, columns], asked.temperature).mean(0)
        return LabelScores(dict(zip(asked.labels, probabilities.tolist(), strict=True)), answers={})

    def values(self, outputs: Mapping[str, Tensor], rows: slice) -> dict[str, float]:
        """Return the network's values by name; a clip takes the mean over its frames. Empty where it gives none."""
        scales = self.manifest.face_labels.values
        return values_on_scale(outputs[VALUES][rows], scales) if scales else {}


def values_on_scale(columns: Tensor, scales: Sequence[ValueRange]) -> dict[str, float]:
    """Return the mean of each column of ``columns`` [N, values] by its scale's name.

    A number a little beside its scale, as a network without a bound gives it, counts as the scale's end.
    """
    lows, highs = ([getattr(scale, end) for scale in scales] for end in ("low", "high"))
    means = np.clip(columns.astype(np.float64), lows, highs).mean(0)
    return dict(zip((scale.name for scale in scales), means.tolist(), strict=True))
