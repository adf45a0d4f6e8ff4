"""MkDocs hook: the page with ``<!-- generated: cli -->`` gets every command of the program, from click.

mkdocs-click does not serve here: it names a command by its function, and ours are all ``main``, and sorts them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import click

from emo_edge.cli.app import main

MARK = "<!-- generated: cli -->"
COMPARE = "compare"
"""The one command that hides behind an argument: ``emo-edge bench compare``."""


def behind(command: click.Command, word: str) -> click.Command | None:
    """Return the command that ``word`` as the first argument of a plain command leads to; None if it is an argument."""
    if word != COMPARE:
        return None
    with command.make_context(COMPARE, [word], resilient_parsing=True) as context:
        return None if context.command is command else context.command


def leaf_commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yield the name ("engines build") and the command of everything the program can do, in the program's order."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from leaf_commands(found, (*path, name))
        return
    yield " ".join(path), command
    hidden = behind(command, COMPARE)
    if hidden is not None:
        yield " ".join((*path, COMPARE)), hidden


def cell(text: str) -> str:
    """Return text that a table's cell holds as it is."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def section(name: str, command: click.Command) -> Iterator[str]:
    """Yield the Markdown lines of one command."""
    full = f"emo-edge {name}"
    context = click.Context(command, info_name=full)
    yield from (f"## {full} {{ #{full.replace(' ', '-')} }}", "", inspect.cleandoc(command.help or ""), "")
    yield from ("```text", " ".join([full, *command.collect_usage_pieces(context)]), "```", "")
    options = [option for option in command.get_params(context) if isinstance(option, click.Option)]
    records = [record for option in options if (record := option.get_help_record(context))]
    yield from ("| option | meaning |", "|---|---|")
    for spelling, meaning in records:
        yield f"| `{spelling}` | {cell(meaning)} |"
    yield ""


def cli_reference() -> str:
    """Return the Markdown of every command."""
    return "\n".join(line for name, command in leaf_commands(main) for line in section(name, command))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill the mark in."""
    return markdown.replace(MARK, cli_reference()) if MARK in markdown else markdown
