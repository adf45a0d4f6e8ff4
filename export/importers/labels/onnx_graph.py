"""A user's ONNX graph of labels to a checkpoint: the file as it is, and how it reads a picture as data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emo_edge import __version__
from emo_edge.errors import CheckpointError, InputError
from emo_edge.export.configs.checkpoint import LabelNetworkConfig
from emo_edge.export.configs.networks import OnnxGraphConfig
from emo_edge.export.importers.checkpoint_writer import check_target, write_checkpoint
from emo_edge.export.user_graphs.label_graph import LABEL_GRAPH_NAME, LabelGraph, fixed_size
from emo_edge.taxonomy import LABEL_SETS
from emo_edge.utils.files import refuse_substitute, sha256_of
from emo_edge.utils.suggestions import did_you_mean

OWN_SET = "network"
"""Label set of every label, in the network's own order."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GraphContract:
    """What an ONNX file does not say of itself."""

    labels: Sequence[str]
    """Of the output's columns, in their order; columns behind them are cut if ``spare`` allows it."""
    size: int | None = None
    """Side of the pictures in pixels; None takes what the graph fixes."""
    open_size: int | None = None
    """Side where neither ``size`` nor the graph says it."""
    channels: str = "rgb"
    layout: str = "nchw"
    scale: float = 255.0
    """Divisor of the pixels, before mean and std."""
    mean: Sequence[float] = (0.0,)
    """Of each channel in the network's own order; one number counts for all."""
    std: Sequence[float] = (1.0,)
    crop: str = "stretched"
    margin: float = 0.0
    resample: str = "opencv_linear"
    detector: str = "mtcnn"
    spare: tuple[int, ...] = (0,)
    """Numbers of columns that may stand behind the labels'."""
    card: Mapping[str, str] = field(default_factory=dict)
    """Statements that every bundle carries as provenance."""

    def network(self, content: bytes, name: str) -> OnnxGraphConfig:
        """Return the network's config, its outputs not yet counted; raise CheckpointError for an open size."""
        size = fixed_size(content, name)
        if self.size is not None and size not in (None, self.size):
            raise CheckpointError(f"{name}: reads pictures of {size} pixels, not {self.size}; leave `size` out")
        size = size or self.size or self.open_size
        if size is None:
            raise CheckpointError(f"{name}: leaves the size of its pictures open; give `size`")
        count = 1 if self.channels == "grey" else 3
        mean, std = (tuple(part) * count if len(part) == 1 else tuple(part) for part in (self.mean, self.std))
        values = {
            "image_size": size,
            "layout": self.layout,
            "channels": self.channels,
            "pixel_scale": self.scale,
            "image_mean": mean,
            "image_std": std,
            "architecture": "onnx_graph",
            "outputs": len(self.labels),
        }
        return LabelNetworkConfig.from_dict(self._whole(values)).network  # type: ignore[return-value]

    def config(self, network: OnnxGraphConfig, provenance: Mapping[str, str]) -> LabelNetworkConfig:
        """Return the checkpoint's config."""
        return LabelNetworkConfig.from_dict(self._whole(network.model_dump()) | {"provenance": dict(provenance)})

    def _whole(self, network: dict[str, Any]) -> dict[str, Any]:
        crop = {
            "method": self.crop,
            "size": network["image_size"],
            "margin": self.margin,
            "resample": self.resample,
            "fill": (0.5, 0.5, 0.5),
        }
        known = {name: labels for name, labels in LABEL_SETS.items() if set(labels) <= set(self.labels)}
        sets = {OWN_SET: tuple(self.labels), **known}
        return {
            "network": network,
            "labels": tuple(self.labels),
            "label_sets": sets,
            "crop": crop,
            "detector": self.detector,
        }


def checkpoint_from_onnx_graph(
    model: Path, target: Path, contract: GraphContract, *, report: Callable[[str], None] = logger.info
) -> None:
    """Write a user's ONNX file as a checkpoint of a network of labels; the graph itself stays as it is.

    Args:
        model: the ONNX file, its weights inside it.
        target: the checkpoint; nothing may be there.
        contract: what the file does not say of itself.
        report: gets a line of what was read.

    Raises InputError for labels that cannot be used, CheckpointError for a file that does not hold the contract.
    """
    check_target(target)
    _require_labels(contract.labels)
    content, name = _read(model), str(model)
    try:
        network = contract.network(content, name)
        graph = LabelGraph(content, network, len(contract.labels), name)
    except CheckpointError as error:
        refuse_substitute(model, error)
        raise
    cut = graph.outputs - len(contract.labels)
    if cut not in contract.spare:
        raise CheckpointError(
            f"{name}: gives {graph.outputs} numbers a picture, and there are {len(contract.labels)} labels"
        )
    network = network.model_copy(update={"outputs": graph.outputs})
    made_of = {"imported_by": f"emo-edge {__version__}", "file": f"{model.name}, sha256 {sha256_of(model)}"}
    config = contract.config(network, {"name": model.stem, **contract.card, **made_of})
    columns = f"{len(contract.labels)} labels" + (f", {cut} more numbers cut" if cut else "")
    report(f"{model.name}: pictures of {network.image_size} pixels, {columns}")
    write_checkpoint(target, config, {LABEL_GRAPH_NAME: content}, [])


def _read(model: Path) -> bytes:
    if not model.is_file():
        raise CheckpointError(f"{model}: no such file; it is the ONNX file of a network of labels")
    return model.read_bytes()


def _require_labels(labels: Sequence[str]) -> None:
    if len(labels) < 2 or len(set(labels)) < len(labels) or not all(labels):
        raise InputError(f"`labels` {', '.join(labels) or 'none'}: give two or more different labels")


def named_labels(text: str) -> tuple[str, ...]:
    """Return the labels of a label set's name, or of a list with commas; raise InputError for an unknown name."""
    if text in LABEL_SETS:
        return LABEL_SETS[text]
    labels = tuple(part.strip() for part in text.split(","))
    if len(labels) == 1:
        known = f"choose from {', '.join(LABEL_SETS)}{did_you_mean(text, list(LABEL_SETS))}"
        raise InputError(f"`labels` {text}: {known}, or give labels with commas between them")
    return labels
