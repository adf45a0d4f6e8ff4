"""Click glue: commands that load when they run, and errors that end with their own exit code."""

from __future__ import annotations

import errno
import importlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import click
from click.shell_completion import CompletionItem

from emo_edge.console.interrupts import code_of, end_without_waiting, prompt_interrupts
from emo_edge.console.signals import BROKEN_PIPE, Interruptions, ending_signals, exit_code_of, interruption_behind
from emo_edge.console.streams import discard_streams, prepare_streams
from emo_edge.console.terminal import echo, shown_text
from emo_edge.errors import DeviceError, EmoEdgeError, InputError
from emo_edge.utils.extras import failed_import, is_failed_load
from emo_edge.utils.memory import is_out_of_memory, memory_error
from emo_edge.utils.suggestions import did_you_mean

FLAGS = {"device": "--device"}
"""Flags that errors advise whatever command runs."""
COMPLETING = "_EMO_EDGE_COMPLETE"
"""Variable that a shell sets to complete a line; a traceback would stand in the middle of it."""
NO_FOLDER = "the current folder was removed; change to another one, and try again"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Errors of the system for a disk that takes no more."""


class Program(click.Command):
    """A command that may be the process's own."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program, with standard streams that can be written and signals that end it in time."""
        prepare_streams()
        try:
            with ending_signals() as interruptions, prompt_interrupts():
                return self._run(interruptions, *args, **kwargs)
        except BrokenPipeError:  # of an error's own message
            discard_streams()
            sys.exit(BROKEN_PIPE)
        except KeyboardInterrupt as error:
            sys.exit(_interrupted(error))
        except SystemExit as ended:
            end_without_waiting(code_of(ended))
            raise

    def _run(self, interruptions: Interruptions, *args: Any, **kwargs: Any) -> Any:
        """Run the program; after a signal it ends with the signal's code, whatever libraries made of the exception."""
        try:
            return super().main(*args, **kwargs)
        except SystemExit:
            if interruptions.exit_code is None:
                raise
        except Exception as error:
            if COMPLETING in os.environ:
                discard_streams()
                sys.exit(1)
            if interruptions.exit_code is None or not (interruption := interruption_behind(error)):
                raise
            _interrupted(interruption)
        sys.exit(interruptions.exit_code)


class EdgeCommand(Program):
    """A command whose `EmoEdgeError` is one message and that error's exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a missing optional module becomes the install command."""
        with ended_errors(ctx):
            result = super().invoke(ctx)
            _flush()
            return result


class LazyCommand(NamedTuple):
    """Import path of a command and its line in the help, so that ``--help`` imports nothing."""

    target: str
    help: str
    anywhere: bool = False
    """True if a removed current folder is no fault; libraries that others load end the process there."""


class LazyGroup(Program, click.Group):
    """A group that imports a command's module only when that command runs."""

    def __init__(self, *args: Any, lazy: dict[str, LazyCommand], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the arguments; a reader that has gone and a full disk end the help, too, and so does Ctrl-C."""
        try:
            return super().make_context(*args, **kwargs)
        except BrokenPipeError as error:
            discard_streams()
            raise click.exceptions.Exit(BROKEN_PIPE) from error
        except OSError as error:
            discard_streams()
            problem = _unusable(error)
            with suppress(OSError):
                echo(f"Error: {problem}", err=True)
            raise click.exceptions.Exit(problem.exit_code) from error
        except KeyboardInterrupt as error:
            raise click.exceptions.Exit(_interrupted(error)) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Import and run the command; Ctrl-C during the import is one, too."""
        with ended_errors(ctx):
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order they were declared."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in self.lazy:
            return None
        if not (self.lazy[cmd_name].anywhere or _has_current_folder()):
            end_with(ctx, InputError(NO_FOLDER))
        module, _, name = self.lazy[cmd_name].target.partition(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), name)
        except (ImportError, OSError, RuntimeError) as error:
            if not is_failed_load(error):
                raise
            end_with(ctx, failed_import(error))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Look a command up; a name that is spelled almost alike is a hint of the error."""
        name = args[0]
        if name not in self.lazy and not name.startswith("-") and not ctx.resilient_parsing:
            hint = did_you_mean(name, self.lazy) or "."
            raise click.UsageError(f"No such command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the names of the commands without importing them, and the options."""
        names = [CompletionItem(name, help=one.help) for name, one in self.lazy.items() if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their declared help, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in self.lazy.items()])


@contextmanager
def ended_errors(ctx: click.Context) -> Iterator[None]:
    """End with one message and its exit code for everything that is no fault of the program."""
    try:
        yield
    except click.ClickException as error:
        error.__dict__["message"] = shown_text(error.message)  # final for type checkers from click 8.5 on
        raise
    except EmoEdgeError as error:
        # A loader that has no memory calls the file damaged.
        short = is_out_of_memory(error) and not isinstance(error, DeviceError)
        end_with(ctx, memory_error(ctx.info_name or "this command", error) if short else error)
    except ImportError as error:
        end_with(ctx, failed_import(error))
    except KeyboardInterrupt as error:
        ctx.exit(_interrupted(error))
    except BrokenPipeError:
        discard_streams()
        ctx.exit(BROKEN_PIPE)
    except OSError as error:
        discard_streams()
        end_with(ctx, failed_import(error) if is_failed_load(error) else _unusable(error))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and is_failed_load(error):
            end_with(ctx, failed_import(error))
        if isinstance(error, (click.exceptions.Exit, click.Abort)) or not is_out_of_memory(error):
            raise
        end_with(ctx, memory_error(ctx.info_name or "this command", error))


def _interrupted(error: KeyboardInterrupt) -> int:
    with suppress(OSError):
        echo("interrupted", err=True)
    return exit_code_of(error)


def _unusable(error: OSError) -> EmoEdgeError:
    """Convert an error of the system that no library function named: a full disk, no rights, no current folder."""
    if is_out_of_memory(error):
        return memory_error("this command", error)
    if error.errno is None or not error.strerror:
        raise error
    if error.filename is None and not _has_current_folder():
        return InputError(NO_FOLDER)
    target = error.filename or "the output"
    if isinstance(target, bytes):
        target = os.fsdecode(target)
    if error.errno in FULL or error.filename is None:
        return InputError(f"{target}: cannot be written ({error.strerror}); make room or choose another place")
    return InputError(f"{target}: cannot be used ({error.strerror}); choose another place")


def _has_current_folder() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True


def _flush() -> None:
    """Write out what is buffered, while an error of it can still be reported."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def end_with(ctx: click.Context, error: EmoEdgeError) -> NoReturn:
    """Print the error on stderr and leave with its exit code; an interruption that became this error is itself."""
    if interruption := interruption_behind(error):
        ctx.exit(_interrupted(interruption))
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
