"""A drawn clip with a known pulse as a video: ``python -m emo_edge.benchmarks.synthetic.pulse.write_clip FILE.mp4``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from emo_edge.benchmarks.synthetic.pulse.clips import render_pulse_clip
from emo_edge.benchmarks.synthetic.pulse.nuisances import CLEAN, HARD
from emo_edge.benchmarks.synthetic.pulse.recompression import encoded
from emo_edge.console.commands import EdgeCommand
from emo_edge.utils.files import replaced_file

CRF = 6
"""Of H.264: at 18, as many videos have it, the compression hides the pulse of some faces."""


@click.command(cls=EdgeCommand)
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Set of clips.")
@click.option("--index", default=0, show_default=True, type=click.IntRange(0), help="Clip of the set.")
@click.option("--size", default=256, show_default=True, type=click.IntRange(32), help="Side in pixels, even.")
@click.option("--seconds", default=12.0, show_default=True, type=click.FloatRange(1), help="Length.")
@click.option("--hard", is_flag=True, help="With flicker, drifting gains, talking, moving and noise.")
@click.option("--no-pulse", is_flag=True, help="The same face without a pulse.")
@click.option("--crf", default=CRF, show_default=True, type=click.IntRange(0, 51), help="H.264's loss; 0 has none.")
def main(target: Path, seed: int, index: int, size: int, seconds: float, hard: bool, no_pulse: bool, crf: int) -> None:
    """Draw a face with a pulse, write it as H.264 and print its true rate."""
    nuisances = replace(HARD if hard else CLEAN, crf=None, jitter_s=0.0, lost_frames=0.0)
    clip = render_pulse_clip(seed, index, pulse=not no_pulse, nuisances=nuisances, size=size, seconds=seconds)
    with replaced_file(target) as partial:
        partial.write_bytes(encoded(clip.frames, crf))
    click.echo(f"{target}: {'no pulse' if clip.bpm is None else f'{clip.bpm:.2f} BPM'}, synthetic")


if __name__ == "__main__":
    main()
