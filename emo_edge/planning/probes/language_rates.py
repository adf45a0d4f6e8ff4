"""Measure llama.cpp on this machine: rates of one token and of batches, and the scoring of labels."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.gguf_header import read_gguf_header
from emo_edge.bundle.gguf_types import UNQUANTIZED_NUMBERS
from emo_edge.inference.prompt_layout import label_branches
from emo_edge.planning.cost.work import KINDS
from emo_edge.planning.probes import timing
from emo_edge.planning.probes.language import F16, VOCABULARY, LanguageProbe
from emo_edge.planning.probes.timing import median_seconds
from emo_edge.planning.roofline import Curve, Engine, Speed
from emo_edge.runtimes.base.sessions import LanguageSession, Sampling
from emo_edge.runtimes.loading.device_choice import LANGUAGE_RUNTIMES, runtime

SMALL, LARGE = (256, 512), (2048, 5632)
"""Width and feed-forward width of the language models: a toy's, and TinyLlama-1.1B's."""
LAYERS = (2, 6)
"""Of the small models, so that a layer's time differs from the call's."""
FEW, MANY = 9, 61
"""Rows of a short and of a long batch; no powers of two, which take a fifth less than their neighbours in q4_k_m."""
CONTEXT = 256
FIRST_TOKEN = 5
ANSWERS, WRITTEN = 50, 24
"""Answers that are timed, fewer where they take longer than `timing.LONGEST_S`, and tokens of each."""
TEXT = 2 * "What is the facial expression of the person in the image? Choose one of the following: "
LABELS = "abcdefg"
"""As many as a list of emotions has, each of one token."""
SOFTMAX_VALUES = 32000


@dataclass(frozen=True)
class LanguageTimes:
    """A language model's seconds for one token, few rows and many rows, and the bytes of a layer."""

    token: float
    few: float
    many: float
    layer_bytes: float
    outputs: float
    """Bytes of the output matrix, in layers."""


def language_engine(directory: Path, file_type: int, device: str, threads: int | None) -> Engine:
    """Measure one file type: rates of one token and of batches, of small layers and of large ones."""
    first, last = (_times(directory, LanguageProbe(*SMALL, layers, file_type), device, threads) for layers in LAYERS)
    probe = LanguageProbe(*LARGE, LAYERS[0], file_type)
    large, layers = _times(directory, probe, device, threads), LAYERS[1] - LAYERS[0]

    def layer(short: float, long: float) -> float:
        # Never below a quarter of the whole: noise may make the short one slower.
        return max((long - short) / layers, long / (4 * LAYERS[1]))

    token = layer(first.token, last.token)
    # The output matrix is read for each token, as the layers are; what a call takes is the rest.
    call = max(first.token - (LAYERS[0] + first.outputs) * token, 0.0)
    alone = max(large.token - call, large.token / 2) / (LAYERS[0] + large.outputs)
    memory = _curve((first.layer_bytes, token), (large.layer_bytes, alone))
    small = 2.0 * LanguageProbe(*SMALL, 1, file_type).layer_parameters
    compute = _curve(
        (small, token),
        (FEW * small, layer(first.few, last.few)),
        (MANY * small, layer(first.many, last.many)),
        (MANY * 2.0 * probe.layer_parameters, max(large.many - call, large.many / 2) / LAYERS[0]),
    )
    speed = Speed({"fp32": compute}, dict.fromkeys(KINDS, memory), 0.0, call)
    return Engine(speed, speed)


def label_seconds(directory: Path) -> float:
    """Measure the scoring of one label of one token, whose text the session knows, without the softmax."""
    path = LanguageProbe(*SMALL, 1, F16).write(directory / "probe.gguf")
    with runtime(LANGUAGE_RUNTIMES["gguf"])(path, context_size=CONTEXT, threads=1) as session:
        tokens = count(FIRST_TOKEN)

        def prefill() -> None:
            session.prefill([[next(tokens) % VOCABULARY] * FEW])

        def score() -> NDArray[np.float64]:
            scores = session.score(label_branches(session, TEXT, LABELS))
            return np.array([float(branch.sum()) for branch in scores])

        return max(median_seconds(score, prefill) - VOCABULARY * softmax_seconds(), 0.0) / len(LABELS)


def softmax_seconds() -> float:
    """Measure a session's softmax for one logit, in float64 as there."""
    logits = np.random.default_rng(0).standard_normal(SOFTMAX_VALUES).astype(np.float32)

    def softmax() -> None:
        shifted = logits.astype(np.float64) - logits.max()
        shifted -= np.log(np.exp(shifted).sum())

    return median_seconds(softmax) / SOFTMAX_VALUES


def _curve(*points: tuple[float, float]) -> Curve:
    """Turn sizes and their seconds into rates."""
    return Curve(tuple((size, size / seconds) for size, seconds in sorted(points)))


def _times(directory: Path, probe: LanguageProbe, device: str, threads: int | None) -> LanguageTimes:
    path = probe.write(directory / "probe.gguf")
    session_class = runtime(LANGUAGE_RUNTIMES["gguf"])
    layers = -1 if device == "cuda" else 0
    # As `open_engines` has it: an unquantized model keeps its attention cache in float32, without flash attention.
    exact = probe.file_type in UNQUANTIZED_NUMBERS
    with session_class(path, context_size=CONTEXT, threads=threads, gpu_layers=layers, exact_cache=exact) as session:
        tokens = count(FIRST_TOKEN)

        def batch_seconds(rows: int) -> float:
            # Another first token each time, so that nothing of the prompt before is kept.
            return median_seconds(lambda: session.prefill([[next(tokens) % VOCABULARY, *range(1, rows)]]))

        few, many = batch_seconds(FEW), batch_seconds(MANY)
        token = _token_seconds(session)
    header = read_gguf_header(path)
    return LanguageTimes(token, few, many, header.layer_bytes, header.output_bytes / header.layer_bytes)


def _token_seconds(session: LanguageSession) -> float:
    """Measure one token of an answer, in warm caches as it is there."""
    session.prefill([[FIRST_TOKEN] * FEW])
    steps: list[float] = []
    started = time.perf_counter()
    for _ in range(ANSWERS):
        if steps and time.perf_counter() - started > timing.LONGEST_S:
            break
        moments = [time.perf_counter() for _ in session.generate(Sampling(max_new_tokens=WRITTEN))]
        steps += np.diff(moments).tolist()
    if len(steps) >= WRITTEN // 4:
        return float(np.median(steps))
    # Random weights ended the answer: the second token of a branch is one row, too.
    return median_seconds(lambda: session.score([[FIRST_TOKEN, FIRST_TOKEN]]))
