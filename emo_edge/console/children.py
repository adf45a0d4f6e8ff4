"""Commands of child processes that run our modules and import nothing from the folder where they are started."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

NOT_HERE = "import sys; sys.path[:] = [folder for folder in sys.path if folder]; "
"""``python -m`` and ``-c`` look there first; ``-P`` is not in Python 3.10, and ``-I`` hides a user's own packages."""
RUN_MODULE = "module = sys.argv.pop(1); import runpy; runpy.run_module(module, run_name='__main__', alter_sys=True)"
SAFE_PATH = "PYTHONSAFEPATH"
"""Variable that does the same for interpreters which multiprocessing starts; Python 3.10 does not know it."""


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module in a new interpreter, as ``python -m`` does."""
    return code_command(RUN_MODULE, module, *arguments)


def code_command(code: str, *arguments: str) -> list[str]:
    """Return the command that runs a line of Python in a new interpreter, as ``python -c`` does."""
    return [sys.executable, "-c", NOT_HERE + code, *arguments]


@contextmanager
def safe_path() -> Iterator[None]:
    """Have the interpreters that multiprocessing starts meanwhile import nothing from the current folder either.

    It is undone, because a program of the user's may need its own folder.
    """
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = before
