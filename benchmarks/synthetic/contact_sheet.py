"""Look at the synthetic faces: a labelled contact sheet, a clip's strip, and the renderer's speed."""

import time
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.synthetic.generator import CLIP_FRAMES, render_clip, render_face
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import InputError
from emo_edge.utils.native_paths import native_path

_BAR = 22


def _caption(tile: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    import cv2

    bar = np.full((_BAR, tile.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, text, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.48, (20, 20, 20), 1, cv2.LINE_AA)
    return np.concatenate([tile, bar])


def contact_sheet(seed: int, rows: int = 8, columns: int = 8, size: int = 192) -> NDArray[np.uint8]:
    """Tile samples 0..rows*columns-1 of a seed, the expression under each: RGB [rows*(size+22),columns*size,3]."""
    samples = [render_face(seed, index, size=size) for index in range(rows * columns)]
    tiles = [_caption(sample.image, sample.expression) for sample in samples]
    return np.concatenate([np.concatenate(tiles[r * columns : (r + 1) * columns], axis=1) for r in range(rows)])


def clip_strip(seed: int, index: int = 0, count: int = 8, size: int = 192) -> NDArray[np.uint8]:
    """Tile `count` frames of a clip with their times: RGB [size+22,count*size,3]."""
    picks = np.linspace(2, CLIP_FRAMES - 3, count).round().astype(int).tolist()
    clip = render_clip(seed, index, size=size, frame_indices=picks)
    labels = [f"{clip.expression} {k / clip.fps:.1f} s" for k in picks]
    return np.concatenate([_caption(f.image, label) for f, label in zip(clip.frames, labels, strict=True)], axis=1)


def frames_per_second(count: int, size: int = 224) -> float:
    """Measure samples rendered per second on one core."""
    import cv2

    cv2.setNumThreads(1)
    render_face(0, 0, size=size)
    start = time.perf_counter()
    for index in range(count):
        render_face(1, index, size=size)
    return count / (time.perf_counter() - start)


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    import cv2

    try:
        with native_path(path) as name:
            written = cv2.imwrite(name, image[..., ::-1])
    except cv2.error as error:
        raise InputError(f"{path}: pictures are written as .png, .jpg or .webp") from error
    if not written:
        raise InputError(f"{path}: could not be written; does its folder exist?")


@click.command(cls=EdgeCommand)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Picture for the 8 by 8 contact sheet.")
@click.option("--strip", type=click.Path(path_type=Path, dir_okay=False), help="Picture for 8 frames of a clip.")
@click.option("--seed", default=0, show_default=True, help="Set of samples.")
@click.option("--speed", type=click.IntRange(1), help="Time this many samples at 224 pixels.")
def main(out: Path | None, strip: Path | None, seed: int, speed: int | None) -> None:
    """Write contact sheets of the synthetic faces, or time the renderer."""
    if not (out or strip or speed):
        raise click.UsageError("give --out, --strip or --speed")
    if out:
        _write(out, contact_sheet(seed))
    if strip:
        _write(strip, clip_strip(seed))
    if speed:
        click.echo(f"{frames_per_second(speed):.1f} images/s")


if __name__ == "__main__":
    main()
