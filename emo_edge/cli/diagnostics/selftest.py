"""`emo-edge selftest`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from emo_edge.cli.completion import complete_bundle, complete_profile
from emo_edge.cli.packaged_bundle import bundle_directory
from emo_edge.console.choices import NameChoice
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.terminal import echo
from emo_edge.diagnostics.selftest.report_file import new_report, write_report
from emo_edge.diagnostics.selftest.run import RUN_DEVICES, SelftestSettings, require_passed, selftest
from emo_edge.diagnostics.selftest.text import report_lines


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path), shell_complete=complete_bundle)
@click.option(
    "--device",
    "devices",
    multiple=True,
    type=NameChoice(RUN_DEVICES),
    help="Test this device and the CPU alone; may be repeated.",
)
@click.option("--profile", shell_complete=complete_profile, help="Profile of the bundle (default: its own default).")
@click.option(
    "--samples", default=28, show_default=True, type=click.IntRange(1, 210), help="Number of drawings to compare on."
)
@click.option("--rounds", default=30, show_default=True, type=click.IntRange(5), help="Number of timed readings.")
@click.option(
    "--minutes", default=60.0, show_default=True, help="Longest time for one device, with building its engines."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("selftest.json"),
    show_default=True,
    help="File of the report.",
)
@click.option("--overwrite", is_flag=True, help="Replace a report that is there.")
def main(bundle: Path, devices: tuple[str, ...], out: Path, overwrite: bool, **load: Any) -> None:
    """Build, compare and time BUNDLE on every device of this machine.

    Reads packaged drawings alone, none of your pictures. The report names hardware and versions, no user and no folder.
    """
    with new_report(out, overwrite=overwrite) as output:
        settings, bundle = SelftestSettings(**load), bundle_directory(bundle)
        report = selftest(bundle, devices or RUN_DEVICES, settings, report=partial(echo, err=True))
        write_report(output, report, bundle)
    echo("\n".join(report_lines(report)))
    echo(f"\nall of it is in {out}")
    require_passed(report, devices)
