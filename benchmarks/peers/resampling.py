"""Resizing as PIL's beside PIL itself and OpenCV, one size after the other: time, spread, difference in levels.

``python -m emo_edge.benchmarks.peers.resampling``: the ways take turns within a round, so that a machine that drifts or
has other work slows each of them alike, and their ratio is taken within rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from emo_edge.console.commands import EdgeCommand
from emo_edge.console.terminal import echo
from emo_edge.errors import MissingExtraError
from emo_edge.machine.summary import describe_machine
from emo_edge.media.crops import Image
from emo_edge.media.resampling import pil_resized
from emo_edge.utils.files import write_json
from emo_edge.utils.opencv import open_cv2

SIZES = ((640, 480, 224), (1280, 720, 224), (1920, 1080, 336), (160, 160, 224))
"""Width and height of a picture, and the side that it is resized to."""
OURS, PIL = "emo-edge", "PIL"
WARM_UP = 3


@dataclass(frozen=True)
class Row:
    """One way of resizing at one size; times in milliseconds."""

    picture: str
    side: int
    way: str
    p50: float
    p10: float
    p90: float
    ratio: float
    """Median over the rounds of its time by PIL's."""
    levels: int
    """Largest difference from PIL's values."""


def measured(width: int, height: int, side: int, rounds: int) -> list[Row]:
    """Resize one picture in every way, once a round."""
    picture = _picture(width, height)
    ways = _ways(side)
    expected = ways[PIL](picture).astype(np.int16)
    times: Mapping[str, list[float]] = {name: [] for name in ways}
    for number in range(WARM_UP + rounds):
        for name, resize in ways.items():
            started = time.perf_counter()
            resize(picture)
            if number >= WARM_UP:
                times[name].append(1000 * (time.perf_counter() - started))
    rows = []
    for name, resize in ways.items():
        p10, p50, p90 = np.percentile(times[name], [10, 50, 90]).tolist()
        ratio = float(np.median(np.divide(times[name], times[PIL])))
        levels = int(np.abs(resize(picture) - expected).max())
        rows.append(Row(f"{width}x{height}", side, name, p50, p10, p90, ratio, levels))
    return rows


def table(rows: Sequence[Row]) -> str:
    """Write the rows as Markdown."""
    lines = [
        "| picture | side | way | ms p50 (p10–p90) | of PIL's time | largest difference from PIL |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        spread = f"{row.p50:.2f} ({row.p10:.2f}–{row.p90:.2f})"
        levels = "none" if row.levels == 0 else f"{row.levels} {'level' if row.levels == 1 else 'levels'}"
        lines.append(f"| {row.picture} | {row.side} | {row.way} | {spread} | {row.ratio:.2f} | {levels} |")
    return "\n".join(lines)


def _picture(width: int, height: int) -> Image:
    """Draw shades with edges: values that the kernel overshoots, and others."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    picture = np.repeat(np.repeat(coarse, 8, 0), 8, 1)[:height, :width]
    return np.ascontiguousarray(picture ^ rng.integers(0, 16, picture.shape, np.uint8))


def _ways(side: int) -> dict[str, Callable[[Image], Any]]:
    """Return each way from an array to an array."""
    try:
        from PIL import Image as pil
    except ImportError as error:
        raise MissingExtraError("Pillow is not installed. Run: pip install pillow") from error
    cv2 = open_cv2()

    def of_pil(picture: Image) -> Any:
        return np.asarray(pil.fromarray(picture).resize((side, side), pil.Resampling.BICUBIC))

    return {
        OURS: partial(pil_resized, width=side, height=side, kernel="bicubic"),
        PIL: of_pil,
        "OpenCV, area": lambda picture: cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA),
    }


@click.command(cls=EdgeCommand)
@click.option("--rounds", default=200, show_default=True, type=click.IntRange(1), help="Number of rounds of each size.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="File that gets every figure, as JSON.")
def main(rounds: int, target: Path | None) -> None:
    """Measure bicubic resizing beside PIL and OpenCV, on one thread of PIL, and whatever threads the others take."""
    rows = [row for size in SIZES for row in measured(*size, rounds)]
    if target:
        write_json(target, [asdict(row) for row in rows])
    echo(table(rows))
    echo(f"\n{describe_machine()}; {rounds} rounds, the ways in turns, each from array to array")


if __name__ == "__main__":
    main()
