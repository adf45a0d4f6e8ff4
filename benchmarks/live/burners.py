"""Processes that keep CPUs busy while something is measured."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from emo_edge.console.children import code_command

BURN = "print('burning', flush=True)\nwhile True:\n    sum(range(100000))"


@contextmanager
def burners(count: int) -> Iterator[None]:
    """Keep ``count`` processes busy, of the same priority as this one."""
    command = code_command(BURN)
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()
