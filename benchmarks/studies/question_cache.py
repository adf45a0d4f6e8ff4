"""Cost of a question cache: ``python -m emo_edge.benchmarks.studies.question_cache BUNDLE``.

Each profile reads drawings, and clips, with every position computed and with caches of several heads and tails. All is
compared with the first profile computed as a whole. Nothing is chosen here: `emo-edge calibrate` does that, on other
drawings.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.emo_tiny.samples import HELD_OUT_SEED, synthetic_samples
from emo_edge.benchmarks.synthetic.generator import CLIP_FRAMES, render_clip
from emo_edge.bundle.manifest import QuestionCache
from emo_edge.bundle.reader import Bundle
from emo_edge.console.commands import EdgeCommand
from emo_edge.export.bundles.evaluate_question_cache import runs_with_question_caches, scores_with_caches
from emo_edge.faces.registry import WholeImage, faces_in_boxes
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request
from emo_edge.machine.cpus import usable_cpus
from emo_edge.machine.summary import describe_machine
from emo_edge.metrics.label_agreement import label_evidence
from emo_edge.utils.files import write_json

LABELS = "rafdb7"
CACHES = tuple(
    QuestionCache(head=head, tail=tail)
    for head, tail in ((0, 1), (0, 8), (0, 16), (0, 32), (0, 48), (16, 1), (24, 1), (28, 1), (32, 1), (40, 1), (24, 32))
)
CLIP_CACHES = tuple(QuestionCache(head=head, tail=tail) for head, tail in ((0, 1), (0, 32), (28, 1), (40, 1)))
FRAMES = 8
"""Of a clip."""
FIGURES = ("label_agreement", "label_agreement_low", "label_agreement_high", "kl_mean", "kl_p95")


@dataclass(frozen=True)
class Row:
    """One profile with one cache, or None of it, against the first profile computed as a whole."""

    read: str
    """Drawings, or clips."""
    profile: str
    head: int | None
    tail: int | None
    evidence: dict[str, float]


def rows_of(
    read: str,
    profile: str,
    reference: NDArray[np.float64],
    caches: Sequence[QuestionCache | None],
    probabilities: NDArray[np.float64],
) -> list[Row]:
    """Compare a profile's distributions with each cache, [caches, N, labels], with the reference, [N, labels]."""
    return [
        Row(
            read,
            profile,
            cache.head if cache else None,
            cache.tail if cache else None,
            label_evidence(reference, own),
        )
        for cache, own in zip(caches, probabilities, strict=True)
    ]


def clip_probabilities(
    bundle: Bundle, profile: str, clips: int, caches: Sequence[QuestionCache | None]
) -> NDArray[np.float64]:
    """Read drawn clips with each of ``caches``: [caches, clips, labels]."""
    request, rows = Request(labels=LABELS), []
    picks = [round(index * (CLIP_FRAMES - 1) / (FRAMES - 1)) for index in range(FRAMES)]
    with EmotionPipeline.open(bundle, device="cpu", profile=profile, detector=WholeImage()) as pipeline:
        for index in range(clips):
            clip = render_clip(HELD_OUT_SEED, index, frame_indices=picks)
            frames = [frame.image for frame in clip.frames]
            faces = [faces_in_boxes(frame.image, [tuple(frame.box.tolist())])[0] for frame in clip.frames]
            scores = scores_with_caches(pipeline, frames, faces, request, caches)
            rows.append([list(one.probabilities.values()) for one in scores])
    return np.array(rows).swapaxes(0, 1)


def table(rows: Sequence[Row]) -> str:
    """Return the rows in Markdown."""
    lines = [
        "| read | profile | head | tail | label agreement (95 %) | mean KL | KL, 95th percentile |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        head, tail = ("all" if value is None else str(value) for value in (row.head, row.tail))
        agreement, low, high, mean, p95 = (row.evidence[name] for name in FIGURES)
        lines.append(
            f"| {row.read} | {row.profile} | {head} | {tail} | {agreement:.4f} ({low:.4f}–{high:.4f}) | {mean:.1e} "
            f"| {p95:.1e} |"
        )
    return "\n".join(lines)


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--profiles", default="exact,balanced,small", show_default=True, help="The first one is the reference.")
@click.option("--held-out", default=2000, show_default=True, type=click.IntRange(1), help="Number of drawings.")
@click.option("--clips", default=200, show_default=True, type=click.IntRange(0), help="Number of clips of 8 frames.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures there, too.")
def main(bundle: Path, profiles: str, held_out: int, clips: int, json_path: Path | None) -> None:
    """Measure what question caches cost the profiles of BUNDLE on held-out drawings and clips."""
    started, opened = time.perf_counter(), Bundle.open(bundle)
    samples = synthetic_samples(held_out, HELD_OUT_SEED, workers=usable_cpus())
    rows: list[Row] = []
    references: dict[str, NDArray[np.float64]] = {}
    for profile in profiles.split(","):
        caches = (None, *CACHES)
        runs = runs_with_question_caches(opened, profile, samples, LABELS, caches)
        reference = references.setdefault("drawings", runs.probabilities[0])
        rows += rows_of("drawings", profile, reference, caches, runs.probabilities)
        if clips:
            caches = (None, *CLIP_CACHES)
            probabilities = clip_probabilities(opened, profile, clips, caches)
            reference = references.setdefault("clips", probabilities[0])
            rows += rows_of("clips", profile, reference, caches, probabilities)
    click.echo(table(rows))
    click.echo(
        f"\nAgainst {profiles.split(',')[0]} computed as a whole, {held_out} synthetic drawings and {clips} clips of "
        f"{FRAMES} frames, seed {HELD_OUT_SEED}.\n{describe_machine()}; {time.perf_counter() - started:.0f} s"
    )
    if json_path:
        write_json(json_path, {"machine": describe_machine(), "rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
