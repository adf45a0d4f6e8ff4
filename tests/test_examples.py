"""Each script of examples/ runs as its first line says, and imports nothing but the public API."""

from __future__ import annotations

import ast
import csv
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from emo_edge.benchmarks.synthetic.generator import render_clip
from emo_edge.errors import InputError

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
PICTURE = ROOT / "emo_edge" / "samples" / "078-happiness.jpg"


def run(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run an example as a user does, with the installed command on the path."""
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": binaries, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def output(script: str, *arguments: str | Path) -> str:
    done = run(script, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_is_a_test_for_each() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {"image", "folder_to_csv", "video", "own_labels", "own_bundle"}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_uses_the_public_api_alone(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported - sys.stdlib_module_names <= {"emo_edge"}
    assert f"python examples/{path.name}" in str(ast.get_docstring(tree)), "how to start it"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40


def test_an_image(tiny_bundle: Path) -> None:
    shown = output("image.py", tiny_bundle, PICTURE)
    assert ": happiness\n" in shown and "head pose in degrees" in shown and "The person" in shown


def test_a_folder(tiny_bundle: Path, tmp_path: Path) -> None:
    folder, table = tmp_path / "pictures", tmp_path / "faces.csv"
    folder.mkdir()
    for name in ("078-happiness.jpg", "101-surprise.jpg"):
        (folder / name).symlink_to(PICTURE.with_name(name))
    (folder / "broken.jpg").write_bytes(b"no picture")
    done = run("folder_to_csv.py", tiny_bundle, folder, table)
    assert done.returncode == 0, done.stderr
    assert "broken.jpg" in done.stderr, "one broken picture is a message, and the others are read"
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["happiness", "surprise", ""]
    assert rows[-1]["error"]
    assert sum(float(value) for name, value in rows[0].items() if name.startswith("p_")) == pytest.approx(1, abs=1e-3)


def test_a_video(tiny_bundle: Path, tmp_path: Path) -> None:
    video = tmp_path / "clip.mp4"
    clip = render_clip(0, 16, size=160, frame_indices=list(range(0, 90, 2)))
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 15.0, (160, 160))
    for frame in clip.frames:
        writer.write(frame.image[..., ::-1])
    writer.release()
    labels = [line.split()[2] for line in output("video.py", tiny_bundle, video).splitlines()]
    assert len(labels) == 6 and clip.expression == "happiness" and "happiness" in labels
    assert run("video.py", tiny_bundle, tmp_path / "nothing.mp4").returncode == 1


def test_own_labels(tiny_bundle: Path) -> None:
    shown = output("own_labels.py", tiny_bundle, PICTURE, "joy", "fear", "rage")
    assert {line.split()[0] for line in shown.splitlines()} == {"joy", "fear", "rage"}
    alone = run("own_labels.py", tiny_bundle, PICTURE, "joy")
    assert alone.returncode == 1 and "two or more different labels" in alone.stderr


def test_own_bundle(plain_checkpoint: Path, tmp_path: Path) -> None:
    options = ("--vision", "fp32", "--language", "f16", "--limit", "1")
    target = tmp_path / "own.bundle"
    shown = output("own_bundle.py", plain_checkpoint, target, PICTURE, *options)
    assert "exact: f16, 100.0% of the labels as in full precision" in shown
    assert (target / "manifest.json").is_file()
    assert output("own_bundle.py", "not needed", target, PICTURE) in shown, "it is exported once"


def test_the_pictures_of_the_documentation_can_be_made_again(tmp_path: Path) -> None:
    make = [sys.executable, str(ROOT / "docs" / "images" / "make.py")]
    group, fitted = tmp_path / "group.png", tmp_path / "fitted.jpg"
    subprocess.run([*make, "group", str(group), "150-surprise", "078-happiness", "121-sadness"], check=True)
    subprocess.run([*make, "fit", str(group), str(fitted), "--width", "336"], check=True)
    assert cv2.imread(str(group)).shape == (224, 672, 3)
    assert cv2.imread(str(fitted)).shape == (112, 336, 3)


def test_an_error_of_the_library_is_a_public_one() -> None:
    import emo_edge

    assert emo_edge.InputError is InputError
