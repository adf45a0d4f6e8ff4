"""``emo-edge infer`` as a user runs it: output, exit codes, drawings, and what the process does not load."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pyarrow.parquet
import pytest
from click.testing import CliRunner

import emo_edge
from emo_edge.assets.packaged import SAMPLES
from emo_edge.cli import infer as infer_command
from emo_edge.cli.infer import main
from emo_edge.faces.registry import FixedBox
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import ClipSampling, Request, SourceResult
from emo_edge.inference.rows import columns, rows
from emo_edge.inference.stream import read_sources, stream
from emo_edge.media.images import read_image, write_image
from emo_edge.rendering.result_writers import CsvWriter, cell
from emo_edge.rendering.tables.files import csv_rows
from emo_edge.utils.files import sha256_of

SCHEMAS = {
    version: json.loads(
        (Path(emo_edge.__file__).parent / "schemas" / f"result-{version}.json").read_text(encoding="utf-8")
    )
    for version in (1, 2)
}
"""By the version of a result: 2 where a face has action units."""
FACE = sorted(SAMPLES.glob("*happiness.jpg"))[0]
PURPOSE = "demonstration and tests of the toolkit; it has never seen a photograph of a person"
OTHER = sorted(SAMPLES.glob("*surprise.jpg"))[0]


def infer(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def results(*arguments: object) -> list[dict[str, Any]]:
    done = infer(*arguments, "--json")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    for result in found:
        jsonschema.validate(result, SCHEMAS[result["result_version"]])
    return found


def json_lines(*arguments: object) -> list[dict[str, Any]]:
    return [json.loads(line) for line in infer(*arguments, "--jsonl").stdout.splitlines()]


def test_one_picture_gives_a_readable_reading(tiny_bundle: Path) -> None:
    done = infer(tiny_bundle, FACE, "--device", "cpu", "--whole-image", "--describe")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == str(FACE)
    assert lines[1].startswith("  face 1 of 1 at 0,0 224x224: ")
    assert "pose: pitch" in done.stdout
    assert "What is the facial expression of the person?" in done.stdout
    assert lines[-1].strip().endswith(")") and " ms on cpu (detect" in lines[-1]
    assert done.stderr == f"emo-tiny: {PURPOSE}\n", "it never saw a photograph, and says so once"


def test_json_and_json_lines_hold_the_same(tiny_bundle: Path) -> None:
    as_array = results(tiny_bundle, FACE, OTHER, "--whole-image")
    run, *lines = json_lines(tiny_bundle, FACE, OTHER, "--whole-image")
    for one, other in zip(as_array, lines, strict=True):
        assert one["readings"][0].pop("settings") == run["settings"]
        for result in (one, other):
            result["readings"][0].pop("stage_ms")
        assert one == other
    assert as_array[0]["size"] == [224, 224]


def test_json_lines_begin_with_the_settings_of_the_run(tiny_bundle: Path) -> None:
    run, result = json_lines(tiny_bundle, FACE, "--whole-image", "--labels", "affectnet8")
    assert list(run) == ["kind", "run_version", "result_version", "settings", "clip_question"]
    assert (run["kind"], run["run_version"], run["result_version"]) == ("run", 1, 2)
    assert len(run["settings"]["labels"]) == 8 and run["settings"]["purpose"] == PURPOSE
    assert "in the image?" in run["settings"]["question"] and "in the video?" in run["clip_question"]
    jsonschema.validate(result, SCHEMAS[result["result_version"]])
    assert "settings" not in result["readings"][0]


def test_a_request_that_nothing_could_fulfil_prints_no_result(tiny_bundle: Path) -> None:
    for output in ("--json", "--jsonl", "--csv"):
        done = infer(tiny_bundle, FACE, "--labels", "joy", output)
        assert (done.exit_code, done.stdout) == (4, "")


SHOWN = {"age", "gender", "race"}


@pytest.mark.parametrize(
    ("options", "attributes", "demographics"),
    [
        ([], 0, set()),
        (["--face-facts"], 38, set()),
        (["--demographics"], 0, SHOWN),
        (["--face-facts", "--demographics"], 40, SHOWN),
        (["--face-facts", "--no-demographics"], 38, set()),
    ],
)
def test_age_gender_race_and_attributes_are_shown_where_they_are_asked_for(
    tiny_bundle: Path, options: list[str], attributes: int, demographics: set[str]
) -> None:
    reading = results(tiny_bundle, FACE, "--whole-image", *options)[0]["readings"][0]
    assert len(reading["face"]["attributes"]) == attributes
    assert set(reading["face"]["demographics"]) == demographics
    settings = reading["settings"]
    assert settings["demographics"] is ("--no-demographics" not in options), "the prompt's sentence"
    assert settings["face_facts"] is (attributes > 0)
    assert settings["show_demographics"] is bool(demographics)
    (row,) = csv.DictReader(infer(tiny_bundle, FACE, "--whole-image", *options, "--csv").stdout.splitlines())
    assert SHOWN & row.keys() == demographics
    names = {name for name in row if name.startswith("attribute_")}
    assert len(names) == attributes and ({"attribute_Male", "attribute_Young"} <= names) is (attributes == 40)
    text = infer(tiny_bundle, FACE, "--whole-image", *options).stdout
    assert ("attributes: " in text) is (attributes > 0) and (", race " in text) is bool(demographics)


def test_the_prompts_sentence_stays_where_demographics_are_not_shown(tiny_bundle: Path) -> None:
    plain, shown, without = (
        results(tiny_bundle, FACE, "--whole-image", *options)[0]["readings"][0]["probabilities"]
        for options in ([], ["--demographics"], ["--no-demographics"])
    )
    assert plain == shown != without


def test_csv_has_the_columns_of_rows_whatever_is_read(tiny_bundle: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "=cmd.png", np.full((80, 90, 3), 128, np.uint8))
    sources = [tmp_path / "=cmd.png", tmp_path / "none.jpg", FACE]
    options = ["--describe", "--ask", "=1+1?", "--labels", "joy,rage", "--face-box", "10,10,200,200"]
    done = infer(tiny_bundle, *sources, *options, "--csv")
    assert done.exit_code == 4 and done.stderr.count("Error: ") == 1
    table = list(csv.DictReader(done.stdout.splitlines()))
    assert [Path(row["source"]).name for row in table] == ["=cmd.png", "none.jpg", FACE.name]
    assert table[1]["error"] and table[1]["label"] == ""
    with EmotionPipeline.open(tiny_bundle, device="cpu", detector=FixedBox((10, 10, 210, 210))) as pipeline:
        request = Request(labels=("joy", "rage"), describe=True, ask="=1+1?")
        expected = rows(list(read_sources(pipeline, [str(FACE)], request, ClipSampling())))
    assert [name for name in table[0] if name != "segment"] == list(expected[0])
    assert float(table[2]["p_joy"]) == pytest.approx(expected[0]["p_joy"], abs=1e-4)


def test_csv_names_the_segment_after_a_jump_of_the_time_stamps(capsys: pytest.CaptureFixture[str]) -> None:
    writer = CsvWriter(columns(["joy"]))
    writer.begin()
    for segment in (0, 1):
        writer.write(SourceResult("a.ts", "clip", [], None, (0.0, 1.0), segment=segment))
    assert [row["segment"] for row in csv.DictReader(capsys.readouterr().out.splitlines())] == ["", "1"]


def test_a_cell_that_a_spreadsheet_would_compute_is_text() -> None:
    dangerous = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"]
    assert [cell(text) for text in dangerous] == [f"'{text}" for text in dangerous]
    assert [cell(value) for value in ("a=b", -1.5, 3, None)] == ["a=b", -1.5, 3, None]


def test_compact_json_leaves_out_what_is_long(tiny_bundle: Path) -> None:
    picture = [tiny_bundle, FACE, "--whole-image"]
    for output in ("--json", "--jsonl"):
        whole, compact = (infer(*picture, output, *options).stdout for options in ([], ["--compact"]))
        assert len(compact) < len(whole) / 2
        result = json.loads(compact.splitlines()[1])
        jsonschema.validate(result, SCHEMAS[result["result_version"]])
        (reading,) = result["readings"]
        assert reading["label"] and not {"settings", "stage_ms"} & reading.keys()
        assert set(reading["face"]) == {"pose_degrees", "attributes", "demographics"}
    assert f"emo-tiny: {PURPOSE}" in infer(*picture, "--json", "--compact").stderr


@pytest.mark.parametrize("options", [["--json", "--csv"], ["--json", "--jsonl"], ["--compact"], ["--csv", "--compact"]])
def test_outputs_that_exclude_each_other_are_a_usage_error(tmp_path: Path, options: list[str]) -> None:
    done = infer(tmp_path, FACE, *options)
    assert (done.exit_code, done.stdout) == (2, "")


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (["--labels", "joy"], 4, "did you mean happiness? Labels instead of a set are two or more, with commas"),
        (["--labels", "Happiness"], 4, "did you mean happiness?"),
        (["--labels", "rafdb"], 4, "did you mean rafdb7?"),
        (["--profile", "Smal"], 4, "did you mean small?"),
        (["--device", "cudaa"], 2, "did you mean cuda?"),
    ],
)
def test_a_near_miss_gets_a_hint(tiny_bundle: Path, arguments: list[str], code: int, hint: str) -> None:
    done = infer(tiny_bundle, FACE, *arguments)
    assert done.exit_code == code and hint in done.stderr, done.stderr


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
    results = [json.loads(line) for line in done.stdout.splitlines()[1:]]
    assert [(Path(one["source"]).name, one["error"]) for one in results] == [
        ("a.jpg", None),
        ("b.jpg", None),
        ("notes.txt", "skipped: not a picture"),
    ]
    assert f"skipped 1 entry:\n  {folder / 'notes.txt'}: not a picture" in done.stderr
    drawn = read_image(tmp_path / "drawn" / "a.jpg")
    assert min(drawn.shape[:2]) >= 700


def test_what_a_run_writes_into_a_folder_is_none_of_its_pictures(label_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    write_image(folder / "a.png", read_image(FACE))
    (folder / "notes.txt").write_text("no picture")
    options = ["--whole-image", "--draw", folder, "--table", folder / "faces.csv", "--jsonl"]
    command = [sys.executable, "-c", "from emo_edge.cli.app import main; main()", "infer"]
    words = [str(word) for word in (*command, label_bundle, OTHER, folder, *options)]
    with (folder / "out.jsonl").open("wb") as stdout, (folder / "log.txt").open("wb") as stderr:
        assert subprocess.run(words, stdout=stdout, stderr=stderr, check=False).returncode == 0
    sources = [json.loads(line)["source"] for line in (folder / "out.jsonl").read_text().splitlines()[1:]]
    assert sources == [str(OTHER), str(folder / "a.png"), str(folder / "notes.txt")]
    assert f"skipped 1 entry:\n  {folder / 'notes.txt'}: not a picture" in (folder / "log.txt").read_text()
    drawn = {"a.jpg", OTHER.name}
    assert {path.name for path in folder.iterdir()} == drawn | {
        "a.png",
        "notes.txt",
        "faces.csv",
        "out.jsonl",
        "log.txt",
    }


def test_a_clip_counts_each_frame_once(label_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (224, 224))
    for face in (FACE, OTHER, FACE):
        writer.write(cv2.imread(str(face)))
    writer.release()
    (found,) = results(label_bundle, path, "--whole-image")
    assert (found["readings"][0]["frames"], found["readings"][0]["frame"]) == (3, 1)
    assert "  clip of 3 frames at " in infer(label_bundle, path, "--whole-image").stdout
    (two,) = results(label_bundle, path, "--whole-image", "--frames", "2")
    assert (two["readings"][0]["frames"], two["readings"][0]["frame"]) == (2, 1)


def test_nothing_is_drawn_over_silently(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(b"precious")
    done = infer(tiny_bundle, FACE, "--whole-image", "--draw", tmp_path / "mine.png")
    assert done.exit_code == 4
    assert (tmp_path / "mine.png").read_bytes() == b"precious"


def test_no_face_is_said_plainly(tiny_bundle: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "grey.png", np.full((80, 90, 3), 128, np.uint8))
    done = infer(tiny_bundle, tmp_path / "grey.png")
    assert done.exit_code == 0
    said = "no face found; --whole-image reads the whole picture"
    assert (
        done.stdout == f"{tmp_path / 'grey.png'}: {said}, and --detector auto does so with such a small one by itself\n"
    )
    lost = "its face detector, haar, misses tight crops, tilted and partly covered faces; --detector mtcnn finds more"
    assert done.stderr == f"emo-tiny: {lost}\n", "and no purpose where nothing was read"
    for chosen in (("--detector", "haar"), ("--face-box", "0,0,90,80"), ("--whole-image",)):
        assert "misses" not in infer(tiny_bundle, tmp_path / "grey.png", *chosen).stderr
    assert results(tiny_bundle, tmp_path / "grey.png")[0]["readings"] == []


def test_a_picture_that_looks_like_a_crop_is_read_whole_where_the_detector_is_left_to_us(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    write_image(tmp_path / "grey.png", np.full((80, 90, 3), 128, np.uint8))
    write_image(tmp_path / "wide.png", np.full((80, 900, 3), 128, np.uint8))
    crop, wide = results(tiny_bundle, tmp_path / "grey.png", tmp_path / "wide.png", "--detector", "auto")
    (reading,) = crop["readings"]
    assert (reading["box"], reading["settings"]["detector"]) == ([0, 0, 90, 80], "whole-image")
    assert wide["readings"] == []


def test_a_picture_that_was_read_whole_unasked_says_so_in_every_form(tiny_bundle: Path, tmp_path: Path) -> None:
    """Lines of JSON have no settings of their own, and those of their first line name the run's detector."""
    grey = tmp_path / "grey.png"
    write_image(grey, np.full((80, 90, 3), 128, np.uint8))
    for options in ((), ("--compact",)):
        run, crop = json_lines(tiny_bundle, grey, "--detector", "auto", *options)
        jsonschema.validate(crop, SCHEMAS[crop["result_version"]])
        assert run["settings"]["detector"] == "haar" and crop["readings"][0]["whole_image"] is True
    text = infer(tiny_bundle, grey, "--detector", "auto").stdout
    assert "face 1 of 1 at 0,0 90x80, the whole picture: no face found in it: " in text
    for asked in (("--whole-image",), ("--detector", "whole"), ("--face-box", "0,0,90,80")):
        assert "whole_image" not in results(tiny_bundle, grey, *asked)[0]["readings"][0]
        assert "no face found" not in infer(tiny_bundle, grey, *asked).stdout


def test_a_bad_picture_among_good_ones_costs_only_itself(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(FACE.read_bytes()[:500])
    done = infer(tiny_bundle, FACE, tmp_path / "bad.jpg", OTHER, "--whole-image", "--json")
    assert done.exit_code == 4
    found = json.loads(done.stdout)
    assert [bool(result["error"]) for result in found] == [False, True, False]
    for result in found:
        jsonschema.validate(result, SCHEMAS[result["result_version"]])
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


def test_an_address_in_the_bundles_place_shows_no_password(tmp_path: Path) -> None:
    done = infer("rtsp://us:secret@camera/live", tmp_path)
    assert done.exit_code == 4
    assert done.stderr == "Error: ***@camera/live: no bundle; the bundle comes before the sources\n"


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


def two_people(path: Path) -> None:
    """Write a video of two drawings side by side, of which now the one and now the other is the larger."""
    images = [cv2.imread(str(face)) for face in (FACE, OTHER)]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 8, (640, 320))
    for index in range(16):
        frame = np.full((320, 640, 3), 200, np.uint8)
        for place, image in enumerate(images):
            side = 260 if (index // 2 + place) % 2 == 0 else 200
            frame[20 : 20 + side, 20 + 320 * place : 20 + 320 * place + side] = cv2.resize(image, (side, side))
        writer.write(frame)
    writer.release()


def test_a_clip_is_of_one_person_and_all_can_be_read(tiny_bundle: Path, tmp_path: Path) -> None:
    two_people(tmp_path / "two.avi")
    (one,) = results(tiny_bundle, tmp_path / "two.avi")
    (face,) = one["readings"]
    assert (face["label"], face["frames"], one["segment"]) == ("happiness", 8, 0)
    assert face["box"][2] < 320
    (both,) = results(tiny_bundle, tmp_path / "two.avi", "--faces", "all")
    assert [(face["label"], face["box"][0] > 320) for face in both["readings"]] == [
        ("happiness", False),
        ("surprise", True),
    ]
    picture = both["size"]
    assert picture == [640, 320]


def test_the_largest_face_of_a_picture_alone(tiny_bundle: Path, tmp_path: Path) -> None:
    two_people(tmp_path / "two.avi")
    done, frame = cv2.VideoCapture(str(tmp_path / "two.avi")).read()
    assert done and cv2.imwrite(str(tmp_path / "two.png"), frame)
    counts = [
        len(results(tiny_bundle, tmp_path / "two.png", *options)[0]["readings"])
        for options in ([], ["--faces", "all"], ["--faces", "largest"])
    ]
    assert counts == [2, 2, 1]


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
    with EmotionPipeline.open(tiny_bundle, device="cpu") as pipeline:
        found = list(stream(pipeline, SAMPLES, Request(labels="ferplus8")))
    assert len(found) == 211
    assert [Path(result.source).name for result in found if result.error] == ["samples.json"]
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
    assert done.stderr == f"emo-tiny: {PURPOSE}\n", "quiet when piped"


def test_a_photograph_goes_through_end_to_end(tiny_bundle: Path, tmp_path: Path) -> None:
    from skimage import data

    write_image(tmp_path / "astronaut.png", data.astronaut())
    done = infer(tiny_bundle, tmp_path / "astronaut.png", "--draw", tmp_path / "drawn.jpg")
    assert done.exit_code == 0, done.output
    assert "face 1 of 1" in done.stdout
    assert (tmp_path / "drawn.jpg").exists()


@pytest.mark.parametrize("name", ["faces.parquet", "faces.csv"])
def test_a_table_is_written_beside_the_results(tiny_bundle: Path, tmp_path: Path, name: str) -> None:
    target, none = tmp_path / name, tmp_path / "none.jpg"
    done = infer(tiny_bundle, FACE, none, "--whole-image", "--json", "--table", target)
    assert done.exit_code == 4 and len(json.loads(done.stdout)) == 2
    table = list(csv_rows(target)) if target.suffix == ".csv" else pyarrow.parquet.read_table(target).to_pylist()
    face, failed = table
    assert face["sha256"] == sha256_of(FACE) and face["label"] == json.loads(done.stdout)[0]["readings"][0]["label"]
    assert (failed["source"], failed["error_kind"], failed["sha256"]) == (str(none), "input", None)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    again = infer(tiny_bundle, FACE, "--table", target)
    assert again.exit_code == 4 and "choose another name or --overwrite" in again.stderr
    assert infer(tiny_bundle, FACE, "--whole-image", "--table", target, "--overwrite").exit_code == 0
