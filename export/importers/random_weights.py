"""A checkpoint of a real model's structure and size, with random weights: to try memory, disk and speed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper

from emo_edge import __version__
from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.console.progress import Progress
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.configs.networks import LandmarkConfig
from emo_edge.export.configs.random_shapes import SHAPES
from emo_edge.export.importers.checkpoint_writer import check_target, write_checkpoint
from emo_edge.export.reference.model import parameter_shapes
from emo_edge.export.reference.tokenizer import LANGUAGE_MODEL_NAME, QUESTION_MODEL_NAME
from emo_edge.export.user_graphs.landmark_network import LANDMARKS_NAME

PURPOSE = "RANDOM WEIGHTS: sizes, memory and times are real, every answer is noise"
STD = 0.02
"""Of every matrix, as BERT and LLaMA start; norms start at one and biases at zero."""


@dataclass(frozen=True)
class RandomTensor:
    """A tensor whose values follow from the seed and its name."""

    name: str
    shape: tuple[int, ...]
    seed: int
    dtype: torch.dtype = torch.float16

    def value(self) -> torch.Tensor:
        """Draw a matrix; a norm is one and a bias zero."""
        if len(self.shape) == 1 and self.name.endswith(".weight"):
            return torch.ones(self.shape, dtype=self.dtype)
        if self.name.endswith("bias"):
            return torch.zeros(self.shape, dtype=self.dtype)
        generator = torch.Generator().manual_seed(self.seed)
        return torch.empty(self.shape, dtype=self.dtype).normal_(std=STD, generator=generator)

    def origin(self) -> str:
        """Name the tensor."""
        return f"{self.name} (random)"

    def stamp(self) -> str:
        """Return the seed and the type."""
        return f"{self.seed} {self.dtype}"


def random_config(shape: str) -> EmoLlamaConfig:
    """Return the sizes of one of `SHAPES`: no Face Info Mining, and ``random`` in its name and its purpose."""
    named = {"name": f"{shape}-random", "purpose": PURPOSE, "made_by": f"emo-edge {__version__}"}
    return EmoLlamaConfig.from_dict({"face_info": None, **SHAPES[shape], "provenance": named})


def random_checkpoint(
    shape: str, target: Path, *, seed: int = 0, progress: Progress = lambda done, total: None
) -> None:
    """Write a checkpoint of ``shape`` with random float16 weights, a shard in memory at a time.

    The tokenizers are emo-tiny's: those of the real models are not ours to ship, and neither is a landmark network, in
    whose place stands a small random one. A stopped run goes on after its last whole shard.

    Raises CheckpointError if ``target`` holds anything, InputError where there is no room.
    """
    check_target(target)
    config, tokenizers = random_config(shape), packaged_checkpoint()
    shapes = parameter_shapes(config).items()
    tensors = [RandomTensor(name, size, seed * 100_003 + number) for number, (name, size) in enumerate(shapes)]
    names = [LANGUAGE_MODEL_NAME, *([QUESTION_MODEL_NAME] if config.connector.qformer else [])]
    files = {name: (tokenizers / name).read_bytes() for name in names}
    if config.landmark:
        files[LANDMARKS_NAME] = random_landmark_network(config.landmark, seed)
    write_checkpoint(target, config, files, tensors, progress=progress)


def random_landmark_network(config: LandmarkConfig, seed: int) -> bytes:
    """Write an ONNX graph of random weights that reads and gives what a landmark network does, and costs less."""
    rng, side = np.random.default_rng(seed), config.image_size // 16
    weights = {
        "kernel": rng.normal(0, STD, (8, 3, 16, 16)),
        "matrix": rng.normal(0, STD, (config.outputs, 8 * side * side)),
    }
    nodes = [
        helper.make_node("Conv", ["data", "kernel"], ["cells"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Relu", ["cells"], ["active"]),
        helper.make_node("Flatten", ["active"], ["flat"]),
        helper.make_node("Gemm", ["flat", "matrix"], ["landmarks"], transB=1),
    ]
    read = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, config.image_size, config.image_size])
    given = helper.make_tensor_value_info("landmarks", TensorProto.FLOAT, ["N", config.outputs])
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "random", [read], [given], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString(deterministic=True))
