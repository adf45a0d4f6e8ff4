"""A fast network of labels behind the real reader, with and without processes."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from emo_edge.assets.packaged import SAMPLES
from emo_edge.batch.config import LabelConfig
from emo_edge.batch.items import Item
from emo_edge.batch.reader import LabelReader, ReadChunk
from emo_edge.rendering.tables.rows import TableSetup

DRAWINGS = sorted(SAMPLES.glob("*.jpg"))


class InProcess:
    """An engine that reads where it is called, and counts what it was given."""

    def __init__(self, reader: LabelReader) -> None:
        self.reader, self.given = reader, list[str]()

    def open(self) -> TableSetup:
        return self.reader.setup

    def run(self, chunks: Iterable[list[Item]]) -> Iterator[ReadChunk]:
        for chunk in chunks:
            read = self.reader.read(chunk)
            self.given += [one.name for one in read.outcomes if one.rows]
            yield read


def rows_of(read: ReadChunk) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = pyarrow.ipc.open_stream(read.table).read_all().to_pylist()
    return table


def rows_in(folder: Path) -> list[dict[str, Any]]:
    """Read all parts of a folder, by the names of the sources, without times."""
    tables = [
        pyarrow.parquet.read_table(path).drop_columns(["read_ms"]) for path in sorted(folder.glob("part-*.parquet"))
    ]
    return sorted((row for table in tables for row in table.to_pylist()), key=lambda row: row["source"])


@pytest.fixture(scope="session")
def config(label_bundle: Path) -> LabelConfig:
    return LabelConfig(label_bundle, device="cpu", detector="whole", threads=1)


@pytest.fixture(scope="session")
def reader(config: LabelConfig) -> Iterator[LabelReader]:
    with LabelReader(config) as opened:
        yield opened


@pytest.fixture
def engine(reader: LabelReader) -> InProcess:
    return InProcess(reader)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of twelve drawings, four of them in a folder inside."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for number, path in enumerate(DRAWINGS[:12]):
        shutil.copy(path, (folder / "more" if number >= 8 else folder) / f"{number:02d}.jpg")
    return folder
