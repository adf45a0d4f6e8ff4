"""Command of the measurement: ``python -m emo_edge.benchmarks.live BUNDLE --json FILE``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from emo_edge.benchmarks.live.burners import burners
from emo_edge.benchmarks.live.clips import changing_face
from emo_edge.benchmarks.live.crossings import SECONDS
from emo_edge.benchmarks.live.labels import HELD_OUT_SEED
from emo_edge.benchmarks.live.measure import Row, SlowedPipeline, live_row, live_settings, plain_row, warm_up
from emo_edge.benchmarks.live.numbers import (
    Number,
    burner_number,
    number_table,
    rate_numbers,
    reuse_numbers,
    slow_number,
    soak_numbers,
    tracking_numbers,
)
from emo_edge.benchmarks.live.readings import ReadClip, read_clip, total
from emo_edge.benchmarks.live.scene import FPS, PLACES, frames, write_scene
from emo_edge.benchmarks.live.soak import Soak, soaked
from emo_edge.benchmarks.live.tracking import SceneScores, all_scene_scores, whole_idf1
from emo_edge.benchmarks.report.marked_tables import updated
from emo_edge.bundle.reader import Bundle
from emo_edge.console.commands import EdgeCommand
from emo_edge.inference.detectors import chosen_detector
from emo_edge.inference.live.signatures import UNCHANGED
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request
from emo_edge.machine.summary import describe_machine
from emo_edge.utils.files import replace_text, write_json

LIVE, PLAIN = "emo_edge.live", "plain loop"
HEAD = ("way", "faces", "fps", "age p50", "age p90", "age p99", "label age p50", "tracking p50", "skipped")


def measured(pipeline: SlowedPipeline, folder: Path, faces: Sequence[int], options: dict[str, Any]) -> Iterator[Row]:
    """Yield the rows: each number of faces with `emo_edge.live` and the plain loop, then busy CPUs, a slow reading."""
    seconds, slow_s = options["seconds"], options["slow_seconds"]
    max_age_s, slow_ms = options["max_age_ms"] / 1000, options["slow_ms"]
    longest = max(seconds, slow_s)
    scenes = {count: write_scene(folder / f"{count}.mp4", count, longest) for count in faces}
    for count, scene in scenes.items():
        warm_up(pipeline, scene)
        yield live_row(LIVE, pipeline, scene, count, live_settings(seconds, max_age_s))
        yield plain_row(PLAIN, pipeline, scene, count, FPS, seconds)
    scene = scenes[faces[0]]
    with burners(options["burners"]):
        yield live_row(f"{LIVE}, busy CPUs", pipeline, scene, faces[0], live_settings(seconds, max_age_s))
        yield plain_row(f"{PLAIN}, busy CPUs", pipeline, scene, faces[0], FPS, seconds)
    pipeline.extra_s = slow_ms / 1000
    yield live_row(f"{LIVE}, reading + {slow_ms:g} ms", pipeline, scene, faces[0], live_settings(slow_s, max_age_s))
    yield plain_row(f"{PLAIN}, reading + {slow_ms:g} ms", pipeline, scene, faces[0], FPS, slow_s)
    pipeline.extra_s = 0.0


def numbers_of(rows: Sequence[Row], parts: Parts, options: dict[str, Any]) -> list[Number]:
    """Return every figure that has a bound."""
    quiet = [row for row in rows if row.way == LIVE]
    busy, slow = (next(row for row in rows if row.way.startswith(f"{LIVE}, {mark}")) for mark in ("busy", "reading"))
    return [
        *rate_numbers(quiet),
        slow_number(slow, options["slow_ms"]),
        *tracking_numbers(next((row for row in quiet if row.faces == 2), None), parts.scenes),
        *reuse_numbers(total(parts.clips, parts.threshold), parts.threshold),
        burner_number(quiet[0], busy, options["burners"]),
        *soak_numbers(parts.soak),
    ]


@dataclass(frozen=True)
class Parts:
    """Measurements that are no rows."""

    scenes: list[SceneScores]
    clips: list[ReadClip]
    threshold: float
    soak: Soak


def measured_parts(pipeline: EmotionPipeline, options: dict[str, Any]) -> Parts:
    """Follow the faces of scenes, read clips, and soak."""
    detector, fitted = pipeline.detector, pipeline.manifest.live
    scenes = all_scene_scores(range(1, options["scenes"] + 1), detector, options["scene_seconds"])
    click.echo(f"{len(scenes)} scenes: IDF1 {whole_idf1(scenes):.3f}", err=True)
    threshold = (fitted.unchanged if fitted else None) or UNCHANGED
    clips = [
        read_clip(pipeline, changing_face(HELD_OUT_SEED, number), thresholds=(threshold,), request=Request())
        for number in range(options["clips"])
    ]
    click.echo(f"{len(clips)} clips read", err=True)
    soak = soaked(pipeline, list(frames(1, 3.0)), options["soak_frames"])
    return Parts(scenes, clips, threshold, soak)


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
@click.option("--seconds", default=20.0, show_default=True, help="Seconds of each row.")
@click.option("--slow-seconds", default=60.0, show_default=True, help="Seconds of the rows of a slow reading.")
@click.option("--max-age-ms", default=500.0, show_default=True, help="As --max-age of emo-edge live.")
@click.option("--slow-ms", default=500.0, show_default=True, help="Milliseconds more that a slow reading takes.")
@click.option("--burners", "burners", default=4, show_default=True, help="Processes that keep CPUs busy.")
@click.option(
    "--scenes", default=3, show_default=True, type=click.IntRange(1), help="Seeds of the scenes with crossings."
)
@click.option("--scene-seconds", default=SECONDS, show_default=True, help="Seconds of each of them.")
@click.option(
    "--clips", default=30, show_default=True, type=click.IntRange(1), help="Held-out clips of reused readings."
)
@click.option(
    "--soak-frames",
    default=1800,
    show_default=True,
    type=click.IntRange(100),
    help="Frames that memory, threads and descriptors are watched over; 108000 are an hour at 30 a second.",
)
@click.option("--json", "target", type=click.Path(path_type=Path), help="File of all figures and raw values.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Document whose marked tables to replace.")
def main(bundle: Path, **options: Any) -> None:
    """Measure rate, age, tracks, reuse and memory of live results on drawn scenes, beside a plain loop of OpenCV."""
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
        parts = measured_parts(pipeline, options)
        name = pipeline.engines.profile_name
    numbers = numbers_of(rows, parts, options)
    conditions = (
        f"{describe_machine()}. Load before: {before}. Profile {name}, detector {detector.name}, "
        f"{options['seconds']:g} s a row, {options['slow_seconds']:g} s of a slow reading."
    )
    tables = {"numbers": number_table(numbers), "rows": f"{table(rows)}\n\n{conditions}"}
    click.echo("\n\n".join(tables.values()))
    if options["target"]:
        write_json(options["target"], {**_document(rows, parts, numbers), "conditions": conditions, **_plain(options)})
    if options["page"]:
        replace_text(options["page"], updated(options["page"].read_text(encoding="utf-8"), tables))


def _document(rows: Sequence[Row], parts: Parts, numbers: Sequence[Number]) -> dict[str, Any]:
    return {
        "machine": describe_machine(),
        "numbers": [one.to_dict() for one in numbers],
        "rows": [row.to_dict() for row in rows],
        "scenes": [scene.to_dict() for scene in parts.scenes],
        "reuse": {"threshold": parts.threshold, "clips": [vars(clip.reuse[parts.threshold]) for clip in parts.clips]},
        "soak": parts.soak.to_dict(),
    }


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    return {"options": {key: value for key, value in options.items() if key not in ("target", "page")}}


if __name__ == "__main__":
    main()
