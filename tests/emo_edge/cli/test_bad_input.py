"""Bad input as a user gives it to ``emo-edge infer``: one clear error, the right exit code, the rest still read."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from emo_edge.assets.packaged import SAMPLES
from emo_edge.cli.infer import main

FACE = sorted(SAMPLES.glob("*happiness.jpg"))[0]
PNG = b"\x89PNG\r\n\x1a\n"


def infer(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def header(width: int, height: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


def png(*before: bytes) -> bytes:
    return PNG + b"".join(before) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def grey_row(width: int) -> bytes:
    return PNG + header(width, 1) + chunk(b"IDAT", zlib.compress(bytes(width + 1))) + chunk(b"IEND", b"")


BAD = {
    "no-picture.jpg": (b"these are words, no picture " * 9, "no-picture.jpg"),
    "empty.jpg": (b"", "empty (0 bytes)"),
    "cut-off.jpg": (FACE.read_bytes()[:3000], "cut off"),
    "bomb.png": (png(header(30_000, 30_000)), "30000x30000 pixels"),
    "hidden-bomb.png": (png(chunk(b"tEXt", struct.pack(">II", 1, 1)), header(30_000, 30_000)), "IHDR"),
    "long.png": (grey_row(60_000), "too long for a square"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture_costs_only_itself(tiny_bundle: Path, tmp_path: Path, name: str) -> None:
    content, part = BAD[name]
    (tmp_path / name).write_bytes(content)
    done = infer(tiny_bundle, tmp_path / name, FACE, "--whole-image", "--jsonl")
    assert done.exit_code == 4, done.output
    assert done.stderr.count("Error: ") == 1
    assert part in done.stderr and "Traceback" not in done.output
    bad, good = (json.loads(line) for line in done.stdout.splitlines()[1:])
    assert part in bad["error"] and bad["kind"] == "image"
    assert good["error"] is None and len(good["readings"]) == 1


def test_an_animation_is_a_clip_and_no_picture_of_a_folder(tiny_bundle: Path, tmp_path: Path) -> None:
    pixels = zlib.compress(bytes(90))
    first, second = (chunk(b"fcTL", struct.pack(">IIIIIHHBB", at, 9, 9, 0, 0, 1, 10, 0, 0)) for at in (0, 1))
    frames = first + chunk(b"IDAT", pixels) + second + chunk(b"fdAT", struct.pack(">I", 2) + pixels)
    animation = header(9, 9) + chunk(b"acTL", struct.pack(">II", 2, 0)) + frames + chunk(b"IEND", b"")
    (tmp_path / "moving.png").write_bytes(PNG + animation)
    alone = infer(tiny_bundle, tmp_path / "moving.png", "--whole-image", "--jsonl")
    assert alone.exit_code == 0, alone.output
    assert json.loads(alone.stdout.splitlines()[1])["kind"] == "clip"
    inside = infer(tiny_bundle, tmp_path, "--whole-image", "--jsonl")
    assert inside.exit_code == 4
    assert "animated" in inside.stderr


@pytest.mark.parametrize("kind", ["1x1.png", "cmyk.jpg", "alpha.png", "16-bit.png", "grey.bmp", "flat.webp"])
def test_an_unusual_picture_is_read_and_drawn(tiny_bundle: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "cmyk.jpg":
        from PIL import Image

        Image.new("CMYK", (40, 30), (9, 80, 70, 0)).save(path)
    else:
        shape = {"1x1.png": (1, 1, 3), "alpha.png": (30, 40, 4), "grey.bmp": (30, 40), "flat.webp": (2, 300, 3)}
        deep = kind == "16-bit.png"
        pixels = np.full(shape.get(kind, (30, 40, 3)), 40_000 if deep else 150, np.uint16 if deep else np.uint8)
        assert cv2.imwrite(str(path), pixels)
    done = infer(tiny_bundle, path, "--whole-image", "--draw", tmp_path / "drawn.png")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "drawn.png").is_file()


def clip(path: Path, frames: int) -> bytes:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (224, 224))
    for _ in range(frames):
        writer.write(cv2.imread(str(FACE)))
    writer.release()
    return path.read_bytes()


def test_a_video_without_frames(tiny_bundle: Path, tmp_path: Path) -> None:
    content = clip(tmp_path / "clip.avi", 10)
    (tmp_path / "clip.avi").write_bytes(content[: content.index(b"movi") + 4])
    for options in ([], ["--fps", "5"]):
        done = infer(tiny_bundle, tmp_path / "clip.avi", "--whole-image", "--jsonl", *options)
        assert done.exit_code == 4, done.output
        assert done.stderr.count("Error: ") == 1
        assert json.loads(done.stdout.splitlines()[-1])["kind"] == "clip"


def test_a_video_that_breaks_midway_gives_what_is_there(tiny_bundle: Path, tmp_path: Path) -> None:
    path, content = tmp_path / "clip.avi", clip(tmp_path / "clip.avi", 40)
    path.write_bytes(content[: len(content) // 2])
    whole = infer(tiny_bundle, path, "--whole-image", "--frames", "2", "--draw", tmp_path / "drawn.avi")
    assert whole.exit_code == 0, whole.output
    assert "clip of 2 frames" in whole.stdout
    assert 10 < int(cv2.VideoCapture(str(tmp_path / "drawn.avi")).get(cv2.CAP_PROP_FRAME_COUNT)) < 30
    flowing = infer(tiny_bundle, path, "--whole-image", "--frames", "2", "--fps", "30", "--jsonl")
    lines = [json.loads(line) for line in flowing.stdout.splitlines()[1:]]
    assert flowing.exit_code == 4, flowing.output
    assert len(lines) > 5 and not any(line["error"] for line in lines[:-1])
    assert "cut off" in lines[-1]["error"]


def test_a_missing_camera(tiny_bundle: Path) -> None:
    done = infer(tiny_bundle, "97", "--jsonl")
    assert done.exit_code == 6, done.output
    assert "camera 97 cannot be opened" in done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["kind"] == "clip"


def test_more_frames_than_the_context_holds(tiny_bundle: Path, tmp_path: Path) -> None:
    clip(tmp_path / "clip.avi", 4)
    done = infer(tiny_bundle, tmp_path / "clip.avi", "--frames", "3000")
    assert done.exit_code == 4
    assert "3000 frames need 27000 positions" in done.stderr


def test_a_password_is_not_repeated(tiny_bundle: Path) -> None:
    done = infer(tiny_bundle, "rtsp://me:secret@127.0.0.1:9/live", "--jsonl")
    assert done.exit_code == 6
    assert "secret" not in done.output


def test_a_name_that_is_no_utf8(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(FACE.read_bytes())
    code = "from emo_edge.cli.app import main; main()"
    command = [sys.executable, "-c", code, "infer", str(tiny_bundle), str(tmp_path), "--whole-image"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "caf\\xe9.jpg'" in done.stdout.decode(), "as a shell takes it"


def test_two_names_that_are_no_utf8_stay_two(tiny_bundle: Path, tmp_path: Path) -> None:
    pictures, drawn = tmp_path / "pictures", tmp_path / "drawn"
    pictures.mkdir()
    for name in (b"caf\xe8.jpg", b"caf\xe9.jpg"):
        (pictures / os.fsdecode(name)).write_bytes(FACE.read_bytes())
    code = "from emo_edge.cli.app import main; main()"
    options = ["--whole-image", "--csv", "--draw", str(drawn)]
    command = [sys.executable, "-c", code, "infer", str(tiny_bundle), str(pictures), *options]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    for letter in ("e8", "e9"):
        assert f"caf\\x{letter}.jpg'," in done.stdout.decode()
        assert f"caf\\x{letter}.jpg'\n" in done.stderr.decode()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="waits for a system with /dev/full")
@pytest.mark.parametrize("options", [[], ["--json"], ["--jsonl"]])
def test_a_full_output(tiny_bundle: Path, options: list[str]) -> None:
    code = "from emo_edge.cli.app import main; main()"
    command = [sys.executable, "-c", code, "infer", str(tiny_bundle), str(FACE), "--whole-image", *options]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 4, done.stderr
    assert done.stderr == (
        "Error: the output: cannot be written (No space left on device); make room or choose another place\n"
    )


def test_ctrl_c_ends_cleanly_with_what_was_read(tiny_bundle: Path) -> None:
    # A run in the background may start with SIGINT ignored, and its children inherit that.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heard}; from emo_edge.cli.app import main; main()"
    sources = [str(SAMPLES)] * 20
    command = [sys.executable, "-c", code, "infer", str(tiny_bundle), *sources, "--whole-image", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        first = process.stdout.readline() + process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, complaint = process.stdout.read(), process.stderr.read()
    assert process.returncode == 130, complaint
    found = json.loads(first + rest)
    assert 1 <= len(found) < 210 * 20
    assert complaint == f"interrupted after {len(found)} results\n"


@pytest.mark.parametrize(
    ("option", "value"), [("--seed", "-1"), ("--max-new-tokens", "0"), ("--threads", "0"), ("--threads", "513")]
)
def test_a_number_out_of_range_is_a_usage_error(tiny_bundle: Path, option: str, value: str) -> None:
    assert infer(tiny_bundle, FACE, "--describe", option, value).exit_code == 2


def test_options_reach_the_reading(tiny_bundle: Path) -> None:
    question = "Which facial cues are visible?"
    options = ["--whole-image", "--threads", "1", "--temperature", "3", "--prior-correction", "--ask", question]
    runs = []
    for seed in ("1", "1", "2"):
        done = infer(tiny_bundle, FACE, *options, "--sample", "1.5", "--top-p", "0.9", "--seed", seed, "--json", "-v")
        assert done.exit_code == 0, done.output
        runs.append(json.loads(done.stdout)[0]["readings"][0])
    same, again, other = (run["answers"][question] for run in runs)
    assert same == again != other
    assert runs[0]["settings"]["temperature"] == 3
    assert runs[0]["settings"]["prior_correction"] is True


def test_memory_stays_flat_however_long_the_video_is(tiny_bundle: Path, tmp_path: Path) -> None:
    code = (
        "import resource, sys\nfrom emo_edge.cli.app import main\n"
        "try:\n    main()\n"
        "finally:\n    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\n"
    )
    peaks = []
    for frames in (30, 600):
        path = tmp_path / f"{frames}.avi"
        clip(path, frames)
        options = ["--whole-image", "--frames", "2", "--fps", "5", "--jsonl", "--draw", str(path.with_suffix(".mp4"))]
        command = [sys.executable, "-c", code, "infer", str(tiny_bundle), str(path), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert len(done.stdout.splitlines()) == 1 + -(-frames // 12)
        peaks.append(int(done.stderr.splitlines()[-1]) / 1024)
    # 570 frames more are 86 MB of pixels, or 890 MB at the size they are drawn in.
    assert peaks[1] - peaks[0] < 40, peaks
