"""Parameter types and options that several commands share, with a hint for a near miss."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from emo_edge.errors import InputError
from emo_edge.utils.suggestions import did_you_mean

MOST_THREADS = 512
"""llama.cpp's own limit; a thousand threads on a few cores also keep a signal waiting for seconds."""
THREADS = click.IntRange(1, MOST_THREADS)
label_map_option = click.option(
    "--label-map",
    multiple=True,
    metavar="THEIRS=OURS",
    help="Map a label of the pictures to ours; THEIRS= leaves its pictures out.",
)


def label_pairs(entries: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Read ``THEIRS=OURS``, with no OURS for what is left out; raise InputError for another form."""
    pairs = []
    for entry in entries:
        theirs, sign, ours = entry.partition("=")
        if not (theirs and sign):
            raise InputError(f"--label-map reads THEIRS=OURS, not {entry!r}")
        pairs.append((theirs, ours))
    return tuple(pairs)


class NameChoice(click.Choice):  # type: ignore[type-arg]
    """A choice of names whose error also offers the name that is spelled almost alike."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the choice; raise click's BadParameter for another name."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            hint = did_you_mean(str(value), [str(choice) for choice in self.choices])
            message = f"{error.message.rstrip('.')}{hint}" if hint else error.message
            raise click.BadParameter(message, ctx=error.ctx, param=error.param) from error
