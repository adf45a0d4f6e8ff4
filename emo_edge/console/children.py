"""Commands of child processes that run our modules and import nothing from the folder where they are started."""

from __future__ import annotations

import sys

RUN_MODULE = (
    "import sys; sys.path[:] = [folder for folder in sys.path if folder]; module = sys.argv.pop(1); "
    "import runpy; runpy.run_module(module, run_name='__main__', alter_sys=True)"
)
"""``python -m`` looks there first; ``-P`` is not in Python 3.10, and ``-I`` hides a user's own packages as well."""


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module in a new interpreter, as ``python -m`` does."""
    return [sys.executable, "-c", RUN_MODULE, module, *arguments]
