"""Command of the measurement: ``python -m emo_edge.benchmarks.live BUNDLE --json FILE``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from emo_edge.benchmarks.live.measure import Row, SlowedPipeline, live_row, live_settings, plain_row, warm_up
from emo_edge.benchmarks.live.scene import FPS, PLACES, write_scene
from emo_edge.bundle.reader import Bundle
from emo_edge.console.commands import EdgeCommand
from emo_edge.inference.detectors import chosen_detector
from emo_edge.machine.summary import describe_machine
from emo_edge.utils.files import write_json

HEAD = ("way", "faces", "fps", "age p50", "age p90", "age p99", "label age p50", "tracking p50", "skipped")


def measured(pipeline: SlowedPipeline, folder: Path, faces: Sequence[int], options: dict[str, Any]) -> Iterator[Row]:
    """Yield the rows: each number of faces with `emo_edge.live` and the plain loop, then a slow reading."""
    seconds, slow_s = options["seconds"], options["slow_ms"] / 1000
    settings = live_settings(seconds, options["max_age_ms"] / 1000)
    for count in faces:
        scene = write_scene(folder / f"{count}.mp4", count, seconds)
        warm_up(pipeline, scene)
        yield live_row("emo_edge.live", pipeline, scene, count, settings)
        yield plain_row("plain loop", pipeline, scene, count, FPS, seconds)
    pipeline.extra_s = slow_s
    scene = folder / f"{faces[0]}.mp4"
    yield live_row(f"emo_edge.live, reading + {options['slow_ms']:.0f} ms", pipeline, scene, faces[0], settings)
    yield plain_row(f"plain loop, reading + {options['slow_ms']:.0f} ms", pipeline, scene, faces[0], FPS, seconds)
    pipeline.extra_s = 0.0


def table(rows: Sequence[Row]) -> str:
    """Write the rows as a Markdown table, times in milliseconds."""
    lines = [f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
    for row in rows:
        values = row.to_dict()
        age, label, track = (values[name] or {} for name in ("age_ms", "label_age_ms", "track_ms"))
        ages = [_shown(age, name) for name in ("p50", "p90", "p99")]
        cells = [row.way, str(row.faces), f"{row.fps:.1f}", *ages, _shown(label, "p50"), _shown(track, "p50")]
        lines.append(f"| {' | '.join([*cells, str(row.dropped)])} |")
    return "\n".join(lines)


def _shown(values: dict[str, float], name: str) -> str:
    return f"{values[name]:.1f}" if name in values else "–"


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--profile", help="One of the bundle's profiles; the default is the bundle's.")
@click.option("--detector", default="auto", show_default=True, help="Face detector, as of emo-edge live.")
@click.option(
    "--faces",
    multiple=True,
    type=click.Choice([str(number) for number in PLACES]),
    default=("1", "2", "4"),
    show_default=True,
    help="Number of faces; repeatable.",
)
@click.option("--seconds", default=60.0, show_default=True, help="Seconds of each row.")
@click.option("--max-age-ms", default=500.0, show_default=True, help="As --max-age of emo-edge live.")
@click.option("--slow-ms", default=500.0, show_default=True, help="Milliseconds more that a slow reading takes.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="File of all figures and raw values.")
def main(bundle: Path, **options: Any) -> None:
    """Measure rate and age of live results on drawn scenes, beside a plain loop of OpenCV."""
    opened, rows = Bundle.open(bundle), list[Row]()
    detector = chosen_detector(opened, options["detector"])
    before = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    with (
        tempfile.TemporaryDirectory(prefix="emo-edge-live-") as folder,
        SlowedPipeline.open(opened, device="cpu", profile=options["profile"], detector=detector) as pipeline,
    ):
        assert isinstance(pipeline, SlowedPipeline)
        for row in measured(pipeline, Path(folder), [int(number) for number in options["faces"]], options):
            rows.append(row)
            click.echo(f"{row.way}, {row.faces} faces: {row.fps:.1f} fps", err=True)
        name = pipeline.engines.profile_name
    machine = describe_machine()
    click.echo(f"{machine}. Load before: {before}. Profile {name}, {options['seconds']:g} s a row.\n\n{table(rows)}")
    if options["target"]:
        document = {"machine": machine, "load_before": before, "profile": name, **_plain(options)}
        write_json(options["target"], {**document, "rows": [row.to_dict() for row in rows]})


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key not in ("target", "profile")}


if __name__ == "__main__":
    main()
