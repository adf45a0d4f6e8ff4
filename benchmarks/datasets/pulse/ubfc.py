"""UBFC-rPPG, data set 2: 42 people in front of a web camera, with the wave of a finger's oximeter.

Source: Bobbia et al., "Unsupervised skin tissue segmentation for remote photoplethysmography" (Pattern Recognition
Letters 2017), https://sites.google.com/view/ybenezeth/ubfcrppg. The lines of ground_truth.txt as in the authors'
UBFC_DATASET.m: wave, heart rate, times in seconds. The rate is taken from the wave, as rPPG-Toolbox does.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from emo_edge.benchmarks.datasets.items import natural_order
from emo_edge.benchmarks.datasets.layout import first_there, unreadable
from emo_edge.benchmarks.datasets.pulse.recordings import PulseDataset, PulseRecording, Wave, ascending
from emo_edge.errors import InputError
from emo_edge.media.videos import sampled_frames

LINES = ("wave", "heart rate", "times in seconds")
LAYOUT = """  subject1/vid.avi
  subject1/ground_truth.txt     three lines: wave, heart rate, times in seconds   (as in DATASET_2)"""


def ubfc_rppg(root: Path) -> PulseDataset:
    """Open the videos of all people of a copy; raise InputError for another layout."""
    home = root / "DATASET_2" if (root / "DATASET_2").is_dir() else root
    folders = sorted((path for path in home.glob("subject*") if path.is_dir()), key=natural_order)
    if not folders:
        raise InputError(f"{home}: no folder of a person. Expected:\n{LAYOUT}")
    recordings = tuple(_recording(folder) for folder in folders)
    return PulseDataset("ubfc-rppg", recordings, False, "the highest peak of the oximeter's wave in each window")


def _recording(folder: Path) -> PulseRecording:
    video, wave = first_there(folder, ("vid.avi",), LAYOUT), _wave(first_there(folder, ("ground_truth.txt",), LAYOUT))
    return PulseRecording(folder.name, folder.name, partial(sampled_frames, video), wave.bpm)


def _wave(path: Path) -> Wave:
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        rows = [np.array(line, np.float64) for line in lines]
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    sizes = {len(row) for row in rows}
    if len(rows) != len(LINES) or len(sizes) != 1:
        held = " and ".join(str(len(row)) for row in rows) or "no"
        raise InputError(f"{path}: lines of {held} numbers; {', '.join(LINES)} in as many each are expected")
    return ascending(rows[2], rows[0])
