"""Cost of compression, both tables: ``python -m emo_edge.benchmarks.studies.compression``.

GGUF types of the language model with and without an imatrix, then INT8 of the networks before it.
"""

from __future__ import annotations

from pathlib import Path

import click

from emo_edge.benchmarks.studies import gguf_types, int8
from emo_edge.console.commands import EdgeCommand


@click.command(cls=EdgeCommand)
@click.argument("checkpoint", type=click.Path(path_type=Path), required=False)
@click.option("--held-out", default=1000, show_default=True, type=click.IntRange(1), help="Drawings to measure on.")
@click.option("--json", "folder", type=click.Path(path_type=Path), help="Write quantization.json and int8.json there.")
@click.pass_context
def main(context: click.Context, checkpoint: Path | None, held_out: int, folder: Path | None) -> None:
    """Measure the cost of compressing CHECKPOINT (the packaged emo-tiny by default) on held-out drawings."""
    for command, name in ((gguf_types.main, "quantization.json"), (int8.main, "int8.json")):
        json_path = folder / name if folder else None
        context.invoke(command, checkpoint=checkpoint, held_out=held_out, json_path=json_path)
        click.echo()


if __name__ == "__main__":
    main()
