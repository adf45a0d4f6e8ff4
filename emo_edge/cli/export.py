"""``emo-edge export``: checkpoint to verified bundle."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from emo_edge.assets.packaged import folder_samples, named_checkpoint, packaged_samples
from emo_edge.console.choices import THREADS
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.progress import shown_reports
from emo_edge.console.terminal import echo
from emo_edge.errors import InputError
from emo_edge.export.configs.checkpoint import ALONE, model_type
from emo_edge.inference.detectors import requested_files
from emo_edge.storage.output_paths import require_output

PICTURES, FACE_PICTURES = 210, 32
"""Compared by default. Labels need many; the outputs of a graph are compared value by value, on every picture."""


def _budget(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value == "auto":
        return value
    if not value.isascii() or not value.isdigit():
        raise click.BadParameter(f"{value!r} is neither a number nor auto")
    return int(value)


def _names(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))


@click.command(cls=EdgeCommand)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of the bundle; it must not exist yet."
)
@click.option(
    "--vision", default="fp32,fp16", show_default=True, callback=_names, help="Precisions of vision and connector."
)
@click.option("--face", default="fp32,fp16", show_default=True, callback=_names, help="Precisions of the face network.")
@click.option(
    "--language",
    default="f16,q8_0,q4_k_m",
    show_default=True,
    callback=_names,
    help="GGUF types of the language model.",
)
@click.option(
    "--visual-tokens",
    metavar="N|auto",
    callback=_budget,
    help="Visual tokens that a model of LLaVA's kind reads a picture, instead of every patch; auto takes the fewest "
    "that hold the gate of balanced.",
)
@click.option("--labels", default="rafdb7", show_default=True, help="Label set to compare on.")
@click.option(
    "--samples", type=click.Path(path_type=Path), help="Folder of pictures; the packaged drawings by default."
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    help="Number of pictures to compare on; by default 210, of a network without a language model 32.",
)
@click.option("--threads", type=THREADS, help="Number of threads of each engine.")
@click.option(
    "--detector",
    metavar="NAME|FILE",
    default="auto",
    show_default="auto, the checkpoint's own",
    help="Face detector that the bundle holds: mtcnn, yunet (see emo-edge detector get), haar, whole, or the ONNX file "
    "of YuNet.",
)
@click.option("--overwrite", is_flag=True, help="Replace the bundle as a whole.")
def main(
    checkpoint: Path,
    out: Path,
    samples: Path | None,
    limit: int | None,
    threads: int | None,
    detector: str,
    overwrite: bool,
    **variants: Any,
) -> None:
    """Turn CHECKPOINT into one verified bundle.

    CHECKPOINT is a directory, or the name of a packaged one (emo-tiny). Every variant is compared
    with PyTorch on held-out pictures; one that fails its gate is left out (exit 7). Of one
    network alone (face facts, labels or action units), --face gives its precisions.
    """
    from emo_edge.export.bundles.config import ExportConfig
    from emo_edge.export.bundles.emo_llama import bundle_from_checkpoint
    from emo_edge.export.bundles.face_network import bundle_from_face_network

    require_output(out)
    directory = named_checkpoint(checkpoint)
    alone = model_type(directory) in ALONE
    if alone and variants["visual_tokens"] is not None:
        raise InputError(f"{directory} has no language model: --visual-tokens has no use")
    count = limit or (FACE_PICTURES if alone else PICTURES)
    pictures = folder_samples(samples, count) if samples else packaged_samples(count)
    config, files = ExportConfig(**variants), requested_files(detector)
    if files:
        files.open()

    with shown_reports() as reports:
        if alone:
            export = partial(bundle_from_face_network, directory, out, config.face)
        else:
            export = partial(bundle_from_checkpoint, directory, out, config)
        export(pictures, overwrite=overwrite, threads=threads, detector=files, reports=reports)
    echo(out)
