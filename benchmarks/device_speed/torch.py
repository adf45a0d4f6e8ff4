"""The checkpoint in PyTorch as contenders: every stage eager, the vision tower compiled as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emo_edge.benchmarks.device_speed.rounds import EAGER, Call, Contender, Outputs, SessionCache
from emo_edge.benchmarks.device_speed.stages import DECODED, Question
from emo_edge.errors import DeviceError, DeviceMemoryError
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.models.action_units.auformer import AuFormer, FoldedAuFormer
from emo_edge.export.models.action_units.me_graphau import MeGraphAu
from emo_edge.export.models.llama import PackedRow, branch_log_probs
from emo_edge.export.models.token_selection import Selection
from emo_edge.export.reference.face_network import AuNetwork
from emo_edge.export.reference.frames import FrameFeatures, named_outputs, named_units, normalised_pixels
from emo_edge.export.reference.layer_streaming import LAYERS
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration, parameter_shapes
from emo_edge.inference.probability import softmax
from emo_edge.machine.hardware import read_machine
from emo_edge.runtimes.torch import TorchLanguageSession
from emo_edge.tensors import Tensor

PRECISIONS = {"cpu": ("fp32", "bf16"), "cuda": ("fp16", "bf16")}
"""The others are compared with the first of each."""
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
COMPILED = {"cpu": {"torch.compile": "default"}, "cuda": {"torch.compile": "default", "CUDA graphs": "reduce-overhead"}}
"""Names and modes of ``torch.compile``; ``reduce-overhead`` replays CUDA graphs."""
BACKEND = "inductor"
Model = EmoLlamaForConditionalGeneration
Feed = Mapping[str, Tensor]


def graph_contenders(
    checkpoint: Path, part: str, processor: str, feed: Feed, models: SessionCache, *, compiled: bool
) -> list[Contender]:
    """Return the contenders of a graph, by its name in `GRAPHS`, on ``cpu`` or ``cuda``.

    The models are shared by the stages; the language model's layers stay on the disk.
    """
    contenders = []
    for precision in PRECISIONS[processor]:
        load: Callable[[], Any] = partial(_loaded, checkpoint, processor, precision, stream=True)
        kind = "graphs"
        if part == "au":
            kind, load = "units", partial(_loaded_units, checkpoint, processor, precision)
        model = partial(models.get, (kind, processor, precision), load)
        contenders.append(Contender(EAGER, processor, precision, partial(_graph_call, model, part, feed)))
        if part == "vision" and compiled:
            for name, mode in COMPILED[processor].items():
                contenders.append(
                    Contender(f"PyTorch, {name}", processor, precision, partial(_compiled_call, model, mode, feed))
                )
    return sorted(contenders, key=lambda contender: contender.engine != EAGER)


def language_contenders(
    checkpoint: Path, stage: str, processor: str, question: Question, models: SessionCache
) -> list[Contender]:
    """Return the contenders of ``prefill``, ``labels`` or ``decode``."""

    def opened(precision: str) -> Call:
        load = partial(_loaded, checkpoint, processor, precision, stream=False)
        return _language_call(models.get(("whole", processor, precision), load), stage, question)

    return [Contender(EAGER, processor, precision, partial(opened, precision)) for precision in PRECISIONS[processor]]


def _loaded(checkpoint: Path, processor: str, precision: str, *, stream: bool) -> Model:
    """Load the checkpoint; raise DeviceError without the device, DeviceMemoryError where the weights do not fit."""
    _require_device(processor)
    shapes = parameter_shapes(EmoLlamaConfig.from_pretrained(checkpoint))
    count = sum(prod(shape) for name, shape in shapes.items() if not (stream and name.startswith(LAYERS)))
    needed, free = count * DTYPES[precision].itemsize, _free_bytes(processor)
    if free is not None and needed > free:
        raise DeviceMemoryError(f"its weights take {needed / 1e9:.1f} GB in {precision}, {free / 1e9:.1f} GB are free")
    return Model.from_pretrained(checkpoint, dtype=DTYPES[precision], device=processor, stream=stream)


def _loaded_units(checkpoint: Path, processor: str, precision: str) -> FoldedAuFormer | MeGraphAu:
    """Load a network of action units, an AUFormer folded as its graph is; raise DeviceError without the device."""
    _require_device(processor)
    network = AuNetwork.from_pretrained(checkpoint).network
    folded = FoldedAuFormer(network) if isinstance(network, AuFormer) else network
    return folded.eval().requires_grad_(False).to(processor, DTYPES[precision])


def _require_device(processor: str) -> None:
    if processor == "cuda" and not torch.cuda.is_available():
        raise DeviceError("PyTorch finds no CUDA device")


def _free_bytes(processor: str) -> int | None:
    if processor == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    memory = read_machine().memory
    return memory.available if memory else None


def _graph_call(model: Callable[[], Any], part: str, feed: Feed) -> Call:
    parts: dict[str, Callable[..., dict[str, torch.Tensor]]] = {
        "vision": _vision,
        "connector": _connector,
        "face": _face,
        "au": _units,
    }
    compute = parts[part]
    return Call(partial(_computed, partial(compute, model(), feed)))


def _compiled_call(model: Callable[[], Model], mode: str, feed: Feed) -> Call:
    tower = torch.compile(model().vision, mode=mode, backend=BACKEND)
    return Call(partial(_computed, partial(_vision, model(), feed, tower)))


@torch.inference_mode()
def _computed(compute: Callable[[], Mapping[str, torch.Tensor]]) -> Outputs:
    """Compute, and wait until all lies in main memory."""
    return {name: value.float().cpu().numpy() for name, value in compute().items()}


def _vision(model: Model, feed: Feed, tower: Any = None) -> dict[str, torch.Tensor]:
    settings = model.config.vision
    images = torch.from_numpy(feed["image"]).to(model.device)
    pixels = normalised_pixels(images, settings.image_mean, settings.image_std).to(model.dtype)
    return {"features": (model.vision if tower is None else tower)(pixels)}


def _connector(model: Model, feed: Feed) -> dict[str, torch.Tensor]:
    if not feed.keys().isdisjoint(Selection._fields):
        raise DeviceError("PyTorch's connector is not timed with a budget of visual tokens: the checkpoint has none")
    moved = {name: torch.from_numpy(value).to(model.device) for name, value in feed.items()}
    features = moved.pop("features").to(model.dtype)
    return {"visual_tokens": model.connector(features, **moved)}


def _face(model: Model, feed: Feed) -> dict[str, torch.Tensor]:
    if model.landmark and model.landmark_network:
        points = torch.from_numpy(model.landmark_network.run(feed["image"]))
        return {"face_tokens": model.landmark(points.to(model.device, model.dtype))}
    outputs, units = model.face_and_units(feed["image"])
    named = named_outputs(outputs, units)
    tokens = model.face_tokens(FrameFeatures(outputs.face_map, outputs))
    return named if tokens is None else {**named, "face_tokens": tokens}


def _units(model: FoldedAuFormer | MeGraphAu, feed: Feed) -> dict[str, torch.Tensor]:
    network, weight = model.model if isinstance(model, FoldedAuFormer) else model, next(model.parameters())
    images, config = torch.from_numpy(feed["image"]).to(weight.device), network.config
    outputs = model(normalised_pixels(images, config.image_mean, config.image_std).to(weight.dtype))
    return named_units(outputs)


def _language_call(model: Model, stage: str, question: Question) -> Call:
    session = TorchLanguageSession(model.language, model.tokenizer)
    prompt, branches = (
        question.prompt.chunks(session, [question.frames]),
        question.prompt.branches(session, question.labels),
    )
    length = sum(len(chunk) for chunk in prompt)
    if stage == "prefill":
        return Call(partial(_prefill, model, prompt), positions=length)
    if stage == "labels":
        return Call(partial(_labels, model, prompt, branches), positions=length)
    decoding = _Decoding(model, prompt, question.forced(branches))
    return Call(decoding.compute, decoding.prepare, DECODED, length)


@torch.inference_mode()
def _embedded(model: Model, prompt: Sequence[Any]) -> torch.Tensor:
    """Embed a prompt's chunks, [P, E]."""
    embed = model.language.get_input_embeddings()
    parts = [
        torch.from_numpy(chunk).to(model.device, model.dtype)
        if isinstance(chunk, np.ndarray)
        else embed(torch.tensor(list(chunk), device=model.device))
        for chunk in prompt
    ]
    return torch.cat(parts)


@torch.inference_mode()
def _prefill(model: Model, prompt: Sequence[Any]) -> Outputs:
    """Keep keys and values, and compute the logits that follow the last position."""
    output = model.language(inputs_embeds=_embedded(model, prompt)[None], use_cache=True, logits_to_keep=1)
    output.logits[0].float().cpu()
    return None


@torch.inference_mode()
def _labels(model: Model, prompt: Sequence[Any], branches: Sequence[Sequence[int]]) -> Outputs:
    """Score every label in one packed pass over the prompt and all of them."""
    (scores,) = branch_log_probs(model.language, [PackedRow(_embedded(model, prompt), branches)])
    sums = torch.stack([tokens.sum() for tokens in scores]).cpu().numpy()
    return {"probabilities": softmax(sums)[None]}


class _Decoding:
    """Tokens read one after the other behind a prompt whose keys and values are kept; none is sampled."""

    def __init__(self, model: Model, prompt: Sequence[Any], forced: Sequence[int]) -> None:
        self._model, self._prompt, self._forced = model, prompt, forced
        self._cache: Any = None

    @torch.inference_mode()
    def prepare(self) -> None:
        """Have the prompt, and nothing after it, in the cache."""
        prompt = _embedded(self._model, self._prompt)
        self._cache = self._model.language(inputs_embeds=prompt[None], use_cache=True, logits_to_keep=1).past_key_values

    @torch.inference_mode()
    def compute(self) -> Outputs:
        """Read each token and look which would follow, as greedy decoding does."""
        for token in self._forced:
            ids = torch.tensor([[token]], device=self._model.device)
            output = self._model.language(input_ids=ids, past_key_values=self._cache, use_cache=True)
            int(output.logits[0, -1].argmax())
        return None
