"""Names under which native libraries open files, whatever bytes the names are made of."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emo_edge.errors import InputError


def is_utf8(path: str | Path) -> bool:
    """Return True if a library that is given ``path`` as UTF-8 opens the file that Python opens."""
    try:
        return os.fspath(path).encode("utf-8") == os.fsencode(path)
    except UnicodeEncodeError:
        return False


def native_text(text: str) -> str:
    """Return a URL or a pipeline for a native library; raise InputError, without its passwords, if it is not UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"character {error.start + 1} of this address is not UTF-8: write it as %XX, its bytes in hexadecimal"
        ) from error
    return text


@contextmanager
def native_path(path: str | Path) -> Iterator[str]:
    """Yield a name of ``path`` that a native library survives: its own, or a link to it where it is not UTF-8.

    Names on Linux are bytes, and libraries take them as UTF-8: on others OpenCV ends the process, ONNX Runtime,
    OpenVINO and TensorRT fail. The link lies in a private temporary folder and is removed at the end. A file that
    does not exist yet is written through it, and files beside ``path`` are reached too if its last part is UTF-8.
    A library that takes bytes needs none of this: give it ``os.fsencode(path)``.

    Raises InputError where no link can be made.
    """
    # A library may look up the working folder on its own, so that a relative name is no safer than the whole one.
    whole = Path(path).absolute()
    if is_utf8(whole):
        yield os.fspath(path)
        return
    try:
        folder = tempfile.TemporaryDirectory(prefix="emo-edge-", dir=_plain_folder())
    except OSError as error:
        raise _no_link(path, error) from error
    with folder:
        yield _link(whole, Path(folder.name))


def _link(target: Path, folder: Path) -> str:
    plain = is_utf8(target.name)
    suffix = target.suffix if is_utf8(target.suffix) else ""
    link = folder / ("folder" if plain else f"file{suffix}")
    try:
        link.symlink_to(target.parent if plain else target)
    except OSError as error:
        raise _no_link(target, error) from error
    return str(link / target.name if plain else link)


def _plain_folder() -> str:
    folder = tempfile.gettempdir()
    return folder if is_utf8(folder) else "/tmp"


def _no_link(path: str | Path, error: OSError) -> InputError:
    return InputError(
        f"{path}: the name is not UTF-8, and no link to it can be made in {_plain_folder()} ({error.strerror}): "
        "rename the file and its folders"
    )
