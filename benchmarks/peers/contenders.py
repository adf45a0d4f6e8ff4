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
from emo_edge.bundle.manifest import GraphComponent, QuestionCache
from emo_edge.bundle.reader import Bundle, profile_of
from emo_edge.errors import EmoEdgeError, InputError
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import EmotionResult
from emo_edge.media.crops import Box, Image
from emo_edge.runtimes.base.sessions import LanguageSession
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
Cache = tuple[int, int] | None
"""Positions at the head and the tail of a question that are computed for each picture."""


@dataclass(frozen=True)
class Timed:
    """Times of one contender, call by call after the first, which does not count."""

    ms: list[float]
    facts: dict[str, Any] = field(default_factory=dict)


def our_readings(
    bundle: Path,
    device: str,
    profile: str | None,
    threads: int | None,
    calls: int,
    *,
    cache: Cache = None,
    faces: int = 1,
) -> Timed:
    """Read two pictures alternately, each of one or several drawings with their boxes; times are those of a face.

    Args:
        bundle: of graphs and a language model.
        device: of its engines.
        profile: None is the bundle's default.
        threads: of each engine.
        calls: timed ones, after one a picture that does not count.
        cache: head and tail of a question cache in place of the profile's own; None is no cache.
        faces: of a picture.

    The facts hold the fraction of time outside the engines, and whether the question came from the cache.
    """
    opened = with_question_cache(Bundle.open(bundle), profile, cache)
    engines = open_engines(opened, profile=profile, device=device, threads=threads)
    clock = _EngineClock()
    with EmotionPipeline(opened, clock.engines(engines), WholeImage()) as pipeline:
        pictures, outside, ms = [sheet(faces, first) for first in (0, faces)], [], []
        readings: list[EmotionResult] = []
        for index in range(len(pictures) + calls):
            image, boxes = pictures[index % len(pictures)]
            clock.ms = 0.0
            took = timed_ms(partial(_read, pipeline, image, boxes, readings))
            if index >= len(pictures):
                ms.append(took / faces)
                outside.append((took - clock.ms) / took)
    timed = readings[len(pictures) * faces :]
    stages = {name: float(np.median([one.stage_ms[name] for one in timed])) for name in timed[0].stage_ms}
    facts = {"profile": engines.profile_name, **engines.variants(), "outside": float(np.median(outside))}
    cached = all(one.settings.question_cache for one in timed)
    return Timed(ms, {**facts, "question cache": cache, "question cached": cached, "stages": stages})


def _read(pipeline: EmotionPipeline, image: Image, boxes: list[Box], readings: list[EmotionResult]) -> None:
    readings += pipeline.read(image, boxes=boxes)


def with_question_cache(opened: Bundle, profile: str | None, cache: Cache) -> Bundle:
    """Return a bundle whose profile has this question cache, or none."""
    name, chosen = profile_of(opened, profile)
    own = chosen.model_copy(update={"question_cache": QuestionCache(head=cache[0], tail=cache[1]) if cache else None})
    profiles = {**opened.manifest.profiles, name: own}
    return Bundle(opened.directory, opened.manifest.model_copy(update={"profiles": profiles}))


def sheet(faces: int, first: int) -> tuple[Image, list[Box]]:
    """Put packaged drawings, from the ``first`` on, side by side; return the picture and the box of each."""
    drawings = [sample.image for sample in packaged_samples(first + faces)[first:]]
    sides = np.cumsum([0, *(drawing.shape[1] for drawing in drawings)])
    picture = np.zeros((max(len(drawing) for drawing in drawings), sides[-1], 3), np.uint8)
    boxes = []
    for drawing, left, right in zip(drawings, sides, sides[1:], strict=False):
        picture[: len(drawing), left:right] = drawing
        boxes.append((float(left), 0.0, float(right), float(len(drawing))))
    return picture, boxes


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

    COMPUTING = ("run", "prefill", "score", "score_many")

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
        raise InputError(f"{bundle} is {opened.manifest.network_alone}: it has no language model")
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
        return timed_pictures(opened, lambda feed: session.run(feed), calls)


def plain_openvino(bundle: Path, variant: str, threads: int | None, calls: int) -> Timed:
    """Compile the graph with OpenVINO's own defaults."""
    from emo_edge.runtimes.openvino import load_openvino

    opened = Bundle.open(bundle)
    core, settings = load_openvino().Core(), {"INFERENCE_NUM_THREADS": threads} if threads else {}
    compiled = core.compile_model(str(_vision_file(opened, variant)), "CPU", settings)
    facts = {"precision": str(compiled.get_property("INFERENCE_PRECISION_HINT"))}
    return Timed(timed_pictures(opened, lambda feed: compiled(feed), calls).ms, facts)


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
    return timed_pictures(opened, lambda feed: model(**feed), calls)


def mtmd_prompt(bundle: Bundle) -> str:
    """Write the same question for a chat program, which puts its own words around it."""
    return ask_for_labels(bundle.manifest, resolve_labels(bundle.manifest, LABELS), clip=False)


def timed_pictures(opened: Bundle, run: Callable[[dict[str, Tensor]], object], calls: int) -> Timed:
    """Run a vision graph's input about two drawings alternately."""
    pictures = ReferenceFeeds(opened, samples=2).feed("vision")["image"]
    feeds = [{"image": pictures[index : index + 1]} for index in range(2)]
    return Timed([timed_ms(partial(run, feeds[index % 2])) for index in range(1 + calls)][1:])


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
