"""The files of a VLM: which are there, copies of them in the bundle, and the names that errors call them by."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from emo_edge.bundle.checks.any_gguf import check_language_gguf
from emo_edge.bundle.gguf_header import GgufHeader
from emo_edge.bundle.gguf_types import FILE_TYPES, UNQUANTIZED
from emo_edge.bundle.writer import BundleWriter
from emo_edge.console.progress import Reports
from emo_edge.errors import BundleError, CheckpointError, EmoEdgeError, InputError
from emo_edge.export.vlm.config import VlmFiles
from emo_edge.utils.files import require_disk_space

SHOWN = 3
"""Files of a folder that an error names."""


def require_files(files: VlmFiles) -> None:
    """Raise CheckpointError for a file that is missing, a folder, or no plain file."""
    for path in files.all():
        if path.is_dir():
            inside = sorted(one.name for one in path.iterdir() if one.suffix == ".gguf")[:SHOWN]
            named = f", such as {', '.join(inside)}" if inside else ""
            raise CheckpointError(f"{path}: a folder; name one GGUF file in it{named}")
        if not path.exists():
            raise CheckpointError(f"{path}: no such file; it is a GGUF file that you have downloaded or converted")
        if not path.is_file():
            raise CheckpointError(f"{path}: no plain file, but a pipe or a device; save it to a file first")


def file_type(header: GgufHeader) -> str:
    """Return the type of most matrices, as llama.cpp's file says; "mixed" where it does not."""
    number = header.metadata.get("general.file_type")
    return next((name for name, kind in FILE_TYPES.items() if kind.number == number), "mixed")


def language_types(files: VlmFiles, header: GgufHeader) -> list[str]:
    """Return the type of the model, and of the reference behind it, which must be the same model unquantized."""
    types = [file_type(header)]
    if files.reference:
        reference = check_language_gguf(files.reference)
        if header.architecture != reference.architecture or header.shape() != reference.shape():
            raise BundleError(f"{files.reference}: other sizes than the model's; take the f16 file of the same model")
        types.append(file_type(reference))
        if types[1] not in UNQUANTIZED or types[1] == types[0]:
            advice = "; leave `reference` out: the model is its own" if types[0] in UNQUANTIZED else ""
            raise InputError(
                f"{files.reference}: a reference is f32, f16 or bf16 and another type than the model, not "
                f"{types[1]}{advice}"
            )
    return types


def copied(
    files: VlmFiles, types: Sequence[str], tower: str, writer: BundleWriter, reports: Reports
) -> dict[str, Path]:
    """Copy the files into the bundle, by component and type; ``tower`` is the type of the mmproj."""
    require_disk_space(writer.partial, sum(path.stat().st_size for path in files.all()))
    sources = {"vision": (files.mmproj, f"vision-{tower}.gguf")}
    given = [path for path in (files.model, files.reference) if path]
    sources |= {f"language-{kind}": (path, f"language-{kind}.gguf") for kind, path in zip(types, given, strict=True)}
    copies = {}
    for done, (part, (source, name)) in enumerate(sources.items()):
        reports.progress("copy the files", done, len(sources))
        copies[part] = Path(shutil.copyfile(source, writer.path(name)))
    return copies


@contextmanager
def users_names(files: VlmFiles, types: Sequence[str], copies: Mapping[str, Path]) -> Iterator[None]:
    """Let errors about a copy name the user's file: the copy is gone when they are read."""
    given = [path for path in (files.model, files.reference) if path]
    own = {"vision": files.mmproj} | {f"language-{kind}": path for kind, path in zip(types, given, strict=True)}
    try:
        yield
    except EmoEdgeError as error:
        text = str(error)
        for part, copy in copies.items():
            text = text.replace(str(copy), str(own[part]))
        raise type(error)(text) from error
