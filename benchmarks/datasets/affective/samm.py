"""SAMM: micro-expressions at 200 frames a second.

Source: Davison et al., "SAMM: A Spontaneous Micro-Facial Movement Dataset" (IEEE TAC 2018), which is given on request.
Sheet, columns and folders from public loaders of the authors' files, which agree; the header stands below a dozen rows
of explanation.
"""

from __future__ import annotations

from pathlib import Path

from emo_edge.benchmarks.datasets.affective.clips import ClipDataset
from emo_edge.benchmarks.datasets.affective.micro_expressions import MicroExpressions

SAMM = MicroExpressions(
    name="samm",
    table="SAMM_Micro_FACS_Codes",
    sheet="MICRO_ONLY",
    columns=("Subject", "Filename", "Onset Frame", "Apex Frame", "Offset Frame", "Estimated Emotion"),
    classes={
        "happiness": "positive",
        "surprise": "surprise",
        **dict.fromkeys(("anger", "contempt", "disgust", "fear", "sadness"), "negative"),
        **dict.fromkeys(("other", "others")),
    },
    pictures=("", "SAMM", "SAMM_CROP"),
    people="[0-9][0-9][0-9]",
    person=lambda subject: subject.zfill(3),
    frames_per_second=200.0,
    layout="""  SAMM_Micro_FACS_Codes_v2.xlsx   sheet MICRO_ONLY: Subject, Filename, Onset Frame, Apex Frame,
                                  Offset Frame, Estimated Emotion
                                  (or that sheet exported to SAMM_Micro_FACS_Codes_v2.csv)
  006/006_1_2/006_05562.jpg       or all of it below SAMM/""",
)


def samm(root: Path) -> ClipDataset:
    """Open a copy in the three classes; those of "other" are in none."""
    return SAMM.opened(root)
