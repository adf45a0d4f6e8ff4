"""``emo-edge detector``: the group of its commands."""

from __future__ import annotations

import click

from emo_edge.cli.detectors.get import get
from emo_edge.cli.detectors.measure import measure


@click.group(no_args_is_help=True)
def main() -> None:
    """Fetch the weights of a face detector, or measure detectors on pictures with boxes."""


main.add_command(get)
main.add_command(measure)
