"""``emo-edge infer`` as a user runs it: output, exit codes, drawings, and what the process does not load."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

import emo_edge
from emo_edge.assets.packaged import SAMPLES
from emo_edge.cli import infer as infer_command
from emo_edge.cli.infer import main
from emo_edge.inference.results import SourceResult
from emo_edge.inference.stream import stream
from emo_edge.media.images import read_image, write_image

SCHEMA = json.loads((Path(emo_edge.__file__).parent / "schemas" / "result-1.json").read_text(encoding="utf-8"))
FACE = sorted(SAMPLES.glob("*happiness.jpg"))[0]
OTHER = sorted(SAMPLES.glob("*surprise.jpg"))[0]


def infer(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def results(*arguments: object) -> list[dict[str, Any]]:
    done = infer(*arguments, "--json")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    for result in found:
        jsonschema.validate(result, SCHEMA)
    return found


def test_one_picture_gives_a_readable_reading(tiny_bundle: Path) -> None:
    done = infer(tiny_bundle, FACE, "--device", "cpu", "--whole-image", "--describe")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == str(FACE)
    assert lines[1].startswith("  face 1 of 1 at 0,0 224x224: ")
    assert "pose: pitch" in done.stdout
    assert "What is the facial expression of the person?" in done.stdout
    assert lines[-3].strip().endswith(")") and " ms on cpu (detect" in lines[-3]
    assert lines[-1].startswith("emo-tiny: demonstration"), "it never saw a photograph, and says so"
    assert done.stderr == ""


def test_json_and_json_lines_hold_the_same(tiny_bundle: Path) -> None:
    as_array = results(tiny_bundle, FACE, OTHER, "--whole-image")
    lines = [
        json.loads(line) for line in infer(tiny_bundle, FACE, OTHER, "--whole-image", "--jsonl").stdout.splitlines()
    ]
    for one, other in zip(as_array, lines, strict=True):
        for result in (one, other):
            result["readings"][0].pop("stage_ms")
        assert one == other
    assert as_array[0]["size"] == [224, 224]


def test_no_demographics_removes_them_everywhere(tiny_bundle: Path) -> None:
    result = results(tiny_bundle, FACE, "--whole-image", "--no-demographics")[0]["readings"][0]
    assert result["face"]["demographics"] == {}
    assert not {"Male", "Young"} & set(result["face"]["attributes"])
    assert result["settings"]["demographics"] is False
    text = infer(tiny_bundle, FACE, "--whole-image", "--no-demographics").stdout
    assert "gender" not in text and "race" not in text


def test_own_labels_and_face_box(tiny_bundle: Path) -> None:
    found = results(tiny_bundle, FACE, "--labels", "joy, rage", "--face-box", "50,40,120,150")[0]["readings"][0]
    assert list(found["probabilities"]) == ["joy", "rage"]
    assert found["box"] == [50, 40, 170, 190]


def test_a_folder_is_read_in_order_and_drawn(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("b.jpg", "a.jpg"):
        (folder / name).write_bytes(FACE.read_bytes())
    (folder / "notes.txt").write_text("no picture")
    done = infer(tiny_bundle, folder, "--whole-image", "--jsonl", "--draw", tmp_path / "drawn")
    assert done.exit_code == 0, done.output
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(Path(one["source"]).name, one["error"]) for one in results] == [
        ("a.jpg", None),
        ("b.jpg", None),
        ("notes.txt", "skipped: not a picture"),
    ]
    assert f"skipped 1 entry:\n  {folder / 'notes.txt'}: not a picture" in done.stderr
    drawn = read_image(tmp_path / "drawn" / "a.jpg")
    assert min(drawn.shape[:2]) >= 700


def test_nothing_is_drawn_over_silently(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(b"precious")
    done = infer(tiny_bundle, FACE, "--whole-image", "--draw", tmp_path / "mine.png")
    assert done.exit_code == 4
    assert (tmp_path / "mine.png").read_bytes() == b"precious"


def test_no_face_is_said_plainly(tiny_bundle: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "grey.png", np.full((80, 90, 3), 128, np.uint8))
    done = infer(tiny_bundle, tmp_path / "grey.png")
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{tmp_path / 'grey.png'}: no face found; --whole-image reads the whole picture\n")
    assert results(tiny_bundle, tmp_path / "grey.png")[0]["readings"] == []


def test_a_bad_picture_among_good_ones_costs_only_itself(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(FACE.read_bytes()[:500])
    done = infer(tiny_bundle, FACE, tmp_path / "bad.jpg", OTHER, "--whole-image", "--json")
    assert done.exit_code == 4
    found = json.loads(done.stdout)
    assert [bool(result["error"]) for result in found] == [False, True, False]
    for result in found:
        jsonschema.validate(result, SCHEMA)
    assert done.stderr.count("Error: ") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["nowhere.jpg"], 4, "nowhere.jpg"),
        ([FACE, "--face-box", "1,2,3"], 4, "x,y,width,height"),
        ([FACE, "--face-box", "1,2,0,5"], 4, "above 0"),
        ([FACE, "--face-box", "9999,9999,5,5"], 4, "outside"),
        ([FACE, "--whole-image", "--face-box", "1,2,3,4"], 4, "choose one"),
        ([FACE, "--profile", "fast"], 4, "there are: exact, small"),
        ([FACE, "--labels", "nothing"], 4, "there are: rafdb7"),
        ([FACE, "--whole-image", "--temperature", "0"], 4, "above 0"),
        ([FACE, "--frames", "0"], 4, "frames >= 1"),
        ([FACE, "--device", "cuda"], 6, "--device cpu"),
        ([FACE, "--device", "tpu"], 2, "tpu"),
        ([FACE, "--yunet", "missing.onnx"], 4, "missing.onnx"),
    ],
)
def test_what_cannot_be_done_is_one_error_with_its_code(
    tiny_bundle: Path, arguments: list[object], code: int, part: str
) -> None:
    done = infer(tiny_bundle, *arguments)
    assert done.exit_code == code, done.output
    assert part in done.stderr
    assert done.stderr.count("Error: ") == 1
    assert "Traceback" not in done.output


def test_a_broken_bundle_is_refused_before_anything_opens(tmp_path: Path) -> None:
    done = infer(tmp_path, FACE)
    assert done.exit_code == 5
    assert "emo-edge export" in done.stderr


def test_interrupted_it_keeps_what_was_read(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = infer_command.read_sources

    def interrupted(*arguments: Any) -> Iterator[SourceResult]:
        yield next(real(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(infer_command, "read_sources", interrupted)
    done = infer(tiny_bundle, FACE, OTHER, "--whole-image", "--json")
    assert done.exit_code == 130
    assert len(json.loads(done.stdout)) == 1
    assert "interrupted after 1 results" in done.stderr


def test_a_video_is_one_clip_and_at_a_rate_several(tiny_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    write_clip(path, 24)
    whole = results(tiny_bundle, path, "--whole-image", "--frames", "3")
    assert [result["readings"][0]["frames"] for result in whole] == [3]
    assert whole[0]["kind"] == "clip"
    flowing = results(tiny_bundle, path, "--whole-image", "--frames", "2", "--fps", "5")
    assert [result["readings"][0]["frames"] for result in flowing] == [2, 2]
    starts = [result["seconds"][0] for result in flowing]
    assert starts == sorted(starts)


def test_a_video_is_drawn_frame_by_frame(tiny_bundle: Path, tmp_path: Path) -> None:
    from emo_edge.media.videos import sampled_frames

    write_clip(tmp_path / "clip.avi", 12)
    done = infer(tiny_bundle, tmp_path / "clip.avi", "--whole-image", "--frames", "3", "--draw", tmp_path / "drawn.avi")
    assert done.exit_code == 0, done.output
    frames = list(sampled_frames(tmp_path / "drawn.avi"))
    assert len(frames) == 12
    assert frames[0].image.shape == (720, 720, 3)
    assert sorted(path.name for path in tmp_path.iterdir() if "drawn" in path.name) == ["drawn.avi"]


def test_drawings_of_one_name_are_numbered(tiny_bundle: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_clip(tmp_path / folder / "clip.avi", 4)
    sources = (tmp_path / "a" / "clip.avi", tmp_path / "b" / "clip.avi")
    done = infer(tiny_bundle, *sources, "--whole-image", "--fps", "30", "--frames", "2", "--draw", tmp_path / "drawn")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == [
        "clip-2.jpg",
        "clip-3.jpg",
        "clip-4.jpg",
        "clip.jpg",
    ]


def test_one_picture_shows_the_latest_clip(tiny_bundle: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.avi", 4)
    arguments = [tmp_path / "clip.avi", "--whole-image", "--fps", "30", "--frames", "2", "--draw", tmp_path / "now.jpg"]
    assert infer(tiny_bundle, *arguments).stderr.count("drawn: ") == 2
    assert infer(tiny_bundle, *arguments).exit_code == 4, "another run's picture stays"


def test_a_video_that_does_not_fit_is_an_error_and_leaves_nothing(tiny_bundle: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.avi", 12)
    code = (
        "import resource, sys\nfrom emo_edge.cli.app import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\nmain()"
    )
    options = ["--whole-image", "--frames", "2", "--draw", str(tmp_path / "drawn.avi")]
    command = [sys.executable, "-c", code, "infer", str(tiny_bundle), str(tmp_path / "clip.avi"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    assert "drawn.avi: only " in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["clip.avi"]


def test_a_stream_of_results_is_what_the_command_prints(tiny_bundle: Path) -> None:
    from emo_edge.inference.pipeline import EmotionPipeline
    from emo_edge.inference.results import Request

    with EmotionPipeline.open(tiny_bundle, device="cpu") as pipeline:
        found = list(stream(pipeline, SAMPLES, Request(labels="ferplus8")))
    assert len(found) == 210
    assert list(found[0].faces[0].probabilities) == list(pipeline.manifest.label_sets["ferplus8"])


@pytest.mark.parametrize("name", ["drawn.mkv", "missing/drawn.avi"])
def test_a_video_that_cannot_be_drawn_is_an_error(tiny_bundle: Path, tmp_path: Path, name: str) -> None:
    write_clip(tmp_path / "clip.avi", 4)
    done = infer(tiny_bundle, tmp_path / "clip.avi", "--whole-image", "--frames", "2", "--draw", tmp_path / name)
    assert done.exit_code == 4, done.output
    assert name in done.stderr


def write_clip(path: Path, frames: int) -> None:
    import cv2

    picture = cv2.cvtColor(read_image(FACE), cv2.COLOR_RGB2BGR)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (224, 224))
    for _ in range(frames):
        writer.write(picture)
    writer.release()


def test_the_process_loads_no_torch(tiny_bundle: Path) -> None:
    code = (
        "import sys\nfrom emo_edge.cli.app import main\n"
        f"try:\n    main(['infer', {str(tiny_bundle)!r}, {str(FACE)!r}, '--whole-image'])\n"
        "finally:\n    print(sorted({'torch', 'transformers', 'onnx', 'gguf'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stderr == "", "quiet when piped"


def test_a_photograph_goes_through_end_to_end(tiny_bundle: Path, tmp_path: Path) -> None:
    from skimage import data

    write_image(tmp_path / "astronaut.png", data.astronaut())
    done = infer(tiny_bundle, tmp_path / "astronaut.png", "--draw", tmp_path / "drawn.jpg")
    assert done.exit_code == 0, done.output
    assert "face 1 of 1" in done.stdout
    assert (tmp_path / "drawn.jpg").exists()
