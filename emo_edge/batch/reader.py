"""The work of one process: inputs in, rows out, as bytes that any process can take over."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

from emo_edge.batch import stores
from emo_edge.batch.config import LabelConfig
from emo_edge.batch.items import Item
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import DeviceError, DeviceMemoryError, EmoEdgeError, InputError
from emo_edge.inference.detectors import chosen_detector
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import EmotionResult, SourceResult
from emo_edge.inference.stream import read_sources
from emo_edge.media.crops import Image
from emo_edge.media.images import MAX_BYTES, file_bytes, image_from_bytes
from emo_edge.rendering.tables.files import arrow_schema, arrow_table
from emo_edge.rendering.tables.output import content_hash
from emo_edge.rendering.tables.rows import TableRow, TableSetup, error_kind, table_rows, table_setup
from emo_edge.runtimes.base.device_names import GPU_DEVICES
from emo_edge.utils.prefetch import computed_ahead

BATCH_PIXELS = 16_000_000
"""Of the pictures that a card reads at once; a larger picture is read alone."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one input."""

    name: str
    sha256: str | None
    rows: int
    """0 for an input whose rows an earlier run has."""
    faces: int
    error_kind: str | None
    error: str | None
    replaces: bool = False
    """True if an earlier run has rows of this name and another content."""


@dataclass(frozen=True)
class ReadChunk:
    """The rows of some inputs, as an Arrow stream, and the end of each input."""

    table: bytes
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True)
class _Loaded:
    """An input before it is read: its picture, or the error that it has instead."""

    item: Item
    sha256: str | None = None
    image: Image | None = None
    error: EmoEdgeError | None = None
    unchanged: bool = False
    copy: Path | None = None
    """Of a video in a store: the file that it was copied to."""
    state: tuple[int, int] | None = None
    """Of a video before it was hashed."""

    @property
    def pixels(self) -> int:
        return 0 if self.image is None else self.image.shape[0] * self.image.shape[1]


class LabelReader(AbstractContextManager["LabelReader"]):
    """An open pipeline that turns inputs into rows."""

    def __init__(self, config: LabelConfig, folder: Path | None = None) -> None:
        """Open the pipeline; raise what opening raises, and InputError for a request that no input could fulfil.

        ``folder`` is for copies of videos that lie in a store; whoever gives one removes it. None makes one when it is
        needed.
        """
        bundle = Bundle.open(config.bundle)
        self._config = config
        self._pipeline = EmotionPipeline.open(
            bundle,
            device=config.device,
            profile=config.profile,
            detector=chosen_detector(bundle, config.detector, config.limits),
            threads=config.threads,
            context=config.context,
            whole_crops=config.whole_crops,
            deployment_purpose=config.deployment_purpose,
        )
        try:
            self._pipeline.check(config.request)
            self.setup: TableSetup = table_setup(self._pipeline, config.request, config.sampling, config.faces())
        except BaseException:
            self._pipeline.close()
            raise
        self._schema = arrow_schema(self.setup)
        self._copies: TemporaryDirectory[str] | None = None
        self._folder = folder
        # A processor gains nothing from pictures in one batch, and one by one the numbers do not depend on the batch.
        self._pixels = BATCH_PIXELS if self._pipeline.engines.device in GPU_DEVICES else 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipeline.close()
        if self._copies:
            self._copies.cleanup()

    def read(self, items: Iterable[Item]) -> ReadChunk:
        """Return the rows of some inputs; one that cannot be read is a row with its error.

        Raises DeviceError where the device is lost.
        """
        rows, outcomes = list[TableRow](), list[Outcome]()
        for batch in self._batches(self._coming(list(items))):
            for loaded, results in self._results(batch):
                own = [row for one in results for row in table_rows(self.setup, one, loaded.sha256)]
                rows += own
                outcomes.append(_outcome(loaded, results, len(own)))
        return ReadChunk(_stream(arrow_table(self._schema, rows)), tuple(outcomes))

    def _coming(self, items: list[Item]) -> Iterator[_Loaded]:
        """Load items: while a card reads or a store answers, by a thread; else in line.

        Where the workers keep every core busy, a thread that decodes would take its time from the engine's threads, and
        each picture would wait for the thread; the system alone is asked to read files ahead.
        """
        if self._pixels or any(stores.is_in_store(item.path or "") for item in items):
            return computed_ahead(self._loaded, items)
        for item in items:
            _read_ahead(item)
        return map(self._loaded, items)

    def _loaded(self, item: Item) -> _Loaded:
        """Read and decode a picture; of a video its hash alone."""
        digest: str | None = None
        try:
            if item.error:
                raise InputError(item.error)
            if item.video:
                return self._loaded_video(item)
            data = _picture_bytes(item)
            digest = hashlib.sha256(data).hexdigest()
            if item.labelled and item.known == digest is not None:
                return _Loaded(item, digest, unchanged=True)
            return _Loaded(item, digest, image_from_bytes(data, item.name))
        except EmoEdgeError as error:
            return _Loaded(item, digest, error=error, unchanged=item.labelled and item.known == digest)
        except Exception as error:
            return _Loaded(item, digest, error=_unforeseen(item, error))

    def _loaded_video(self, item: Item) -> _Loaded:
        """Hash a video; one in a store is copied to this machine first, where its reader can move about in it."""
        path, copy = item.path or "", None
        if stores.is_in_store(path):
            copy = self._copies_folder() / f"{secrets.token_hex(8)}{Path(path).suffix}"
            try:
                stores.copied(path, copy)
            except BaseException:
                copy.unlink(missing_ok=True)
                raise
        state = _state(str(copy or path))
        digest = content_hash(str(copy or path))
        unchanged = item.labelled and item.known == digest is not None
        if unchanged and copy:
            copy.unlink()
        return _Loaded(item, digest, unchanged=unchanged, copy=None if unchanged else copy, state=state)

    def _copies_folder(self) -> Path:
        if self._folder is None:
            self._copies = TemporaryDirectory(prefix="emo-edge-")
            self._folder = Path(self._copies.name)
        return self._folder

    def _batches(self, loaded: Iterable[_Loaded]) -> Iterator[list[_Loaded]]:
        """Cut inputs into batches whose pictures have no more pixels than the device reads at once."""
        batch, pixels = list[_Loaded](), 0
        for one in loaded:
            if batch and pixels + one.pixels > self._pixels:
                yield batch
                batch, pixels = [], 0
            batch.append(one)
            pixels += one.pixels
        if batch:
            yield batch

    def _results(self, batch: list[_Loaded]) -> Iterator[tuple[_Loaded, list[SourceResult]]]:
        pictures = [one for one in batch if one.image is not None]
        faces = dict(zip(map(id, pictures), self._faces(pictures), strict=True))
        for one in batch:
            if one.unchanged:
                yield one, []
            elif one.item.video and not one.error:
                yield self._clips(one)
            else:
                read = faces.get(id(one), [])
                error = read if isinstance(read, EmoEdgeError) else one.error
                shown = [] if isinstance(read, EmoEdgeError) else read
                yield one, [SourceResult(one.item.name, "image", shown, one.image, error=error)]

    def _faces(self, pictures: list[_Loaded]) -> list[list[EmotionResult] | EmoEdgeError]:
        """Read pictures at once; where that fails, one after the other, so that one alone has the error."""
        if not pictures:
            return []
        images = [one.image for one in pictures if one.image is not None]
        which = self._config.sampling.faces or "all"
        try:
            return list(self._pipeline.read_many(images, self._config.request, faces=which))
        except Exception as error:
            if len(pictures) > 1:
                return [answer for one in pictures for answer in self._faces([one])]
            if isinstance(error, DeviceError) and not isinstance(error, DeviceMemoryError):
                raise
            return [error if isinstance(error, EmoEdgeError) else _unforeseen(pictures[0].item, error)]

    def _clips(self, loaded: _Loaded) -> tuple[_Loaded, list[SourceResult]]:
        """Read a video; one whose content changes meanwhile is an error without a hash, so that a rerun reads it."""
        if loaded.copy:
            with stores.removed_after(loaded.copy):
                copied = replace(loaded, item=replace(loaded.item, path=str(loaded.copy)), copy=None)
                _, own = self._clips(copied)
            return loaded, [_renamed(one, str(loaded.copy), loaded.item.name) for one in own]
        path = loaded.item.path or ""
        try:
            results = list(read_sources(self._pipeline, [path], self._config.request, self._config.sampling))
        except Exception as error:
            if isinstance(error, DeviceError) and not isinstance(error, DeviceMemoryError):
                raise
            results = [SourceResult(path, "clip", [], None, error=_unforeseen(loaded.item, error))]
        if _state(path) == loaded.state or content_hash(path) == loaded.sha256:
            return loaded, results
        changed = InputError(f"{path}: changed while it was read; label it again when it is complete")
        return replace(loaded, sha256=None), [SourceResult(path, "clip", [], None, error=changed)]


def _picture_bytes(item: Item) -> bytes:
    if item.path is None:
        return item.data or b""
    if stores.is_in_store(item.path):
        return stores.content(item.path, MAX_BYTES)
    return file_bytes(Path(item.path), MAX_BYTES)


def _read_ahead(item: Item) -> None:
    """Ask the system to read a picture's file from the disk while others are computed."""
    if hasattr(os, "posix_fadvise") and item.path and not item.video and os.path.isfile(item.path):
        with suppress(OSError, ValueError):
            file = os.open(item.path, os.O_RDONLY)
            try:
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(file)


def _renamed(result: SourceResult, copy: str, name: str) -> SourceResult:
    """Return a result under the name of the source instead of its copy's."""
    error = result.error and type(result.error)(str(result.error).replace(copy, name))
    return replace(result, source=name, error=error)


def lost_chunk(setup: TableSetup, item: Item, reason: str) -> ReadChunk:
    """Return the row of an input with which a worker ended twice."""
    message = f"{item.name}: the process that read it ended twice ({reason}); look at this input alone"
    result = SourceResult(item.name, "clip" if item.video else "image", [], None, error=EmoEdgeError(message))
    kind = setup.columns.index("error_kind")
    rows = [(*row[:kind], "worker", *row[kind + 1 :]) for row in table_rows(setup, result, None)]
    outcome = Outcome(item.name, None, 1, 0, "worker", message, replaces=item.labelled)
    return ReadChunk(_stream(arrow_table(arrow_schema(setup), rows)), (outcome,))


def joined_chunks(chunks: list[ReadChunk]) -> ReadChunk:
    """Return chunks as one, which takes a tenth of their memory: each stream of few rows is mostly its head."""
    import pyarrow

    tables = [pyarrow.ipc.open_stream(one.table).read_all() for one in chunks]
    outcomes = tuple(outcome for one in chunks for outcome in one.outcomes)
    return ReadChunk(_stream(pyarrow.concat_tables(tables).combine_chunks()), outcomes)


def _outcome(loaded: _Loaded, results: list[SourceResult], rows: int) -> Outcome:
    error = next((one.error for one in results if one.error), None)
    return Outcome(
        loaded.item.name,
        loaded.sha256,
        rows,
        sum(len(one.faces) for one in results),
        error_kind(error),
        None if error is None else str(error),
        replaces=loaded.item.labelled and not loaded.unchanged,
    )


def _unforeseen(item: Item, error: Exception) -> EmoEdgeError:
    return EmoEdgeError(f"{item.name}: cannot be read ({type(error).__name__}: {error})")


def _state(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _stream(table: Any) -> bytes:
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())
