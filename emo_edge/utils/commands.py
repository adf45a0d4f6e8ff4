"""Click glue: commands that load when they run, and errors that end with their own exit code."""

from __future__ import annotations

import errno
import importlib
import os
import re
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

import click

from emo_edge.errors import EmoEdgeError, InputError
from emo_edge.utils.extras import missing_extra
from emo_edge.utils.terminal import echo

INTERRUPTED = 130
"""Exit code after Ctrl-C, as the shell has it."""
FLAGS = {"device": "--device"}
"""Flags that errors advise whatever command runs."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Errors of the system for a disk that takes no more."""


class EdgeCommand(click.Command):
    """A command whose `EmoEdgeError` is one message and that error's exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a missing optional module becomes the install command."""
        try:
            return super().invoke(ctx)
        except EmoEdgeError as error:
            end_with(ctx, error)
        except ModuleNotFoundError as error:
            end_with(ctx, missing_extra(error))
        except KeyboardInterrupt:
            echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except OSError as error:
            if error.errno not in FULL:
                raise
            _discard_stdout()
            target = error.filename or "the output"
            end_with(
                ctx, InputError(f"{target}: cannot be written ({error.strerror}); make room or choose another place")
            )


class LazyCommand(NamedTuple):
    """Import path of a command and its line in the help, so that ``--help`` imports nothing."""

    target: str
    help: str


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command runs."""

    def __init__(self, *args: Any, lazy: dict[str, LazyCommand], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order they were declared."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in self.lazy:
            return None
        module, _, name = self.lazy[cmd_name].target.partition(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            end_with(ctx, missing_extra(error))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their declared help, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in self.lazy.items()])


def end_with(ctx: click.Context, error: EmoEdgeError) -> NoReturn:
    """Print the error on stderr and leave with its exit code."""
    echo(f"Error: {with_flags(str(error), ctx.command)}", err=True)
    ctx.exit(error.exit_code)


def with_flags(message: str, command: click.Command) -> str:
    """Replace each field that a library's error names, such as ```target_size```, by the command's flag for it.

    A field that only other commands have, such as the device of a reading, becomes their flag.
    """
    options = [param for param in command.params if isinstance(param, click.Option)]
    return _replaced(message, FLAGS | {str(option.name): max(option.opts, key=len) for option in options})


def with_common_flags(message: str) -> str:
    """Replace the fields of a library's error that several commands have, for a report that no command prints."""
    return _replaced(message, FLAGS)


def _replaced(message: str, flags: Mapping[str, str]) -> str:
    return re.sub(r"`(\w+)`", lambda field: flags.get(field[1], field[0]), message)


def _discard_stdout() -> None:
    """Discard what a full stdout still buffers: Python would try again at its end, and fail with its own code."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
