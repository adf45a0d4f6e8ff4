"""The folder of a run: parts of rows that are there as a whole or not at all, and the manifest that names them.

A part counts from the moment at which the manifest names it. A part that it does not name was left by a run that was
stopped, and goes when the next one begins; the inputs of a part are its columns ``source`` and ``sha256``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any

from emo_edge import __version__
from emo_edge.errors import InputError
from emo_edge.rendering.tables.files import arrow_schema, open_parquet
from emo_edge.rendering.tables.output import unwritable
from emo_edge.rendering.tables.rows import TableSetup
from emo_edge.rendering.tables.schema import TABLE_VERSION
from emo_edge.storage.locks import OWNER_SUFFIX, FileLock, LockedError
from emo_edge.storage.output_paths import require_output
from emo_edge.utils.files import replaced_file, sha256_of
from emo_edge.utils.json_values import json_values

LABEL_VERSION = 1
"""Of the manifest."""
MANIFEST, LOCK = "label-run.json", ".lock"
PART = re.compile(r"part-(\d{5,})\.parquet")
LEFT_OVER = re.compile(r"\.(part-\d{5,}\.parquet|label-run\.json)\.[0-9a-f]{16}\.partial")
SHA256 = re.compile("[0-9a-f]{64}")
FINAL = (None, "input", "bundle")
"""Kinds of errors that reading again does not change; inputs with another one are read again."""


@dataclass(frozen=True)
class Part:
    """One file of rows, as the manifest has it."""

    name: str
    sha256: str
    rows: int
    inputs: int
    faces: int
    errors: int


class RunFolder:
    """A folder that belongs to one run; a context manager, because no other may write there meanwhile."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is touched before it is entered."""
        self.folder = folder
        self.parts: list[Part] = []
        self._lock = FileLock(folder / LOCK)
        self._head: dict[str, Any] = {}
        self._schema: Any = None
        self._begun = False

    def __enter__(self) -> RunFolder:
        """Claim the folder; raise InputError for one of other things, one that is in use or cannot be written."""
        try:
            self._refuse_foreign()
            require_output(self.folder / MANIFEST)
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except LockedError as error:
            raise InputError(
                f"{self.folder}: another run is writing there ({error.strerror}); wait, or name another `out`"
            ) from error
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be written ({error.strerror}); name another `out`") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # An interruption may have come between a part and the manifest that names it.
        with suppress(InputError, OSError):
            if self._begun and (left := self._read()):
                self._remove_left_over({one["name"] for one in left["parts"]})
        self._lock.close()

    def begin(self, setup: TableSetup) -> list[str]:
        """Continue the run that is there, or begin one; return the names of parts that are missing.

        Raises InputError for a run of another bundle, of other settings or of another schema, and for a part that was
        changed.
        """
        self._schema = arrow_schema(setup)
        self._head = {
            "label_version": LABEL_VERSION,
            "table_version": TABLE_VERSION,
            "emo_edge": __version__,
            "bundle_sha256": setup.common["bundle_sha256"],
            "settings_sha256": setup.common["settings_sha256"],
            "settings": json.loads(json.dumps(setup.settings, allow_nan=False)),
        }
        left = self._read()
        if left is not None:
            self._refuse_other(left)
            self.parts = [Part(**one) for one in left["parts"]]
        missing = [one.name for one in self.parts if not self._is_intact(one)]
        self.parts = [one for one in self.parts if one.name not in missing]
        self._remove_left_over({one.name for one in self.parts})
        self._write_manifest(self.parts)
        self._begun = True
        return missing

    def finished(self) -> Iterator[tuple[str, str | None]]:
        """Yield the inputs that have rows, and the hash of their content; "" for one that is to be read again."""
        for part in self.parts:
            table = self._table(part.name, ["source", "sha256", "error_kind"])
            for batch in table.to_batches(max_chunksize=4096):
                for name, digest, kind in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    if name is None or not (digest is None or SHA256.fullmatch(digest)):
                        raise self._unreadable(part.name, "a row has no source, or no sha256")
                    yield name, digest if kind in FINAL else ""

    def add(self, tables: list[bytes], inputs: int, faces: int, errors: int, replaced: Set[str]) -> None:
        """Write a part and name it in the manifest; rows of ``replaced`` inputs in older parts go with that.

        Raises InputError where the disk takes no more; then the part is not there.
        """
        table = self._joined(tables)
        try:
            part = self._write(table, inputs, faces, errors)
            outdated = self._without(replaced, part) if replaced else {}
            kept = [outdated.get(one.name, one) for one in self.parts]
            self._write_manifest([one for one in kept if one.rows] + [part])
        except OSError as error:
            raise unwritable(self.folder, error) from error
        for name in outdated:
            (self.folder / name).unlink(missing_ok=True)

    def _absolute(self, name: str) -> Path:
        """Return the path of a part for Arrow, which takes a relative ``a:b/part`` for an address."""
        return (self.folder / name).absolute()

    def _table(self, name: str, columns: list[str] | None = None) -> Any:
        """Read a part, or some of its columns; raise InputError for one that a run did not write."""
        import pyarrow

        try:
            table = open_parquet().read_table(self._absolute(name), columns=columns)
            wanted = self._schema.names if columns is None else columns
            if table.schema != pyarrow.schema([self._schema.field(one) for one in wanted]):
                raise ValueError("other columns, or other types")
            table.validate(full=True)
        except (OSError, ValueError, KeyError, NotImplementedError) as error:
            raise self._unreadable(name, str(error)) from error
        return table

    def _unreadable(self, name: str, reason: str) -> InputError:
        return InputError(f"{self.folder / name}: not readable ({reason}); name another `out`, or remove this folder")

    def _joined(self, tables: list[bytes]) -> Any:
        import pyarrow

        opened = [pyarrow.ipc.open_stream(one).read_all() for one in tables]
        return pyarrow.concat_tables(opened).replace_schema_metadata(self._schema.metadata)

    def _write(self, table: Any, inputs: int, faces: int, errors: int, after: int = 0) -> Part:
        """Write a table under the next free name."""
        name = f"part-{max([after, *(_number(one.name) for one in self.parts)]) + 1:05d}.parquet"
        with replaced_file(self.folder / name, synced=True) as partial:
            open_parquet().write_table(table, partial.absolute(), compression="zstd")
            digest = sha256_of(partial)
        return Part(name, digest, table.num_rows, inputs, faces, errors)

    def _without(self, replaced: Set[str], newest: Part) -> dict[str, Part]:
        """Write the parts that hold rows of ``replaced`` inputs again, without them; return these by the old name."""
        import pyarrow
        import pyarrow.compute

        written, names = dict[str, Part](), pyarrow.array(sorted(replaced), pyarrow.string())
        for part in self.parts:
            table = self._table(part.name)
            gone = pyarrow.compute.is_in(table["source"], value_set=names)
            if pyarrow.compute.any(gone).as_py():
                rest = table.filter(pyarrow.compute.invert(gone))
                facts = (_count(rest["source"]), rest.num_rows - rest["face"].null_count, _errors(rest))
                after = max(_number(one.name) for one in (newest, *written.values()))
                written[part.name] = self._write(rest, *facts, after=after)
        return written

    def _write_manifest(self, parts: list[Part]) -> None:
        document = {**self._head, "parts": [asdict(one) for one in parts]}
        with replaced_file(self.folder / MANIFEST, synced=True) as partial:
            partial.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        self.parts = parts

    def _read(self) -> dict[str, Any] | None:
        path = self.folder / MANIFEST
        if not path.exists():
            return None
        try:
            document = json_values(path.read_bytes())
            if not isinstance(document, dict) or not isinstance(document["label_version"], int):
                raise ValueError("no manifest of a run")
            if document["label_version"] == LABEL_VERSION:
                _checked_parts([Part(**one) for one in document["parts"]])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not readable ({error}); name another `out`, or remove this folder") from error
        return document

    def _refuse_other(self, left: Mapping[str, Any]) -> None:
        for key, word in (("label_version", "manifest"), ("table_version", "table schema")):
            if left.get(key) != self._head[key]:
                raise InputError(
                    f"{self.folder}: holds a run of {word} version {left.get(key)}, this program writes "
                    f"{self._head[key]}; name another `out`"
                )
        if left.get("bundle_sha256") != self._head["bundle_sha256"]:
            raise InputError(f"{self.folder}: holds the rows of another bundle; name another `out`, or that bundle")
        if left.get("settings_sha256") != self._head["settings_sha256"]:
            raise InputError(
                f"{self.folder}: holds rows of other settings ({'; '.join(_changed(left, self._head))}); "
                "name another `out`, or give the same settings"
            )

    def _is_intact(self, part: Part) -> bool:
        """Return whether a part is there; raise InputError if it is another file."""
        path = self.folder / part.name
        try:
            if sha256_of(path) == part.sha256:
                return True
        except FileNotFoundError:
            return False
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        raise InputError(f"{path}: changed since it was written; remove it, and its inputs are read again")

    def _refuse_foreign(self) -> None:
        folder = self.folder
        if not os.path.lexists(folder):
            return
        own = (MANIFEST, LOCK, LOCK + OWNER_SUFFIX)
        names = list(os.listdir(folder)) if folder.is_dir() else None
        begun = names is not None and all(one in own or LEFT_OVER.fullmatch(one) for one in names)
        if names is None or not (begun or MANIFEST in names):
            raise InputError(f"{folder}: holds other things than the rows of a run; name another `out`")

    def _remove_left_over(self, kept: Set[str]) -> None:
        """Remove the parts and partial files of a run that was stopped while it wrote them."""
        for name in os.listdir(self.folder):
            if LEFT_OVER.fullmatch(name) or (PART.fullmatch(name) and name not in kept):
                with suppress(OSError):
                    (self.folder / name).unlink()


class FinishedInputs:
    """Inputs that have rows: short digests of their names, and the hashes of their content.

    A name is that of the column ``source``: one that is not UTF-8 is quoted already.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, bytes | None] = {}

    def __len__(self) -> int:
        return len(self._known)

    def note(self, name: str, sha256: str | None) -> None:
        """Note the rows of an input; of several rows one that is to be read again decides."""
        key = _digest(name)
        if self._known.get(key, b"-") != b"":
            self._known[key] = None if sha256 is None else bytes.fromhex(sha256)

    def known(self, name: str) -> tuple[bool, str | None]:
        """Return whether an input has rows, and the hash of its content."""
        key = _digest(name)
        if key not in self._known:
            return False, None
        digest = self._known[key]
        return True, None if digest is None else digest.hex()


def _checked_parts(parts: list[Part]) -> None:
    """Raise ValueError for a part that no run names so."""
    for part in parts:
        numbers = (part.rows, part.inputs, part.faces, part.errors)
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError("a count that is none")
        if not (PART.fullmatch(part.name) and SHA256.fullmatch(part.sha256)):
            raise ValueError("a part of another name, or without a sha256")
    if len({part.name for part in parts}) < len(parts):
        raise ValueError("a part is there twice")


def _digest(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=16).digest()


def _number(name: str) -> int:
    match = PART.fullmatch(name)
    return int(match[1]) if match else 0


def _count(column: Any) -> int:
    import pyarrow.compute

    return int(pyarrow.compute.count_distinct(column).as_py())


def _errors(table: Any) -> int:
    import pyarrow.compute

    return _count(table.filter(pyarrow.compute.is_valid(table["error"]))["source"])


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Name the settings that differ, with both values where they are short."""
    old, new = before.get("settings"), after["settings"]
    old = old if isinstance(old, dict) else {}
    return [
        f"{name}: {_short(old.get(name))}, now {_short(new.get(name))}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _short(value: Any) -> str:
    text = json.dumps(value, allow_nan=False)
    return text if len(text) <= 60 else f"{text[:59]}…"
