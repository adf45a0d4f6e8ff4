"""Pictures that latency is measured on: files, because a user waits for their decoding, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emo_edge.benchmarks.datasets.items import Frame, Pictures
from emo_edge.benchmarks.workload.sample_table import BenchSample
from emo_edge.benchmarks.workload.samples import BenchSamples, spread
from emo_edge.media.crops import Box
from emo_edge.media.images import read_image, write_image

LATENCY_IMAGES = 8
"""Number of different pictures: an engine may reuse its work on a picture that comes twice in a row."""


@dataclass(frozen=True)
class LatencyImage:
    """A picture file and the face in it."""

    path: Path
    box: Box | None

    def frame(self) -> Frame:
        """Decode the file."""
        return Frame(read_image(self.path), self.box)


def open_latency_images(samples: BenchSamples, folder: Path) -> tuple[list[LatencyImage], str]:
    """Choose `SHOTS` samples, evenly, and return their files with a word on their origin.

    Files of the data set are used as they are. Drawings, which have none, and middle frames of clips are written to
    ``folder`` as PNG. There are at least two: a single sample is mirrored for the second.
    """
    chosen = spread(samples.samples, LATENCY_IMAGES)
    files = [_file(sample) for sample in chosen]
    if all(files) and len(files) > 1:
        return [
            LatencyImage(path, sample.boxes[0]) for path, sample in zip(files, chosen, strict=True) if path
        ], "own files"
    images = [_written(sample.frames(), folder / f"{number}.png") for number, sample in enumerate(chosen)]
    if len(images) == 1:
        image, box = images[0].frame()
        width, path = image.shape[1], folder / "mirrored.png"
        write_image(path, image[:, ::-1].copy())
        images.append(LatencyImage(path, (width - box[2], box[1], width - box[0], box[3]) if box else None))
    return images, "written as PNG"


def latency_clip(samples: BenchSamples, images: Sequence[LatencyImage], count: int) -> tuple[list[Frame], str | None]:
    """Return ``count`` frames that are read as one clip, and a note if they are no clip of the data set."""
    if samples.clips:
        return samples.samples[0].frames(), None
    frames = [images[index % len(images)].frame() for index in range(count)]
    return frames, f"the clip is {count} pictures one after the other: its time counts, not what is read"


def _file(sample: BenchSample) -> Path | None:
    media = sample.item.media
    return media.root / sample.item.location if isinstance(media, Pictures) else None


def _written(frames: Sequence[Frame], path: Path) -> LatencyImage:
    image, box = frames[len(frames) // 2]
    write_image(path, image)
    return LatencyImage(path, box)
