"""A user's ONNX graph of labels to a checkpoint: the file as it is, and how it reads a picture as data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emo_edge import __version__
from emo_edge.bundle.prompts import ValueRange
from emo_edge.errors import CheckpointError, InputError
from emo_edge.export.configs.checkpoint import LabelNetworkConfig
from emo_edge.export.importers.checkpoint_writer import check_target, write_checkpoint
from emo_edge.export.reference.label_network import graph_settings
from emo_edge.export.user_graphs.label_graph import LABEL_GRAPH_NAME, LabelGraph, fixed_size
from emo_edge.taxonomy import LABEL_SETS
from emo_edge.utils.files import refuse_substitute, sha256_of
from emo_edge.utils.suggestions import did_you_mean

OWN_SET = "network"
"""Label set of every label, in the network's own order."""
CHANNELS = {"rgb": 3, "bgr": 3, "grey": 1}
FILL = (0.5, 0.5, 0.5)
"""Of what a square holds outside the picture."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GraphContract:
    """Settings of a network that its ONNX file does not hold."""

    labels: Sequence[str]
    """Of the output's first columns, in their order."""
    values: tuple[ValueRange, ...] = ()
    """Names and scales of the columns behind them."""
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
    card: Mapping[str, str] = field(default_factory=dict)
    """Statements that every bundle carries as provenance."""
    advice: str = "name the labels' columns with `labels`, and numbers behind them with `values`"
    """Next step after an error about the number of columns."""

    def config(self, size: int) -> LabelNetworkConfig:
        """Return the checkpoint's config for pictures of a size in pixels; its outputs are not yet counted.

        Raises CheckpointError for numbers that are out of bounds.
        """
        count = CHANNELS[self.channels]
        mean, std = (tuple(part) * (count if len(part) == 1 else 1) for part in (self.mean, self.std))
        network = {
            "architecture": "onnx_graph",
            "image_size": size,
            "outputs": len(self.labels) + len(self.values),
            "layout": self.layout,
            "channels": self.channels,
            "pixel_scale": self.scale,
            "image_mean": mean,
            "image_std": std,
        }
        crop = {"method": self.crop, "size": size, "margin": self.margin, "resample": self.resample, "fill": FILL}
        known = {name: labels for name, labels in LABEL_SETS.items() if set(labels) <= set(self.labels)}
        rows = {"labels": tuple(self.labels), "values": self.values}
        whole = {"network": network, **rows, "crop": crop, "detector": self.detector}
        return LabelNetworkConfig.from_dict(whole | {"label_sets": {OWN_SET: tuple(self.labels), **known}})

    def check(self) -> None:
        """Raise InputError for labels that cannot be used, and for other numbers than one a channel."""
        labels, count = self.labels, CHANNELS[self.channels]
        if len(labels) < 2 or len(set(labels)) < len(labels) or not all(labels):
            raise InputError(f"`labels` {', '.join(labels) or 'none'}: give two or more different labels")
        if twice := {value.name for value in self.values if [one.name for one in self.values].count(value.name) > 1}:
            raise InputError(f"`values` has {', '.join(sorted(twice))} twice")
        for field_name, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) not in (1, count):
                raise InputError(f"`{field_name}` has {len(numbers)} numbers: give one, or {count} for {self.channels}")
        if not all(number > 0 for number in self.std):
            raise InputError(
                f"`std` {', '.join(f'{number:g}' for number in self.std)}: it divides, so give numbers above 0"
            )

    def side(self, content: bytes, name: str) -> int:
        """Return the side of the pictures in pixels; raise CheckpointError where nothing says it, or two differ."""
        size = fixed_size(content, name)
        if self.size is not None and size not in (None, self.size):
            raise CheckpointError(f"{name}: reads pictures of {size} pixels, not {self.size}; leave `size` out")
        size = size or self.size or self.open_size
        if size is None:
            raise CheckpointError(f"{name}: leaves the size of its pictures open; give `size`")
        return size


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
    contract.check()
    content, name = _read(model), str(model)
    try:
        config = contract.config(contract.side(content, name))
        graph = LabelGraph(content, graph_settings(config), len(contract.labels), name=name)
    except CheckpointError as error:
        refuse_substitute(model, error)
        raise
    config = config.model_copy(update=_measured(config, contract, graph, model))
    columns = ", ".join([f"{len(contract.labels)} labels", *(value.name for value in contract.values)])
    report(f"{model.name}: pictures of {graph.config.image_size} pixels, {columns}")
    write_checkpoint(target, config, {LABEL_GRAPH_NAME: content}, [])


def _measured(config: LabelNetworkConfig, contract: GraphContract, graph: LabelGraph, model: Path) -> dict[str, Any]:
    """Return what the graph itself decides: its columns, its provenance. Raise CheckpointError for other columns."""
    if graph.outputs != len(contract.labels) + len(contract.values):
        named = f"{len(contract.labels)} labels" + (f" and {len(contract.values)} values" if contract.values else "")
        raise CheckpointError(
            f"{graph.name}: gives {graph.outputs} numbers a picture, and there are {named}; {contract.advice}"
        )
    made_of = {"imported_by": f"emo-edge {__version__}", "file": f"{model.name}, sha256 {sha256_of(model)}"}
    network = graph.config.model_copy(update={"outputs": graph.outputs})
    return {"network": network, "provenance": {"name": model.stem, **contract.card, **made_of}}


def _read(model: Path) -> bytes:
    if not model.is_file():
        there = "no plain file" if model.exists() else "no such file"
        raise CheckpointError(f"{model}: {there}; it is the ONNX file of a network of labels")
    return model.read_bytes()


def named_labels(text: str) -> tuple[str, ...]:
    """Return the labels of a label set's name, or of a list with commas; raise InputError for an unknown name."""
    if text in LABEL_SETS:
        return LABEL_SETS[text]
    labels = tuple(part.strip() for part in text.split(","))
    if len(labels) == 1:
        known = f"choose from {', '.join(LABEL_SETS)}{did_you_mean(text, list(LABEL_SETS))}"
        raise InputError(f"`labels` {text}: {known}, or give labels with commas between them")
    return labels


def named_values(text: str) -> tuple[ValueRange, ...]:
    """Return the values of ``NAME:LOW:HIGH`` entries with commas; raise InputError for one that is none."""
    try:
        return tuple(_value_range(part.strip()) for part in text.split(","))
    except ValueError as error:
        given = "valence:-1:1,arousal:-1:1"
        raise InputError(f"`values` {text}: give NAME:LOW:HIGH with commas, such as {given}") from error


def _value_range(text: str) -> ValueRange:
    name, low, high = text.split(":")
    return ValueRange(name=name, low=float(low), high=float(high))
