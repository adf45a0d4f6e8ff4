"""The folder of a benchmark: a line a sample, written at once, so that a stopped run goes on; Parquet at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from emo_edge.benchmarks.workload.kept_rows import parquet_from_rows
from emo_edge.errors import InputError
from emo_edge.storage.locks import OWNER_SUFFIX, FileLock, LockedError
from emo_edge.storage.output_paths import require_output
from emo_edge.utils.json_values import json_values

SAMPLES, PLAN_NAME, REPORT_NAME = "samples", "run.json", "report.json"
LOCK_NAME = ".lock"
MARKDOWN_NAME, HTML_NAME = "report.md", "report.html"
OWN_SUFFIXES = (".jsonl", ".parquet", ".part")
"""Of the files of `SAMPLES`: no other is ever removed."""
FACES = "faces"
"""Name of the file of boxes, beside one of each row of the report."""
Row = dict[str, Any]


class Journal:
    """A folder that belongs to one benchmark; a context manager, because no other may write there meanwhile."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """Claim a folder.

        Args:
            folder: is made if it is not there.
            settings: JSON values in which this run differs from others.
            overwrite: True removes the files of another or a finished run.

        Raises InputError for a folder of other things, of another run, of a finished one, or that cannot be written.
        """
        self.folder = folder
        self.settings = json.dumps(settings, sort_keys=True)
        self._overwrite, self._lock = overwrite, FileLock(folder / LOCK_NAME)

    def __enter__(self) -> Journal:
        try:
            self._refuse_foreign()
            require_output(self.folder / REPORT_NAME)
            (self.folder / SAMPLES).mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except LockedError as error:
            raise InputError(
                f"{self.folder}: another benchmark is writing there ({error.strerror}); wait, or name another `out`"
            ) from error
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be written ({error.strerror}); name another `out`") from error
        try:
            self._settle()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    def rows(self, name: str, fits: Callable[[Row], bool]) -> Iterator[Row]:
        """Yield the rows that an earlier run left, in their order; of two of one key the later counts.

        Lines that are torn or do not fit are dropped from the file, once all have been yielded.
        """
        path = self._path(name)
        if not path.exists():
            return
        partial = _partial_path(path)
        with path.open(encoding="utf-8", errors="replace") as lines, partial.open("w", encoding="utf-8") as kept:
            for line in lines:
                row = _parsed(line)
                if row is not None and fits(row):
                    kept.write(f"{json.dumps(row, allow_nan=False)}\n")
                    yield row
        partial.replace(path)

    def add(self, name: str, row: Row) -> None:
        """Append a row; the system has it when this returns, so that a killed process loses none."""
        with self._path(name).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row, allow_nan=False) + "\n")

    def finish(self, report: Mapping[str, Any]) -> None:
        """Write the rows as Parquet and the report, which replaces its name at once: the run is finished from then on.

        The lines from which a stopped run goes on are removed.
        """
        lines = sorted((self.folder / SAMPLES).glob("*.jsonl"))
        for path in lines:
            parquet_from_rows(path, path.with_suffix(".parquet"), boxes=path.stem == FACES)
        self.write(REPORT_NAME, json.dumps(report, allow_nan=False) + "\n")
        for path in lines:
            path.unlink()

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder under another name, then rename it."""
        _replace(self.folder / name, text)

    def _path(self, name: str) -> Path:
        return self.folder / SAMPLES / f"{name}.jsonl"

    def _refuse_foreign(self) -> None:
        """Raise InputError for a folder that no benchmark wrote."""
        if self.folder.exists() and (not self.folder.is_dir() or (any(self.folder.iterdir()) and not self._ours())):
            raise InputError(f"{self.folder}: holds other things than a benchmark; name another `out`")

    def _ours(self) -> bool:
        """Return True for a folder that a benchmark wrote, even one that was killed before it wrote its settings."""
        begun = {SAMPLES, LOCK_NAME, LOCK_NAME + OWNER_SUFFIX, _partial_path(self.folder / PLAN_NAME).name}
        if not self._own_samples():
            return False
        return self._plan() is not None or {path.name for path in self.folder.iterdir()} <= begun

    def _own_samples(self) -> bool:
        folder = self.folder / SAMPLES
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            return False
        return not folder.exists() or all(map(_own_file, folder.iterdir()))

    def _plan(self) -> Row | None:
        """Read the settings of the run that is there; None where there is none, or the file is no benchmark's."""
        path = self.folder / PLAN_NAME
        row = _parsed(path.read_text(encoding="utf-8", errors="replace"), key=False) if path.is_file() else None
        return row if row is not None and "bundle" in row else None

    def _settle(self) -> None:
        """Continue the run that is there if its settings are the same, else begin."""
        report, left = self.folder / REPORT_NAME, self._plan()
        if not self._overwrite and report.exists():
            raise InputError(f"{report}: finished already; `overwrite` measures again, or name another `out`")
        if self._overwrite:
            self._clear()
        elif left is not None and (changed := ", ".join(_changed(left, json.loads(self.settings)))):
            raise InputError(f"{self.folder}: holds a run of other settings ({changed}); `overwrite`, or another `out`")
        _replace(self.folder / PLAN_NAME, self.settings)

    def _clear(self) -> None:
        """Remove the files that a benchmark wrote, and nothing else."""
        for name in (REPORT_NAME, MARKDOWN_NAME, HTML_NAME):
            (self.folder / name).unlink(missing_ok=True)
        for path in filter(_own_file, list((self.folder / SAMPLES).iterdir())):
            path.unlink()


def _own_file(path: Path) -> bool:
    return path.suffix in OWN_SUFFIXES and path.is_file() and not path.is_symlink()


def _changed(before: Row, after: Row) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _parsed(line: str, *, key: bool = True) -> Row | None:
    try:
        row = json_values(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and (not key or isinstance(row.get("key"), str)) else None


def _replace(path: Path, text: str) -> None:
    partial = _partial_path(path)
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _partial_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")
