"""CASME II: micro-expressions at 200 frames a second.

Source: Yan et al., "CASME II: An Improved Spontaneous Micro-Expression Database and the Baseline Evaluation" (PLoS ONE
2014), which is given on request. Columns and folders from public loaders of the authors' files, which agree.
"""

from __future__ import annotations

from pathlib import Path

from emo_edge.benchmarks.datasets.affective.clips import ClipDataset
from emo_edge.benchmarks.datasets.affective.micro_expressions import MicroExpressions

CASME2 = MicroExpressions(
    name="casme2",
    table="CASME2-coding",
    sheet=None,
    columns=("Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Estimated Emotion"),
    classes={
        "happiness": "positive",
        "surprise": "surprise",
        **dict.fromkeys(("disgust", "repression", "fear", "sadness", "anger", "contempt"), "negative"),
        "others": None,
    },
    pictures=("", "Cropped", "CASME2_RAW_selected", "CASME2_RAW_selected/CASME2_RAW_selected", "CASME2-RAW"),
    people="sub[0-9][0-9]",
    person=lambda subject: f"sub{subject.zfill(2)}",
    frames_per_second=200.0,
    layout="""  CASME2-coding-20140508.xlsx   Subject, Filename, OnsetFrame, ApexFrame, OffsetFrame, Estimated Emotion
                                (or its first sheet exported to CASME2-coding-20140508.csv)
  sub01/EP02_01f/img46.jpg      or reg_img46.jpg; or all of it below Cropped/ or CASME2_RAW_selected/""",
)


def casme2(root: Path) -> ClipDataset:
    """Open a copy in the three classes; those of "others" are in none."""
    return CASME2.opened(root)
