"""The command line, on top of every layer: one file a command.

May import everything; nothing imports it.
"""

from __future__ import annotations

from emo_edge.console.signals import signals_end_at_once


def main() -> None:
    """Run the program as this process; at any moment a signal ends it with the signal's own exit code."""
    with signals_end_at_once():
        from emo_edge.cli.app import main as program
        from emo_edge.console.interrupts import code_of, end_process
        from emo_edge.console.unlocked_libraries import load_large_libraries_unlocked

        load_large_libraries_unlocked()
        try:
            program()
        except SystemExit as ended:
            end_process(code_of(ended))
            raise
