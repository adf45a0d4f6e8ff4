"""The engines this machine compiled: found again under a key, sealed, locked while built, bounded in size.

A plan may hold host code, so none is given to a loader unless this machine's own secret sealed it: a plan that was
copied here from elsewhere, or changed since, is rebuilt, with a line that gives the reason.
"""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from emo_edge.console.progress import FractionProgress
from emo_edge.errors import DeviceError
from emo_edge.runtimes.tensorrt.build_config import EngineConfig, engine_key
from emo_edge.runtimes.tensorrt.builder import engine_from_onnx
from emo_edge.storage.directories import REPLACED_SUFFIX, put_in_place
from emo_edge.storage.locks import FileLock
from emo_edge.storage.machine_seal import MachineSeal
from emo_edge.utils.cache import cache_directory
from emo_edge.utils.files import replace_text, sha256_of

logger = logging.getLogger(__name__)
PLAN, ENTRY, LOCK = "engine.plan", "entry.json", ".lock"
PARTIAL, ROWS, REFUSED = ".partial-", "rows.json", "refused.json"
LIMIT = 8 << 30
"""Bytes of all engines together; EVA-g and FaceXFormer in fp16 take about 2.2 GB."""


@dataclass(frozen=True)
class Entry:
    """One engine in the cache and its record."""

    key: str
    name: str
    size: int
    sha256: str
    seconds: float
    """Spent building."""
    machine: dict[str, str]
    created: str
    distance: dict[str, float] = field(default_factory=dict)
    """Similarity to ONNX Runtime on the CPU, by output; empty until it was compared."""


class EngineCache:
    """A directory of engines. Safe between processes: one builds at a time, the others wait and find it."""

    def __init__(self, directory: Path | None = None, limit: int = LIMIT) -> None:
        """Use ``directory`` (the user's cache if None); beyond ``limit`` bytes the engines unused for longest go."""
        self.directory = directory or cache_directory() / "engines"
        self.limit = limit
        self._seals = MachineSeal(self.directory)

    def engine(
        self, recipe: EngineConfig, machine: dict[str, str], progress: FractionProgress | None = None, **build: Any
    ) -> Entry:
        """Return the engine of a recipe on this machine, building it unless a verified one is there.

        Args:
            recipe: what to compile.
            machine: names what an engine depends on: TensorRT, GPU, driver, system.
            progress: of a build.
            build: passed on to `engine_from_onnx`.

        Raises what `engine_from_onnx` raises, and DeviceError where the cache cannot be written.
        """
        key = engine_key(recipe, machine)
        entry = self._used(key)[0]
        if entry:
            return entry
        with self._building():
            for left in (*self.directory.glob(f"{PARTIAL}*"), *self.directory.glob(f".*{REPLACED_SUFFIX}")):
                shutil.rmtree(left, ignore_errors=True)
            self._seals.secret()
            entry, reason = self._used(key)
            if entry:
                return entry
            logger.info("building the engine of %s: %s", recipe.name, reason)
            return self._build(key, recipe, machine, progress, build)

    def plan(self, entry: Entry) -> Path:
        """Return the path of the engine's file."""
        return self._folder(entry.key) / PLAN

    @contextmanager
    def content(self, entry: Entry) -> Iterator[mmap.mmap]:
        """Map the engine's file, which `engine` has just verified: no copy of it where memory is short."""
        with self.plan(entry).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield content

    def compared(self, entry: Entry, distance: dict[str, float]) -> Entry:
        """Keep an engine's similarity to its graph; a cache that cannot be written compares again next time."""
        updated = replace(entry, distance=distance)
        try:
            self._write_entry(self._folder(entry.key), updated)
        except OSError as error:
            logger.warning("%s: cannot be written (%s)", self.directory, error.strerror)
        return updated

    def refusal(self, machine: dict[str, str]) -> str:
        """Return the reason why no engine runs on this card, if an earlier build met one; empty otherwise."""
        reason = self._kept(REFUSED).get(_machine_key(machine))
        return reason if isinstance(reason, str) else ""

    def note_refusal(self, machine: dict[str, str], reason: str) -> None:
        """Remember that no engine of this TensorRT runs on this machine's card, so that none is built to find out."""
        self._keep(REFUSED, self._kept(REFUSED) | {_machine_key(machine): reason})

    def rows_that_fit(self, recipe: EngineConfig, machine: dict[str, str]) -> int | None:
        """Return how many rows an earlier build of the graph here had to come down to; None if it never had to."""
        rows = self._kept(ROWS).get(self._rows_key(recipe, machine))
        return rows if type(rows) is int and rows > 0 else None

    def note_rows(self, recipe: EngineConfig, machine: dict[str, str], most: int) -> None:
        """Remember how many rows fitted, so that the next start does not run out of memory first."""
        self._keep(ROWS, self._kept(ROWS) | {self._rows_key(recipe, machine): most})

    def _keep(self, name: str, values: dict[str, Any]) -> None:
        with suppress(OSError):
            self.directory.mkdir(parents=True, exist_ok=True)
            replace_text(self.directory / name, json.dumps(values))

    def _kept(self, name: str) -> dict[str, Any]:
        with suppress(OSError, ValueError, RecursionError):
            values = json.loads((self.directory / name).read_text(encoding="utf-8"))
            return values if isinstance(values, dict) else {}
        return {}

    def _rows_key(self, recipe: EngineConfig, machine: dict[str, str]) -> str:
        return engine_key(replace(recipe, shapes={}), machine)

    def entries(self) -> list[tuple[Entry | None, str, Path]]:
        """List (entry, what is wrong with it, folder), the one used last first."""
        listed = []
        for folder in self.folders():
            entry, reason = self._verified(folder.name)
            listed.append((entry, "" if entry else reason, folder))
        return listed

    def clear(self, keys: list[str] | None = None) -> int:
        """Remove the engines named by the start of their key, or all with what was measured; return the bytes freed."""
        freed = 0
        with self._building():
            for folder in self.folders():
                if keys is None or any(folder.name.startswith(key) for key in keys):
                    freed += _size(folder)
                    shutil.rmtree(folder, ignore_errors=True)
            if keys is None:
                for pattern in ("timing-*", ".timing-*", f"{PARTIAL}*", ROWS, REFUSED):
                    for path in self.directory.glob(pattern):
                        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        return freed

    def _build(
        self,
        key: str,
        recipe: EngineConfig,
        machine: dict[str, str],
        progress: FractionProgress | None,
        build: dict[str, Any],
    ) -> Entry:
        partial = self.directory / f"{PARTIAL}{key}"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            built = engine_from_onnx(recipe, partial / PLAN, timing=self._timing(machine), progress=progress, **build)
            self._seal_timing(machine)
            created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            digest = sha256_of(partial / PLAN)
            entry = Entry(key, recipe.name, built.size, digest, built.seconds, machine, created)
            self._write_entry(partial, entry)
            old = put_in_place(partial, self._folder(key))
            if old:
                shutil.rmtree(old, ignore_errors=True)
        except OSError as error:
            raise DeviceError(
                f"{self.directory}: the engine cannot be kept ({error.strerror}); make room, or set XDG_CACHE_HOME "
                "to another disk"
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self._shrink(key)
        return entry

    def _used(self, key: str) -> tuple[Entry | None, str]:
        """Return what `_verified` does, and note the use."""
        entry, reason = self._verified(key)
        if entry:
            with suppress(OSError):  # the engines of an image, or another user's, are read all the same
                os.utime(self._folder(key) / ENTRY)
        return entry, reason

    def _verified(self, key: str) -> tuple[Entry | None, str]:
        """Read an entry whose seal, size and hash are right, else return the reason why there is none."""
        folder = self._folder(key)
        try:
            raw = json.loads((folder / ENTRY).read_text(encoding="utf-8"))
            seal, entry = raw.pop("seal"), Entry(**raw)
            if not self._seals.holds(asdict(entry), seal) or entry.key != key:
                return None, "the one there was made elsewhere, or its record was changed"
            if (folder / PLAN).is_symlink() or (folder / PLAN).stat().st_size != entry.size:
                return None, "the one there is not as long as it was"
            if sha256_of(folder / PLAN) != entry.sha256:
                return None, "the one there was changed since it was built"
        except FileNotFoundError:
            return None, "there is none for this graph, machine and TensorRT"
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None, "the record of the one there cannot be read"
        return entry, ""

    def _write_entry(self, folder: Path, entry: Entry) -> None:
        values = asdict(entry)
        replace_text(folder / ENTRY, json.dumps({**values, "seal": self._seals.of(values)}, indent=1))

    def _timing(self, machine: dict[str, str]) -> Path:
        """Return the timing cache of this machine; one that is not as we left it is dropped."""
        path = self._timing_path(machine)
        with suppress(FileNotFoundError):
            seal = path.with_suffix(".seal").read_text(encoding="utf-8") if path.with_suffix(".seal").exists() else ""
            if not self._seals.holds({"timing": sha256_of(path)}, seal):
                logger.warning("the timing cache %s was changed or cut off; building without it", path.name)
                path.unlink()
        return path

    def _seal_timing(self, machine: dict[str, str]) -> None:
        path = self._timing_path(machine)
        if path.exists():
            replace_text(path.with_suffix(".seal"), self._seals.of({"timing": sha256_of(path)}))

    def _timing_path(self, machine: dict[str, str]) -> Path:
        name = hashlib.sha256(json.dumps(machine, sort_keys=True).encode()).hexdigest()[:16]
        return self.directory / f"timing-{name}.cache"

    def _shrink(self, newest: str) -> None:
        """Remove the engines unused for longest until the rest fit the limit; the one just built stays."""
        folders = self.folders()
        total = sum(_size(folder) for folder in folders)
        for folder in reversed(folders):
            if total <= self.limit:
                return
            if folder.name != newest:
                total -= _size(folder)
                logger.warning("removing the engine %s: all together pass %.1f GB", folder.name[:8], self.limit / 1e9)
                shutil.rmtree(folder, ignore_errors=True)

    def folders(self) -> list[Path]:
        """Engines' folders, the one used last first."""
        if not self.directory.is_dir():
            return []
        folders = [path for path in self.directory.iterdir() if path.is_dir() and not path.name.startswith(".")]
        return sorted(folders, key=_last_used, reverse=True)

    def _folder(self, key: str) -> Path:
        return self.directory / key

    @contextmanager
    def _building(self) -> Iterator[None]:
        """Hold the only place for a build, waiting for another process: two builders need twice the memory."""
        lock = FileLock(self.directory / LOCK)
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock.wait(lambda: logger.warning("another process is building an engine; waiting for it"))
        except OSError as error:
            raise DeviceError(
                f"{self.directory}: cannot be written ({error.strerror}); set XDG_CACHE_HOME to a folder of yours"
            ) from error
        with closing(lock):
            yield


def _machine_key(machine: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(machine, sort_keys=True).encode()).hexdigest()


def _size(folder: Path) -> int:
    total = 0
    for path in folder.glob("*"):
        with suppress(OSError):
            total += path.stat().st_size
    return total


def _last_used(folder: Path) -> float:
    try:
        return (folder / ENTRY).stat().st_mtime
    except OSError:
        return 0.0
