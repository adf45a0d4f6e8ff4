"""Small trees of the layouts of CASME II, SAMM, iMiGUE and Real-Life Trial."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

CASME2 = [
    ["01", "EP02_01f", "", 46, 59, 86, "", "4+L10", "happiness"],
    ["01", "EP03_02", "", 131, 161, 181, "", "12", "others"],
    ["02", "EP01_11f", "", 46, "/", 96, "", "4", "disgust"],
    ["17", "EP05_09", "", 91, 113, 161, "", "1+2", "surprise"],
    ["17", "EP05_10", "", 10, 12, 20, "", "4", "repression"],
]
CASME2_HEADER = [
    "Subject",
    "Filename",
    "",
    "OnsetFrame",
    "ApexFrame",
    "OffsetFrame",
    "",
    "Action Units",
    "Estimated Emotion",
]
SAMM = [
    [6, "006_1_2", 4, 5562, 5588, 5632, 71, "Micro - 1/2", "4+7", "Anger"],
    [6, "006_2_1", 4, 100, 110, 130, 31, "Micro - 1/2", "12", "Happiness"],
    [11, "011_3_1", 4, 20, 30, 40, 21, "Micro - 1/2", "14", "Other"],
]
SAMM_HEADER = [
    *("Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame"),
    *("Duration", "Micro", "Action Units", "Estimated Emotion"),
]


def csv_text(rows: Sequence[Sequence[Any]]) -> str:
    return "\n".join(",".join(f'"{cell}"' if "," in str(cell) else str(cell) for cell in row) for row in rows) + "\n"


def written_casme2(root: Path, rows: Sequence[Sequence[Any]] = CASME2, below: str = "") -> Path:
    root.mkdir(exist_ok=True)
    for row in rows:
        folder = root / below / f"sub{row[0]}" / str(row[1])
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"img{row[3]}.jpg"), np.zeros((4, 4, 3), np.uint8))
    (root / "CASME2-coding-20140508.csv").write_text(csv_text([CASME2_HEADER, *rows]))
    return root


def written_samm(root: Path, rows: Sequence[Sequence[Any]] = SAMM) -> Path:
    """Write the sheet as it comes: an .xlsx file whose header stands below an explanation, next to another sheet."""
    import openpyxl

    root.mkdir(exist_ok=True)
    for row in rows:
        (root / f"{row[0]:03d}" / str(row[1])).mkdir(parents=True)
    book = openpyxl.Workbook()
    book.active.title = "NOTES"
    sheet = book.create_sheet("MICRO_ONLY")
    for number in range(13):
        sheet.append([f"Note {number} about Subject and Filename"])
    for row in (SAMM_HEADER, *rows):
        sheet.append(list(row))
    book.save(root / "SAMM_Micro_FACS_Codes_v2.xlsx")
    return root


def written_imigue(root: Path, rows: Sequence[Sequence[int]], folders: dict[int, str]) -> Path:
    """Write labels of video, subject, class, start and end, and an empty file for each video in its folder."""
    (root / "Label").mkdir(parents=True)
    header = ["video_id", "subject_id", "class", "start_frame", "end_frame", "win_or_lose"]
    (root / "Label/labels_20200831.csv").write_text(csv_text([header, *([*row, "Win"] for row in rows)]))
    for video, folder in folders.items():
        (root / folder / f"{video:04d}").mkdir(parents=True)
        (root / folder / f"{video:04d}" / f"{video:04d}.mp4").touch()
    return root


def written_trial(root: Path, lies: int = 2, truths: int = 2) -> Path:
    for folder, kind, count in (("Deceptive", "lie", lies), ("Truthful", "truth", truths)):
        (root / "Clips" / folder).mkdir(parents=True)
        for number in range(1, count + 1):
            (root / "Clips" / folder / f"trial_{kind}_{number:03d}.mp4").touch()
    return root
