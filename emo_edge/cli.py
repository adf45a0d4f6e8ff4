"""The command line: ``emo-edge COMMAND``."""

from __future__ import annotations

import click

from emo_edge import __version__
from emo_edge.commands import LazyCommand, LazyGroup

COMMANDS = {
    "demo": LazyCommand(
        "emo_edge.benchmarks.demo:main", "Read drawn faces with the packaged emo-tiny and print its accuracy."
    ),
}


@click.group(
    cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True
)
@click.version_option(__version__, prog_name="emo-edge")
def main() -> None:
    """Take a full-precision facial-emotion multimodal LLM to the edge."""
