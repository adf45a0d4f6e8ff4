"""The packaged model at work: readings of drawings it has never seen, then its accuracy on more of them."""

from __future__ import annotations

import time
from dataclasses import dataclass

import click
import numpy as np

from emo_edge.benchmarks import metrics
from emo_edge.benchmarks.machine import describe_machine
from emo_edge.benchmarks.synthetic import FaceSample, render_face
from emo_edge.benchmarks.tiny_data import BASIC
from emo_edge.commands import EdgeCommand
from emo_edge.export.model import EmoLlamaForConditionalGeneration
from emo_edge.packaged import packaged_checkpoint
from emo_edge.prompts import classify_question
from emo_edge.vocabulary import AGE_BINS, GENDERS, LABEL_SETS

LABELS = LABEL_SETS["rafdb7"]
DEMO_SEED = 903
"""Unlike every seed of training and evaluation."""


@dataclass(frozen=True)
class Reading:
    """What the full-precision model says of one drawing."""

    probabilities: np.ndarray[tuple[int], np.dtype[np.float32]]
    """Softmax of the label scores, in the order of ``LABELS``; sums to one."""
    milliseconds: float

    @property
    def label(self) -> str:
        """The most probable label."""
        return LABELS[int(self.probabilities.argmax())]


def read(model: EmoLlamaForConditionalGeneration, sample: FaceSample) -> Reading:
    """Score the seven labels on the sample's true face box."""
    started = time.perf_counter()
    question = classify_question(model.config.prompt, LABELS)
    scores = model.label_scores(sample.image, question, LABELS, boxes=tuple(sample.box.tolist()))
    weights = np.exp(scores - scores.max())
    return Reading(weights / weights.sum(), (time.perf_counter() - started) * 1000)


@click.command(cls=EdgeCommand)
@click.option("--show", default=7, show_default=True, help="Drawings to describe one by one.")
@click.option("--samples", default=200, show_default=True, type=click.IntRange(1), help="Drawings to score.")
def main(show: int, samples: int) -> None:
    """Read drawn faces with the packaged emo-tiny and print its accuracy.

    Full precision, through PyTorch. emo-tiny learnt drawings: it says nothing about photographs.
    """
    model = EmoLlamaForConditionalGeneration.from_pretrained(packaged_checkpoint("emo-tiny"))
    drawings = [render_face(DEMO_SEED, index, expressions=BASIC) for index in range(max(samples, show))]
    for sample in drawings[:show]:
        reading = read(model, sample)
        said = model.generate(sample.image, model.config.prompt.describe, boxes=tuple(sample.box.tolist()))
        person = f"{GENDERS[sample.gender].lower()}, {AGE_BINS[sample.age]}"
        click.echo(f"drawn: {sample.expression} ({person})")
        click.echo(f"  read:  {reading.label} {reading.probabilities.max():.0%}\n  said:  {said}")
    readings = [read(model, sample) for sample in drawings[:samples]]
    truth = np.array([LABELS.index(sample.expression) for sample in drawings[:samples]])
    predicted = np.array([LABELS.index(reading.label) for reading in readings])
    low, high = metrics.wilson_interval(metrics.war(truth, predicted), samples)
    times = np.percentile([reading.milliseconds for reading in readings], [50, 90])
    click.echo("\n| model | samples | WAR (95 % interval) | UAR | ms a reading, p50 / p90 |\n|---|---|---|---|---|")
    click.echo(
        f"| emo-tiny, PyTorch float32 | {samples} drawings, seed {DEMO_SEED} "
        f"| {metrics.war(truth, predicted):.3f} ({low:.3f}–{high:.3f}) | {metrics.uar(truth, predicted):.3f} "
        f"| {times[0]:.0f} / {times[1]:.0f} |\n\n{describe_machine()}"
    )
