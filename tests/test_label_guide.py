"""The guide of ``emo-edge label`` from a folder to a query and a plot, run as it is printed."""

from __future__ import annotations

import csv
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from emo_edge.assets.packaged import SAMPLES
from emo_edge.benchmarks.synthetic.generator import render_clip
from emo_edge.benchmarks.synthetic.pulse.recompression import encoded
from tests.shown_commands import ROOT, shell_lines

GUIDE = (ROOT / "docs" / "guides" / "label.md").read_text(encoding="utf-8")
CODE = "import sys; from emo_edge.cli import main; sys.argv[0] = 'emo-edge'; main()"
DRAWINGS = 20
FPS = 8.0
"""Of a film of 12 s, so that the plot has several steps."""


def code_blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_a_folder_becomes_a_query_and_a_plot(
    label_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    Path("pictures").mkdir()
    for path in sorted(SAMPLES.glob("*.jpg"))[:DRAWINGS]:
        shutil.copy(path, "pictures")
    Path("pictures", "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    faces = [face.image for index in range(2) for face in render_clip(0, index, num_frames=48).frames]
    Path("film.mp4").write_bytes(encoded(faces, 12, FPS))
    commands = [
        line
        for line in shell_lines(GUIDE)
        if line.startswith(("emo-edge label emo-tiny pictures", "emo-edge label emo-tiny film"))
    ]
    assert len(commands) == 2
    for line in commands:
        run("-c", CODE, *[str(label_bundle) if word == "emo-tiny" else word for word in shlex.split(line)[1:]])
    query, plot = code_blocks()[:2]
    shown = run("-c", query)
    assert "faces" in shown and "broken.jpg" in shown
    with open("rows.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len({row["source"] for row in rows}) == DRAWINGS + 1
    run("-c", plot)
    image = cv2.imread("shares.png")
    assert image is not None and len({tuple(pixel) for pixel in image.reshape(-1, 3).tolist()}) > 10, "areas in colours"
