"""Write drawings with instruction pairs as files.

``python -m emo_edge.benchmarks.emo_tiny.write_instructions --out DIR`` writes
``DIR/images/*.png`` and ``DIR/instructions.jsonl`` in LLaVA's conversation form, one line a pair, with the exact truth.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from emo_edge.benchmarks.emo_tiny.data import visible_cues
from emo_edge.benchmarks.emo_tiny.instructions import Instruction, category_instruction, conversation_instruction
from emo_edge.benchmarks.synthetic.generator import FaceSample, render_face
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import InputError
from emo_edge.taxonomy import ACTION_UNITS, AGE_BINS, GENDERS, RACES
from emo_edge.utils.native_paths import native_path


def instruction_pairs(sample: FaceSample, rng: random.Random) -> Iterator[Instruction]:
    """Yield a category pair and a conversation pair about one drawing."""
    cues = [unit for unit, visible in zip(ACTION_UNITS, visible_cues(sample), strict=True) if visible]
    yield category_instruction(sample.expression, rng)
    yield conversation_instruction(sample.expression, cues, rng)


def record(sample: FaceSample, pair: Instruction, image: str) -> dict[str, Any]:
    """Return one line of the file: the conversation, then what was drawn (box in pixels x0, y0, x1, y1)."""
    return {
        "image": image,
        "conversations": [
            {"from": "human", "value": f"<image>\n{pair.question}"},
            {"from": "gpt", "value": pair.answer},
        ],
        "expression": sample.expression,
        "action_units": {str(u): round(float(v), 3) for u, v in zip(ACTION_UNITS, sample.action_units, strict=True)},
        "box": [round(float(value), 2) for value in sample.box],
        "drawn_as": {"age": AGE_BINS[sample.age], "gender": GENDERS[sample.gender], "race": RACES[sample.race]},
    }


@click.command(cls=EdgeCommand)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new or empty folder.")
@click.option("--count", type=click.IntRange(1), default=64, show_default=True, help="Drawings; two pairs each.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Set of samples.")
@click.option("--size", type=click.IntRange(32), default=224, show_default=True, help="Side of a drawing in pixels.")
def main(out: Path, count: int, seed: int, size: int) -> None:
    """Write drawings and instruction pairs to a folder."""
    import cv2

    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out}: not empty; give a new folder")
    (out / "images").mkdir(parents=True)
    with (out / "instructions.jsonl").open("w", encoding="utf-8") as stream:
        for index in range(count):
            sample = render_face(seed, index, size=size)
            name = f"images/{index:06d}.png"
            with native_path(out / name) as path:
                cv2.imwrite(path, sample.image[..., ::-1])
            for pair in instruction_pairs(sample, random.Random(f"{seed}-{index}")):
                stream.write(json.dumps(record(sample, pair, name), allow_nan=False) + "\n")
    click.echo(f"{count} drawings and {2 * count} pairs in {out}")


if __name__ == "__main__":
    main()
