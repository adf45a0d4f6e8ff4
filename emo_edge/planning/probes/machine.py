"""Measure how fast this machine is, with the engines that a reading uses, in some seconds.

What is measured has nothing to do with the bundle that is planned: graphs of equal nodes and language models of random
weights, each in a small and a large size. So the rates hold what starting a node costs, and prediction stays one.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.engine_settings import CudaSettings
from emo_edge.bundle.gguf_header import read_gguf_header
from emo_edge.bundle.gguf_types import UNQUANTIZED_NUMBERS
from emo_edge.errors import DeviceError
from emo_edge.inference.prompt_layout import label_branches
from emo_edge.machine.hardware import Machine, read_machine
from emo_edge.planning.cost.work import Kind, Precision
from emo_edge.planning.probes.graphs import GraphProbe
from emo_edge.planning.probes.language import F16, VOCABULARY, LanguageProbe
from emo_edge.planning.roofline import Curve, Device, Engine, Speed, constant
from emo_edge.runtimes.base.sessions import LanguageSession, Sampling
from emo_edge.runtimes.loading.devices import LANGUAGE_RUNTIMES, PROBLEMS, TENSOR_RUNTIMES, runtime

ROUNDS, LEAST_ROUNDS, LONGEST_S = 15, 3, 1.0
"""Times of each probe, of which the median counts; fewer where they take longer than this in all."""
PRODUCT_SHAPES = ((8, 64), (64, 160), (64, 512), (256, 1024))
ATTENTION_SHAPES = ((4, 16, 16), (8, 49, 49), (16, 64, 64), (16, 256, 256))
PLAIN_SHAPES = ((8, 64), (64, 160), (256, 1024), (1024, 2048))
CHAINS = (16, 128)
"""Nodes of a graph: many of the smallest ones, so that a node can be told from the call."""
SMALL, LARGE = (256, 512), (2048, 5632)
"""Width and feed-forward width of the language models: a toy's, and TinyLlama-1.1B's."""
LAYERS = (2, 6)
"""Of the small models, so that a layer can be told from the call."""
FEW, MANY = 9, 61
"""Rows of a short and of a long batch; no powers of two, which take a fifth less than their neighbours in q4_k_m."""
CONTEXT = 256
FIRST_TOKEN = 5
ANSWERS, WRITTEN = 50, 24
"""Answers that are timed, fewer where they take longer than `LONGEST_S`, and tokens of each."""
EVICTED = 32 << 20
"""Bytes that are written between two calls: more than the caches that a core has to itself."""
TEXT = 2 * "What is the facial expression of the person in the image? Choose one of the following: "
LABELS = "abcdefg"
"""As many as a list of emotions has, each of one token."""
UNBOUND = constant(math.inf)
KINDS: tuple[Kind, ...] = ("product", "attention", "function", "move", "cast")
SOFTMAX_VALUES = 32000
RUNTIME = {"cpu": 0.25e9, "cuda": 1.2e9}
"""Bytes of Python and two engines, without weights and activations: assumed."""


def median_seconds(call: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """Time a call again and again, after one that does not count, each time with caches that something else filled.

    In a reading each network runs after another one, so that its weights come from memory. ``before`` is what the call
    follows on directly; its time does not count.
    """
    before()
    call()
    seconds: list[float] = []
    other = np.zeros(EVICTED, np.uint8)
    while len(seconds) < ROUNDS and (len(seconds) < LEAST_ROUNDS or sum(seconds) < LONGEST_S):
        other += 1
        before()
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def measured_device(
    precisions: Iterable[Precision],
    file_types: Mapping[str, int],
    *,
    device: str | None = None,
    threads: int | None = None,
    cuda: CudaSettings | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Device:
    """Measure this machine.

    Args:
        precisions: of the graphs' products.
        file_types: variant of the language model to llama.cpp's number of its type.
        device: ``cpu`` or ``cuda``; None takes CUDA where both engines can use it. TensorRT is not measured.
        threads: of each engine; None leaves it to the engine.
        cuda: how a card runs the graphs that are planned: a captured graph's nodes cost less.
        report: is told what is being measured.

    Raises MissingExtraError for an engine that is not there, DeviceError for one that does not start.
    """
    taken = device or ("cpu" if PROBLEMS["cuda"]() else "cuda")
    machine = read_machine()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        report("measuring graphs on this machine")
        graphs = graph_engine(place, precisions, taken, threads, cuda)
        language = {}
        for variant, file_type in file_types.items():
            report(f"measuring the language model's {variant} on this machine")
            language[variant] = language_engine(place, file_type, taken, threads)
        label = label_seconds(place)
    total, left = room(machine, taken)
    title = machine.processor.name if taken == "cpu" else machine.cuda_devices[0].name
    cores = f", {threads or machine.processor.cores} threads" if taken == "cpu" else ""
    native = "FP16" in (machine.processor.features or ()) or taken == "cuda"
    notes = ("measured on this machine just now, with probes that are not the model",)
    return Device(
        "this",
        f"{title}{cores}",
        total,
        left,
        RUNTIME[taken],
        graphs,
        language,
        label,
        softmax_seconds(),
        half_is_native=native,
        measured=True,
        notes=notes,
    )


def room(machine: Machine, device: str) -> tuple[float, float]:
    """Return the bytes that the device has, and those that are free for us now."""
    card = machine.cuda_devices[0].memory if device == "cuda" and machine.cuda_devices else None
    if card is not None and machine.jetson is None:
        return float(card), float(card) - 1e9
    if machine.memory is None:
        raise DeviceError("this machine does not tell its memory; plan for a named device")
    limit = machine.memory.limit or machine.memory.total
    return float(min(machine.memory.total, limit)), float(min(machine.memory.available or limit, limit))


def graph_engine(
    place: Path, precisions: Iterable[Precision], device: str, threads: int | None, cuda: CudaSettings | None = None
) -> Engine:
    """Measure ONNX Runtime: rates of products, of attention's products and of all else by size."""
    seconds = partial(_graph_seconds, place, device=device, threads=threads, cuda=cuda)
    few, many = (seconds(GraphProbe("move", "fp32", (1, 8), chain)) for chain in CHAINS)
    call = max(few - CHAINS[0] * (many - few) / (CHAINS[1] - CHAINS[0]), 0.0)

    def curve(kind: Kind, precision: Precision, shapes: Sequence[tuple[int, ...]]) -> Curve:
        points = []
        for shape in shapes:
            probe = GraphProbe(kind, precision, shape, CHAINS[shape == shapes[0]])
            whole = seconds(probe)
            size = probe.node.flops or probe.node.bytes
            points.append((size, probe.chain * size / max(whole - call, whole / 2)))
        return Curve(tuple(sorted(points)))

    products = {str(name): curve("product", name, PRODUCT_SHAPES) for name in dict.fromkeys(("fp32", *precisions))}
    products["attention"] = curve("attention", "fp32", ATTENTION_SHAPES)
    memory: dict[Kind, Curve] = {"product": UNBOUND, "attention": UNBOUND}
    memory["function"] = curve("function", "fp32", PLAIN_SHAPES)
    memory["move"] = memory["cast"] = memory["view"] = curve("move", "fp32", PLAIN_SHAPES)
    speed = Speed(products, memory, 0.0, call)
    return Engine(speed, speed)


def _graph_seconds(
    place: Path, probe: GraphProbe, *, device: str, threads: int | None, cuda: CudaSettings | None
) -> float:
    given, made = probe.spec()
    path = probe.write(place / "probe.onnx")
    feed = {"x": np.full(probe.shape, 0.01, np.float32)}
    opened = runtime(TENSOR_RUNTIMES["onnx"])(path, [given], [made], device=device, threads=threads, cuda=cuda)
    with opened as session:
        return median_seconds(lambda: session.run(feed))


@dataclass(frozen=True)
class _Measured:
    """A language model's seconds for one token, few rows and many rows, and the bytes of a layer."""

    token: float
    few: float
    many: float
    layer_bytes: float
    outputs: float
    """Bytes of the output matrix, in layers."""


def language_engine(place: Path, file_type: int, device: str, threads: int | None) -> Engine:
    """Measure llama.cpp for one type: rates of one token and of batches, of small layers and of large ones."""
    first, last = (_language(place, LanguageProbe(*SMALL, layers, file_type), device, threads) for layers in LAYERS)
    probe = LanguageProbe(*LARGE, LAYERS[0], file_type)
    large, span = _language(place, probe, device, threads), LAYERS[1] - LAYERS[0]

    def layer(short: float, long: float) -> float:
        # Never below a quarter of the whole: noise may make the short one slower.
        return max((long - short) / span, long / (4 * LAYERS[1]))

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


def _curve(*points: tuple[float, float]) -> Curve:
    """Turn sizes and the seconds that they take into rates."""
    return Curve(tuple((size, size / seconds) for size, seconds in sorted(points)))


def _language(place: Path, probe: LanguageProbe, device: str, threads: int | None) -> _Measured:
    path = probe.write(place / "probe.gguf")
    kind = runtime(LANGUAGE_RUNTIMES["gguf"])
    layers = -1 if device == "cuda" else 0
    # As `open_engines` has it: an unquantized model keeps its attention cache in float32, without flash attention.
    exact = probe.file_type in UNQUANTIZED_NUMBERS
    with kind(path, context_size=CONTEXT, threads=threads, gpu_layers=layers, exact_cache=exact) as session:
        tokens = count(FIRST_TOKEN)

        def batch(rows: int) -> float:
            # Another first token each time, so that nothing of the prompt before is kept.
            return median_seconds(lambda: session.prefill([[next(tokens) % VOCABULARY, *range(1, rows)]]))

        few, many = batch(FEW), batch(MANY)
        token = _token_seconds(session)
    header = read_gguf_header(path)
    return _Measured(token, few, many, header.layer_bytes, header.output_bytes / header.layer_bytes)


def _token_seconds(session: LanguageSession) -> float:
    """Measure one token of an answer, in warm caches as it is there."""
    session.prefill([[FIRST_TOKEN] * FEW])
    steps: list[float] = []
    started = time.perf_counter()
    for _ in range(ANSWERS):
        if steps and time.perf_counter() - started > LONGEST_S:
            break
        moments = [time.perf_counter() for _ in session.generate(Sampling(max_new_tokens=WRITTEN))]
        steps += np.diff(moments).tolist()
    if len(steps) >= WRITTEN // 4:
        return float(np.median(steps))
    # Random weights ended the answer: the second token of a branch is one row, too.
    return median_seconds(lambda: session.score([[FIRST_TOKEN, FIRST_TOKEN]]))


def label_seconds(place: Path) -> float:
    """Measure what scoring takes for one label of one token, whose text the session knows, without the softmax."""
    path = LanguageProbe(*SMALL, 1, F16).write(place / "probe.gguf")
    with runtime(LANGUAGE_RUNTIMES["gguf"])(path, context_size=CONTEXT, threads=1) as session:
        tokens = count(FIRST_TOKEN)

        def read() -> None:
            session.prefill([[next(tokens) % VOCABULARY] * FEW])

        def scored() -> NDArray[np.float64]:
            found = session.score(label_branches(session, TEXT, LABELS))
            return np.array([float(branch.sum()) for branch in found])

        return max(median_seconds(scored, read) - VOCABULARY * softmax_seconds(), 0.0) / len(LABELS)


def softmax_seconds() -> float:
    """Measure what a session's softmax takes for one logit, in float64 as there."""
    logits = np.random.default_rng(0).standard_normal(SOFTMAX_VALUES).astype(np.float32)

    def scored() -> None:
        shifted = logits.astype(np.float64) - logits.max()
        shifted -= np.log(np.exp(shifted).sum())

    return median_seconds(scored) / SOFTMAX_VALUES
