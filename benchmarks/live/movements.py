"""Micro-expressions of live results on drawn clips: ``python -m emo_edge.benchmarks.live.movements BUNDLE``.

Three kinds of clips: a face at rest with one micro-expression, the same at rest throughout, and a face that changes
between whole expressions. The face network alone reads them; nothing of a language model takes part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.live.clips import CLEAR, ChangingFace, Stretch, changing_face
from emo_edge.benchmarks.report.marked_tables import updated
from emo_edge.benchmarks.synthetic.expression import AU_INDEX, PROTOTYPES, sample_action_units
from emo_edge.benchmarks.synthetic.generator import FaceSample
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import InputError
from emo_edge.faces.live.tracker import LiveTracker
from emo_edge.inference.live.fast_movements import FastMovement, FastMovements
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.machine.summary import describe_machine
from emo_edge.utils.files import replace_text, write_json

SEED = 5300
FPS, SECONDS = 30.0, 4.0
PEAK = 0.1, 0.35
"""Of the units of a whole expression, which have 1."""
SIDE_S = 0.08, 0.25
"""Of the rise and of the fall."""
MOMENT_S = 1.5, 3.0
"""Of the onset."""
LEAST_OVERLAP = 0.3
"""Of a true movement and an event that counts as it: intersection over union."""
KINDS = ("micro-expression", "at rest", "whole expressions")


@dataclass(frozen=True)
class Movement:
    """A true micro-expression."""

    expression: str
    onset_s: float
    apex_s: float
    offset_s: float
    peak: float

    def level(self, seconds: float) -> float:
        """Return the part of a whole expression that is shown."""
        points = [self.onset_s, self.apex_s, self.offset_s]
        return self.peak * float(np.interp(seconds, points, [0.0, 1.0, 0.0]))


@dataclass
class Clip:
    """A clip and what was found in it."""

    kind: str
    index: int
    movement: Movement | None
    seconds: float = 0.0
    """In which the face was followed."""
    events: list[FastMovement] = field(default_factory=list)

    @property
    def hit(self) -> FastMovement | None:
        """Return the event that is the true movement."""
        own = self.movement
        return next((one for one in self.events if own and _overlap(own, one) >= LEAST_OVERLAP), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "kind": self.kind,
            "index": self.index,
            "seconds": round(self.seconds, 3),
            "movement": self.movement and {name: _short(value) for name, value in vars(self.movement).items()},
            "events": [
                [round(value, 3) for value in (one.onset_s, one.apex_s, one.offset_s, one.score)] for one in self.events
            ],
        }


def _short(value: float | str) -> float | str:
    return value if isinstance(value, str) else round(value, 3)


def _overlap(one: Movement, other: FastMovement) -> float:
    common = min(one.offset_s, other.offset_s) - max(one.onset_s, other.onset_s)
    return max(common, 0.0) / (max(one.offset_s, other.offset_s) - min(one.onset_s, other.onset_s))


def drawn_movement(index: int) -> Movement:
    """Choose a micro-expression; the same index gives the same one."""
    rng = np.random.default_rng([SEED, index, 7])
    expression = str(rng.choice([name for name in PROTOTYPES if name not in ("neutral", "contempt")]))
    onset_s, rise_s, fall_s = (float(rng.uniform(*limits)) for limits in (MOMENT_S, SIDE_S, SIDE_S))
    return Movement(expression, onset_s, onset_s + rise_s, onset_s + rise_s + fall_s, float(rng.uniform(*PEAK)))


def frames(kind: str, index: int) -> Iterator[tuple[float, FaceSample]]:
    """Draw a clip; yield seconds and frame."""
    face = changing_face(SEED, index, SECONDS)
    rest = face if kind == "whole expressions" else at_rest(face)
    movement = drawn_movement(index) if kind == "micro-expression" else None
    for number in range(round(SECONDS * FPS)):
        seconds = number / FPS
        shown = rest if movement is None else moved(rest, movement, seconds)
        yield seconds, shown.frame(seconds)


def at_rest(face: ChangingFace) -> ChangingFace:
    """Return the same face without an expression."""
    units, side = sample_action_units(np.random.default_rng([SEED, face.index, 5]), "neutral", CLEAR)
    return replace(face, stretches=(Stretch("neutral", 0.0, SECONDS, units, side),))


def moved(face: ChangingFace, movement: Movement, seconds: float) -> ChangingFace:
    """Return a face at rest with the movement as it is at a moment."""
    (rest,) = face.stretches
    units: NDArray[np.float32] = rest.units.copy()
    rows = [AU_INDEX[unit] for unit in PROTOTYPES[movement.expression].core]
    units[rows] = np.maximum(units[rows], movement.level(seconds))
    return replace(face, stretches=(replace(rest, units=units),))


def read_clip(pipeline: EmotionPipeline, kind: str, index: int) -> Clip:
    """Draw a clip, follow its face, read its action units in every frame and look for fast movements."""
    clip = Clip(kind, index, drawn_movement(index) if kind == "micro-expression" else None)
    tracker, spotter = LiveTracker(pipeline.detector), FastMovements()
    for seconds, sample in frames(kind, index):
        tracker.step(sample.image, seconds)
        track = next((one for one in tracker.tracks if one.detected), None)
        if track is None:
            continue
        (result,) = pipeline.read(sample.image, boxes=[track.box], boxes_of=pipeline.detector.name)
        clip.events += spotter.add(seconds, {name: unit.intensity or 0.0 for name, unit in result.action_units.items()})
        clip.seconds += 1 / FPS
    clip.events += spotter.end()
    return clip


def table(clips: Sequence[Clip]) -> str:
    """Write the kinds of clips as a Markdown table."""
    lines = ["| clips | seconds | found | other events a minute | apex, mean absolute error |", "|---|---|---|---|---|"]
    for kind in KINDS:
        own = [clip for clip in clips if clip.kind == kind]
        seconds, hits = sum(clip.seconds for clip in own), [clip for clip in own if clip.hit]
        others = sum(len(clip.events) for clip in own) - len(hits)
        errors = [abs(clip.hit.apex_s - clip.movement.apex_s) for clip in hits if clip.hit and clip.movement]
        moving = sum(clip.movement is not None for clip in own)
        hit = f"{len(hits)} of {moving} ({len(hits) / moving:.0%})" if moving else "–"
        error = f"{1000 * np.mean(errors):.0f} ms" if errors else "–"
        lines.append(
            f"| {len(own)}, {kind} | {seconds:.0f} | {hit} | {60 * others / max(seconds, 1e-9):.1f} | {error} |"
        )
    return "\n".join(lines)


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--profile", help="One of the bundle's profiles; the default is the bundle's.")
@click.option("--clips", default=20, show_default=True, type=click.IntRange(1), help="Number of clips of each kind.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="File of all figures and raw values.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Document whose marked table to replace.")
def main(bundle: Path, profile: str | None, clips: int, target: Path | None, page: Path | None) -> None:
    """Measure how many drawn micro-expressions are found, and how many events there are without one."""
    read = list[Clip]()
    with EmotionPipeline.open(bundle, device="cpu", profile=profile, emotions=False) as pipeline:
        section = pipeline.manifest.action_units
        if section is None:
            raise InputError(f"{bundle}: has no action units to look for movements in")
        for index in range(clips):
            for kind in KINDS:
                read.append(read_clip(pipeline, kind, index))
            click.echo(f"{index + 1} of {clips} clips of each kind", err=True)
        name = pipeline.engines.profile_name
    note = (
        f"Drawn clips of {SECONDS:g} s at {FPS:g} frames a second of seed {SEED}, profile {name}. A movement reaches "
        f"{PEAK[0]:g} to {PEAK[1]:g} of a whole expression and takes {2 * SIDE_S[0]:.2f} to {2 * SIDE_S[1]:.2f} s; "
        f"found: an event overlaps it by {LEAST_OVERLAP:g} or more."
    )
    shown = f"{table(read)}\n\n{note}\n\n{describe_machine()}."
    click.echo(shown)
    if target:
        write_json(target, {"machine": describe_machine(), "note": note, "clips": [clip.to_dict() for clip in read]})
    if page:
        replace_text(page, updated(page.read_text(encoding="utf-8"), {"movements": shown}))


if __name__ == "__main__":
    main()
