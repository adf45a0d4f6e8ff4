"""Read and write checkpoint weights: safetensors, checked by name, shape and value before use."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from emo_edge.errors import CheckpointError
from emo_edge.utils.files import read_json, refuse_substitute, replaced_file
from emo_edge.utils.native_paths import native_path

WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
SHOWN = 200
"""Problems that an error lists: all of a damaged shard, and few enough for a terminal."""


def load_weights(
    module: torch.nn.Module,
    directory: str | Path,
    dtype: torch.dtype,
    device: str,
    *,
    only_checked: str | None = None,
    only: tuple[str, ...] = ("",),
) -> None:
    """Replace every parameter and buffer of ``module`` (built on the meta device) by the checkpoint's.

    One tensor is read at a time; those whose names start with ``only_checked`` are checked and not kept, those whose
    names start with none of ``only`` are left alone. Raises CheckpointError naming every missing, unexpected,
    misshapen and non-finite tensor at once.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    with ExitStack() as stack:
        files = [stack.enter_context(open_weights(path)) for path in weight_files(Path(directory))]
        keys = ((name, file) for file in files for name in file.keys())  # noqa: SIM118 - safe_open is no mapping
        stored_in = {name: file for name, file in keys if name.startswith(only)}
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name, file in stored_in.items()}
        problems = list(structure_problems(expected, shapes))
        for name in expected.keys() & stored_in.keys():
            stored = stored_in[name].get_tensor(name)
            # Converted first: float8 has no extremes, and float16 turns a large float32 into infinity.
            tensor = stored.to(device=device, dtype=dtype) if stored.is_floating_point() else None
            if tensor is None:
                problems.append(f"wrong dtype: {name} is {stored.dtype}, expected a floating-point type")
            elif not all_finite(tensor):
                problems.append(f"not finite: {name}, read as {dtype}")
            elif not problems and not (only_checked and name.startswith(only_checked)):
                _assign(module, name, tensor)
    _require_none(directory, problems)


def check_layers(layers: int, directory: str | Path) -> None:
    """Compare a config's number of layers with the number of tensors, before a model of that depth is built.

    Raises CheckpointError where there are more layers than tensors.
    """
    stored = len(stored_shapes(Path(directory)))
    if layers > stored:
        raise CheckpointError(
            f"{directory}: config.json asks for {layers} layers, and the weights are {stored} tensors; "
            "copy the config and the weights of one checkpoint"
        )


def check_structure(expected: Mapping[str, tuple[int, ...]], directory: str | Path) -> None:
    """Compare names and shapes with those in the heads of the files, without a value read.

    Raises CheckpointError naming every tensor that is missing, unexpected or of another shape.
    """
    _require_none(directory, structure_problems(expected, stored_shapes(Path(directory))))


def stored_shapes(directory: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a checkpoint, by name, from the heads of its files."""
    shapes = dict[str, tuple[int, ...]]()
    for path in weight_files(directory):
        with open_weights(path) as file:
            shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return shapes


def _require_none(directory: str | Path, problems: Iterable[str]) -> None:
    listed = sorted(problems)
    if listed:
        more = [f"  and {len(listed) - SHOWN} more"] if len(listed) > SHOWN else []
        listing = "\n".join([*(f"  {problem}" for problem in listed[:SHOWN]), *more])
        raise CheckpointError(f"{directory}: {len(listed)} problem(s) in the weights:\n{listing}")


def save_weights(module: torch.nn.Module, directory: str | Path) -> None:
    """Write ``model.safetensors`` beside its final name, then rename it."""
    path = Path(directory) / WEIGHTS_NAME
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    save_tensors(state, path)


def save_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write one safetensors file beside its final name, on the disk, readable as other new files are; then rename."""
    with replaced_file(path, synced=True) as partial:
        partial.touch()
        # safetensors replaces it by a file that only its owner reads.
        mode = partial.stat().st_mode
        with native_path(partial) as name:
            save_file(tensors, name, metadata={"format": "pt"})
        partial.chmod(mode)


def structure_problems(expected: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    """Name every tensor that is missing, unexpected or of another shape."""
    for name in sorted(expected.keys() - shapes.keys()):
        yield f"missing: {name} {list(expected[name])}"
    for name in sorted(shapes.keys() - expected.keys()):
        yield f"unexpected: {name} {list(shapes[name])}"
    for name in sorted(expected.keys() & shapes.keys()):
        if expected[name] != shapes[name]:
            yield f"misshapen: {name} is {list(shapes[name])}, the config asks for {list(expected[name])}"


def all_finite(tensor: torch.Tensor) -> bool:
    """Return whether a tensor holds no NaN and no infinity; its extremes tell, and take no memory to compute."""
    return tensor.numel() == 0 or bool(torch.isfinite(torch.stack(torch.aminmax(tensor))).all())


def weight_files(directory: Path) -> list[Path]:
    """Return the one file or the index's shards; raise CheckpointError for none, or for a shard elsewhere."""
    single, index = directory / WEIGHTS_NAME, directory / INDEX_NAME
    if single.is_file():
        return [single]
    if not index.is_file():
        raise CheckpointError(f"{directory}: neither {WEIGHTS_NAME} nor {INDEX_NAME} is there")
    return [directory / shard for shard in sorted(set(shard_names(index).values()))]


def tensor_files(directory: Path) -> dict[str, Path]:
    """Return the file of a checkpoint that holds each tensor."""
    files: dict[str, Path] = {}
    for path in weight_files(directory):
        with open_weights(path) as file:
            files |= dict.fromkeys(file.keys(), path)
    return files


def shard_names(index: Path) -> dict[str, str]:
    """Read an index: tensor name to the file in its folder that holds the tensor."""
    try:
        values = read_json(index, "it lists the shards")
    except CheckpointError as error:
        raise CheckpointError(f"{index}: not an index of shards: {error}") from error
    placed = values.get("weight_map") if isinstance(values, dict) else None
    if not isinstance(placed, dict) or not placed:
        raise CheckpointError(f"{index}: not an index of shards: it has no table weight_map")
    strange = [shard for shard in placed.values() if not _is_plain_name(shard)]
    if strange:
        raise CheckpointError(
            f"{index}: not an index of shards: shards must lie beside it, not at {ascii(strange[0])[:300]}"
        )
    shards = set(placed.values())
    missing = sorted(shard for shard in shards if not os.path.isfile(index.parent / shard))
    if missing:
        raise CheckpointError(f"{index}: names shards that are not there: {', '.join(missing)}")
    return dict(placed)


def _is_plain_name(shard: Any) -> bool:
    return isinstance(shard, str) and Path(shard).name == shard and shard not in ("", "..") and shard.isprintable()


def open_weights(path: Path) -> Any:
    """Open one safetensors file; raise CheckpointError for one that is none."""
    try:
        with native_path(path) as name:
            return safe_open(name, framework="pt")
    except (SafetensorError, OSError) as error:
        refuse_substitute(path, error)
        raise CheckpointError(f"{path}: not readable as safetensors (truncated or corrupt): {error}") from error


def _assign(module: torch.nn.Module, name: str, tensor: torch.Tensor) -> None:
    owner_name, _, leaf = name.rpartition(".")
    owner = module.get_submodule(owner_name)
    if leaf in owner._parameters:
        owner.register_parameter(leaf, torch.nn.Parameter(tensor, requires_grad=False))
    else:
        owner.register_buffer(leaf, tensor)
