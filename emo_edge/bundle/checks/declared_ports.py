"""Inputs and outputs as an ONNX graph declares them, compared with the manifest before an engine loads the graph."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path

from emo_edge.bundle.manifest import GraphComponent, TensorContract
from emo_edge.errors import BundleError
from emo_edge.graphs.model import FLOAT, FLOAT16, INT64, UINT8, Port, read_ports
from emo_edge.utils.text import quoted

DTYPES = {FLOAT: "float32", FLOAT16: "float16", INT64: "int64", UINT8: "uint8"}
"""Element types that a manifest knows, by ONNX's number."""


def check_declared_ports(path: Path, component: GraphComponent) -> None:
    """Raise BundleError for a graph whose inputs or outputs are not those of its component.

    Names and dtypes are the same, and so are the sizes that both know: an engine finds the others while it loads.
    """
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            inputs, outputs = read_ports(content)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: no ONNX graph that can be read ({error}); export the bundle again") from error
    problems = [*_problems("input", component.inputs, inputs), *_problems("output", component.outputs, outputs)]
    if problems:
        raise BundleError(f"{path}: not the graph of the manifest: {'; '.join(problems)}; export the bundle again")


def _problems(kind: str, contracts: Sequence[TensorContract], ports: Sequence[Port]) -> Iterator[str]:
    described, declared = {one.name: one for one in contracts}, {port.name: port for port in ports}
    for name in sorted(described.keys() - declared.keys()):
        yield f"it has no {kind} {quoted(name)}"
    for name in sorted(declared.keys() - described.keys()):
        yield f"its {kind} {quoted(name)} is not in the manifest"
    for name in sorted(declared.keys() & described.keys()):
        if not _fits(described[name], declared[name]):
            shape = ", ".join(map(str, described[name].shape))
            yield f"its {kind} {quoted(name)} is {_words(declared[name])}, not {described[name].dtype} [{shape}]"


def _fits(contract: TensorContract, port: Port) -> bool:
    if DTYPES.get(port.kind) != contract.dtype:
        return False
    return port.shape is None or (
        len(port.shape) == len(contract.shape)
        and all(size is None or size == described for size, described in zip(port.shape, contract.shape, strict=True))
    )


def _words(port: Port) -> str:
    sizes = "" if port.shape is None else f" [{', '.join('*' if size is None else str(size) for size in port.shape)}]"
    return f"{DTYPES.get(port.kind, f'of the element type {port.kind}')}{sizes}"
