"""``emo-edge calibrate``: quantize a bundle's language model with what the model really reads, inside gates."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emo_edge.commands import EdgeCommand
from emo_edge.errors import InputError

if TYPE_CHECKING:
    from emo_edge.samples import Sample

SYNTHETIC = re.compile(r"synthetic:(?P<count>\d{1,6})")
UNITS = {"": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3}
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>KB|MB|GB|)", re.IGNORECASE)


def listed(source: str, seed: int) -> list[Sample]:
    """List what ``--samples`` names: a folder, a CSV or JSONL list, or drawings (``synthetic:N``)."""
    from emo_edge.calibration.sample_lists import listed_samples

    match = SYNTHETIC.fullmatch(source)
    if match is None:
        return listed_samples(Path(source))
    from emo_edge.benchmarks.synthetic_samples import CALIBRATION_SEED, synthetic_samples

    return synthetic_samples(int(match["count"]), CALIBRATION_SEED + seed)


def size_of(text: str) -> int:
    """Read a size such as ``800MB`` (decimal units) in bytes."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InputError(f"a size reads like 800MB or 3.9GB, not {text!r}")
    return int(float(match["number"]) * UNITS[match["unit"].upper()])


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--checkpoint", required=True, help="What BUNDLE was exported from: a directory, or emo-tiny.")
@click.option("--samples", required=True, help="Folder, folder of a folder a label, .csv, .jsonl, or synthetic:N.")
@click.option("--collect", default=128, show_default=True, type=click.IntRange(1), help="Samples for statistics.")
@click.option("--measure", default=500, show_default=True, type=click.IntRange(1), help="Other samples, to measure.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the draw.")
@click.option("--labels", default="rafdb7", show_default=True, help="Label set to measure on.")
@click.option("--types", help="GGUF types, comma-separated; by default the quantized ones of BUNDLE.")
@click.option("--target-size", help="Search a mixture of types whose file is at most this large: 800MB.")
@click.option("--gate", help="Of every profile, such as agreement>=0.99,uar>=-0.01,kl<=0.02; by default its own.")
@click.option("--strict", is_flag=True, help="A profile that misses its gate ends the command (exit 7).")
@click.option("--keep-imatrix", type=click.Path(path_type=Path), help="Write the statistics there, too.")
@click.option("--threads", type=click.IntRange(1), help="Threads of each engine that is measured.")
def main(bundle: Path, checkpoint: str, samples: str, seed: int, **choices: Any) -> None:
    """Quantize the language model of BUNDLE with statistics of its own prompts.

    Statistics come from some samples, every figure from others. A profile whose variant misses its
    gate takes the next larger one, and says so. BUNDLE is replaced as a whole at the end.
    """
    from emo_edge.calibrated_bundle import CalibrationPlan, calibrate
    from emo_edge.calibration.gates import Gate
    from emo_edge.export.progress import shown_reports
    from emo_edge.packaged import packaged_checkpoint

    size, gate, types = (choices.pop(name) for name in ("target_size", "gate", "types"))
    plan = CalibrationPlan(
        collect=choices.pop("collect"),
        measure=choices.pop("measure"),
        seed=seed,
        labels=choices.pop("labels"),
        types=tuple(name.strip() for name in types.split(",") if name.strip()) if types else (),
        target_size=size_of(size) if size else None,
        gate=Gate.parse(gate) if gate else None,
        strict=choices.pop("strict"),
    )
    directory = Path(checkpoint) if Path(checkpoint).exists() else packaged_checkpoint(checkpoint)
    with shown_reports() as reports:
        calibrate(bundle, directory, partial(listed, samples, seed), plan, reports=reports, **choices)
    click.echo(bundle)
