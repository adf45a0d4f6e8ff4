"""Durations on the command line: 500ms, 2s, 1.5m, 1h, or a number of seconds."""

from __future__ import annotations

import re
from typing import Any

import click

SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|m|h|)", re.ASCII)


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A duration above 0, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds; raise click's BadParameter for another text."""
        match = _DURATION.fullmatch(str(value).strip())
        seconds = float(match[1]) * SECONDS[match[2]] if match else 0.0
        if seconds <= 0:
            self.fail(f"{value!r} is no duration: write 500ms, 2s, 1.5m or 1h", param, ctx)
        return seconds
