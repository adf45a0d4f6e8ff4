"""The bundle's unquantized language model on the samples: label distributions, and the statistics of its matrices."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_edge.assets.packaged import Sample
from emo_edge.bundle.gguf_types import UNQUANTIZED
from emo_edge.bundle.imatrix_file import Imatrix
from emo_edge.bundle.manifest import Profile
from emo_edge.bundle.reader import Bundle
from emo_edge.console.progress import Progress
from emo_edge.errors import InputError
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request
from emo_edge.runtimes.llama_cpp.matmul_inputs import MatmulInputs
from emo_edge.runtimes.llama_cpp.session import LlamaSession
from emo_edge.runtimes.loading.engines import Engines, PictureChain
from emo_edge.runtimes.mtmd.encoder import MtmdEncoder
from emo_edge.runtimes.mtmd.proof import prove_bundle


@dataclass(frozen=True)
class VlmReference:
    """A bundle's unquantized language model."""

    bundle: Bundle
    name: str
    """Of its profile."""
    profile: Profile
    model: Path

    @classmethod
    def of(cls, bundle: Bundle) -> VlmReference:
        """Find it; raise InputError for a bundle without one."""
        manifest, language = bundle.manifest, bundle.manifest.components.language
        for name, profile in manifest.profiles.items():
            if language is not None and profile.language in UNQUANTIZED:
                return cls(bundle, name, profile, bundle.files(language.variants[profile.language])[0])
        raise InputError(
            f"{bundle.directory}: no unquantized language model to quantize: import it again with emo-edge import gguf "
            "--reference"
        )

    def statistics(
        self, samples: Sequence[Sample], labels: str, dataset: str, threads: int | None, progress: Progress
    ) -> Imatrix:
        """Read samples and collect the statistics of every matrix of a layer, prompt and picture alike."""
        observer = MatmulInputs()
        with ExitStack() as stack:
            pipeline = stack.enter_context(self._pipeline(observer, threads))
            observer.recording = True
            for done, sample in enumerate(samples):
                progress(done, len(samples))
                pipeline.read(sample.image, Request(labels=labels), boxes=[sample.box] if sample.box else None)
        observer.require_sound()
        sums = {name: np.asarray(row, np.float32) for name, row in observer.sums.items()}
        return Imatrix(sums, observer.counts, len(samples), (dataset,))

    def _pipeline(self, observer: MatmulInputs, threads: int | None) -> EmotionPipeline:
        parts = self.bundle.manifest.components
        assert parts.language is not None and parts.mmproj is not None and self.profile.vision is not None
        prove_bundle(self.bundle, self.profile.language, self.profile.vision)
        language = LlamaSession(
            self.model, context_size=parts.language.context_size, threads=threads, exact_cache=True, observer=observer
        )
        mmproj = self.bundle.files(parts.mmproj.variants[self.profile.vision])[0]
        pictures = MtmdEncoder(mmproj, language, threads=threads, exact=True)
        engines = Engines(self.name, self.profile, "cpu", None, PictureChain(pictures, language))
        return EmotionPipeline(self.bundle, engines, WholeImage())


def label_scores(
    bundle: Bundle, profile: str, samples: Sequence[Sample], labels: str, *, prior: bool, threads: int | None
) -> NDArray[np.float64]:
    """Return the log-probabilities [N, labels] of a profile at temperature 1, with or without prior correction."""
    request, rows = Request(labels=labels, temperature=1.0, prior_correction=prior), []
    opened = EmotionPipeline.open(bundle, device="cpu", profile=profile, detector=WholeImage(), threads=threads)
    with opened as pipeline:
        for sample in samples:
            result = pipeline.read(sample.image, request, boxes=[sample.box] if sample.box else None)[0]
            rows.append(list(result.probabilities.values()))
    return np.asarray(np.log(np.maximum(np.array(rows), np.finfo(np.float64).tiny)), np.float64)
