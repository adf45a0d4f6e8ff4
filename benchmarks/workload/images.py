"""The pictures that latency is measured on: files, because decoding one is part of what a user waits for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emo_edge.benchmarks.datasets.items import Frame, Pictures
from emo_edge.benchmarks.workload.samples import BenchSample, BenchSamples, spread
from emo_edge.media.crops import Box
from emo_edge.media.images import read_image, write_image

SHOTS = 8
"""Different pictures in turn: an engine that is shown one again may keep what it knows of it."""


@dataclass(frozen=True)
class LatencyImage:
    """A picture file and the face in it."""

    path: Path
    box: Box | None

    def frame(self) -> Frame:
        """Decode the file."""
        return Frame(read_image(self.path), self.box)


def open_shots(samples: BenchSamples, folder: Path) -> tuple[list[LatencyImage], str]:
    """Choose `SHOTS` samples, evenly, and say what their files are.

    Files of the data set are taken as they are. What has none (drawings) or is a clip is written to ``folder`` as PNG,
    of a clip its middle frame. There are at least two: a single sample is shown mirrored, too.
    """
    chosen = spread(samples.samples, SHOTS)
    files = [_file(sample) for sample in chosen]
    if all(files) and len(files) > 1:
        return [
            LatencyImage(path, sample.boxes[0]) for path, sample in zip(files, chosen, strict=True) if path
        ], "own files"
    shots = [_written(sample.frames(), folder / f"{number}.png") for number, sample in enumerate(chosen)]
    if len(shots) == 1:
        image, box = shots[0].frame()
        width, path = image.shape[1], folder / "mirrored.png"
        write_image(path, image[:, ::-1].copy())
        shots.append(LatencyImage(path, (width - box[2], box[1], width - box[0], box[3]) if box else None))
    return shots, "written as PNG"


def shot_clip(samples: BenchSamples, shots: Sequence[LatencyImage], count: int) -> tuple[list[Frame], str | None]:
    """Return ``count`` frames that are read as one clip, and a note if they are no clip of the data set."""
    if samples.clips:
        return samples.samples[0].frames(), None
    frames = [shots[place % len(shots)].frame() for place in range(count)]
    return frames, f"the clip is {count} pictures one after the other: its time counts, not what is read"


def _file(sample: BenchSample) -> Path | None:
    media = sample.item.media
    return media.root / sample.item.place if isinstance(media, Pictures) else None


def _written(frames: Sequence[Frame], path: Path) -> LatencyImage:
    image, box = frames[len(frames) // 2]
    write_image(path, image)
    return LatencyImage(path, box)
