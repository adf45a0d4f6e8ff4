"""Draw the samples that ship with the package.

``python -m emo_edge.benchmarks.emo_tiny.write_samples emo_edge/samples``
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from emo_edge.benchmarks.emo_tiny.data import BASIC
from emo_edge.benchmarks.synthetic.generator import render_face
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import InputError
from emo_edge.utils.native_paths import native_path

SAMPLE_SEED = 904
"""Unlike every seed of training, evaluation and demo."""
COUNT = 210
QUALITY = 92


@click.command(cls=EdgeCommand)
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--count", default=COUNT, show_default=True, type=click.IntRange(1))
def main(directory: Path, count: int) -> None:
    """Write JPEG drawings, the seven basic expressions in rotation, and ``samples.json`` with their exact truth."""
    import cv2

    directory.mkdir(parents=True, exist_ok=True)
    entries = []
    for index in range(count):
        sample = render_face(SAMPLE_SEED, index, expressions=(BASIC[index % len(BASIC)],))
        name = f"{index:03d}-{sample.expression}.jpg"
        pixels = cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR)
        with native_path(directory / name) as path:
            written = cv2.imwrite(path, pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if not written:
            raise InputError(f"{directory / name}: cannot be written; make room or choose another place")
        box = [round(float(value), 1) for value in sample.box]
        entries.append({"file": name, "expression": sample.expression, "box": box})
    about = "drawings by emo_edge.benchmarks.emo_tiny.write_samples, Apache-2.0; no picture shows a person"
    text = json.dumps({"about": about, "seed": SAMPLE_SEED, "samples": entries}, indent=1, allow_nan=False)
    (directory / "samples.json").write_text(text + "\n", encoding="utf-8")
    click.echo(f"{count} drawings written to {directory}")


if __name__ == "__main__":
    main()
