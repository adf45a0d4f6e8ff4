"""Options of commands that read faces: which engines read, and for which labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from emo_edge.cli.completion import complete_labels, complete_profile
from emo_edge.console.choices import THREADS, NameChoice
from emo_edge.runtimes.base.device_names import DEVICES

Command = TypeVar("Command", bound=Callable[..., Any])


def engine_options(command: Command) -> Command:
    """Add ``--profile``, ``--device``, ``--threads`` and ``--labels``."""
    labels = click.option(
        "--labels",
        show_default="rafdb7, or the bundle's own",
        shell_complete=complete_labels,
        help="Label set of the bundle, or your own: joy,fear,rage.",
    )
    return device_options(labels(command))


def device_options(command: Command) -> Command:
    """Add ``--profile``, ``--device`` and ``--threads``."""
    options = (
        click.option(
            "--profile",
            shell_complete=complete_profile,
            help="One of the bundle's profiles; the default is the bundle's.",
        ),
        click.option(
            "--device",
            type=NameChoice(DEVICES),
            default="auto",
            show_default=True,
            help="Device that runs the engines.",
        ),
        click.option("--threads", type=THREADS, help="Number of threads of each engine."),
    )
    for option in reversed(options):
        command = option(command)
    return command
