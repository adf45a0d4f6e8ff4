"""Options of affective tasks, and the purpose that a deployment states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from emo_edge.console.choices import NameChoice
from emo_edge.taxonomy import PURPOSES, TASK_ANSWERS, TASKS

Command = TypeVar("Command", bound=Callable[..., Any])


def task_options(command: Command) -> Command:
    """Add ``--task``, ``--answer``, ``--label``, ``--onset``, ``--apex``, ``--offset`` and ``--no-emotions``."""
    options = (
        click.option("--task", type=NameChoice(TASKS), help="Affective task of the bundle, with its own question."),
        click.option(
            "--answer",
            type=NameChoice(TASK_ANSWERS),
            help="Answer of the task: a text, one of its labels, or whether --label holds; the default is its first.",
        ),
        click.option("--label", help="Label that --answer judgement is about: happiness, AU12."),
        click.option(
            "--onset",
            metavar="FRAME",
            help="Frame where a micro-expression begins, counted from 0; spotted if left out.",
        ),
        click.option("--apex", metavar="FRAME", help="Frame where it is strongest."),
        click.option("--offset", metavar="FRAME", help="Frame where it ends."),
        emotions_option,
        purpose_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


def emotions_option(command: Command) -> Command:
    """Add ``--no-emotions``."""
    option = click.option(
        "--no-emotions",
        "emotions",
        is_flag=True,
        flag_value=False,
        default=True,
        help="Give action units, head pose and pulse, and no label of an expression; no language model is opened.",
    )
    return option(command)


def purpose_option(command: Command) -> Command:
    """Add ``--purpose``."""
    option = click.option(
        "--purpose",
        type=NameChoice(PURPOSES),
        envvar="EMO_EDGE_PURPOSE",
        show_envvar=True,
        help="Purpose of this deployment, which every result then states.",
    )
    return option(command)
