"""Write the self-test's report without the names of this machine's folders."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from emo_edge.errors import InputError
from emo_edge.storage.output_files import OutputFile
from emo_edge.storage.output_paths import require_output
from emo_edge.utils.cache import cache_directory


def new_report(path: Path, *, overwrite: bool) -> OutputFile:
    """Take the name of a report, which the caller closes.

    Raises InputError if it cannot be written, is there and ``overwrite`` is False, or is being written by another run.
    """
    require_output(path)
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InputError(f"{path}: there is no folder {folder}; make it, or give another place with `out`")
    return OutputFile(path, overwrite=overwrite)


def write_report(output: OutputFile, report: Mapping[str, Any], bundle: Path) -> None:
    """Write a report of ``bundle`` as JSON, without the names of folders; raise InputError where that fails."""
    write_text(output.partial, without_folders(json.dumps(report, indent=1, allow_nan=False), bundle) + "\n")
    output.finish()


def without_folders(text: str, bundle: Path) -> str:
    """Replace the folders of this machine, whose names may be a person's, in a report's JSON."""
    named = {"BUNDLE": bundle, "PYTHON": Path(sys.prefix), "BASE": Path(sys.base_prefix)}
    named |= {"HERE": Path.cwd(), "TEMPORARY": Path(tempfile.gettempdir())}
    with suppress(RuntimeError, InputError):  # a user without a home
        named["CACHE"] = cache_directory()
        named["HOME"] = Path.home()
    folders = {str(form): name for name, path in named.items() for form in (path.absolute(), path.resolve())}
    for folder in sorted(folders, key=len, reverse=True):
        if len(folder) > 1:
            text = re.sub(re.escape(json.dumps(folder)[1:-1]) + r"(?![\w.-])", folders[folder], text)
    return text


def write_text(path: Path, text: str) -> None:
    """Write a file; raise InputError where it cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); give another place with `out`") from error
