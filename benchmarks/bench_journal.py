"""The folder of a benchmark: one line for each sample read, kept as it comes, so that a stopped run goes on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from emo_edge.bundle import claimed
from emo_edge.errors import InputError

SAMPLES, PLAN_NAME, REPORT_NAME = "samples", "run.json", "report.json"
Row = dict[str, Any]


class Journal:
    """A folder that belongs to one benchmark; a context manager, because no other may write there meanwhile."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """Claim a folder.

        Args:
            folder: is made if it is not there.
            settings: what tells this run from others; JSON values.
            overwrite: whether what another or a finished run left is removed.

        Raises InputError for a folder of other things, of another run, of a finished one, or that cannot be written.
        """
        self.folder = folder
        self.settings = json.dumps(settings, sort_keys=True)
        self._overwrite, self._claim = overwrite, -1

    def __enter__(self) -> Journal:
        try:
            self._refuse_foreign()
            (self.folder / SAMPLES).mkdir(parents=True, exist_ok=True)
            self._claim = claimed(self.folder)
        except BlockingIOError as error:
            raise InputError(
                f"{self.folder}: another benchmark is writing there; wait, or name another --out"
            ) from error
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be written ({error.strerror}); name another --out") from error
        try:
            self._settle()
        except BaseException:
            os.close(self._claim)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._claim)

    def rows(self, name: str, fits: Callable[[Row], bool]) -> dict[str, Row]:
        """Read the rows that an earlier run left, by key; what is torn or does not fit is dropped from the file."""
        path = self._path(name)
        kept: dict[str, Row] = {}
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
            row = _parsed(line)
            if row is not None and fits(row):
                kept.setdefault(row["key"], row)
        _replace(path, "".join(f"{json.dumps(row)}\n" for row in kept.values()))
        return kept

    def add(self, name: str, row: Row) -> None:
        """Append a row; it is the system's when this returns, so that a killed process loses none."""
        with self._path(name).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")

    def finish(self, report: Mapping[str, Any]) -> None:
        """Write the report beside its name, then rename it; from then on the run is finished."""
        self.write(REPORT_NAME, json.dumps(report, allow_nan=False) + "\n")

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder beside its name, then rename it."""
        _replace(self.folder / name, text)

    def _path(self, name: str) -> Path:
        return self.folder / SAMPLES / f"{name}.jsonl"

    def _refuse_foreign(self) -> None:
        """Raise InputError for a folder that no benchmark made."""
        if self.folder.exists() and (not self.folder.is_dir() or (any(self.folder.iterdir()) and not self._ours())):
            raise InputError(f"{self.folder}: holds other things than a benchmark; name another --out")

    def _ours(self) -> bool:
        """Tell a folder that a benchmark made, be it killed before it wrote its settings."""
        begun = {SAMPLES, _beside(self.folder / PLAN_NAME).name}
        return (self.folder / PLAN_NAME).is_file() or {path.name for path in self.folder.iterdir()} <= begun

    def _settle(self) -> None:
        """Go on with the run that is there if it is this one, else begin."""
        plan, report = self.folder / PLAN_NAME, self.folder / REPORT_NAME
        if not self._overwrite and report.exists():
            raise InputError(f"{report}: finished already; --overwrite measures again, or name another --out")
        left = plan.read_text(encoding="utf-8") if plan.exists() else self.settings
        if left == self.settings and not self._overwrite:
            _replace(plan, self.settings)
            return
        if not self._overwrite:
            told = ", ".join(_changed(left, self.settings)) or "its record is torn"
            raise InputError(f"{self.folder}: holds a run of other settings ({told}); --overwrite, or another --out")
        shutil.rmtree(self.folder / SAMPLES)
        (self.folder / SAMPLES).mkdir()
        report.unlink(missing_ok=True)
        _replace(plan, self.settings)


def _changed(left: str, settings: str) -> list[str]:
    before, after = _parsed(left, key=False) or {}, json.loads(settings)
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _parsed(line: str, *, key: bool = True) -> Row | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and (not key or isinstance(row.get("key"), str)) else None


def _replace(path: Path, text: str) -> None:
    partial = _beside(path)
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")
