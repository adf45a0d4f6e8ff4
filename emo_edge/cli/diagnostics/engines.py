"""`emo-edge engines`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from emo_edge.bundle.reader import Bundle
from emo_edge.cli.completion import complete_bundle, complete_profile
from emo_edge.cli.packaged_bundle import bundle_directory
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.progress import FractionProgress
from emo_edge.console.terminal import echo, log_to_stderr
from emo_edge.runtimes.loading.engine_builds import (
    build_engines,
    cached_engines,
    clear_engines,
    profile_graphs,
    trial_builds,
)
from emo_edge.runtimes.tensorrt.engine_cache import EngineCache


@click.group(no_args_is_help=True)
def main() -> None:
    """Build, list and clear the TensorRT engines of this machine."""


@main.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path), shell_complete=complete_bundle)
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    shell_complete=complete_profile,
    help="A profile to build for; every profile if left out.",
)
@click.option(
    "--no-device", is_flag=True, help="Check that the graphs build with tensorrt-rtx, without a GPU; keep nothing."
)
def build(bundle: Path, profiles: tuple[str, ...], no_device: bool) -> None:
    """Compile the graphs of BUNDLE now, so that the first reading need not wait.

    Each engine is compared with ONNX Runtime on the packaged drawings; one that fails its gate is not used.
    """
    log_to_stderr(logging.WARNING)
    opened = Bundle.open(bundle_directory(bundle))
    graphs = profile_graphs(opened, profiles)
    for line in (trial_builds if no_device else build_engines)(opened, graphs, _bar):
        echo(line)


@main.command("list", cls=EdgeCommand)
def list_() -> None:
    """List the engines of this machine, the one used last first."""
    lines = list(cached_engines(EngineCache()))
    echo("\n".join(lines or ["no engines; emo-edge engines build BUNDLE makes them"]))


@main.command(cls=EdgeCommand)
@click.argument("keys", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Remove every engine, and what building them measured.")
def clear(keys: tuple[str, ...], everything: bool) -> None:
    """Remove the engines whose names, as the list shows them, begin with KEYS."""
    if bool(keys) == everything:
        raise click.UsageError("name the engines to remove, or use --all")
    echo(f"freed {clear_engines(EngineCache(), None if everything else keys) / 1e6:.1f} MB")


@contextmanager
def _bar(name: str) -> Iterator[FractionProgress]:
    """Show a progress bar on stderr; TensorRT's phases each begin again at 0, the bar does not."""
    with click.progressbar(length=1000, label=f"build {name}", file=sys.stderr, show_eta=False) as bar:
        yield _Steps(bar)


class _Steps:
    """Moves a progress bar forward only."""

    def __init__(self, bar: Any) -> None:
        self._bar, self._done = bar, 0

    def __call__(self, fraction: float, phase: str) -> None:
        step = round(1000 * fraction) - self._done
        if step > 0:
            self._done += step
            self._bar.update(step)
