"""Write a bundle in a partial directory, then rename it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import TracebackType

from emo_edge.bundle.manifest import MANIFEST_NAME, BundleFile, Manifest, Variant
from emo_edge.bundle.reader import (
    FINISHED,
    PLAN_NAME,
    Bundle,
    content_problem,
    path_problem,
    read_manifest,
    size_problem,
)
from emo_edge.errors import AccuracyGateError, BundleError, CheckpointError
from emo_edge.utils.files import replace_text, sha256_of, sync

NAMED = 5
"""Foreign files that a refusal names."""


class BundleWriter:
    """Write a bundle next to its final name and rename it when it is complete.

    A context manager: left without `finish`, by an error or a kill, nothing exists under the final name. The next
    writer clears what the last one left, but for the variants that one of the same plan had finished.
    """

    def __init__(self, target: str | Path, *, overwrite: bool = False, plan: str | None = None) -> None:
        """Claim a name.

        Args:
            target: the bundle.
            overwrite: whether a bundle there is replaced as a whole.
            plan: identifies this bundle among those of the same name; None keeps nothing of a stopped writer.
        """
        self.target, self.plan = Path(target).absolute(), plan
        self.finished: dict[str, Variant] = {}
        """Variants of a stopped writer of the same plan, by the name they were recorded under."""
        if not self.target.name:
            raise BundleError(f"{target}: no name for a bundle")
        self.partial = self.target.with_name(f".{self.target.name}.partial")
        self.replaced = self.target.with_name(f".{self.target.name}.replaced")
        if self.replaced.exists() and not self.target.exists():
            self.replaced.rename(self.target)
        self._claim = -1
        self._check_target(overwrite=overwrite)

    def _check_target(self, *, overwrite: bool) -> None:
        """Refuse to replace anything but an empty directory, or a bundle and nothing else if that is asked for."""
        plain = self.target.is_dir() and not self.target.is_symlink()
        if not self.target.exists() and not self.target.is_symlink():
            return
        if not plain or (any(self.target.iterdir()) and not (self.target / MANIFEST_NAME).is_file()):
            raise BundleError(f"{self.target}: already there, and no bundle; give another name")
        if any(self.target.iterdir()) and not overwrite:
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
        paths = [path for path in self.target.rglob("*") if path.is_symlink() or not path.is_dir()]
        others = sorted({path.relative_to(self.target).as_posix() for path in paths} - ours)
        if others:
            names = ", ".join(others[:NAMED]) + (f" and {len(others) - NAMED} more" if len(others) > NAMED else "")
            raise BundleError(
                f"{self.target}: holds files that are not the bundle's: {names}; move them, or give another name"
            )

    def __enter__(self) -> BundleWriter:
        try:
            self.partial.mkdir(parents=True, exist_ok=True)
            self._claim = claimed(self.partial)
            shutil.rmtree(self.replaced, ignore_errors=True)
            self.finished = self._left_finished()
            kept = {file.path for variant in self.finished.values() for file in variant.files}
            kept |= {f"{name}{FINISHED}" for name in self.finished}
            for left in self.partial.iterdir():
                if left.name not in kept:
                    shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
            if self.plan is not None:
                (self.partial / PLAN_NAME).write_text(self.plan, encoding="utf-8")
        except BlockingIOError as error:
            raise BundleError(f"{self.target}: another export is writing it; wait, or give another name") from error
        except OSError as error:
            raise BundleError(f"{self.target}: cannot be written: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What is wrong with a checkpoint stays wrong; a full disk, lack of memory or Ctrl-C does not.
        stopped = kind is not None and not issubclass(kind, (AccuracyGateError, BundleError, CheckpointError))
        if not (stopped and any(self.partial.glob(f"*{FINISHED}"))):
            shutil.rmtree(self.partial, ignore_errors=True)
        os.close(self._claim)

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
        """Write the manifest, drop what it does not name, move everything to the final name and open it."""
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
        for path in records:
            path.unlink()
        # Two renames, so that a kill between them leaves no half bundle: the next writer brings the old one back.
        if self.target.exists():
            self.target.rename(self.replaced)
        try:
            self.partial.rename(self.target)
        except OSError:
            if self.replaced.exists():
                self.replaced.rename(self.target)
            raise
        shutil.rmtree(self.replaced, ignore_errors=True)
        return Bundle.open(self.target)


def claimed(directory: Path) -> int:
    """Open a directory for this process alone; the lock ends with it. Raises BlockingIOError if another has it."""
    import fcntl

    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
