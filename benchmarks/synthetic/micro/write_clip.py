"""A drawn micro-expression as a video: ``python -m emo_edge.benchmarks.synthetic.micro.write_clip FILE.mp4``."""

from __future__ import annotations

from pathlib import Path

import click

from emo_edge.benchmarks.synthetic.micro.clips import FRAMES_PER_SECOND, SECONDS, render_micro_clip
from emo_edge.benchmarks.synthetic.pulse.recompression import encoded
from emo_edge.console.commands import EdgeCommand
from emo_edge.utils.files import replaced_file


@click.command(cls=EdgeCommand)
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Set of clips.")
@click.option("--index", default=0, show_default=True, type=click.IntRange(0), help="Clip of the set.")
@click.option("--size", default=224, show_default=True, type=click.IntRange(32), help="Side in pixels, even.")
@click.option("--fps", default=FRAMES_PER_SECOND, show_default=True, type=click.FloatRange(10), help="Frames a second.")
@click.option("--seconds", default=SECONDS, show_default=True, type=click.FloatRange(1), help="Length.")
@click.option("--still", is_flag=True, help="The same face without the movement.")
@click.option("--crf", default=12, show_default=True, type=click.IntRange(0, 51), help="H.264's loss; 0 has none.")
def main(target: Path, seed: int, index: int, size: int, fps: float, seconds: float, still: bool, crf: int) -> None:
    """Draw a face with a micro-expression, write it as H.264 and print its frames, counted from 0."""
    clip = render_micro_clip(seed, index, size=size, fps=fps, seconds=seconds, moves=not still)
    with replaced_file(target) as partial:
        partial.write_bytes(encoded([frame.image for frame in clip.frames], crf, fps))
    one = clip.movement
    what = "no movement"
    if one is not None:
        what = f"{one.expression}, onset {one.onset}, apex {one.apex}, offset {one.offset}, peak {one.peak:.2f}"
    click.echo(f"{target}: {what}, synthetic")


if __name__ == "__main__":
    main()
