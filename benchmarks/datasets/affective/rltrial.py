"""Real-Life Trial: 121 clips of court rooms, 61 labelled deceptive and 60 truthful by the verdicts.

Source: Pérez-Rosas et al., "Deception Detection using Real-life Trial Data" (ICMI 2015). Folders and names from public
loaders of the authors' files, which agree. Several clips are of one person: without a list of who speaks, figures count
clips. No facial sign of lying is known; a figure on this data set is no evidence that there is one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from emo_edge.benchmarks.datasets.affective.clips import ClipDataset, LabelledClip, LeftOut, collected
from emo_edge.benchmarks.datasets.layout import csv_rows, first_there
from emo_edge.errors import InputError

LABELS = ("deceptive", "truthful")
FOLDERS = {"Deceptive": ("lie", "deceptive"), "Truthful": ("truth", "truthful")}
COUNTS = {"deceptive": 61, "truthful": 60}
SPEAKERS = "speakers.csv"
LAYOUT = f"""  Clips/Deceptive/trial_lie_001.mp4
  Clips/Truthful/trial_truth_001.mp4
  {SPEAKERS}      clip,speaker: your own list, may be missing"""
NOTES = ("no facial sign of lying is known: a figure here is no evidence that there is one",)
_NAME = re.compile(r"trial_(?P<kind>lie|truth)_\d{3}\.mp4")


def rltrial(root: Path) -> ClipDataset:
    """Find the clips, whose folder is their label, and who speaks in them if there is a list.

    Raises InputError for another layout, a clip in the folder of the other label, and a clip that the list lacks.
    """
    home = first_there(root, ("Clips", "Real-life_Deception_Detection_2016/Clips"), LAYOUT)
    speakers = _speakers(root / SPEAKERS) if (root / SPEAKERS).exists() else None
    clips = [
        LabelledClip(path.stem, _speaker(path.stem, speakers), label, path)
        for folder, (kind, label) in FOLDERS.items()
        for path in _files(first_there(home, (folder,), LAYOUT), kind)
    ]
    counts = Counter(clip.label for clip in clips)
    notes = [*NOTES]
    if speakers is None:
        notes.append(f"no {SPEAKERS}: intervals are over clips, and too narrow, for one person speaks in several")
    for label, count in COUNTS.items():
        if counts[label] != count:
            notes.append(f"{counts[label]} clips are {label}, the data set has {count}")
    return collected("rltrial", LABELS, clips, LeftOut(), notes)


def _files(folder: Path, kind: str) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
    strange = [path.name for path in paths if f"_{kind}_" not in path.name]
    if strange:
        raise InputError(f"{folder}: {', '.join(strange[:5])} belong to the other label: copy the folder again")
    return paths


def _speakers(path: Path) -> Mapping[str, str]:
    return {clip.removesuffix(".mp4"): speaker for _, (clip, speaker) in csv_rows(path, ("clip", "speaker"))}


def _speaker(clip: str, speakers: Mapping[str, str] | None) -> str:
    if speakers is None:
        return clip
    if not speakers.get(clip):
        raise InputError(f"{SPEAKERS} does not say who speaks in {clip}")
    return speakers[clip]
