"""``emo-edge calibrate``: quantize a bundle with statistics of its own prompts and frames, inside gates."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emo_edge.bundle.reader import read_manifest
from emo_edge.cli.completion import complete_bundle, complete_profile
from emo_edge.cli.packaged_bundle import bundle_directory, own_bundle
from emo_edge.console.choices import THREADS, NameChoice, label_map_option, label_pairs
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.face_options import face_options
from emo_edge.console.terminal import echo
from emo_edge.errors import InputError
from emo_edge.machine.cpus import usable_cpus
from emo_edge.utils.byte_sizes import size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from emo_edge.assets.packaged import Sample
    from emo_edge.calibration.workflow.calibrate import ExtraFiles
    from emo_edge.calibration.workflow.config import CalibrationConfig

SYNTHETIC = re.compile(r"synthetic:(?P<count>\d{1,6})")


def listed(source: str, seed: int) -> list[Sample]:
    """List what ``--samples`` names: a folder, a CSV or JSONL list, or drawings (``synthetic:N``)."""
    from emo_edge.calibration.samples.lists import listed_samples

    match = SYNTHETIC.fullmatch(source)
    if match is None:
        return listed_samples(Path(source))
    from emo_edge.benchmarks.emo_tiny.samples import CALIBRATION_SEED, synthetic_samples

    return synthetic_samples(int(match["count"]), CALIBRATION_SEED + seed, workers=usable_cpus())


def labelled(source: str, seed: int, labels: Sequence[str], label_map: Mapping[str, str]) -> list[Sample]:
    """List what ``--samples`` names, each label as ``labels`` writes it."""
    from emo_edge.calibration.samples.label_names import with_labels_of

    return with_labels_of(listed(source, seed), labels, label_map)


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path), shell_complete=complete_bundle)
@click.option(
    "--checkpoint",
    help="Checkpoint that BUNDLE was exported from: a folder, or emo-tiny. A bundle of import gguf holds its own.",
)
@click.option(
    "--samples", required=True, help="Pictures: a folder, one with a folder a label, a .csv, a .jsonl, synthetic:N."
)
@click.option(
    "--collect", default=128, show_default=True, type=click.IntRange(1), help="Number of samples for statistics."
)
@click.option(
    "--measure", default=500, show_default=True, type=click.IntRange(1), help="Number of other samples, to measure on."
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed that draws the samples."
)
@click.option("--labels", default="rafdb7", show_default=True, help="Label set to measure on.")
@label_map_option
@click.option(
    "--profile", shell_complete=complete_profile, help="Calibrate what this profile of BUNDLE takes, and no other."
)
@click.option("--types", help="GGUF types, comma-separated, or none; by default the quantized ones of BUNDLE.")
@click.option("--target-size", help="Search a mixture of types whose file is at most this large: 800MB.")
@click.option("--target-kl", type=click.FloatRange(0, min_open=True), help="Search the smallest mixture of this KL.")
@click.option("--int8", default="vision,connector,face,au", show_default=True, help="Graphs to make in INT8, or none.")
@click.option(
    "--int8-base",
    type=NameChoice(["fp32", "fp16"]),
    default="fp32",
    show_default=True,
    help="Precision of what stays out of INT8.",
)
@click.option("--int8-gate", help="Gate of each graph in INT8; its own by default.")
@click.option(
    "--sensitivity",
    default=32,
    show_default=True,
    type=click.IntRange(1),
    help="Number of samples that measure each block.",
)
@click.option(
    "--question-cache/--no-question-cache",
    default=True,
    help="Search the part of the question that is computed once, not for each face; on by default.",
)
@click.option("--gate", help="Gate of every profile, such as agreement>=0.99,uar>=-0.01,kl<=0.02; by default its own.")
@click.option(
    "--fit-scoring",
    is_flag=True,
    help="Fit temperature and prior correction on labelled samples; for bundles of import gguf.",
)
@click.option("--strict", is_flag=True, help="A variant or profile that fails its gate ends the command (exit 7).")
@click.option("--keep-imatrix", type=click.Path(path_type=Path), help="File that gets the statistics, too.")
@click.option("--report", type=click.Path(path_type=Path), help="File that gets everything measured, as JSON.")
@click.option("--threads", type=THREADS, help="Number of threads of each engine.")
@face_options
@click.option(
    "--fit-crop",
    is_flag=True,
    help="Fit the margin around the detector's faces on labelled samples, cross-validated, and nothing else.",
)
@click.pass_context
def main(
    context: click.Context,
    /,
    bundle: Path,
    checkpoint: str | None,
    samples: str,
    seed: int,
    label_map: tuple[str, ...],
    fit_scoring: bool,
    fit_crop: bool,
    **choices: Any,
) -> None:
    """Quantize BUNDLE with statistics of its own prompts and frames, inside gates.

    Writes GGUF types with importance statistics, and graphs in INT8. Those come from some samples, every
    figure from others. A profile whose variants fail its gate takes more precise ones, and reports it.
    BUNDLE is replaced as a whole at the end. BUNDLE emo-tiny is a copy of the packaged model's, made here as a folder
    of that name.
    """
    from emo_edge.assets.packaged import named_checkpoint
    from emo_edge.calibration.workflow.calibrate import ExtraFiles, calibrate
    from emo_edge.console.progress import shown_reports

    extra = ExtraFiles(choices.pop("keep_imatrix"), choices.pop("report"))
    threads = choices.pop("threads")
    config = config_of(seed=seed, **choices)
    manifest = read_manifest(bundle_directory(bundle))
    vlm = manifest.components.mmproj is not None
    if fit_scoring and not vlm:
        raise InputError("`fit_scoring` is for bundles of import gguf")
    if checkpoint is None and not (vlm or fit_crop):
        parameter = next(one for one in context.command.params if one.name == "checkpoint")
        raise click.MissingParameter(ctx=context, param=parameter)
    drawn_from = partial(
        labelled, samples, seed, manifest.label_sets.get(config.labels, ()), dict(label_pairs(label_map))
    )
    bundle = own_bundle(bundle)
    if fit_crop:
        _fit_crop(bundle, drawn_from, config, threads)
        return
    if vlm or checkpoint is None:
        _calibrate_vlm(bundle, drawn_from, config, extra, fit_scoring, threads, checkpoint)
        return
    directory = named_checkpoint(checkpoint)
    with shown_reports() as reports:
        calibrate(bundle, directory, drawn_from, config, extra=extra, threads=threads, reports=reports)
    echo(bundle)


def _fit_crop(
    bundle: Path, samples: Callable[[], list[Sample]], config: CalibrationConfig, threads: int | None
) -> None:
    from emo_edge.calibration.workflow.crop_margin import fit_crop_margin
    from emo_edge.console.progress import shown_reports

    with shown_reports() as reports:
        fit = fit_crop_margin(bundle, samples, config, threads=threads, reports=reports)
    echo(f"{fit.table()}\n{bundle}")


def _calibrate_vlm(
    bundle: Path,
    samples: Callable[[], list[Sample]],
    config: CalibrationConfig,
    extra: ExtraFiles,
    fit_scoring: bool,
    threads: int | None,
    checkpoint: str | None,
) -> None:
    from emo_edge.calibration.vlm.calibrate import VlmChoices, calibrate_vlm
    from emo_edge.console.progress import shown_reports

    if checkpoint is not None or extra.report or config.target is not None:
        raise InputError("a bundle of import gguf has no use for `checkpoint`, `report`, `target_size` and `target_kl`")
    choices = VlmChoices(fit_scoring, extra.keep_imatrix)
    with shown_reports() as reports:
        calibrate_vlm(bundle, samples, config, choices, threads=threads, reports=reports)
    echo(bundle)


def config_of(
    *,
    types: str | None,
    target_size: str | None,
    int8: str,
    int8_gate: str | None,
    gate: str | None,
    detector: str = "auto",
    min_score: float | None = None,
    min_face: float | None = None,
    max_faces: int | None = None,
    **rest: Any,
) -> CalibrationConfig:
    """Read the options that are text; raise InputError for one that cannot be read."""
    from emo_edge.bundle.manifest import GRAPHS
    from emo_edge.calibration.workflow.config import CalibrationConfig
    from emo_edge.faces.limits import FaceLimits
    from emo_edge.inference.detectors import requested_files
    from emo_edge.metrics.gates import INT8_GATE, Gate

    graphs = _names(int8)
    if unknown := [name for name in graphs if name not in GRAPHS]:
        raise InputError(f"`int8` {', '.join(unknown)}: choose from {', '.join(GRAPHS)}, or none")
    return CalibrationConfig(
        types=None if types is None else _names(types),
        target_size=size_of(target_size) if target_size else None,
        int8=graphs,
        int8_gate=Gate.parse(int8_gate) if int8_gate else INT8_GATE,
        gate=Gate.parse(gate) if gate else None,
        detector=requested_files(detector),
        limits=FaceLimits(min_score, min_face, max_faces),
        **rest,
    )


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    return () if names == ("none",) else names
