"""Shards of a data set: tar files as WebDataset writes them, and Parquet files of paths or pictures."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

import pyarrow
import pyarrow.parquet

from emo_edge.batch.items import Item
from emo_edge.batch.shards import parquet_items, parquet_length, tar_items
from emo_edge.benchmarks.hostile.mutate import mutated_bytes
from emo_edge.benchmarks.hostile.trials import Kind
from emo_edge.errors import InputError

MEMBERS = {"000.jpg": b"\xff\xd8 a picture", "000.cls": b"3", "a/long/" + "n" * 80 + ".png": b"another one" * 60}


def _tar(form: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, content in MEMBERS.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def _tars() -> Sequence[bytes]:
    """Write a tar in every format, and compressed ones."""
    whole = [_tar(form) for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]
    return [*whole, gzip.compress(whole[-1]), lzma.compress(whole[-1])]


def _mutated_tar(rng: Random, content: bytes) -> bytes:
    """Change bytes, and let the checksums of half of the headers fit again."""
    changed = bytearray(mutated_bytes(rng, content))
    for start in range(0, len(changed) - 511, 512):
        if changed[start + 257 : start + 262] == b"ustar" and rng.random() < 0.5:
            changed[start + 148 : start + 156] = b" " * 8
            changed[start + 148 : start + 156] = b"%06o\0 " % sum(changed[start : start + 512])
    return bytes(changed)


def _parquets() -> Sequence[bytes]:
    tables = (
        pyarrow.table({"path": ["a.jpg", "b.mp4"], "label": [1, 2]}),
        pyarrow.table({"image": [{"bytes": b"a picture", "path": "a.jpg"}], "n": [0.5]}),
    )
    written = []
    for table in tables:
        for compression in ("none", "snappy", "zstd"):
            stream = io.BytesIO()
            pyarrow.parquet.write_table(table, stream, compression=compression)
            written.append(stream.getvalue())
    return written


def _read_tar(path: Path) -> None:
    _require_whole(tar_items(str(path)))


def _read_parquet(path: Path) -> None:
    parquet_length(str(path))
    _require_whole(parquet_items(str(path), None))


def _require_whole(items: Iterable[Item]) -> None:
    """Raise InputError for an item that cannot be read: a run writes a row with the error, and goes on."""
    for item in list(items):
        item.name.encode("utf-8", "surrogateescape")
        if item.error:
            raise InputError(item.error)


TAR = Kind("shard.tar", _tars, _mutated_tar, _read_tar)
PARQUET = Kind("shard.parquet", _parquets, mutated_bytes, _read_parquet)
