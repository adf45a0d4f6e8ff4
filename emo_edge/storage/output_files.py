"""Files of results: one run at a time writes a name, and a file that appeared meanwhile is never replaced."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from emo_edge.errors import CheckpointError, InputError
from emo_edge.storage.locks import OWNER_SUFFIX, FileLock, LockedError, lock_path
from emo_edge.storage.output_paths import require_output
from emo_edge.storage.own_outputs import claim_names, release_names
from emo_edge.storage.renames import rename_new
from emo_edge.utils.files import partial_path


class OutputFile:
    """A file of results under way, whose name this process alone has until `close`; a context manager that closes it.

    ``partial`` is the path to write; `finish` renames it.
    """

    def __init__(self, target: Path, *, overwrite: bool, suffix: str = ".partial") -> None:
        """Take the name.

        Args:
            target: the file; its folder is there.
            overwrite: True replaces what is there.
            suffix: of the partial file, for libraries that go by it.

        Raises InputError where another run writes the file, where it is there already, and where nothing can be
        written.
        """
        self.target, self.overwrite = target, overwrite
        self.partial = partial_path(target, suffix)
        self._lock = FileLock(lock_path(target))
        try:
            self._lock.acquire()
        except LockedError as error:
            raise InputError(
                f"{target}: another run is writing it ({error.strerror}); wait, or choose another name"
            ) from error
        except OSError as error:
            raise InputError(f"{target}: cannot be written ({error.strerror}); choose another place") from error
        try:
            # Only now: another run may have finished since this one was begun.
            require_free(target, overwrite=overwrite)
        except InputError:
            self._lock.close()
            raise
        lock = self._lock.path
        self._names = (target, self.partial, lock, lock.with_name(lock.name + OWNER_SUFFIX))
        claim_names(self._names)

    def finish(self) -> None:
        """Rename the partial file; raise InputError where the system does not.

        Where another program has taken the name meanwhile, the file gets the next free one, and the error names it.
        """
        try:
            if self.overwrite:
                self.partial.replace(self.target)
            else:
                rename_new(self.partial, self.target)
        except FileExistsError as error:
            kept = _renamed_to_free(self.partial, self.target)
            raise InputError(
                f"{self.target}: another program has written it meanwhile; the result is {kept}"
            ) from error
        except OSError as error:
            raise InputError(
                f"{self.target}: cannot be written ({error.strerror}); make room or choose another place"
            ) from error

    def close(self) -> None:
        """Remove the partial file, if it is still there, and give the name back; a second call does nothing."""
        with suppress(OSError):
            self.partial.unlink(missing_ok=True)
        self._lock.close()
        release_names(self._names)

    def __enter__(self) -> OutputFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def claimed_file(target: Path | None, option: str) -> Iterator[OutputFile | None]:
    """Take the name of a new file that the option ``option`` names; None for none.

    Raises InputError, before the slow work, as `OutputFile` does, and where there is no such folder.
    """
    if target is None:
        yield None
        return
    require_output(target)
    if not target.absolute().parent.is_dir():
        raise InputError(f"`{option}` {target}: there is no folder {target.parent}; give another name")
    with OutputFile(target, overwrite=False) as output:
        yield output


def require_free(target: Path, *, overwrite: bool) -> None:
    """Raise InputError for a file that is there and that nobody asked to replace."""
    if os.path.lexists(target) and not overwrite:
        raise InputError(f"{target}: is there already; remove it, choose another name or `overwrite`")


@contextmanager
def written_file(target: Path, *, overwrite: bool, suffix: str = ".partial") -> Iterator[Path]:
    """Yield a new path next to a file that is written at once; rename it at the end, remove it on failure.

    Raises InputError for a file that is there, at the start or at the end, unless ``overwrite`` replaces it.
    """
    require_free(target, overwrite=overwrite)
    partial = partial_path(target, suffix)
    try:
        yield partial
        if overwrite:
            partial.replace(target)
        else:
            _rename_new(partial, target)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _rename_new(partial: Path, target: Path) -> None:
    try:
        rename_new(partial, target)
    except FileExistsError as error:
        raise InputError(f"{target}: another program has written it meanwhile; choose another name") from error


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Yield a new path next to a file that must not exist yet; rename it at the end, remove it on failure.

    Raises CheckpointError for a file that is there, at the start and at the end, and InputError where it cannot be
    written.
    """
    if os.path.lexists(target):
        raise CheckpointError(f"{target}: already there; give another name")
    partial = partial_path(target)
    try:
        yield partial
        rename_new(partial, target)
    except FileExistsError as error:
        raise CheckpointError(f"{target}: another program has written it meanwhile; give another name") from error
    except OSError as error:  # numpy's own has no errno
        raise InputError(f"{target}: cannot be written: {error}; make room or choose another place") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _renamed_to_free(partial: Path, target: Path) -> Path:
    number = 2
    while True:
        free = target.with_name(f"{target.stem}-{number}{target.suffix}")
        try:
            rename_new(partial, free)
        except FileExistsError:
            number += 1
        else:
            return free
