"""``emo-edge engines``: build, list and clear what TensorRT compiled on this machine."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from emo_edge.bundle.manifest import GraphComponent
from emo_edge.bundle.reader import Bundle, profile_of
from emo_edge.errors import AccuracyGateError, DeviceError, EmoEdgeError, InputError, UnsupportedCardError
from emo_edge.metrics.gates import engine_failure
from emo_edge.runtimes.loading.devices import usable_devices
from emo_edge.runtimes.loading.tensorrt import GraphCompiler, engine_recipe
from emo_edge.runtimes.tensorrt import builder, engine_cache
from emo_edge.utils.commands import EdgeCommand

RTX = ("tensorrt_rtx",)
"""The edition of TensorRT whose builder needs no GPU."""


@dataclass(frozen=True)
class EngineRequest:
    """One variant of one component."""

    part: str
    component: GraphComponent
    variant: str

    def __str__(self) -> str:
        return f"{self.part} {self.variant}"


@click.group(no_args_is_help=True)
def main() -> None:
    """Build, list and clear the TensorRT engines of this machine."""


@main.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--profile", "profiles", multiple=True, help="A profile to build for; every profile if left out.")
@click.option(
    "--no-device", is_flag=True, help="See whether the graphs build with tensorrt-rtx, without a GPU; keep nothing."
)
def build(bundle: Path, profiles: tuple[str, ...], no_device: bool) -> None:
    """Compile the graphs of BUNDLE now, so that the first reading need not wait.

    Each engine is compared with ONNX Runtime on the packaged drawings; one that misses its gate is not used.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    opened = Bundle.open(bundle)
    wanted = wanted_graphs(opened, profiles)
    for line in trial_builds(opened, wanted) if no_device else kept_builds(opened, wanted):
        click.echo(line)


@main.command("list", cls=EdgeCommand)
def list_() -> None:
    """List the engines of this machine, the one used last first."""
    entries = engine_cache.EngineCache().entries()
    if not entries:
        click.echo("no engines; emo-edge engines build BUNDLE makes them")
    for entry, problem, folder in entries:
        click.echo(f"{folder.name[:8]}  {entry_text(entry) if entry else f'not usable: {problem}'}")


@main.command(cls=EdgeCommand)
@click.argument("keys", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every engine, and what building them measured.")
def clear(keys: tuple[str, ...], everything: bool) -> None:
    """Remove the engines whose names, as the list shows them, begin with KEYS."""
    if bool(keys) == everything:
        raise click.UsageError("name the engines to remove, or say --all")
    cache = engine_cache.EngineCache()
    unknown = [key for key in keys if not any(folder.name.startswith(key) for folder in cache.folders())]
    if unknown:
        raise InputError(f"no engine is called {', '.join(unknown)}; emo-edge engines list shows their names")
    click.echo(f"freed {cache.clear(None if everything else list(keys)) / 1e6:.1f} MB")


def wanted_graphs(bundle: Bundle, profiles: Sequence[str]) -> list[EngineRequest]:
    """List each variant that the profiles (all if none is named) use of a graph, once."""
    chosen = [profile_of(bundle, name)[1] for name in profiles or bundle.manifest.profiles]
    found = {}
    for part, component in bundle.manifest.components.graphs().items():
        for variant in dict.fromkeys(profile.variant(part) for profile in chosen):
            if variant is not None:
                found[part, variant] = EngineRequest(part, component, variant)
    return list(found.values())


def kept_builds(bundle: Bundle, wanted: Sequence[EngineRequest]) -> Iterator[str]:
    """Build into the user's cache, on this machine's device, and tell of each graph how it went.

    Goes on after a graph that fails, unless the card is to blame; raises the first one's error at the end.
    """
    usable_devices("tensorrt", language=False)
    compiler, failed = GraphCompiler(bundle), list[EmoEdgeError]()
    for graph in wanted:
        try:
            with _Bar(str(graph)) as bar:
                opened = compiler.open(graph.part, graph.variant, bar.show)
        except UnsupportedCardError:
            raise
        except (AccuracyGateError, DeviceError) as error:
            failed.append(error)
            yield f"{graph}: {error}"
            continue
        opened.session.close()
        told = f"{graph.part} {opened.variant}: {opened.size / 1e6:.1f} MB, built in {opened.seconds:.1f} s, "
        note = f" ({opened.note})" if opened.note else ""
        yield f"{told}similarity to ONNX Runtime {min(opened.similarity.values()):.6f}{note}"
    if failed:
        raise failed[0]


def trial_builds(bundle: Bundle, wanted: Sequence[EngineRequest]) -> Iterator[str]:
    """Build each graph into a folder that is deleted: it parses and builds, and was not run."""
    engine_from_onnx = builder.engine_from_onnx
    with tempfile.TemporaryDirectory(prefix="emo-edge-engines-") as folder:
        for graph in wanted:
            recipe = engine_recipe(bundle, graph.part, graph.component, graph.variant)
            with _Bar(str(graph)) as bar:
                built = engine_from_onnx(recipe, Path(folder) / "engine.plan", modules=RTX, progress=bar.show)
            yield f"{graph}: builds in {built.library}, {built.size / 1e6:.1f} MB, {built.seconds:.1f} s; not run"


def entry_text(entry: Any) -> str:
    """Write what is known of an engine in one line."""
    how = "not compared yet"
    if entry.distance:
        refused = engine_failure(entry.name.split()[-1], entry.distance)
        how = f"not used: {refused}" if refused else f"similarity to ONNX Runtime {min(entry.distance.values()):.6f}"
    machine = f"{entry.machine.get('library')} on {entry.machine.get('gpu')}"
    return f"{entry.name:<16} {entry.size / 1e6:>7.1f} MB  {entry.created}  {machine}  {how}"


class _Bar:
    """A progress bar on stderr, where somebody looks at it."""

    def __init__(self, name: str) -> None:
        self._bar = click.progressbar(length=1000, label=f"build {name}", file=sys.stderr, show_eta=False)
        self._done = 0

    def __enter__(self) -> _Bar:
        self._bar.__enter__()
        return self

    def __exit__(self, *ended: Any) -> None:
        self._bar.__exit__(*ended)

    def show(self, share: float, phase: str) -> None:
        """Move on to ``share``; TensorRT's phases each begin again at 0, which the bar does not."""
        step = round(1000 * share) - self._done
        if step > 0:
            self._done += step
            self._bar.update(step)
