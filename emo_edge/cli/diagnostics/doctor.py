"""`emo-edge doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from emo_edge.assets.packaged import packaged_names
from emo_edge.cli.completion import complete_bundle
from emo_edge.cli.packaged_bundle import present_bundle
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.terminal import echo
from emo_edge.diagnostics.doctor.examine import examine
from emo_edge.diagnostics.doctor.text import report_text


@click.command(cls=EdgeCommand)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    shell_complete=complete_bundle,
    help="Compute a prompt with this bundle's language model: a folder, or emo-tiny (default: the demo's bundle, if "
    "there is one).",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def main(bundle: Path | None, as_json: bool) -> None:
    """Examine this machine: its hardware, the engines that work here, and how to fix the rest.

    Every engine is tried in a process of its own, so that one that crashes is a line of the report. Nothing is changed.
    """
    if bundle and not bundle.is_dir() and str(bundle) not in packaged_names():
        raise click.BadParameter(f"Directory {str(bundle)!r} does not exist.", param_hint="'--bundle'")
    directory = present_bundle(bundle) if bundle else None
    echo("trying the engines, one after another, each for at most 60 s", err=True)
    report = examine(bundle=directory)
    echo(json.dumps(asdict(report), indent=2, allow_nan=False) if as_json else report_text(report))
