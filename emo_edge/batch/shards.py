"""Inputs that lie in other files: tar shards, as WebDataset writes them, and Parquet files of paths or pictures."""

from __future__ import annotations

import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from emo_edge.batch import stores
from emo_edge.batch.items import Item
from emo_edge.errors import InputError
from emo_edge.media.folders import OPTIONAL_NAMES, PICTURE_NAMES
from emo_edge.media.images import MAX_BYTES
from emo_edge.media.sources import VIDEO_EXTENSIONS
from emo_edge.rendering.tables.files import open_parquet
from emo_edge.utils.native_paths import native_path

if TYPE_CHECKING:
    from typing_extensions import Self

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
PATH_COLUMNS = ("path", "file", "file_name", "filename", "image_path", "image", "source", "video")
"""Names of columns that are taken for paths."""
BATCH_ROWS = 64
"""Rows of a Parquet file that are held at a time."""
DAMAGED = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, TypeError, IndexError)
"""Damaged numbers of a header are ValueError and TypeError in tarfile."""
UNREADABLE = (OSError, ValueError, NotImplementedError)
"""Errors of Arrow."""
LONG_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
LONGEST_HEADER = 1 << 20
"""Bytes of a member's name and attributes, which tarfile reads as a whole."""


class _Member(tarfile.TarInfo):
    """A member whose damaged header is an error, where tarfile takes it for the end of the shard."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header; raise ReadError for a damaged one, and one whose name and attributes are too long."""
        try:
            member = super().frombuf(buf, encoding, errors)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(str(error)) from error
        if member.type in LONG_HEADERS and member.size > LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {member.size:,} bytes")
        return member


def tar_items(path: str) -> Iterator[Item]:
    """Yield the pictures of a tar, in its order, with their bytes; it is read once, from start to end.

    Other members, such as the ``.json`` and ``.cls`` of WebDataset, are left out. A tar that breaks off ends with an
    item that has the error.
    """
    try:
        with _tar(path) as shard:
            for member in shard:
                shard.members = []  # type: ignore[attr-defined] # else each of a million members is kept
                if member.isfile() and member.name.lower().endswith((*PICTURE_NAMES, *OPTIONAL_NAMES)):
                    yield _member_item(shard, member, f"{path}/{member.name}")
    except DAMAGED as error:
        reason = getattr(error, "strerror", None) or error
        yield Item(path, error=f"{path}: is damaged or breaks off, and what follows is not read ({reason})")


def _tar(path: str) -> tarfile.TarFile:
    if stores.is_in_store(path):
        return tarfile.open(fileobj=stores.opened(path), mode="r|*", tarinfo=_Member)
    return tarfile.open(path, "r|*", tarinfo=_Member)


def _member_item(shard: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> Item:
    if member.size > MAX_BYTES:
        return Item(name, error=f"{name}: {member.size:,} bytes, more than {MAX_BYTES:,}: shrink the image")
    stream = shard.extractfile(member)
    return Item(name, data=stream.read() if stream else b"")


def parquet_items(path: str, column: str | None) -> Iterator[Item]:
    """Yield an item a row of a Parquet file: a path relative to the file, or the bytes of a picture.

    Raises InputError for a file that cannot be read, and where no column, or several, can be meant.
    """
    table = _open(path)
    chosen = _chosen(path, table.schema_arrow, column)
    home, number = os.path.dirname(path), 0
    try:
        for batch in table.iter_batches(BATCH_ROWS, columns=[chosen]):
            for value in batch.column(0).to_pylist():
                yield _row_item(f"{path}#{number}", home, value)
                number += 1
    except UNREADABLE as error:
        yield Item(path, error=f"{path}: is damaged behind row {number}, and what follows is not read ({error})")


def parquet_length(path: str) -> int:
    """Return the number of rows of a Parquet file."""
    return int(_open(path).metadata.num_rows)


def parquet_holds_pictures(path: str, column: str | None) -> bool:
    """Return whether the column of a Parquet file holds bytes of pictures, not paths."""
    schema = _open(path).schema_arrow
    return _holds_bytes(schema.field(_chosen(path, schema, column)).type)


def _row_item(name: str, home: str, value: Any) -> Item:
    if isinstance(value, dict):  # as Hugging Face's datasets store a picture
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return Item(name, data=value)
    if isinstance(value, str) and value:
        path = value if stores.is_in_store(value) else os.path.join(home, value)
        return Item(path, path, video=path.lower().endswith(VIDEO_EXTENSIONS))
    return Item(name, error=f"{name}: the row holds neither a path nor a picture")


def _open(path: str) -> Any:
    parquet = open_parquet()
    try:
        if stores.is_in_store(path):
            return parquet.ParquetFile(stores.opened(path))
        # Arrow takes a relative "a:b.parquet" for an address.
        with native_path(os.path.abspath(path)) as name:
            return parquet.ParquetFile(name)
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot be read as Parquet ({error})") from error


def _chosen(path: str, schema: Any, column: str | None) -> str:
    """Return the column to read: the named one, else the only one of pictures, else the only one named as paths are."""
    import pyarrow

    if column is not None:
        if column not in schema.names:
            raise InputError(f"{path}: has no column {column!r}; it has {', '.join(schema.names)}")
        return column
    kinds = pyarrow.types
    pictures = [one.name for one in schema if _holds_bytes(one.type)]
    paths = [
        one.name
        for one in schema
        if one.name.lower() in PATH_COLUMNS and (kinds.is_string(one.type) or kinds.is_large_string(one.type))
    ]
    for candidates in (pictures, paths):
        if len(candidates) == 1:
            return str(candidates[0])
    raise InputError(f"{path}: which column holds pictures or paths? Name it with `column`: {', '.join(schema.names)}")


def _holds_bytes(kind: Any) -> bool:
    import pyarrow

    if pyarrow.types.is_struct(kind):
        return any(inner.name == "bytes" and _holds_bytes(inner.type) for inner in kind)
    return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))
