"""Inputs that engines are compared on, cut from the packaged drawings, and their outputs on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from emo_edge.assets.packaged import Sample, packaged_samples
from emo_edge.bundle.face_crops import CropSettings, crop_face
from emo_edge.bundle.label_sets import ask_for_labels
from emo_edge.bundle.manifest import QUESTION_INPUT, SELECTION, GraphComponent
from emo_edge.bundle.question_tokenizer import open_questions
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import BundleError
from emo_edge.runtimes.loading.device_choice import TENSOR_RUNTIMES, runtime
from emo_edge.tensors import Tensor

SAMPLES = 7
"""One drawing of each expression."""


class ReferenceFeeds:
    """Feeds of each graph and ONNX Runtime's answers on the CPU, computed when first asked for."""

    def __init__(self, bundle: Bundle, threads: int | None = None, samples: int = SAMPLES) -> None:
        self._bundle, self._threads, self._samples = bundle, threads, samples
        self._expected: dict[tuple[str, str], dict[str, Tensor]] = {}

    def feed(self, part: str) -> dict[str, Tensor]:
        """Return the inputs of the graph ``part`` for the drawings, by name."""
        settings = self._bundle.manifest.preprocessing
        if part == "connector":
            return self._connector_feed()
        crops = {"vision": settings.vision, "face": settings.face, "au": settings.au}
        return {"image": self._images(crops[part])}

    def expected(self, part: str, variant: str) -> dict[str, Tensor]:
        """Compute the outputs of the graph on the CPU; the engine that computed them is closed.

        Raises BundleError for outputs that are not finite: no engine can be compared with them.
        """
        if (part, variant) not in self._expected:
            component = self._bundle.manifest.components.graph(part)
            feed = self.feed(part)
            with self._cpu_session(component, variant) as session:
                outputs = session.run(feed)
            wrong = [name for name, values in outputs.items() if not np.isfinite(values).all()]
            if wrong:
                raise BundleError(
                    f"{self._bundle.directory}: the {part} graph, {variant}, computes values on cpu that are not "
                    f"finite ({', '.join(wrong)}): export the bundle again, or ask who made it"
                )
            self._expected[part, variant] = outputs
        return self._expected[part, variant]

    def sources(self, part: str) -> list[str]:
        """List the sha256 of the files that make the feed of a graph, its own left out."""
        if part != "connector":
            return []
        manifest = self._bundle.manifest
        variants = manifest.components.graph("vision").variants.values()
        files = [file for variant in variants for file in variant.files]
        files += [manifest.question_tokenizer] if manifest.question_tokenizer else []
        return [file.sha256 for file in files]

    def _cpu_session(self, component: GraphComponent, variant: str) -> Any:
        inputs, outputs = ([contract.spec() for contract in side] for side in (component.inputs, component.outputs))
        path = self._bundle.files(component.variants[variant])[0]
        return runtime(TENSOR_RUNTIMES["onnx"])(path, inputs, outputs, device="cpu", threads=self._threads)

    def _images(self, settings: CropSettings | None) -> Tensor:
        if settings is None:
            raise ValueError("the bundle has no such graph")
        return np.stack([_crop(sample, settings) for sample in packaged_samples(self._samples)])

    def _connector_feed(self) -> dict[str, Tensor]:
        """Return features of the vision net and the bundle's own question."""
        manifest = self._bundle.manifest
        vision, connector = manifest.components.vision, manifest.components.connector
        assert vision is not None and connector is not None
        # Features that are there already do; else the smallest file makes them, where memory is short.
        known = [variant for part, variant in self._expected if part == "vision"]
        sizes = {name: sum(file.size for file in variant.files) for name, variant in vision.variants.items()}
        chosen = known[0] if known else min(sizes, key=lambda name: sizes[name])
        feed: dict[str, Tensor] = {
            name: value for name, value in self.expected("vision", chosen).items() if name in {"features", *SELECTION}
        }
        questions = open_questions(self._bundle)
        if questions:
            question = ask_for_labels(manifest, next(iter(manifest.label_sets.values())), clip=False)
            ids = np.array([questions.encode(question)] * self._samples, np.int64)
            feed |= {QUESTION_INPUT: ids, "question_mask": np.ones_like(ids)}
        return feed


def _crop(sample: Sample, settings: CropSettings) -> Tensor:
    image = sample.image
    box = sample.box or (0.0, 0.0, float(image.shape[1]), float(image.shape[0]))
    return crop_face(image, box, settings).pixels
