"""Predicted against measured stage times: ``python -m emo_edge.benchmarks.studies.plan_accuracy BUNDLE``.

The prediction comes from probes of this machine that are not the model (`emo_edge.planning.probes.machine`), taken just
before; the measurement is the pipeline's own reading of packaged drawings, the prompt's beginning kept as in any
reading that is not the first. Both are repeated in many short rounds: the cores of a virtual machine may be half as
fast again for some seconds, and then not.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

from emo_edge.assets.packaged import packaged_samples
from emo_edge.bundle.manifest import FACE_TOKENS, QUESTION_INPUT
from emo_edge.bundle.reader import Bundle
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import InputError
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.label_scoring import LabelScorer
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.prompt_layout import Prompt, frame_tokens
from emo_edge.inference.results import Request
from emo_edge.machine.summary import describe_processor
from emo_edge.media.crops import Image
from emo_edge.planning.capacity_plan import PlanRequest
from emo_edge.planning.models import BundleModel
from emo_edge.planning.planner import make_plan
from emo_edge.planning.probes.machine import measured_device
from emo_edge.planning.roofline import Device
from emo_edge.runtimes.base.sessions import Sampling
from emo_edge.runtimes.loading.engines import LanguageChain
from emo_edge.tensors import Tensor, TensorSpec

TOLERANCE = 0.30
"""Largest difference of a prediction from the measurement, as a fraction of it."""
WARM_UP = 3
DESCRIBED = 24
"""Tokens of a description, at most."""
SENTENCE = "The person in the image is a White male aged 20-29. "
"""Of the length that a face network's has."""
LEAST_MS = 0.05
"""Shorter stages are within the stopwatch's own error: they are shown, and not compared."""
PARTS: tuple[str, ...] = ("vision", "face", "connector", "prefill", "score")
"""Stages from the crops to the label."""
PACKAGES = ("emo-edge", "numpy", "onnxruntime", "llama-cpp-python")


@dataclass(frozen=True)
class Row:
    """One stage of one profile, in milliseconds."""

    profile: str
    stage: str
    predicted: float
    measured: float
    low: float
    """Tenth percentile."""
    high: float
    """Ninetieth percentile."""
    samples: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Predicted time, as a fraction of the measured median."""
        return self.predicted / self.measured

    @property
    def timed(self) -> bool:
        """True where the stage takes long enough to be timed."""
        return self.measured >= LEAST_MS

    @property
    def within(self) -> bool:
        """True where the prediction is within the tolerance."""
        return abs(self.ratio - 1) <= TOLERANCE


def compared(bundle: Bundle, device: Device, profiles: Iterable[str], rounds: int, threads: int | None) -> list[Row]:
    """Plan each profile on ``device``, which is this machine, and measure it there."""
    plan = make_plan(BundleModel(bundle), device, PlanRequest(describe_tokens=DESCRIBED), profiles)
    rows = []
    for part in plan.profiles:
        times = measured_stages(bundle, part.profile, rounds, threads)
        predicted = {stage.name: stage.ms.least for stage in part.stages}
        rows += [_row(part.profile, name, predicted[name], times[name]) for name in predicted if times.get(name)]
        if part.description_ms is not None:
            rows.append(_row(part.profile, "to the label", part.label_ms.least, _sums(times)))
    return rows


def together(taken: Sequence[Sequence[Row]]) -> list[Row]:
    """Join repeats, so that a slow minute of the machine counts once: the median prediction, and every sample."""
    return [
        _row(
            rows[0].profile,
            rows[0].stage,
            float(np.median([row.predicted for row in rows])),
            [value for row in rows for value in row.samples],
        )
        for rows in zip(*taken, strict=True)
    ]


def measured_stages(bundle: Bundle, profile: str, rounds: int, threads: int | None) -> dict[str, list[float]]:
    """Read two packaged drawings alternately; return milliseconds of each stage, one value a round."""
    images = [sample.image for sample in packaged_samples(2)]
    times: dict[str, list[float]] = {}
    random = np.random.default_rng(0)
    with EmotionPipeline.open(
        bundle, device="cpu", profile=profile, detector=WholeImage(), threads=threads
    ) as pipeline:
        for index in range(WARM_UP + rounds):
            for name, values in _timed(pipeline, images[index % 2], random).items():
                if index >= WARM_UP:
                    times.setdefault(name, []).extend(values)
    return times


def _timed(pipeline: EmotionPipeline, image: Image, random: np.random.Generator) -> dict[str, list[float]]:
    label = pipeline.read(image, Request())[0].stage_ms
    times: dict[str, list[float]] = {name: [label[name]] for name in PARTS if name in label}
    if pipeline.label_scorer is None:
        return times
    times["first token"] = [_first_token(pipeline, pipeline.label_scorer, random)]
    pieces: list[float] = []
    sampling = Sampling(max_new_tokens=DESCRIBED)
    pipeline.read(
        image, Request(describe=True, sampling=sampling, on_piece=lambda _: pieces.append(time.perf_counter()))
    )
    # The last call ends the line, and is no token.
    times["per token"] = [float(value) for value in 1000 * np.diff(pieces[:-1])]
    return times


def _first_token(pipeline: EmotionPipeline, scorer: LabelScorer, random: np.random.Generator) -> float:
    """Time connector and prefill of the question for a description, about frames that are new to the engines.

    Their features are random: times do not depend on them, and a reading would keep what both questions share.
    """
    manifest, chain = pipeline.manifest, scorer.chain
    assert isinstance(chain, LanguageChain)
    question = manifest.prompt.describe
    feed = {"features": _random(chain.connector.inputs[0], random)}
    tokens = (
        [output for output in pipeline.engines.face.outputs if output.name == FACE_TOKENS]
        if pipeline.engines.face
        else []
    )
    face = _random(tokens[0], random) if tokens else None
    start = time.perf_counter()
    if scorer.questions:
        ids = np.array([scorer.questions.encode(question)], np.int64)
        feed |= {QUESTION_INPUT: ids, "question_mask": np.ones_like(ids)}
    visual = chain.connector.run(feed)["visual_tokens"]
    prompt = Prompt(manifest, question, SENTENCE)
    chain.language.prefill(prompt.chunks(chain.language, [frame_tokens(manifest, visual, face)]))
    return 1000 * (time.perf_counter() - start)


def _random(spec: TensorSpec, random: np.random.Generator) -> Tensor:
    shape = [1 if isinstance(axis, str) else axis for axis in spec.shape]
    return random.standard_normal(shape).astype(np.float32)


def _sums(times: Mapping[str, Sequence[float]]) -> list[float]:
    parts = [times[name] for name in PARTS if name in times]
    return [float(sum(values)) for values in zip(*parts, strict=True)]


def _row(profile: str, stage: str, predicted: float, samples: Sequence[float]) -> Row:
    low, median, high = np.percentile(samples, (10, 50, 90))
    return Row(profile, stage, predicted, float(median), float(low), float(high), tuple(samples))


def table(rows: Sequence[Row], threads: int | None) -> str:
    """Write the comparison as Markdown, with the machine and the versions."""
    lines = [
        "| profile | stage | predicted ms | measured ms (p10–p90) | samples | predicted / measured |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        mark = "" if row.within or not row.timed else " (outside)"
        spread = f"{row.measured:.3f} ({row.low:.3f}–{row.high:.3f})"
        ratio = f"{row.ratio:.2f}{mark}" if row.timed else "too short to judge"
        lines.append(f"| {row.profile} | {row.stage} | {row.predicted:.3f} | {spread} | {len(row.samples)} | {ratio} |")
    timed = [row for row in rows if row.timed]
    within = sum(row.within for row in timed)
    lines += ["", f"{within} of {len(timed)} stages are within ±{TOLERANCE:.0%}."]
    return "\n".join([*lines, "", f"{describe_processor()}, {threads or 'all'} threads, {_versions()}"])


def _versions() -> str:
    from importlib.metadata import PackageNotFoundError, version

    def installed(name: str) -> str:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            return f"{name} not installed"

    return ", ".join(map(installed, PACKAGES))


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--profile", help="Measure this profile alone.")
@click.option("--rounds", default=8, show_default=True, type=click.IntRange(3), help="Readings that count, a repeat.")
@click.option("--repeats", default=8, show_default=True, type=click.IntRange(1), help="Repeats of probes and readings.")
@click.option("--threads", type=click.IntRange(1), help="Threads of each engine.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write every sample there, too.")
def main(
    bundle: Path, profile: str | None, rounds: int, repeats: int, threads: int | None, json_path: Path | None
) -> None:
    """Compare the plan of BUNDLE on this machine's processor with its measured stage times."""
    opened = Bundle.open(bundle)
    model = BundleModel(opened)
    names = (profile,) if profile else tuple(model.profiles)
    if strangers := [name for name in names if name not in model.profiles]:
        raise InputError(f"no profile {strangers[0]!r}; there are: {', '.join(model.profiles)}")
    kept = {model.profiles[name]["language"] for name in names}
    types = {variant: number for variant, number in model.file_types().items() if variant in kept}
    taken = []
    for repeat in range(repeats):
        click.echo(f"repeat {repeat + 1} of {repeats}", err=True)
        device = measured_device(model.precisions(), types, device="cpu", threads=threads)
        taken.append(compared(opened, device, names, rounds, threads))
    rows = together(taken)
    click.echo(table(rows, threads))
    if json_path:
        machine = f"{describe_processor()}, {_versions()}"
        stages = [{**asdict(row), "ratio": row.ratio} for row in rows]
        json_path.write_text(
            json.dumps({"machine": machine, "threads": threads, "stages": stages}, allow_nan=False), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
