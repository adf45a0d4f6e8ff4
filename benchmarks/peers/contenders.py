"""Contenders of `emo_edge.benchmarks.peers.run`, each in a process of its own: open, warm up, time some calls.

A process each, because the memory does not hold two models of seven billion weights.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from emo_edge.assets.packaged import packaged_samples
from emo_edge.benchmarks.measure.timing import timed_ms
from emo_edge.bundle.gguf_header import read_gguf_header
from emo_edge.bundle.label_sets import ask_for_labels, resolve_labels
from emo_edge.bundle.manifest import GraphComponent
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import EmoEdgeError, InputError
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.media.crops import Image
from emo_edge.runtimes.base.sessions import LanguageSession, Sampling
from emo_edge.runtimes.loading.device_choice import LANGUAGE_RUNTIMES, runtime
from emo_edge.runtimes.loading.engines import Engines, GraphOpener, LanguageChain, open_engines, open_language
from emo_edge.runtimes.loading.reference_feeds import ReferenceFeeds
from emo_edge.telemetry import open_onnxruntime
from emo_edge.tensors import Tensor
from emo_edge.utils.native_paths import native_path

LABELS = "rafdb7"
ANSWER = 3
"""Tokens of an answer that is generated: LLaMA's tokenizer cuts most words for emotions in two, and the answer ends."""
PLAIN = 300
"""First token that is text for sure: those before are control tokens and bytes."""
LINES_SHOWN = 10


@dataclass(frozen=True)
class Timed:
    """Times of one contender, call by call after the first, which does not count."""

    ms: list[float]
    facts: dict[str, Any] = field(default_factory=dict)


def our_readings(bundle: Path, device: str, profile: str | None, threads: int | None, calls: int) -> Timed:
    """Read two drawings alternately, each as one face; the facts hold the fraction of time outside the engines."""
    opened = Bundle.open(bundle)
    engines = open_engines(opened, profile=profile, device=device, threads=threads)
    clock = _EngineClock()
    with EmotionPipeline(opened, clock.engines(engines), WholeImage()) as pipeline:
        images, outside, ms = _images(), [], []
        for index in range(1 + calls):
            clock.ms = 0.0
            took = timed_ms(partial(pipeline.read, images[index % 2]))
            if index:
                ms.append(took)
                outside.append((took - clock.ms) / took)
        facts = {"profile": engines.profile_name, **engines.variants(), "outside": float(np.median(outside))}
    return Timed(ms, facts)


class _EngineClock:
    """Adds up the time inside engines."""

    def __init__(self) -> None:
        self.ms = 0.0

    def engines(self, engines: Engines) -> Engines:
        """Return the same engines with every computing call timed; raise InputError without a language model."""
        chain = engines.chain
        if not isinstance(chain, LanguageChain):
            raise InputError("only a bundle of graphs and a language model is set beside its peers")
        vision, connector, language = (self._timed(part) for part in (chain.vision, chain.connector, chain.language))
        face = None if engines.face is None else self._timed(engines.face)
        return replace(engines, face=face, chain=LanguageChain(vision, connector, language))

    def _timed(self, session: Any) -> Any:
        return _TimedSession(session, self)


class _TimedSession:
    """A session as it is, but for the clock around the calls that compute."""

    COMPUTING = ("run", "prefill", "score")

    def __init__(self, session: Any, clock: _EngineClock) -> None:
        self._session, self._clock = session, clock

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._session, name)
        return partial(self._call, value) if name in self.COMPUTING else value

    def _call(self, compute: Callable[..., Any], *arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return compute(*arguments)
        finally:
            self._clock.ms += 1000 * (time.perf_counter() - started)


def torch_answers(checkpoint: Path, dtype: str, threads: int | None, calls: int) -> Timed:
    """Have eager PyTorch write `ANSWER` tokens about two drawings alternately, as EMO-LLaMA's users get a label."""
    import torch

    from emo_edge.bundle.prompts import classify_question
    from emo_edge.export.models.llama import generate_tokens
    from emo_edge.export.reference.frames import as_clip
    from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration, PromptInput

    if threads:
        torch.set_num_threads(threads)
    model = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint, dtype=getattr(torch, dtype))
    question = classify_question(model.config.prompt, model.config.label_sets[LABELS], clip=False)
    written: list[int] = []

    def answer(image: Image) -> None:
        prompt = model.embed_prompts(model.encode(as_clip(image, None)), [PromptInput(slice(0, 1), question)])[0]
        written.append(len(generate_tokens(model.language, [prompt.embeddings], Sampling(max_new_tokens=ANSWER))[0]))

    images, ms = _images(), []
    with torch.inference_mode():
        for index in range(1 + calls):
            took = timed_ms(partial(answer, images[index % 2]))
            ms += [took] if index else []
    return Timed(ms, {"dtype": dtype, "tokens written": min(written)})


def mtmd_answers(tool: Path, language: Path, projector: Path, picture: Path, prompt: str, threads: int) -> Timed:
    """Have ``llama-mtmd-cli`` answer once; its own clock leaves out what loading took."""
    command = [str(tool), "-m", str(language), "--mmproj", str(projector), "--image", str(picture), "-p", prompt]
    command += ["-n", str(ANSWER), "--temp", "0", "-t", str(threads), "--chat-template", "vicuna"]
    command += ["--perf", "--verbosity", "4"]
    output = _output_of(command)
    encoding = _figure(output, r"mtmd batch encoding done in (\d+) ms", r"image slice encoded in (\d+) ms")
    reading, positions = _pair(output, r"prompt eval time = +([\d.]+) ms / +(\d+) tokens")
    writing, runs = _pair(output, r"\beval time = +([\d.]+) ms / +(\d+) runs")
    facts = {"image ms": encoding, "prompt ms": reading, "positions": positions, "decode ms": writing, "runs": runs}
    return Timed([encoding + reading + writing], facts)


def llama_bench(tool: Path, language: Path, prompt: int, written: int, threads: int, calls: int) -> dict[str, Timed]:
    """Have ``llama-bench`` read ``prompt`` tokens and write ``written`` ones, each from an empty context."""
    command = [str(tool), "-m", str(language), "-p", str(prompt), "-n", str(written), "-r", str(calls)]
    results = json.loads(_output_of([*command, "-t", str(threads), "-o", "json"], errors=False))
    times = {("prefill" if row["n_prompt"] else "decode"): row for row in results}
    steps = {"prefill": 1, "decode": written}
    return {
        name: Timed(
            [value / 1e6 / steps[name] for value in row["samples_ns"]],
            {key: row[key] for key in ("build_commit", "n_batch", "n_ubatch", "type_k", "flash_attn") if key in row},
        )
        for name, row in times.items()
    }


def our_language(bundle: Path, variant: str, prompt: int, written: int, threads: int, calls: int) -> dict[str, Timed]:
    """Read and write as many tokens with our session on a bundle's language model."""
    opened = Bundle.open(bundle)
    component = opened.manifest.components.language
    if component is None:
        raise InputError("a face network alone has no language model")
    vocabulary = read_gguf_header(opened.files(component.variants[variant])[0]).shape().vocabulary
    with open_language(opened, component, variant, "cpu", threads) as session:
        return _read_and_written(session, vocabulary, prompt, written, calls)


def our_gguf(path: Path, prompt: int, written: int, threads: int, calls: int) -> dict[str, Timed]:
    """Read and write as many tokens with a GGUF file that is no bundle's."""
    shape = read_gguf_header(path).shape()
    with runtime(LANGUAGE_RUNTIMES["gguf"])(path, context_size=shape.context, threads=threads) as session:
        return _read_and_written(session, shape.vocabulary, prompt, written, calls)


def _read_and_written(
    session: LanguageSession, vocabulary: int, prompt: int, written: int, calls: int
) -> dict[str, Timed]:
    """Time prompts, and tokens one after the other.

    A prompt that is one token longer computes that token alone, as writing does; a written answer may end sooner.
    """
    ids = np.random.default_rng(0).integers(PLAIN, vocabulary, prompt + written).tolist()
    prefills, tokens = [], []
    for index in range(1 + calls):
        # Another first token each time, so that nothing of the prompt before is kept.
        ids[0] = PLAIN + index
        took = timed_ms(partial(session.prefill, [ids[:prompt]]))
        session.prefill([[PLAIN + index + 1]])
        ids[0] = PLAIN + index + 1
        writing = timed_ms(lambda: [session.prefill([ids[: 1 + count]]) for count in range(1, 1 + written)])
        if index:
            prefills.append(took)
            tokens.append(writing / written)
    return {"prefill": Timed(prefills), "decode": Timed(tokens)}


def our_vision(bundle: Path, variant: str, device: str, threads: int | None, calls: int) -> Timed:
    """Run the vision graph on the engine that ``--device`` opens."""
    opened = Bundle.open(bundle)
    component = opened.manifest.components.vision
    if not isinstance(component, GraphComponent):
        raise InputError("this bundle has no vision graph")
    session, _ = GraphOpener(opened, device, threads)("vision", component, variant)
    with session:
        return _pictures(opened, lambda feed: session.run(feed), calls)


def torch_vision(bundle: Path, checkpoint: Path, dtype: str, threads: int | None, calls: int) -> Timed:
    """Run the checkpoint's image tower in eager PyTorch."""
    import torch

    from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration

    if threads:
        torch.set_num_threads(threads)
    model = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint, dtype=getattr(torch, dtype), stream=True)
    with torch.inference_mode():
        return _pictures(Bundle.open(bundle), lambda feed: model.vision_features(feed["image"]), calls)


def plain_openvino(bundle: Path, variant: str, threads: int | None, calls: int) -> Timed:
    """Compile the graph with OpenVINO's own defaults."""
    from emo_edge.runtimes.openvino import load_openvino

    opened = Bundle.open(bundle)
    core, settings = load_openvino().Core(), {"INFERENCE_NUM_THREADS": threads} if threads else {}
    compiled = core.compile_model(str(_vision_file(opened, variant)), "CPU", settings)
    facts = {"precision": str(compiled.get_property("INFERENCE_PRECISION_HINT"))}
    return Timed(_pictures(opened, lambda feed: compiled(feed), calls).ms, facts)


def optimum_vision(bundle: Path, variant: str, threads: int | None, calls: int) -> Timed:
    """Run the graph through optimum's class for graphs of any task."""
    onnxruntime = open_onnxruntime()
    from optimum.onnxruntime import ORTModelForCustomTasks
    from transformers import PretrainedConfig

    opened, options = Bundle.open(bundle), onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    with native_path(_vision_file(opened, variant)) as name:
        session = onnxruntime.InferenceSession(name, options, ["CPUExecutionProvider"])
    model = ORTModelForCustomTasks(config=PretrainedConfig(), session=session)
    return _pictures(opened, lambda feed: model(**feed), calls)


def mtmd_prompt(bundle: Bundle) -> str:
    """Write the same question for a chat program, which puts its own words around it."""
    return ask_for_labels(bundle.manifest, resolve_labels(bundle.manifest, LABELS), clip=False)


def _pictures(opened: Bundle, run: Callable[[dict[str, Tensor]], object], calls: int) -> Timed:
    pictures = ReferenceFeeds(opened, samples=2).feed("vision")["image"]
    feeds = [{"image": pictures[index : index + 1]} for index in range(2)]
    return Timed([timed_ms(partial(run, feeds[index % 2])) for index in range(1 + calls)][1:])


def _images() -> list[Image]:
    return [sample.image for sample in packaged_samples(2)]


def _vision_file(opened: Bundle, variant: str) -> Path:
    component = opened.manifest.components.vision
    if component is None:
        raise InputError("the bundle has no vision graph")
    return opened.files(component.variants[variant])[0]


def _output_of(command: Sequence[str], *, errors: bool = True) -> str:
    """Run a program and return its output; raise EmoEdgeError with its last lines if it fails."""
    try:
        ended = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise EmoEdgeError(f"{command[0]} cannot be started: {error}") from error
    if ended.returncode:
        last = (ended.stdout + ended.stderr).splitlines()[-LINES_SHOWN:]
        raise EmoEdgeError("\n".join([f"{Path(command[0]).name} ended with {ended.returncode}:", *last]))
    return ended.stdout + (ended.stderr if errors else "")


def _figure(output: str, *patterns: str) -> float:
    for pattern in patterns:
        if match := re.search(pattern, output):
            return float(match[1])
    raise EmoEdgeError(f"no line like {patterns[0]!r} in the program's output")


def _pair(output: str, pattern: str) -> tuple[float, int]:
    match = re.search(pattern, output)
    if not match:
        raise EmoEdgeError(f"no line like {pattern!r} in the program's output")
    return float(match[1]), int(match[2])
