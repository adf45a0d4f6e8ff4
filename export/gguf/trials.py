"""A checkpoint's language model, written in any type and scored on the prompts of the PyTorch reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.gguf_types import UNQUANTIZED
from emo_edge.console.progress import Progress
from emo_edge.export.configs.networks import LanguageConfig
from emo_edge.export.gguf.quantize import quantize_gguf
from emo_edge.export.gguf.writer import gguf_from_checkpoint, lossless_type
from emo_edge.export.reference.answers import DESCRIPTION, AnsweredPrompts
from emo_edge.export.reference.outputs import Reference
from emo_edge.inference.probability import softmax
from emo_edge.runtimes.base.sessions import LanguageSession
from emo_edge.runtimes.llama_cpp.session import LlamaSession


class LanguageTrials:
    """Writes GGUF files of one language model and measures them against the reference."""

    def __init__(
        self, source: Path, config: LanguageConfig, reference: Reference, answered: AnsweredPrompts, threads: int | None
    ) -> None:
        """Take the baseline of the measurements.

        Args:
            source: the unquantized file that the others are quantized from: see `unrounded_gguf`.
            config: of the language model.
            reference: PyTorch's outputs for the samples.
            answered: prompts with the reference's answers, for `answer_log_prob` and `descriptions`.
            threads: of llama.cpp; None leaves it to it.
        """
        self.source, self.config, self.threads = source, config, threads
        self.reference, self.answered = reference, answered

    def make(
        self, target: Path, file_type: str, importance: Path | None = None, types: Mapping[str, str] | None = None
    ) -> None:
        """Write one file; arguments as of `quantize_gguf`."""
        quantize_gguf(self.source, target, file_type, importance=importance, types=types, known_finite=True)

    def probabilities(self, path: Path, file_type: str, samples: int | None = None) -> NDArray[np.float64]:
        """Label distributions of a file on the reference's prompts, or on the first ``samples``: [N, labels]."""
        with self._opened(path, file_type) as session:
            return softmax(label_scores(session, self.reference, samples=samples))

    def answer_log_prob(self, path: Path, file_type: str) -> float:
        """Mean log-probability that a file gives each token of the reference's answers; minus it is log-perplexity."""
        with self._opened(path, file_type) as session:
            return answer_log_prob(session, self.answered)

    def descriptions(self, path: Path, file_type: str) -> list[str]:
        """Let a file describe the pictures that the reference described."""
        texts = []
        with self._opened(path, file_type) as session:
            for prompt in self.answered.described:
                session.prefill([prompt])
                texts.append("".join(session.generate(DESCRIPTION)))
        return texts

    def _opened(self, path: Path, file_type: str) -> LlamaSession:
        size, exact = self.config.max_position_embeddings, file_type in UNQUANTIZED
        return LlamaSession(path, context_size=size, exact_cache=exact, threads=self.threads)


def unrounded_gguf(checkpoint: Path, config: LanguageConfig, work: Path) -> Path:
    """Write the language model in the smallest type that rounds nothing, replacing a file of that name in ``work``."""
    file_type = lossless_type(checkpoint)
    path = work / f"source-{file_type}.gguf"
    path.unlink(missing_ok=True)
    return gguf_from_checkpoint(checkpoint, config, path, file_type=file_type, name="source")


def label_scores(
    session: LanguageSession,
    reference: Reference,
    *,
    samples: int | None = None,
    progress: Progress = lambda done, total: None,
) -> NDArray[np.float64]:
    """Log-probability of each label after the reference's own embedded prompts: [N, labels]."""
    scores: list[Sequence[float]] = []
    prompts = reference.prompts[:samples]
    for prompt in prompts:
        session.prefill([prompt])
        scores.append([float(tokens.sum()) for tokens in session.score(reference.branches)])
        progress(len(scores), len(prompts))
    return np.array(scores)


def answer_log_prob(session: LanguageSession, answered: AnsweredPrompts) -> float:
    """Mean log-probability of every token of the answers after their prompts."""
    log_probs = []
    for prompt, answer in zip(answered.prompts, answered.answers, strict=True):
        session.prefill([np.ascontiguousarray(prompt.float().cpu().numpy())])
        log_probs.append(session.score([answer])[0])
    return float(np.concatenate(log_probs).mean())
