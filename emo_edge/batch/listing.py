"""Lists of inputs, made while they are read: folders, patterns, lists, tables of paths or pictures, tar shards."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emo_edge.batch import stores
from emo_edge.batch.items import Item
from emo_edge.batch.shards import TAR_ENDINGS, parquet_holds_pictures, parquet_items, parquet_length, tar_items
from emo_edge.errors import InputError
from emo_edge.media.folders import OPTIONAL_NAMES, PICTURE_NAMES, portable_name, unread_reason
from emo_edge.media.headers.file_signatures import MOVING, kind_of_file
from emo_edge.media.pipes import STANDARD_INPUT
from emo_edge.media.readers.credentials import unknown_text
from emo_edge.media.sources import VIDEO_EXTENSIONS
from emo_edge.storage.own_outputs import own_names

logger = logging.getLogger(__name__)
NAMED = 20
"""Skipped entries that a run names without -v."""
LISTS = (".txt", ".lst")
OTHER_LISTS = (".csv", ".jsonl")
PATTERN = "*?["
STREAMS = "a camera or a stream has no end: read it with emo-edge infer or emo-edge live"
NO_NAME = "not the name of a picture or a video; content in a store is not looked into"
IS_SHARD = "a shard or a table: name it as a source of its own"


@dataclass
class SkippedEntries:
    """Entries that are not read: all are counted and logged, the first `NAMED` kept."""

    count: int = 0
    first: list[tuple[str, str]] = field(default_factory=list)
    """Name and reason."""
    logs: bool = True

    def add(self, name: str, reason: str) -> None:
        """Count an entry."""
        self.count += 1
        if self.logs:
            logger.info("skipped %s: %s", name, reason)
        if len(self.first) < NAMED:
            self.first.append((name, reason))

    def clear(self) -> None:
        """Begin anew."""
        self.count = 0
        self.first.clear()


@dataclass
class Listing:
    """The inputs of some sources, in order: names of a folder sorted, folders inside it after its files.

    Iterating lists them anew; names are held for one folder at a time.
    """

    sources: Sequence[str]
    """Folders, files, patterns, lists (.txt, .lst), Parquet files of paths or pictures, tar shards."""
    column: str | None = None
    """Of Parquet files; None finds the only one that can be meant."""
    left_out: Path | None = None
    """Folder that is never listed: where the rows go."""
    skipped: SkippedEntries = field(default_factory=SkippedEntries)
    """Entries of folders that are no inputs."""

    def __post_init__(self) -> None:
        """Raise InputError for a source that is not there, before anything is read."""
        for source in self.sources:
            if "://" in source and not stores.is_in_store(source):
                raise InputError(f"{source.partition('://')[0]}://…: {STREAMS}")
            if stores.is_in_store(source):
                if not (stores.exists(source) or (_is_pattern(source) and next(stores.matches(source), None))):
                    raise InputError(f"{unknown_text(source)}: no such file or folder, and no file fits it")
                continue
            if _is_pipe(source):
                raise InputError(
                    f"{unknown_text(source)}: is a pipe or a device, and a stopped run reads its inputs again: save it "
                    "as a file"
                )
            if not os.path.lexists(source) and not (_is_pattern(source) and next(_matches(source), None)):
                reason = "no file fits" if _is_pattern(source) else "no such file or folder"
                raise InputError(f"{unknown_text(source)}: {reason}")
            if source.lower().endswith(OTHER_LISTS) and os.path.isfile(source) and unread_reason(Path(source)):
                raise InputError(f"{source}: a list of inputs is a .txt with a path a line, or a Parquet file")

    def __iter__(self) -> Iterator[Item]:
        self.skipped.clear()
        for path in self._paths():
            yield from self._path(path)

    def length(self) -> int | None:
        """Count the inputs without opening them; None where that takes reading them, as in a tar."""
        other, total = self._again(), 0
        for path in self._paths():
            if path.lower().endswith(TAR_ENDINGS):
                return None
            is_table = path.lower().endswith(".parquet")
            total += parquet_length(path) if is_table else sum(1 for _ in other._path(path))
        return total

    def _again(self) -> Listing:
        return Listing(self.sources, self.column, self.left_out, SkippedEntries(logs=False))

    def has_videos(self) -> bool:
        """Return whether one of the inputs is a video; those in shards never are."""
        other = self._again()
        for path in self._paths():
            held = path.lower().endswith(TAR_ENDINGS) or (
                path.lower().endswith(".parquet") and parquet_holds_pictures(path, self.column)
            )
            if not held and any(item.video for item in other._path(path)):
                return True
        return False

    def _paths(self) -> Iterator[str]:
        for source in self.sources:
            if stores.is_in_store(source):
                yield from [source] if stores.exists(source) else stores.matches(source)
            elif os.path.lexists(source) or not _is_pattern(source):
                yield source
            else:
                yield from _matches(source)

    def _path(self, path: str) -> Iterator[Item]:
        ending = path.lower()
        if stores.is_in_store(path) and stores.is_folder(path):
            yield from self._store_folder(path)
        elif os.path.isdir(path):
            yield from self._folder(path)
        elif ending.endswith(LISTS):
            yield from _listed(path)
        elif ending.endswith(TAR_ENDINGS):
            yield from tar_items(path)
        elif ending.endswith(".parquet"):
            yield from parquet_items(path, self.column)
        else:
            yield _file_item(path)

    def _folder(self, folder: str) -> Iterator[Item]:
        if self.left_out and os.path.realpath(folder) == os.path.realpath(self.left_out):
            return
        try:
            own = own_names(folder)
            with os.scandir(folder) as entries:
                listed = ((entry.is_dir(follow_symlinks=False), entry.name) for entry in entries)
                names = sorted(one for one in listed if one[1] not in own)
        except OSError as error:
            self.skipped.add(folder, f"a folder that cannot be listed ({error.strerror})")
            return
        for is_folder, name in names:
            path = os.path.join(folder, name)
            if name.startswith("."):
                self.skipped.add(path, "hidden")
            elif is_folder:
                yield from self._folder(path)
            elif reason := _reason(path):
                self.skipped.add(path, reason)
            else:
                yield _file_item(path)

    def _store_folder(self, folder: str) -> Iterator[Item]:
        """List a folder of a store by the names alone: looking into each object would be a request each."""
        try:
            listed = stores.entries(folder)
        except InputError as error:
            self.skipped.add(folder, f"a folder that cannot be listed ({error})")
            return
        for is_folder, address in listed:
            if address.rpartition("/")[2].startswith("."):
                self.skipped.add(address, "hidden")
            elif is_folder:
                yield from self._store_folder(address)
            elif not address.lower().endswith((*PICTURE_NAMES, *OPTIONAL_NAMES, *VIDEO_EXTENSIONS)):
                is_shard = address.lower().endswith((*TAR_ENDINGS, ".parquet"))
                self.skipped.add(address, IS_SHARD if is_shard else NO_NAME)
            else:
                yield _file_item(address)


def _matches(pattern: str) -> Iterator[str]:
    """Yield what fits a pattern, files and folders, as the system lists them."""
    return glob.iglob(pattern, recursive=True)


def _is_pattern(source: str) -> bool:
    return any(mark in source for mark in PATTERN)


def _file_item(path: str, name: str | None = None) -> Item:
    return Item(name or path, path, video=path.lower().endswith(VIDEO_EXTENSIONS) or _is_moving(path))


def _is_moving(path: str) -> bool:
    """Look into a file whose name does not say what it is."""
    if path.lower().endswith((*PICTURE_NAMES, *OPTIONAL_NAMES)) or stores.is_in_store(path):
        return False
    try:
        return kind_of_file(Path(path)) in MOVING
    except (OSError, ValueError):
        return False


def _reason(path: str) -> str | None:
    """Return why an entry of a folder is no input; None for one that is, or that fails when it is read."""
    ending = path.lower()
    if ending.endswith((*PICTURE_NAMES, *OPTIONAL_NAMES, *VIDEO_EXTENSIONS)):
        return "a folder" if os.path.isdir(path) else None
    if ending.endswith((*TAR_ENDINGS, ".parquet")):
        return IS_SHARD
    return None if _is_moving(path) else unread_reason(Path(path))


def _is_pipe(source: str) -> bool:
    return source == STANDARD_INPUT or (
        os.path.exists(source) and not os.path.isfile(source) and not os.path.isdir(source)
    )


def _listed_path(home: str, name: str) -> str:
    """Return where a line of a list points to; ``home`` is the folder of the list."""
    if stores.is_in_store(name):
        return name
    return os.path.join(home, name if stores.is_in_store(home) else portable_name(name, Path(home)))


def _listed(path: str) -> Iterator[Item]:
    """Yield the inputs of a list: a path a line, relative to the list; empty lines and those after ``#`` are none."""
    home = os.path.dirname(path)
    try:
        with stores.opened(path) if stores.is_in_store(path) else open(path, "rb") as file:
            for line in file:
                name = os.fsdecode(line.rstrip(b"\r\n"))
                if name.strip() and not name.startswith("#"):
                    yield _file_item(_listed_path(home, name))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
