"""The table of a command that reads sources one after the other: it appears as a whole at the end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from emo_edge.errors import InputError
from emo_edge.inference.results import SourceResult
from emo_edge.rendering.drawing_names import refuse_sources, source_files
from emo_edge.rendering.tables.files import check_table, open_table
from emo_edge.rendering.tables.rows import TableSetup, table_rows
from emo_edge.storage.output_files import OutputFile, require_free
from emo_edge.storage.output_paths import require_output
from emo_edge.utils.files import sha256_of


class TableOutput:
    """A table under way; a context manager that renames it to its name at the end, or removes it on failure."""

    def __init__(self, target: Path, setup: TableSetup, *, overwrite: bool = False) -> None:
        """Open the table next to its name, which no other run has until the end.

        Raises InputError where it cannot be written, where it is there and not to be replaced, and where another run
        writes it.
        """
        self.target, self._setup = target, setup
        self._output = OutputFile(target, overwrite=overwrite)
        self._hashed: tuple[str, str | None] = ("", None)
        try:
            self._table = open_table(self._output.partial, setup, suffix=target.suffix)
        except BaseException as error:
            self._output.close()
            if isinstance(error, OSError):
                raise unwritable(target, error) from error
            raise

    def add(self, result: SourceResult) -> None:
        """Add the rows of a result; raise InputError where the disk takes no more."""
        if self._hashed[0] != result.source:
            self._hashed = (result.source, content_hash(result.source))
        try:
            self._table.write(table_rows(self._setup, result, self._hashed[1]))
        except OSError as error:
            raise unwritable(self.target, error) from error

    def discard(self) -> None:
        """Remove what was written, in a process that cannot end the table."""
        self._output.close()

    def __enter__(self) -> TableOutput:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._table.close()
            # A command that has done its work leaves with SystemExit.
            if error is None or isinstance(error, SystemExit):
                self._output.finish()
        except OSError as failure:
            if error is None:
                raise unwritable(self.target, failure) from failure
        finally:
            self._output.close()


def require_table(target: Path, sources: Sequence[str], *, overwrite: bool) -> None:
    """Raise InputError where no table ``target`` can be written or a source would be lost, before any is read.

    Raises MissingExtraError where Parquet cannot be written here.
    """
    check_table(target)
    require_free(target, overwrite=overwrite)
    if not target.absolute().parent.is_dir():
        raise InputError(f"{target}: there is no folder {target.parent}")
    refuse_sources([target], source_files(sources))
    require_output(target)


def content_hash(source: str) -> str | None:
    """Return the sha256 of a source that is a plain file; None for any other."""
    path = Path(source)
    try:
        return sha256_of(path) if path.is_file() else None
    except (OSError, ValueError):
        return None


def unwritable(target: Path, error: OSError) -> InputError:
    """Return the error for a file that the system does not take."""
    reason = os.strerror(error.errno) if error.errno else error
    return InputError(f"{target}: cannot be written ({reason}); make room or choose another place")
