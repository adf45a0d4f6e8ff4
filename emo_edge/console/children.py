"""Commands of child processes that run our modules and import nothing from the folder where they are started."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

NOT_HERE = "import sys; sys.path[:] = [folder for folder in sys.path if folder]; "
"""``python -m`` and ``-c`` look there first; ``-P`` is not in Python 3.10, and ``-I`` hides a user's own packages."""
RUN_MODULE = "module = sys.argv.pop(1); import runpy; runpy.run_module(module, run_name='__main__', alter_sys=True)"
SAFE_PATH = "PYTHONSAFEPATH"
"""Variable that does the same for interpreters which multiprocessing starts, from Python 3.11 on."""
RUN_LATER_CODE = "code = sys.argv[2]; sys.argv[:] = ['-c', *sys.argv[3:]]; exec(code, {'__name__': '__main__'})"
"""Run the code of a second ``-c``, which Python hands to the first one as an argument."""


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
        with nullcontext() if hasattr(sys.flags, "safe_path") else guarded_start():
            yield
    finally:
        if before is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = before


@contextmanager
def guarded_start() -> Iterator[None]:
    """Have multiprocessing's interpreters clear their path first, for Python 3.10.

    Its own command is ``python FLAGS -c CODE``, and imports half of the standard library before it takes the parent's
    path over: a ``random.py`` of the current folder would be imported instead. ``-I`` would leave out the hooks of
    packages that are installed for a user alone.
    """
    from multiprocessing import util

    flags = util._args_from_interpreter_flags  # type: ignore[attr-defined]
    util._args_from_interpreter_flags = lambda: [*flags(), "-c", NOT_HERE + RUN_LATER_CODE]  # type: ignore[attr-defined]
    try:
        yield
    finally:
        util._args_from_interpreter_flags = flags  # type: ignore[attr-defined]
