"""``python -m emo_edge.benchmarks.random_vlm``: write the files of a random VLM."""

from __future__ import annotations

from pathlib import Path

import click

from emo_edge.benchmarks.random_vlm.converter import SOURCE_VARIABLE, convert_random_vlm, require_source
from emo_edge.benchmarks.random_vlm.families import FAMILIES, random_vlm
from emo_edge.benchmarks.random_vlm.files import write_random_vlm
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.terminal import echo
from emo_edge.storage.output_paths import require_output


@click.command(cls=EdgeCommand)
@click.argument("family", type=click.Choice(list(FAMILIES)))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder; it must not exist yet.")
@click.option("--type", "file_type", type=click.Choice(["f32", "f16"]), default="f16", show_default=True)
@click.option("--seed", default=0, show_default=True, help="Random seed of the weights.")
@click.option(
    "--converter",
    type=click.Path(path_type=Path),
    envvar=SOURCE_VARIABLE,
    show_envvar=True,
    help="Source tree of llama.cpp, whose own converter then writes the files from a checkpoint of transformers.",
)
def main(family: str, out: Path, file_type: str, seed: int, converter: Path | None) -> None:
    """Write model.gguf and mmproj.gguf of FAMILY at toy size, with random weights. Answers are noise."""
    require_output(out)
    source = require_source(converter) if converter else None
    out.mkdir(parents=True)
    vlm, model, mmproj = random_vlm(family, seed), out / "model.gguf", out / "mmproj.gguf"
    if source is None:
        write_random_vlm(vlm, model, mmproj, file_type=file_type)
    else:
        convert_random_vlm(vlm, source, out / "checkpoint", model, mmproj, file_type=file_type)
    echo(out)


if __name__ == "__main__":
    main()
