"""Fixtures of several tests: workers, hypothesis without a clock or a memory, real tokenizers, a toy checkpoint."""

from __future__ import annotations

import hashlib
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import settings

MOST_WORKERS = 8
"""Each takes about 2 GB."""
WORKER = os.environ.get("PYTEST_XDIST_WORKER")
"""Name of this process, gw0 for the first, where pytest-xdist runs."""

if WORKER and hasattr(os, "sched_setaffinity"):
    # One CPU a worker, and so one thread of every library: engines of several workers would wait for each other.
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[int(WORKER.removeprefix("gw")) % len(cpus)]})

# A run in the background may start with SIGINT or SIGHUP ignored, and the commands that get one inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

settings.register_profile("emo-edge", deadline=None, derandomize=True)
settings.load_profile("emo-edge")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the workers of ``-n auto``."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cpus, MOST_WORKERS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let workers begin with the modules of slow tests: one that is left for the end has all others wait.

    Those that do not wait for the bundle, which one worker makes, come first.
    """
    if WORKER:
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        waiting = {item.path for item in items if "tiny_bundle" in getattr(item, "fixturenames", ())}
        items.sort(key=lambda item: (not slow[item.path], item.path in waiting, -slow[item.path]))


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Make a file or folder once for all workers: ``write`` gets the path, unless another worker made it."""
    common = tmp_path_factory.getbasetemp().parent if WORKER else tmp_path_factory.mktemp("made-once")

    def make(name: str, write: Callable[[Path], object]) -> Path:
        done = common / f"{name}.done"
        with FileLock(common / f"{name}.lock"):
            if not done.exists():
                write(common / name)
                done.touch()
        return common / name

    return make


@pytest.fixture(scope="session")
def tokenizer_directory(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """Both tokenizers of emo-tiny, trained on a tenth of its corpus."""
    from emo_edge.benchmarks.emo_tiny import tokenizers

    def write(directory: Path) -> None:
        directory.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tokenizers, "CORPUS_LINES", 2000)
            tokenizers.write_tokenizers(directory, seed=0)

    return made_once("tokenizers", write)


@pytest.fixture(scope="session")
def toy_config() -> Any:
    """The reference architecture with the fewest numbers that still tell its parts apart."""
    from emo_edge.benchmarks.emo_tiny.config import LANGUAGE_VOCABULARY, QUESTION_VOCABULARY
    from emo_edge.export.configs.checkpoint import EmoLlamaConfig

    return EmoLlamaConfig.from_dict(
        {
            "vision": {
                "image_size": 28,
                "patch_size": 7,
                "hidden_size": 16,
                "num_layers": 1,
                "num_heads": 2,
                "mlp_size": 24,
            },
            "connector": {
                "compress_type": "grid:2",
                "qformer": {
                    "vocab_size": QUESTION_VOCABULARY,
                    "hidden_size": 16,
                    "num_layers": 2,
                    "num_heads": 2,
                    "mlp_size": 24,
                    "max_positions": 64,
                    "num_queries": 3,
                    "max_question_tokens": 48,
                },
            },
            "face": {
                "image_size": 32,
                "embed_dim": 8,
                "depths": [1, 1, 1, 1],
                "num_heads": [1, 2, 2, 4],
                "window_size": 4,
                "mlp_ratio": 2,
                "decoder_dim": 16,
                "decoder_depth": 1,
                "decoder_heads": 2,
                "decoder_mlp_size": 24,
            },
            "face_info": {"num_tokens": 3, "hidden_size": 16, "num_heads": 2, "global_grid": 2, "mlp_size": 24},
            "language": {
                "vocab_size": LANGUAGE_VOCABULARY,
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "max_position_embeddings": 512,
            },
        }
    )


@pytest.fixture(scope="session")
def build_model(tokenizer_directory: Path) -> Any:
    """Make a model of a config with seeded random weights, ready to answer."""
    import torch

    from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration

    def build(config: Any, seed: int = 0) -> EmoLlamaForConditionalGeneration:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = EmoLlamaForConditionalGeneration(config)
            for part in model.parameters():
                # Far from the constructors' small or zero tables, so that every part moves the scores.
                part.data += 0.2 * torch.randn_like(part)
        model.load_tokenizers(tokenizer_directory)
        return model.eval().requires_grad_(False)

    return build


@pytest.fixture(scope="session")
def toy_model(build_model: Any, toy_config: Any) -> Any:
    """A toy model whose answers are noise and whose arithmetic is the reference's. Do not change it."""
    return build_model(toy_config)


@pytest.fixture(scope="session")
def toy_checkpoint(toy_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy model as a checkpoint directory. Copy it before changing a file."""
    directory = tmp_path_factory.mktemp("toy-checkpoint")
    toy_model.save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def plain_checkpoint(build_model: Any, toy_config: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy model without a face network and a Q-Former, for processes that trace it anew. Do not change it."""
    values = toy_config.model_dump() | {"face": None, "face_info": None}
    values["connector"] |= {"compress_type": "none", "qformer": None}
    directory = tmp_path_factory.mktemp("plain-checkpoint")
    build_model(type(toy_config).from_dict(values)).save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def short_language(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """emo-tiny's checkpoint with two of the language model's four layers, and the config of that model."""
    import shutil

    from safetensors.torch import load_file, save_file

    from emo_edge.assets.packaged import packaged_checkpoint
    from emo_edge.export.configs.checkpoint import EmoLlamaConfig

    directory, whole = tmp_path_factory.mktemp("short-language"), packaged_checkpoint()
    state = load_file(whole / "model.safetensors")
    for name in list(state):
        if name.startswith(("language.model.layers.2.", "language.model.layers.3.")):
            del state[name]
    save_file(state, directory / "model.safetensors")
    shutil.copy(whole / "tokenizer.model", directory)
    language = EmoLlamaConfig.from_pretrained(whole).language
    return directory, language.model_copy(update={"num_hidden_layers": 2})


@pytest.fixture(scope="session")
def tracing_once(
    made_once: Callable[[str, Callable[[Path], object]], Path],
) -> Callable[[], AbstractContextManager[None]]:
    """Let the exporter read the graph of a part that was traced before: the slowest step, and the same each time."""
    from emo_edge.export.onnx import export
    from emo_edge.export.onnx.graph_file import save_graph

    real = export._traced

    def traced(name: str, part: Any, device: Any) -> Any:
        key = f"trace-{name}-{_digest(part)}.onnx"
        return _read_graph(made_once(key, lambda path: save_graph(real(name, part, device), path)), part)

    @contextmanager
    def once() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(export, "_traced", traced)
            yield

    return once


def _digest(part: Any) -> str:
    """Digest all that a part is traced from: settings and numbers of every module, inputs and outputs."""
    module, *specs = part
    found = hashlib.sha256(repr(specs).encode())
    for name, one in module.named_modules():
        settings = {key: value for key, value in vars(one).items() if not key.startswith("_")}
        found.update(f"{name} {type(one)} {settings}".encode())
    for name, values in (*module.named_parameters(), *module.named_buffers()):
        found.update(f"{name} {values.dtype} {values.shape}".encode() + values.detach().cpu().numpy().tobytes())
    return found.hexdigest()[:16]


def _read_graph(path: Path, part: Any) -> Any:
    """Read a saved float32 graph as the exporter holds it, large weights apart."""
    import numpy as np
    import onnx

    from emo_edge.export.onnx.export import WEIGHT_BYTES
    from emo_edge.export.onnx.graph_file import Graph, Weight, declared

    model, weights = onnx.load(path), {}
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.nbytes >= WEIGHT_BYTES:
            weights[tensor.name] = Weight(values, values.dtype)
            tensor.CopyFrom(declared(tensor.name, weights[tensor.name]))
    return Graph(model, *part[1:], weights)


@pytest.fixture
def traced_once(tracing_once: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """Run a test inside `tracing_once`."""
    with tracing_once():
        yield


@pytest.fixture(scope="session")
def tiny_bundle(
    made_once: Callable[[str, Callable[[Path], object]], Path],
    tracing_once: Callable[[], AbstractContextManager[None]],
) -> Path:
    """A bundle of the packaged emo-tiny, compared on a few drawings only. Copy it before changing a file."""
    from emo_edge.assets.packaged import packaged_checkpoint, packaged_samples
    from emo_edge.export.bundles.config import ExportConfig
    from emo_edge.export.bundles.emo_llama import bundle_from_checkpoint

    def write(target: Path) -> None:
        plan = ExportConfig(language=("f16", "q4_k_m"))
        with tracing_once():
            bundle_from_checkpoint(packaged_checkpoint(), target, plan, packaged_samples(14))

    return made_once("emo-tiny", write)


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """A thousand strings of words, spaces, marks, other scripts, emoji, bytes without a piece and control pieces."""
    draw = random.Random(0)
    fixed = [
        "",
        " ",
        "   ",
        "\n",
        "\n a",
        " leading",
        "  two",
        "trail ",
        "a  b",
        "\0",
        "a\0b",
        "\t",
        "\r\n",
        "▁",
        "▁▁a",
    ]
    fixed += [
        "</s>",
        "<s> hi </s>",
        "<unk>",
        "<0x0A>",
        "[PAD770]",
        "😀",
        " 👩‍👩‍👧 ",
        "\u200b",
        "\ufeff",
        "é" * 50,
        "x" * 3000,
    ]
    parts = [*"abcdefghijklmnopqrstuvwxyz     \n\n\t.,:;{}'ASUER0123456789éüß日本語한국😀👧▁\0€𝕏\u0301"]
    parts += [" the ", "emotion", "ASSISTANT: ", " USER", "</s>", "<s>", "<unk>", "<0x0A>", "person", "happiness"]
    return fixed + ["".join(draw.choices(parts, k=draw.randrange(40))) for _ in range(1000 - len(fixed))]


@pytest.fixture(scope="session")
def label_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network of labels with random weights."""
    import torch

    from emo_edge.bundle.face_crops import CropSettings
    from emo_edge.export.configs.checkpoint import LabelNetworkConfig
    from emo_edge.export.configs.networks import MiniXceptionConfig
    from emo_edge.export.reference.label_network import LabelNetwork
    from emo_edge.export.reference.weights import save_weights
    from emo_edge.taxonomy import LABEL_SETS

    directory = tmp_path_factory.mktemp("label-network")
    config = LabelNetworkConfig(
        network=MiniXceptionConfig(image_size=32, widths=(8, 16)),
        labels=LABEL_SETS["rafdb7"],
        label_sets={"rafdb7": LABEL_SETS["rafdb7"]},
        crop=CropSettings(method="square", size=32, margin=0.1),
        temperature=0.05,
    )
    torch.manual_seed(0)
    config.save_pretrained(directory)
    save_weights(LabelNetwork(config), directory)
    return directory


@pytest.fixture(scope="session")
def label_bundle(label_checkpoint: Path, made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The bundle of that network. Tests that change a bundle copy it."""
    from emo_edge.assets.packaged import packaged_samples
    from emo_edge.export.bundles.face_network import bundle_from_face_network

    def write(target: Path) -> None:
        bundle_from_face_network(label_checkpoint, target, ("fp32", "fp16"), packaged_samples(14))

    return made_once("labels", write)


@pytest.fixture(scope="session")
def label_graph_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX graph of labels and two values with random weights, as a user imports it."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    from emo_edge.bundle.prompts import ValueRange
    from emo_edge.export.importers.labels.onnx_graph import GraphContract, checkpoint_from_onnx_graph
    from emo_edge.taxonomy import LABEL_SETS

    rng, node, info = np.random.default_rng(5), helper.make_node, helper.make_tensor_value_info
    weights = {"kernel": rng.normal(0, 0.5, (16, 3, 4, 4)), "matrix": rng.normal(0, 2, (9, 16)), "bias": np.zeros(9)}
    weights["matrix"][7:] *= 0.01  # inside the values' scale
    nodes = [
        node("Conv", ["input", "kernel"], ["cells"], strides=[4, 4]),
        node("Relu", ["cells"], ["active"]),
        node("GlobalAveragePool", ["active"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("Gemm", ["flat", "matrix", "bias"], ["logits"], transB=1),
    ]
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    read, given = info("input", TensorProto.FLOAT, ["N", 3, 32, 32]), info("logits", TensorProto.FLOAT, ["N", 9])
    graph = helper.make_graph(nodes, "labels", [read], [given], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    folder = tmp_path_factory.mktemp("label-graph")
    (folder / "small.onnx").write_bytes(model.SerializeToString())
    values = tuple(ValueRange(name=name, low=-1.0, high=1.0) for name in ("valence", "arousal"))
    contract = GraphContract(LABEL_SETS["rafdb7"], values, mean=(0.5,), std=(0.5,))
    checkpoint_from_onnx_graph(folder / "small.onnx", folder / "checkpoint", contract)
    return folder / "checkpoint"


@pytest.fixture(scope="session")
def label_graph_bundle(label_graph_checkpoint: Path) -> Path:
    """The bundle of that graph. Tests that change a bundle copy it."""
    from emo_edge.assets.packaged import packaged_samples
    from emo_edge.export.bundles.face_network import bundle_from_face_network

    target = label_graph_checkpoint.with_name("bundle")
    bundle_from_face_network(label_graph_checkpoint, target, ("fp32", "fp16"), packaged_samples(14))
    return target
