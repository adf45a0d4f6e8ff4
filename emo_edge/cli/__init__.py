"""The command line, on top of every layer: one file a command.

May import everything; nothing imports it.
"""

from __future__ import annotations

import sys
from pathlib import PurePath

from emo_edge.console.signals import signals_end_at_once
from emo_edge.machine.blas_threads import limit_blas_threads


def main() -> None:
    """Run the program as this process; at any moment a signal ends it with the signal's own exit code."""
    limit_blas_threads()
    with signals_end_at_once():
        from emo_edge.cli.app import main as program
        from emo_edge.console.interrupts import code_of, end_process
        from emo_edge.console.unlocked_libraries import load_large_libraries_unlocked

        load_large_libraries_unlocked()
        _hide_credentials()
        try:
            program()
        except SystemExit as ended:
            end_process(code_of(ended))
            raise


def _hide_credentials() -> None:
    """Keep the password of an address out of every message, also where an option or an argument expects a file."""
    for word in sys.argv[1:]:
        for text in {word, word.partition("=")[2]}:
            if "://" in text:
                from emo_edge.console.terminal import show_as
                from emo_edge.media.readers.credentials import unknown_text

                shown = unknown_text(text)
                show_as(text, shown)
                # A path has one slash where an address has two.
                show_as(str(PurePath(text)), str(PurePath(shown)))
