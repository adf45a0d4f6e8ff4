"""Inputs of the stages, and the bundle's own engines as contenders: ONNX Runtime, TensorRT, llama.cpp."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, cycle, islice

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.device_speed.rounds import Call, Contender, Outputs, SessionCache
from emo_edge.bundle.label_sets import ask_for_labels
from emo_edge.bundle.manifest import FACE_TOKENS, OUTPUTS, PARTS, GraphComponent
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import AccuracyGateError, InputError
from emo_edge.inference.probability import softmax
from emo_edge.inference.prompt_layout import Prompt, demographics_of, frame_tokens
from emo_edge.runtimes.base.sessions import LanguageSession, TensorSession
from emo_edge.runtimes.loading.engines import GraphOpener, open_language
from emo_edge.runtimes.loading.reference_feeds import ReferenceFeeds
from emo_edge.tensors import Tensor

DECODED = 16
"""Tokens read one after the other in a call."""
ENGINES = {"cpu": "ONNX Runtime", "openvino": "OpenVINO", "cuda": "ONNX Runtime", "tensorrt": "TensorRT"}
LANGUAGE_ENGINE = "llama.cpp"


@dataclass(frozen=True)
class Question:
    """One question about one face."""

    prompt: Prompt
    labels: tuple[str, ...]
    frames: NDArray[np.float32]
    """Its visual tokens [T, E]."""

    def forced(self, branches: Sequence[Sequence[int]]) -> list[int]:
        """Return the tokens that are read behind the prompt: those of the labels, again and again."""
        return list(islice(cycle(chain.from_iterable(branches)), DECODED))


class StageInputs:
    """The packaged drawings as inputs of a bundle's stages; outputs that feed a later stage come from the CPU."""

    def __init__(self, bundle: Bundle, faces: int, threads: int | None) -> None:
        self.bundle, self._feeds = bundle, ReferenceFeeds(bundle, threads, faces)
        self.parts = list(bundle.manifest.components.graphs())

    def feed(self, part: str) -> dict[str, Tensor]:
        """Return the inputs of a graph."""
        return self._feeds.feed(part)

    def question(self) -> Question:
        """Put the first face's tokens and the trained question together, with the first label set."""
        manifest = self.bundle.manifest
        labels = next(iter(manifest.label_sets.values()))
        face = self._first("face") if manifest.components.face else {}
        tokens = frame_tokens(manifest, self._first("connector")["visual_tokens"], face.get(FACE_TOKENS))
        demographics = manifest.prompt.use_demographics and face.keys() >= OUTPUTS["face"]
        sentence = demographics_of(manifest, face, slice(0, 1), clip=False) if demographics else ""
        return Question(Prompt(manifest, ask_for_labels(manifest, labels, clip=False), sentence), labels, tokens)

    def _first(self, part: str) -> dict[str, Tensor]:
        component = self.bundle.manifest.components.graph(part)
        outputs = self._feeds.expected(part, next(iter(component.variants)))
        return {name: value[:1] for name, value in outputs.items()}


def chosen_variants(bundle: Bundle, requested: Collection[str]) -> dict[str, list[str]]:
    """List each component's variants, or the ``requested`` ones; raise InputError for one that no component has."""
    parts = {part: bundle.manifest.components.get(part) for part in PARTS}
    present = {part: list(component.variants) for part, component in parts.items() if component is not None}
    unknown = set(requested) - set(chain.from_iterable(present.values()))
    if unknown:
        known = ", ".join(dict.fromkeys(chain.from_iterable(present.values())))
        raise InputError(f"no variant {', '.join(sorted(unknown))} in this bundle; there are: {known}")
    return {part: [name for name in names if not requested or name in requested] for part, names in present.items()}


def graph_contenders(
    opener: GraphOpener, inputs: StageInputs, part: str, device: str, variants: Sequence[str], sessions: SessionCache
) -> list[Contender]:
    """Return a graph's variants on one device."""
    component, feed = inputs.bundle.manifest.components.graph(part), inputs.feed(part)

    def opened(variant: str) -> Call:
        session = sessions.get((device, variant), lambda: _opened(opener, part, component, variant))
        return Call(partial(session.run, feed))

    return [Contender(ENGINES[device], device, variant, partial(opened, variant)) for variant in variants]


def _opened(opener: GraphOpener, part: str, component: GraphComponent, variant: str) -> TensorSession:
    session, opened = opener(part, component, variant)
    if opened != variant:
        session.close()
        raise AccuracyGateError(
            f"its engine was refused, as the log says; {opened}, which is used instead, has its own row"
        )
    return session


def language_contenders(
    bundle: Bundle,
    stage: str,
    processor: str,
    variants: Sequence[str],
    question: Question,
    threads: int | None,
    sessions: SessionCache,
) -> list[Contender]:
    """Return the language model's variants for ``prefill``, ``labels`` or ``decode`` on ``cpu`` or ``cuda``."""
    language = bundle.manifest.components.language
    if language is None:
        return []

    def opened(variant: str) -> Call:
        session = sessions.get(
            (processor, variant), lambda: open_language(bundle, language, variant, processor, threads)
        )
        return language_call(session, stage, question)

    return [Contender(LANGUAGE_ENGINE, processor, variant, partial(opened, variant)) for variant in variants]


def language_call(session: LanguageSession, stage: str, question: Question) -> Call:
    """Return a stage of the language model; nothing of the prompt is known from the call before.

    ``labels`` is all from the prompt's embeddings to the distribution, so it holds a prefill of its own.
    """
    prompt, branches = (
        question.prompt.chunks(session, [question.frames]),
        question.prompt.branches(session, question.labels),
    )
    forced, length = question.forced(branches), sum(len(chunk) for chunk in prompt)

    def forget() -> None:
        session.prefill([[branches[0][0]]])

    def prefill() -> None:
        session.prefill(prompt)

    def labels() -> Outputs:
        session.prefill(prompt)
        return {"probabilities": softmax(np.array([float(scores.sum()) for scores in session.score(branches)]))[None]}

    def decode() -> None:
        for count in range(1, len(forced) + 1):
            # A prompt that is one token longer computes that token alone, as decoding does.
            session.prefill([*prompt, forced[:count]])

    calls: Mapping[str, Callable[[], Call]] = {
        "prefill": lambda: Call(prefill, forget, positions=length),
        "labels": lambda: Call(labels, forget, positions=length),
        "decode": lambda: Call(decode, prefill, DECODED, length),
    }
    return calls[stage]()
