"""PURE: ten people in six set-ups, frames as PNG files, with the wave of a finger's oximeter.

Source: Stricker, Müller and Gross, "Non-contact video-based pulse rate measurement on a mobile service robot" (RO-MAN
2014). Folders and keys of the JSON file as rPPG-Toolbox's PURELoader reads them; the names of frames are their time in
nanoseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from emo_edge.benchmarks.datasets.layout import first_there
from emo_edge.benchmarks.datasets.pulse.recordings import PulseDataset, PulseRecording, Wave, ascending
from emo_edge.errors import CheckpointError, InputError
from emo_edge.media.images import read_image
from emo_edge.media.videos import TimedFrame
from emo_edge.utils.files import read_json

LAYOUT = """  01-01/01-01/Image1392643993642815000.png
  01-01/01-01.json              /FullPackage[] with Timestamp and Value.waveform"""
NANOSECONDS = 1_000_000_000
_SESSION, _FRAME = re.compile(r"(?P<subject>\d\d)-\d\d"), re.compile(r"Image(\d{10,19})\.png")


def pure(root: Path) -> PulseDataset:
    """Open the recordings of a copy; raise InputError for another layout."""
    folders = sorted(path for path in root.iterdir() if path.is_dir() and _SESSION.fullmatch(path.name))
    if not folders:
        raise InputError(f"{root}: no folder of a recording. Expected:\n{LAYOUT}")
    recordings = tuple(_recording(folder) for folder in folders)
    return PulseDataset("pure", recordings, False, "the highest peak of the oximeter's wave in each window")


def _recording(folder: Path) -> PulseRecording:
    pictures = first_there(folder, (folder.name,), LAYOUT)
    paths = sorted((int(match[1]), path) for path in pictures.iterdir() if (match := _FRAME.fullmatch(path.name)))
    if not paths:
        raise InputError(f"{pictures}: no frame. Expected:\n{LAYOUT}")
    wave = _wave(first_there(folder, (f"{folder.name}.json",), LAYOUT), paths[0][0])
    subject = folder.name.partition("-")[0]
    return PulseRecording(folder.name, subject, partial(_frames, paths), wave.bpm)


def _frames(paths: list[tuple[int, Path]]) -> Iterator[TimedFrame]:
    first = paths[0][0]
    for index, (stamp, path) in enumerate(paths):
        seconds = (stamp - first) / NANOSECONDS
        yield TimedFrame(read_image(path), index, seconds, 0, seconds)


def _wave(path: Path, first: int) -> Wave:
    """Read the wave, its times since the frame with the stamp ``first``."""
    try:
        document = read_json(path, "copy the recording again")
        stamps, values = zip(*(_sample(package) for package in document["/FullPackage"]), strict=True)
    except CheckpointError as error:
        raise InputError(str(error)) from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: /FullPackage is a list of Timestamp and Value.waveform, and is not here") from error
    return ascending(np.array([(stamp - first) / NANOSECONDS for stamp in stamps]), np.array(values, np.float64))


def _sample(package: Any) -> tuple[int, float]:
    return int(package["Timestamp"]), float(package["Value"]["waveform"])
