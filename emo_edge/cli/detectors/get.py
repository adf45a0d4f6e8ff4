"""``emo-edge detector get``: the one command that downloads anything."""

from __future__ import annotations

from pathlib import Path

import click

from emo_edge.console.choices import NameChoice
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.terminal import echo
from emo_edge.faces.weights import DOWNLOADS, install_weights


@click.command(cls=EdgeCommand)
@click.argument("name", type=NameChoice(list(DOWNLOADS)))
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    help="File that you fetched yourself, for a machine without a network.",
)
def get(name: str, source: Path | None) -> None:
    """Fetch the weights of the face detector NAME, and keep them in the cache of this user.

    Prints address, licence, size and sha256 first; a file of other content is not kept. --detector NAME of the other
    commands uses it from then on. Nothing is downloaded with --from.
    """
    for line in [f"from {source}"] if source else DOWNLOADS[name][0].described().splitlines():
        echo(line, err=True)
    echo(install_weights(name, source))
