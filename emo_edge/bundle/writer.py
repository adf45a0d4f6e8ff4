"""Write a bundle in a partial directory, then exchange it for the one that is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from emo_edge.bundle.manifest import MANIFEST_NAME, BundleFile, Manifest, Variant
from emo_edge.bundle.reader import (
    FINISHED,
    PLAN_NAME,
    Bundle,
    changed_files,
    content_problem,
    graph_problems,
    path_problem,
    read_manifest,
    size_problem,
)
from emo_edge.errors import AccuracyGateError, BundleError, CheckpointError, InputError
from emo_edge.storage.directories import put_in_place, replaced_path, restored
from emo_edge.storage.locks import FileLock, LockedError, lock_path
from emo_edge.storage.output_paths import require_output
from emo_edge.utils.files import entries_below, replace_text, sha256_of, sync

NAMED = 5
"""Foreign files that a refusal names."""


class BundleWriter:
    """Write a bundle next to its final name and rename it when it is complete.

    A context manager: left without `finish`, by an error or a kill, nothing exists under the final name. The next
    writer clears what the last one left, but for the variants that one of the same plan had finished.
    """

    def __init__(
        self,
        target: str | Path,
        *,
        overwrite: bool = False,
        plan: str | None = None,
        replaces: Bundle | None = None,
    ) -> None:
        """Claim a name.

        Args:
            target: the bundle.
            overwrite: whether a bundle there is replaced as a whole.
            replaces: the bundle there that the new one is made of; another that has taken its place stays.
            plan: identifies this bundle among those of the same name; None keeps nothing of a stopped writer.

        Raises InputError for a place that cannot be written, BundleError for one that is taken.
        """
        require_output(Path(target))
        self.target, self.plan, self.overwrite = Path(target).absolute(), plan, overwrite or replaces is not None
        self._replaces = replaces
        self.finished: dict[str, Variant] = {}
        """Variants of a stopped writer of the same plan, by the name they were recorded under."""
        self.partial = self.target.with_name(f".{self.target.name}.partial")
        self._lock = FileLock(lock_path(self.target))
        if self.target.parent.is_dir():
            with self._refusals(), self._lock:
                restored(self.target)
                self._check_target()

    def _check_target(self) -> None:
        """Refuse to replace anything but an empty directory, or a bundle and nothing else if that is asked for."""
        plain = self.target.is_dir() and not self.target.is_symlink()
        if not self.target.exists() and not self.target.is_symlink():
            return
        if not plain or (any(self.target.iterdir()) and not (self.target / MANIFEST_NAME).is_file()):
            link = f", but a link to {os.readlink(self.target)}" if self.target.is_symlink() else ""
            raise BundleError(f"{self.target}: already there, and no bundle{link}; give another name")
        if any(self.target.iterdir()) and not self.overwrite:
            raise BundleError(f"{self.target}: already there; give another name or `overwrite`")
        if any(self.target.iterdir()):
            self._check_replaced()

    def _check_replaced(self) -> None:
        """Refuse to delete what no manifest of ours lists: the user's own files, or another program's folder."""
        try:
            manifest = read_manifest(self.target)
        except BundleError as error:
            raise BundleError(
                f"{self.target}: already there, and no bundle of ours: {error}; give another name"
            ) from error
        ours = {MANIFEST_NAME, *(file.path for file in manifest.files())}
        if self._replaces is not None and manifest != self._replaces.manifest:
            raise BundleError(f"{self.target}: another run has replaced it since this one read it: start again")
        others = sorted(set(entries_below(self.target)) - ours)
        changed = [] if others else changed_files(self.target, manifest)
        for kind, names in (("holds files that are not the bundle's", others), ("was changed since", changed)):
            if names:
                more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
                raise BundleError(
                    f"{self.target}: {kind}: {', '.join(names[:NAMED])}{more}; move or remove them, or give another "
                    "name"
                )

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Raise an error of ours for a lock that another process has, and for a place that cannot be written."""
        try:
            yield
        except LockedError as error:
            raise BundleError(
                f"{self.target}: another export is writing it ({error.strerror}); wait, or give another name"
            ) from error
        except OSError as error:
            raise InputError(f"{self.target}: cannot be written ({error.strerror}); choose another place") from error

    def __enter__(self) -> BundleWriter:
        with self._refusals(), ExitStack() as held:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            # The lock comes first: nothing of another writer's is moved.
            held.enter_context(self._lock)
            restored(self.target)
            self._check_target()
            self._clear()
            held.pop_all()
        return self

    def _clear(self) -> None:
        """Remove what the last writer left, but for the variants that one of the same plan had finished."""
        shutil.rmtree(replaced_path(self.target), ignore_errors=True)
        self.partial.mkdir(exist_ok=True)
        self.finished = self._left_finished()
        kept = {file.path for variant in self.finished.values() for file in variant.files}
        kept |= {f"{name}{FINISHED}" for name in self.finished}
        for left in self.partial.iterdir():
            if left.name not in kept:
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        if self.plan is not None:
            (self.partial / PLAN_NAME).write_text(self.plan, encoding="utf-8")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What is wrong with a checkpoint stays wrong; a full disk, lack of memory or Ctrl-C does not.
        stopped = kind is not None and not issubclass(kind, (AccuracyGateError, BundleError, CheckpointError))
        try:
            if not (stopped and any(self.partial.glob(f"*{FINISHED}"))):
                shutil.rmtree(self.partial, ignore_errors=True)
        finally:
            self._lock.close()

    def record(self, name: str, variant: Variant) -> None:
        """Note that a variant is finished, for a writer that goes on after this one was stopped."""
        for file in variant.files:
            sync(self.partial / file.path)
        replace_text(self.partial / f"{name}{FINISHED}", variant.model_dump_json())

    def _left_finished(self) -> dict[str, Variant]:
        """Find the recorded variants whose files are all there, if a writer of the same plan left them."""
        finished = {}
        try:
            if self.plan is not None and (self.partial / PLAN_NAME).read_text(encoding="utf-8") == self.plan:
                for path in self.partial.glob(f"*{FINISHED}"):
                    variant = Variant.model_validate_json(path.read_bytes())
                    if not any(self._problem(file) for file in variant.files):
                        finished[path.name.removesuffix(FINISHED)] = variant
        except (OSError, ValueError):
            return {}
        return finished

    def _problem(self, file: BundleFile) -> str | None:
        path = self.partial / file.path
        return path_problem(self.partial, path) or size_problem(path, file) or content_problem(path, file)

    def path(self, name: str) -> Path:
        """Return the path to write the file that the manifest calls ``name``."""
        path = self.partial / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def entry(self, path: Path) -> BundleFile:
        """Describe a written file for the manifest."""
        name = path.relative_to(self.partial).as_posix()
        return BundleFile(path=name, size=path.stat().st_size, sha256=sha256_of(path))

    def finish(self, manifest: Manifest) -> Bundle:
        """Write the manifest, drop what it does not name, move everything to the final name and open it.

        Raises BundleError for a graph that could not be opened, InputError for a place that is taken by now: what was
        there stays.
        """
        named = {file.path for file in manifest.files()}
        records = [*self.partial.glob(PLAN_NAME), *self.partial.glob(f"*{FINISHED}")]
        for path in sorted(self.partial.rglob("*")):
            if path.is_file() and path.relative_to(self.partial).as_posix() not in named and path not in records:
                path.unlink()
        text = manifest.model_dump_json(indent=2) + "\n"
        (self.partial / MANIFEST_NAME).write_text(text, encoding="utf-8")
        for path in self.partial.rglob("*"):
            if path.is_file():
                sync(path)
        if problems := graph_problems(self.partial, manifest):
            listing = "\n".join(f"  {problem}" for problem in problems)
            raise BundleError(f"{self.target}: not written, for no device would open it:\n{listing}")
        try:
            self._check_target()
        except BundleError as error:  # hours may have passed; what was made is kept for the next run
            raise InputError(str(error)) from error
        for path in records:
            path.unlink()
        old = put_in_place(self.partial, self.target)
        if old:
            shutil.rmtree(old, ignore_errors=True)
        return Bundle.open(self.target)
