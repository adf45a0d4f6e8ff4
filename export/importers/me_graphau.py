"""ME-GraphAU and OpenGraphAU, both stages of each, to a checkpoint of a network of action units.

Names as ``model/ANFL.py``, ``MEFL.py``, ``graph_edge_model.py`` and ``swin_transformer.py`` of CVI-SZU/ME-GraphAU give
them, whose files hold the weights in an entry ``state_dict``. A file does not name the units of its outputs: their
number decides, or the user.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from emo_edge import __version__
from emo_edge.console.progress import Progress
from emo_edge.errors import CheckpointError, InputError
from emo_edge.export.configs.action_units import BP4D_UNITS, DISFA_UNITS
from emo_edge.export.configs.checkpoint import AuNetworkConfig
from emo_edge.export.configs.upstream_crops import DETECTOR
from emo_edge.export.importers.checkpoint_writer import check_target, write_checkpoint
from emo_edge.export.importers.key_map import KeyMap, Piece
from emo_edge.export.importers.tensors import imported_tensors
from emo_edge.export.models.action_units.me_graphau import LAYERS
from emo_edge.export.reference.face_network import au_network_shapes
from emo_edge.export.reference.tensor_files import StoredTensors, tensors_of_file

OPEN_UNITS = (1, 2, 4, 5, 6, 7, *range(9, 21), 22, 23, 24, 25, 26, 27, 32, 38, 39)
"""OpenGraphAU's whole units in the order of its outputs."""
UNITS = {len(units): units for units in (OPEN_UNITS, BP4D_UNITS, DISFA_UNITS)}
"""Units of a file by their number."""
NEIGHBOURS = {8: 3}
"""Neighbours of a unit by the number of units, 4 of any other: ``config/*.yaml`` of upstream."""
CROP = {"method": "square", "size": 224, "margin": 0.0, "resample": "pil_bilinear"}
"""Upstream resizes pictures of aligned faces with torchvision's default and takes the middle; the box is our choice."""
CARD = {
    "licence": "code MIT (CVI-SZU/ME-GraphAU); nothing is known here of a licence of the weights",
    "trained_on": "BP4D, DISFA or, for OpenGraphAU, these with RAF-AU, Aff-Wild2, CK+ and CASME II, by its authors",
    "limits": "not yet run on released weights; the crop around a face is a guess. An action unit is a movement of the "
    "face, not an emotion",
    "purpose": "research: the data sets that it was trained on are given out for research alone; read their terms",
}
"""Statements that every bundle of it carries as provenance."""
STAGES = range(4)
STAGES_OF = {
    "similar": "the first stage",
    "edges": "the second stage, with features of edges",
    "open_edges": "OpenGraphAU's second stage, with features of edges",
}
_PARTS = r"\.(weight|bias)"
_STATISTICS = r"\.(weight|bias|running_mean|running_var)"
EDGE_PARTS = (
    ("U", "same", _PARTS),
    ("V", "others", _PARTS),
    ("A", "target", _PARTS),
    ("B", "source", _PARTS),
    ("E", "edge", _PARTS),
    ("bnv", "nodes_bn", _STATISTICS),
    ("bne", "edges_bn", _STATISTICS),
)
"""Upstream's and our names in a layer of the second stage's graph."""
KEYS = KeyMap(
    renames={
        rf"backbone\.patch_embed\.proj{_PARTS}": r"network.trunk.0.0.0.\1",
        rf"backbone\.patch_embed\.norm{_PARTS}": r"network.trunk.0.0.2.\1",
        **{
            pattern: new
            for stage in STAGES
            for pattern, new in {
                rf"backbone\.layers\.{stage}\.blocks\.(\d+)\.mlp\.fc1{_PARTS}": rf"network.trunk.0.{2 * stage + 1}"
                r".\1.mlp.0.\2",
                rf"backbone\.layers\.{stage}\.blocks\.(\d+)\.mlp\.fc2{_PARTS}": rf"network.trunk.0.{2 * stage + 1}"
                r".\1.mlp.3.\2",
                rf"backbone\.layers\.{stage}\.blocks\.(\d+)\.((?:norm[12]|attn\.qkv|attn\.proj){_PARTS}"
                r"|attn\.relative_position_bias_table)": rf"network.trunk.0.{2 * stage + 1}" r".\1.\2",
                rf"backbone\.layers\.{stage}\.downsample\.((?:norm|reduction){_PARTS})": "network.trunk.0."
                rf"{2 * stage + 2}"
                r".\1",
            }.items()
        },
        rf"backbone\.norm{_PARTS}": r"network.norm.\1",
        rf"global_linear\.(fc{_PARTS}|bn{_STATISTICS})": r"network.narrow.\1",
        rf"head\.(?:main_)?class_linears\.(\d+)\.(fc{_PARTS}|bn{_STATISTICS})": r"network.nodes.\1.\2",
        rf"head\.gnn\.U{_PARTS}": r"network.graph.same.\1",
        rf"head\.gnn\.V{_PARTS}": r"network.graph.others.\1",
        rf"head\.gnn\.bnv{_STATISTICS}": r"network.graph.bn.\1",
        rf"head\.edge_extractor\.FAM\.linear_q{_PARTS}": r"network.edges.face.query.\1",
        rf"head\.edge_extractor\.FAM\.linear_k{_PARTS}": r"network.edges.face.key.\1",
        rf"head\.edge_extractor\.FAM\.linear_v{_PARTS}": r"network.edges.face.value.\1",
        rf"head\.edge_extractor\.ARM\.linear_q{_PARTS}": r"network.edges.pair.query.\1",
        rf"head\.edge_extractor\.ARM\.linear_k{_PARTS}": r"network.edges.pair.key.\1",
        rf"head\.edge_extractor\.ARM\.linear_v{_PARTS}": r"network.edges.pair.value.\1",
        rf"head\.edge_extractor\.edge_proj{_PARTS}": r"network.edges.project.\1",
        rf"head\.edge_extractor\.bn{_STATISTICS}": r"network.edges.bn.\1",
        **{
            rf"head\.gnn\.(?:{open_name}|{name}){parts}": rf"network.layers.{layer}.{own}.\1"
            for layer in range(LAYERS)
            for letter, own, parts in EDGE_PARTS
            for open_name, name in [(rf"graph_layers\.{layer}\.{letter}", f"{letter}{layer + 1}")]
        },
        r"head\.(?:main_)?sc": "network.targets",
    },
    unused={
        r".*\.relative_position_index|.*\.attn_mask": "computed from the window's size",
        r".*\.num_batches_tracked": "a counter of training",
        r"head\.sub_sc": "units of one side of the face; a result has whole units",
        rf"head\.edge_fc{_PARTS}": "classes of edges, a task of training",
    },
)
OTHERS = {
    r"backbone\.(?:layer1|conv1)\..*": "a ResNet: of trunks only Swin is read",
    r"backbone\.blocks\..*": "a ViT of MAE: of trunks only Swin is read",
}
"""Pattern of a name to what its file is, of files that are known and not read."""

logger = logging.getLogger(__name__)


def checkpoint_from_me_graphau(
    model: Path,
    target: Path,
    *,
    units: Sequence[int] | None = None,
    neighbours: int | None = None,
    report: Callable[[str], None] = logger.info,
    progress: Progress = lambda done, total: None,
) -> None:
    """Write a file of either stage of ME-GraphAU or OpenGraphAU as a checkpoint.

    Args:
        model: the file.
        target: the checkpoint's directory.
        units: FACS numbers in the order of the outputs; None are those of BP4D, DISFA or OpenGraphAU by their number.
        neighbours: units that a unit hears in a first stage, ``neighbor_num`` of upstream's configs; None is upstream's
            own.
        report: gets a line of what was read.
        progress: gets the bytes written so far and in all.

    Raises CheckpointError for another kind of file, and with every missing, unknown, misshapen or not finite tensor.
    """
    check_target(target)
    with ExitStack() as stack:
        stored = tensors_of_file(model, stack, inside="state_dict")
        piece = KEYS.placed(model.name, stored)
        for line in piece.lines():
            report(line)
        _refuse_others(model, piece)
        graph = _graph(stored)
        if neighbours and graph != "similar":
            raise InputError(f"{model}: a second stage, in which a unit hears all others: leave `neighbours` out")
        report(f"{model.name}: {STAGES_OF[graph]}")
        config = _config(model, piece.tensors, units, neighbours, graph)
        tensors = imported_tensors(au_network_shapes(config), piece.tensors, None, {}, piece.problems())
        write_checkpoint(target, config, {}, tensors, progress=progress)


def _refuse_others(model: Path, piece: Piece) -> None:
    for pattern, kind in OTHERS.items():
        if any(re.fullmatch(pattern, name) for name in piece.unknown):
            raise CheckpointError(f"{model}: {kind}")


def _graph(stored: StoredTensors) -> str:
    """Return which graph the names of a file are of."""
    if not any("head.edge_extractor." in name for name in stored):
        return "similar"
    return "open_edges" if any("head.gnn.graph_layers." in name for name in stored) else "edges"


def _config(
    model: Path, tensors: StoredTensors, units: Sequence[int] | None, neighbours: int | None, graph: str
) -> AuNetworkConfig:
    size = _Sizes(model, tensors)
    count = size.of("targets", 0)
    own = tuple(units) if units else UNITS.get(count)
    if own is None:
        raise InputError(f"{model}: {count} units, of no data set that is known: name them with `units`")
    if len(own) != count:
        raise InputError(f"`units` names {len(own)} units, and {model.name} gives {count}")
    neighbour_count = neighbours or NEIGHBOURS.get(count, 4)
    width, table = size.of("trunk.0.0.0.weight", 0), size.of("trunk.0.1.0.attn.relative_position_bias_table", 0)
    network = {
        "network": "me_graphau",
        "units": own,
        "patch_size": size.of("trunk.0.0.0.weight", 2),
        "embed_dim": width,
        "depths": tuple(size.blocks(stage) for stage in STAGES),
        "num_heads": tuple(
            size.of(f"trunk.0.{2 * stage + 1}.0.attn.relative_position_bias_table", 1) for stage in STAGES
        ),
        "window_size": (math.isqrt(table) + 1) // 2,
        "mlp_ratio": size.of("trunk.0.1.0.mlp.0.weight", 0) / max(width, 1),
        "neighbours": neighbour_count if graph == "similar" else min(neighbour_count, count),
        "graph": graph,
    }
    card: dict[str, Any] = {"name": "me-graphau", "imported_by": f"emo-edge {__version__}", "au": model.name, **CARD}
    return AuNetworkConfig.from_dict({"network": network, "crop": CROP, "detector": DETECTOR, "provenance": card})


class _Sizes:
    """Sizes of a network, read off its tensors."""

    def __init__(self, model: Path, tensors: StoredTensors) -> None:
        self._model, self._tensors = model, tensors

    def of(self, name: str, axis: int) -> int:
        """Return one axis of a tensor; raise CheckpointError where it is missing."""
        tensor = self._tensors.get(f"network.{name}")
        if tensor is None or len(tensor.shape) <= axis:
            raise CheckpointError(
                f"{self._model}: no {name} of ME-GraphAU with a Swin trunk; is it another model's file?"
            )
        return tensor.shape[axis]

    def blocks(self, stage: int) -> int:
        """Return the number of a stage's blocks."""
        pattern = re.compile(rf"network\.trunk\.0\.{2 * stage + 1}\.(\d+)\.norm1\.weight")
        return sum(pattern.fullmatch(name) is not None for name in self._tensors)
