"""``emo-edge import gguf``: a VLM in llama.cpp's own files to a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from emo_edge.assets.packaged import folder_samples, named_checkpoint, packaged_samples
from emo_edge.bundle.face_crops import MOST_MARGIN
from emo_edge.bundle.manifest import LARGEST_CONTEXT, LARGEST_CROP
from emo_edge.console.choices import THREADS
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.progress import shown_reports
from emo_edge.console.terminal import echo
from emo_edge.export.vlm.config import CLASSIFY, CONTEXT, VlmConfig, VlmFiles
from emo_edge.storage.output_paths import require_output

PATH = click.Path(path_type=Path)
PICTURES = 50
"""Compared with the reference by default."""


def _labels(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in (value or "").split(",") if name.strip()))


def _newlines(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Read a typed backslash and n as a newline: the errors and the guide write it so, and a shell keeps both."""
    return value if value is None else value.replace("\\n", "\n")


@click.command(cls=EdgeCommand, name="gguf")
@click.option("--model", type=PATH, required=True, help="Language model in GGUF.")
@click.option("--mmproj", type=PATH, required=True, help="Its vision tower and projector in GGUF.")
@click.option("--reference", type=PATH, help="The same language model in f16, bf16 or f32, to compare with.")
@click.option(
    "--face",
    help="Checkpoint with a face network, as import facexformer writes it, or emo-tiny, whose network knows drawings "
    "alone: landmarks, pose and face facts.",
)
@click.option(
    "--demographic-sentence",
    "use_demographics",
    is_flag=True,
    help="Put age, gender and race, as --face sees them, before the question. No such model was trained with it.",
)
@click.option("--labels", callback=_labels, help="Your own labels, such as: happy,sad,angry. They become the default.")
@click.option("--prompt", "classify", default=CLASSIFY, show_default=True, help="Question for a label.")
@click.option("--system", help="Message of the system before the question.  [default: the chat template's]")
@click.option(
    "--template",
    callback=_newlines,
    help="Conversation with <image> and {demographics}{question}.  [default: the GGUF's chat template]",
)
@click.option(
    "--picture-size",
    type=click.IntRange(14, LARGEST_CROP),
    help="Width and height of a picture, in pixels.  [default: the mmproj's]",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, MOST_MARGIN),
    default=0.25,
    show_default=True,
    help="Growth of a face's box on each side, as a fraction of its width.",
)
@click.option(
    "--detector",
    default="mtcnn",
    show_default=True,
    help="Face detector that the bundle holds: mtcnn, yunet (see emo-edge detector get), haar, whole, or YuNet's file.",
)
@click.option(
    "--context", type=click.IntRange(1, LARGEST_CONTEXT), default=CONTEXT, show_default=True, help="Positions."
)
@click.option(
    "--pictures",
    type=click.Choice(["one", "several"]),
    show_default="by the mmproj's projector",
    help="Pictures in one prompt that the model was trained on; a model of one reads no clips.",
)
@click.option(
    "--samples", type=PATH, help="Folder of pictures for --reference and --face; the packaged drawings by default."
)
@click.option(
    "--limit", type=click.IntRange(1), default=PICTURES, show_default=True, help="Number of pictures to compare on."
)
@click.option("--threads", type=THREADS, help="Number of threads of each engine.")
@click.option("--name", help="Name of the bundle.  [default: the model's]")
@click.option("--overwrite", is_flag=True, help="Replace the bundle as a whole.")
@click.option("--out", type=PATH, required=True, help="Folder of the bundle; it must not exist yet.")
def main(
    model: Path,
    mmproj: Path,
    reference: Path | None,
    face: str | None,
    samples: Path | None,
    limit: int,
    threads: int | None,
    overwrite: bool,
    out: Path,
    **choices: Any,
) -> None:
    """Make a bundle of any VLM that llama.cpp runs: a GGUF and its mmproj.

    Nothing is converted. The files are checked, opened once by a child process, and copied; the chat template is
    rendered once and shown. With --reference the cost of the quantization is measured and kept as evidence.
    """
    from emo_edge.export.vlm.bundle import bundle_from_gguf

    require_output(out)
    compared = reference or face
    if samples and not compared:
        raise click.UsageError("--samples are pictures to compare on: name --reference or --face, too")
    pictures = (folder_samples(samples, limit) if samples else packaged_samples(limit)) if compared else []
    files, config = (
        VlmFiles(model, mmproj, reference),
        VlmConfig(face=named_checkpoint(face) if face else None, **choices),
    )
    with shown_reports() as reports:
        bundle_from_gguf(files, out, config, pictures, overwrite=overwrite, threads=threads, reports=reports)
    echo(out)
